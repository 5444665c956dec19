"""The final choice: which sample is the answer."""

from __future__ import annotations

from collections.abc import Sequence

from metascale.state import Candidate, Rival

_FLAWS = {"ok": 0, "truncated": 1, "refused": 2}


def ranking(candidates: Sequence[Candidate]) -> list[Candidate]:
    """All samples that can be an answer, best first: by reward (paper, section 3: the highest-reward response).

    Samples without a reward come after all scored ones; among equals, whole answers come before truncated ones, those
    before refusals, and earlier samples before later ones. A failed or empty sample is never an answer.
    """
    return sorted(
        (candidate for candidate in candidates if candidate["status"] in _FLAWS and candidate["text"]),
        key=lambda c: (
            c["reward"] is None,
            -(c["reward"] or 0.0),
            _FLAWS[c["status"]],
            c["id"],
        ),
    )


def rivals(ranked: Sequence[Candidate], at_most: int = 3) -> list[Rival]:
    """The best sample of each meta-thought that did not win, best first.

    Args:
        ranked: the samples, best first, at least one.
        at_most: how many to name.
    """
    best: dict[str, Candidate] = {}
    for candidate in ranked:
        best.setdefault(candidate["meta_thought"], candidate)
    return [
        {"candidate": c["id"], "meta_thought": c["meta_thought"], "reward": c["reward"]}
        for c in list(best.values())[1 : at_most + 1]
    ]
