"""Who sent a request: credentials, throttling, and cross-site requests."""
