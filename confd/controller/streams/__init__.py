"""Server-sent events for agents, for the dashboard and for C{confdctl watch}."""
