"""The set of withdrawals in force, and its enforcement in the index."""
