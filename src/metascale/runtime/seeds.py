"""Random numbers that repeat: everything random is derived from one seed and a place in the run."""

from __future__ import annotations

import zlib

import numpy as np


def derive_seed(seed: int | None, *place: int | str) -> int | None:
    """A seed in [0, 2**31) for one place in the run, or None where the run has no seed.

    Args:
        seed: the run's seed.
        place: what the seed is for, such as `("sample", 7)`; different places get independent seeds.
    """
    if seed is None:
        return None
    path = [part if isinstance(part, int) else zlib.crc32(part.encode()) for part in place]
    return int(np.random.SeedSequence([seed, *path]).generate_state(1)[0]) & 0x7FFF_FFFF


def round_generator(seed: int | None, round_: int) -> np.random.Generator:
    """The generator of one round's choices; without a seed, that of seed 0."""
    return np.random.default_rng([seed or 0, round_])


def place_generator(seed: int | None, *place: int | str) -> np.random.Generator:
    """The generator of the choices made at one place in the run; without a seed, a fresh one."""
    return np.random.default_rng(derive_seed(seed, *place))
