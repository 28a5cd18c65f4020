"""confd gets one configuration document to many machines: fast, provably, and without breaking one that works."""

__version__ = "0.1.0"
