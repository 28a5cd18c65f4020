"""Values to bytes and back: everything that crosses the network or is signed."""
