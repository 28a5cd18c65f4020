"""NATS: publish, subscribe, and answers to requests."""
