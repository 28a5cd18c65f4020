"""Which agents run which version: reports, their summary, and waits for a quorum."""
