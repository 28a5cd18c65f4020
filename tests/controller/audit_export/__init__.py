"""Tests of L{confd.controller.audit_export}."""
