"""Evaluations on Inspect: any task with any method, benchmarks, statistics and reports."""
