"""Which answer is given, and how sure that is."""
