"""The message brokers: L{redis} on txredisapi, L{nats} on nats-py, and the L{link} that keeps either connected."""
