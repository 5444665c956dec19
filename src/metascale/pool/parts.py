"""Arms as pairs of a model and a meta-thought, and how alike their rewards are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MODEL, THOUGHT, PAIR = 0.5, 0.3, 0.2
"""Shares of the variance between arms that are the model's, the meta-thought's, and what only both together have. Not
tuned: on recordings, models differ far more than prompts. They sum to 1."""

KIN = 0.7
"""The share of a model's part that it has in common with the same model under other parameters, such as another effort.
Not tuned."""

NEW = "?"
"""The name of a model or meta-thought that is not known yet."""


class ArmKey(NamedTuple):
    """An arm's name across runs.

    Attributes:
        thought: the meta-thought's key, as `metascale.pool.beliefs.key_of` gives it, without `@`.
        model: the model's name; empty where every arm has the same model.
    """

    thought: str
    model: str = ""

    def __str__(self) -> str:
        """The name as one string, which `of` reads."""
        return f"{self.thought}@{self.model}" if self.model else self.thought

    @classmethod
    def of(cls, text: str) -> ArmKey:
        """The arm that `str` wrote."""
        thought, _, model = text.partition("@")
        return cls(thought, model)


def base_of(model: str) -> str:
    """A model's name without its parameters: `b` for `b?effort=low`."""
    return model.partition("?")[0] or model


def likeness(arms: Sequence[ArmKey]) -> NDArray[np.float64]:
    """The correlations of the arms' expected rewards before any observation, shape (arms, arms).

    A reward is the sum of the model's part, the meta-thought's part and a part of the pair, which are independent. So
    a pull of one pair also teaches about all pairs with the same model or meta-thought. A model's name may end with
    parameters, as in `b?effort=low`; most of its part is that of the name before them.
    """
    models = np.array([arm.model for arm in arms], dtype=object)
    thoughts = np.array([arm.thought for arm in arms], dtype=object)
    names = np.array([base_of(arm.model) for arm in arms], dtype=object)
    same_model = (models[:, None] == models[None, :]).astype(np.float64)
    same_name = (names[:, None] == names[None, :]).astype(np.float64)
    same_thought = (thoughts[:, None] == thoughts[None, :]).astype(np.float64)
    of_models = KIN * same_name + (1 - KIN) * same_model
    alike: NDArray[np.float64] = MODEL * of_models + THOUGHT * same_thought + PAIR * same_model * same_thought
    return alike
