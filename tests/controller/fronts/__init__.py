"""Tests of a controller of several processes."""
