"""What every process needs: settings, logs, timers, TLS, and the life of a daemon."""
