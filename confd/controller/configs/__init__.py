"""Documents and their versions: the write path and what is current."""
