"""Tests of access and change control."""
