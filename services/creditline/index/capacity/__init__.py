"""Planning of memory, disk and machines for an index."""
