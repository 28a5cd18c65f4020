"""The HTTP edge shared by the three roles: limits, the endpoint decorator, the ops pages."""
