"""Kafka: publish to a topic and read it, without a consumer group."""
