"""Reports on a corpus in the forms that laws ask for, filled with counts from the data alone."""
