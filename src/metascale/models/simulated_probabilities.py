"""Token probabilities of the offline model. A simulation: they tell right answers from wrong ones, and nothing else."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

LEVEL, SPREAD, LOSS = -1.9, 0.45, 0.37
"""Of the logarithm of an answer's mean surprise: its mean, its standard deviation within a question, and how much a
wrong answer adds. As in 2,112 answers of Qwen2.5-Coder-1.5B to 48 questions of GSM8K, rounded."""
HIGHEST_SCORE = 10
LEAST_LIKELY = -20.0
"""Log-probability of any other token in the place of Yes or No."""
_TOKEN = re.compile(r"\d+|\s*[^\W\d]+|\s*[^\w\s]|\s+")


def simulated_logprobs(
    text: str, alternatives: int, rng: np.random.Generator, *, is_right: bool | None = None
) -> dict[str, Any]:
    """What OpenAI's chat completions tell of the tokens of a reply, under `logprobs`.

    Args:
        text: the reply.
        alternatives: alternatives to tell for each token, from 0; the token itself is among them.
        rng: draws them.
        is_right: whether the reply answers the task rightly; None where that is not known.
    """
    surprise = math.exp(rng.normal(LEVEL + (LOSS if is_right is False else 0.0), SPREAD))
    items = []
    for token in _TOKEN.findall(text):
        value = -float(rng.exponential(surprise))
        others = _others(token, value, alternatives - 1)
        told = [_item(token, value), *others] if alternatives else []
        items.append({**_item(token, value), "top_logprobs": told})
    return {"content": items, "refusal": None}


def yes_no_logprobs(drawn: str, chance_of_yes: float, alternatives: int) -> dict[str, Any]:
    """What OpenAI's chat completions tell of a reply that is Yes or No, under `logprobs`.

    Args:
        drawn: the reply.
        chance_of_yes: in (0, 1).
        alternatives: alternatives to tell, from 0.
    """
    told = {"Yes": _item("Yes", math.log(chance_of_yes)), "No": _item("No", math.log1p(-chance_of_yes))}
    likely = sorted(told.values(), key=lambda item: -item["logprob"])
    others = [_item(f"~{number}", LEAST_LIKELY) for number in range(alternatives - len(likely))]
    return {"content": [{**told[drawn], "top_logprobs": [*likely, *others][:alternatives]}], "refusal": None}


def _others(token: str, value: float, count: int) -> list[dict[str, Any]]:
    """The most likely other tokens in a token's place, which share the rest of the probability."""
    rest = max(1e-9, -math.expm1(value))
    if token.isdigit() and int(token) <= HIGHEST_SCORE:
        near = sorted(set(range(1, HIGHEST_SCORE + 1)) - {int(token)}, key=lambda n: (abs(n - int(token)), n))
        names = [str(number) for number in near]
    else:
        names = [{"Yes": "No", "No": "Yes"}.get(token, f"~{token}"), *(f"~{n}" for n in range(count))]
    shares = rest * 0.5 ** np.arange(1, len(names) + 1)
    return [_item(name, math.log(share)) for name, share in zip(names[:count], shares, strict=False)]


def _item(token: str, value: float) -> dict[str, Any]:
    return {"token": token, "logprob": value, "bytes": list(token.encode())}
