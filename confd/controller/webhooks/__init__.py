"""Webhooks: events that are sent to receivers by HTTP."""
