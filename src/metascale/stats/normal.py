"""Tails of the normal distribution."""

from __future__ import annotations

import math


def expected_excess(distance: float, deviation: float) -> float:
    """E[max(0, x)] of a normal x with mean `-distance` and the given standard deviation."""
    if deviation <= 0 or math.isinf(distance / deviation):
        return max(0.0, -distance)
    z = distance / deviation
    density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return deviation * max(0.0, density - z * normal_tail(z))


def normal_tail(z: float) -> float:
    """The probability that a standard normal exceeds `z`."""
    return math.erfc(z / math.sqrt(2)) / 2
