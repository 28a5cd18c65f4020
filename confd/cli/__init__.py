"""C{confdctl}, the command line client of the controller."""
