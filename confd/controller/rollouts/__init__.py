"""Rollouts: deliver a new version in waves, and take it back if it fails."""
