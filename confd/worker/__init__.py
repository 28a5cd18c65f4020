"""The worker: does what the configuration says."""
