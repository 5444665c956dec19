"""Statistics that several rooms share. Nothing here knows of models or graphs."""
