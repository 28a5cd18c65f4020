"""The registered agents: identity, tokens, and the time of the last poll."""
