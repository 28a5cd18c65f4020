"""Values of access and change control."""
