"""The strategy memory: what earlier runs taught, and the store that keeps it."""
