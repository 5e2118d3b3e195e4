"""What the API needs of the ledger beside its records: replies to repeated requests, and pages of lists."""
