"""Copies of the audit log outside the controller, which prove changes in its database."""
