"""confd delivers configuration documents to many machines: fast, provably, and without breaking a machine."""

__version__ = "0.1.0"
