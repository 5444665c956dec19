"""Repeatable random numbers: each generator is derived from the run's seed and an RNG seed path."""

from __future__ import annotations

import zlib

import numpy as np


def derive_seed(seed: int | None, *place: int | str) -> int | None:
    """A seed in [0, 2**31) for one RNG seed path, or None where the run has no seed.

    Args:
        seed: the run's seed.
        place: the RNG seed path, such as `("sample", 7)`; different paths get independent seeds.
    """
    if seed is None:
        return None
    path = [part if isinstance(part, int) else zlib.crc32(part.encode()) for part in place]
    return int(np.random.SeedSequence([seed, *path]).generate_state(1)[0]) & 0x7FFF_FFFF


def round_generator(seed: int | None, round_: int) -> np.random.Generator:
    """The generator of one round's choices; a run without a seed uses seed 0."""
    return np.random.default_rng([seed or 0, round_])


def place_generator(seed: int | None, *place: int | str) -> np.random.Generator:
    """The generator for one RNG seed path; where the run has no seed, a fresh one."""
    return np.random.default_rng(derive_seed(seed, *place))
