"""The page that shows the API document: Swagger UI 5.35.0 as published (see LICENSE and NOTICE), and what starts it."""
