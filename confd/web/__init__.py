"""The HTTP server of all roles: limits, authentication, the endpoint decorator, health and metrics."""
