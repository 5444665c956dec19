"""The final choice: which answer is given, and how sure the choice is."""
