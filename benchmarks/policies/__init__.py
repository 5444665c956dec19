"""The contest of bandit policies on simulated landscapes: `python -m benchmarks.policies`. A SIMULATION."""
