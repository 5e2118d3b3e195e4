"""Exact effects of works: the derivative of a query's loss through a whole training, and its verification."""
