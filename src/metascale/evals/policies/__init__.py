"""Policies and the strategy memory, replayed on recorded answers."""
