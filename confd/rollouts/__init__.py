"""Values of rollouts: a new version goes to the agents of a namespace in waves."""
