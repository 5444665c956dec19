"""Statistics that several packages share. Nothing here depends on models or graphs."""
