"""Outputs: the places where an agent puts a configuration, and the set that applies it to all of them."""
