"""The agent: gets the configuration in force to the worker beside it, and keeps it there."""
