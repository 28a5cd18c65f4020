"""The HTTP server: bounded connections and requests, proxies, and the response cache."""
