"""The database of the ledger: connections and transactions, and threads for calls from an event loop."""
