"""Weights of several judges from their agreement alone, without labels.

The model of Dawid and Skene (1979): every answer is right or wrong, which nobody sees, and each judge has a rate of
approving right answers and a rate of approving wrong ones. Expectation and maximisation alternate. A score in [0, 1]
counts as so much of an approval. Two things are added. Rates are drawn towards those of a fair judge, so that a few
answers leave the weights nearly equal. And judges whose errors agree share their weight, because the model would take
such agreement for competence (Weaver, arXiv 2506.18203, selects and combines weak verifiers in the same spirit).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

FAIR = 0.7
"""Rate at which a fair judge approves right answers, and rejects wrong ones."""
PRIOR = 50.0
"""Answers of each kind that a judge's prior rates count for. Ours, as `FAIR`: GPT-4's verdicts on the 211 pairs of
LLMBar by three prompts in two orders choose better with 20 to 100 than with 2."""
ROUNDS = 60
"""Alternations."""


def judge_weights(scores: Numbers) -> Numbers:
    """The weights of k judges in a weighted mean of their scores.

    Args:
        scores: in [0, 1], shape (n, k), n and k at least 1; NaN where a judge gave none.

    Returns:
        At least 0, shape (k,); their mean is 1. Equal where agreement tells nothing.
    """
    given = ~np.isnan(scores)
    said = np.where(given, scores, 0.0)
    answers, judges = scores.shape
    right: Numbers = said.sum(axis=1) / np.maximum(given.sum(axis=1), 1)
    share = np.ones(judges)
    for _ in range(ROUNDS):
        approves_right = _rate(right, said, given, FAIR)
        approves_wrong = _rate(1 - right, said, given, 1 - FAIR)
        share = _shares(said - right[:, None] * approves_right - (1 - right)[:, None] * approves_wrong, given)
        base = (right.sum() + 1) / (answers + 2)
        told = said * np.log(approves_right / approves_wrong)
        told += (1 - said) * np.log((1 - approves_right) / (1 - approves_wrong))
        odds = np.log(base / (1 - base)) + (given * share * told).sum(axis=1)
        right = (1 + np.tanh(odds / 2)) / 2
    logits = np.log(approves_right / (1 - approves_right)) - np.log(approves_wrong / (1 - approves_wrong))
    weights: Numbers = share * np.maximum(0.0, logits)
    return weights / weights.mean() if weights.any() else np.ones(judges)


def _rate(of: Numbers, said: Numbers, given: NDArray[np.bool_], prior: float) -> Numbers:
    """How often each judge approves answers that are of a kind with the probability `of`."""
    rates: Numbers = ((of[:, None] * said).sum(axis=0) + PRIOR * prior) / ((of[:, None] * given).sum(axis=0) + PRIOR)
    return rates


def _shares(errors: Numbers, given: NDArray[np.bool_]) -> Numbers:
    """What each judge counts for, in (0, 1]: 1 over the sum of its errors' positive correlations with all judges."""
    errors = np.where(given, errors, 0.0)
    products = errors.T @ errors
    lengths = np.sqrt(np.maximum(np.diag(products), 1e-12))
    trusted = len(errors) / (len(errors) + PRIOR)
    correlations = trusted * np.maximum(products / np.outer(lengths, lengths), 0.0)
    np.fill_diagonal(correlations, 1.0)
    shares: Numbers = 1 / correlations.sum(axis=0)
    return shares
