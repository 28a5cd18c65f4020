"""The REST API of the controller, one module a subject."""
