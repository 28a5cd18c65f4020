"""The dashboard: what a browser loads, as it is. No build step, and nothing from anywhere else."""
