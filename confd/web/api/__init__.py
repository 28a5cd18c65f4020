"""The declarations of endpoints, and everything between the network and their handlers."""
