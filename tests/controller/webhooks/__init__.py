"""Tests of L{confd.controller.webhooks}."""
