"""Tests of L{confd.brokers.kafka}."""
