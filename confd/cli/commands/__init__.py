"""The commands of C{confdctl}, one module a subject."""
