"""Documents and their versions: the write path and the current configurations."""
