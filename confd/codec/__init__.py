"""Encode and decode everything that crosses the network or is signed."""
