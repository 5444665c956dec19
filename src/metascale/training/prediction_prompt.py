"""The request for a prediction, as a model is trained to answer it."""

from __future__ import annotations

from collections.abc import Sequence

from metascale.training.rollouts import Message


def prediction_prompt(prompt: Sequence[Message]) -> list[Message]:
    """To be replaced by the prompt of the node `foresee`."""
    return [{"role": "system", "content": "Predict."}, *prompt]
