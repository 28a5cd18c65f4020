"""Authentication, limits on wrong credentials, and protection from cross-site requests."""
