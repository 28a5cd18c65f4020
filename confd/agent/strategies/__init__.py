"""The ways in which an agent can learn of a change."""
