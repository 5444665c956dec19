"""Benchmarks on Inspect: tasks, solvers, scorers, and the command that runs them."""
