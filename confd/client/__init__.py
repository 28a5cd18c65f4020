"""The HTTP clients of an agent: of its controllers and of its worker."""
