"""HTTP clients of the controllers and of the worker."""
