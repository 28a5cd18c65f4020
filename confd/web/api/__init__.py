"""One declaration per endpoint, and everything between the network and a handler."""
