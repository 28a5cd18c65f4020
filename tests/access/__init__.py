"""Tests of the values of access and change control."""
