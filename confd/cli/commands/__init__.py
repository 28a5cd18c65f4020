"""The commands of C{confdctl}, one module for each subject."""
