"""The worker: fetches the URL of its current configuration."""
