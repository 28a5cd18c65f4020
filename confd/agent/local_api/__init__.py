"""The API with which programs read the applied configuration from their agent."""
