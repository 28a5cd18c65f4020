"""The OpenAPI document of a service, and the pages that show it."""
