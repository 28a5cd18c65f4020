"""The agent: delivers the current configuration to the worker beside it, and keeps it there."""
