"""A run -> a page in the browser and a JSON endpoint."""
