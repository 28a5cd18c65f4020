"""The controller's store in PostgreSQL."""
