"""Redis: publish, subscribe, and the latest configuration."""
