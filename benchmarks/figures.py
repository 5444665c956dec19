"""The figures of a benchmark whose model is simulated, as lines of text."""

from __future__ import annotations

import os
from collections.abc import Mapping


def print_simulated(figures: Mapping[str, object]) -> None:
    """Print that it is a simulation, on what machine, and each figure with its name."""
    print(f"SIMULATION of a model; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    width = max(map(len, figures))
    for name, figure in figures.items():
        print(f"{name:{width}} {figure}")
