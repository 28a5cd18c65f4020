"""The agents that registered: who they are, their tokens, and when they last called."""
