"""Votes weighted by how sure the model was of each answer (confidence-informed self-consistency).

The idea is CISC's (Taubenfeld et al. 2025, arXiv 2502.06233), which asks the model for its confidence. Here the
confidence is the certainty of the answer's own tokens, which costs no call.

The constants are ours, chosen on 2,112 answers of Qwen2.5-Coder-1.5B to 48 questions of GSM8K under eight meta-thoughts
(`metascale bench replay` measures them, and cross-fits them by question). No correction for the level of each
meta-thought is made: how sure the numbers of an answer are hardly depends on its manner, and on these answers a
correction changed no accuracy of up to 16 votes by more than 0.3 points.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from metascale.records import Candidate, Certainty

TAIL_SHARE = 0.25
"""What the end of an answer counts beside its numbers. Anything from 0 to 0.5 chooses equally well."""
SHARPNESS = 0.5
"""By how much an answer's log weight grows if it is surer by one standard deviation of the question's answers. From 0.3
to 0.7 votes are equally good; sharper ones lose at four samples what they gain at sixteen."""
LEAST_SPREAD = 0.05
"""Standard deviation in nats that is added to the one observed (in squares): smaller differences mean little."""


def sureness(certainty: Certainty) -> float:
    """How sure a model was of an answer, in nats, at most 0: comparable among answers to one question only."""
    return certainty["numbers"] + TAIL_SHARE * certainty["tail"]


def vote_weights(certainties: Sequence[Certainty | None]) -> NDArray[np.float64]:
    """The weights of the votes of one question's answers, shape (n,); their mean is 1.

    Args:
        certainties: of each answer; None where nothing is known, which counts as average.
    """
    known = np.array([certainty is not None for certainty in certainties])
    sure = np.array([sureness(certainty) if certainty is not None else 0.0 for certainty in certainties])
    if not known.any():
        return np.ones(len(certainties))
    return weights_of(np.where(known, sure, sure[known].mean()))


def weights_of(sure: NDArray[np.float64]) -> NDArray[np.float64]:
    """The weights of votes by any measure of sureness in nats, over the last axis, where their mean is 1."""
    centred = sure - sure.mean(axis=-1, keepdims=True)
    spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + LEAST_SPREAD**2)
    raw: NDArray[np.float64] = np.exp(SHARPNESS * centred / spread)
    weights: NDArray[np.float64] = raw / raw.mean(axis=-1, keepdims=True)
    return weights


def with_vote_shares(candidates: Sequence[Candidate], *, weighted: bool = False) -> list[Candidate]:
    """The samples with the vote as their reward: the share of all answers that have the same final answer, in (0, 1].

    Failed samples are no answers. Samples without a marked final answer get no reward.

    Args:
        candidates: the samples of one question.
        weighted: whether votes are weighted by the certainty of their answers; else each counts 1.
    """
    answers = [c for c in candidates if c["status"] != "failed"]
    weights = dict(zip((c["id"] for c in answers), weights_of_votes(answers, weighted=weighted), strict=True))
    votes: dict[str, float] = {}
    for candidate in answers:
        if candidate["extracted"] is not None:
            votes[candidate["extracted"]] = votes.get(candidate["extracted"], 0.0) + weights[candidate["id"]]
    return [
        {**c, "reward": min(1.0, votes[c["extracted"]] / len(answers))} if c["extracted"] is not None else c
        for c in candidates
    ]


def weights_of_votes(answers: Sequence[Candidate], *, weighted: bool) -> list[float]:
    """The weight of each sample's vote; 1 for all unless votes are weighed."""
    if not weighted:
        return [1.0] * len(answers)
    return [float(weight) for weight in vote_weights([answer.get("certainty") for answer in answers])]
