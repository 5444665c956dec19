"""Majority vote over final answers (self-consistency, Wang et al. 2023)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from metascale.records import Candidate


def with_vote_shares(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The samples with the vote as their reward: the share of all answers that have the same final answer, in (0, 1].

    Failed samples are no answers. Samples without a marked final answer get no reward.
    """
    votes = Counter(c["extracted"] for c in candidates if c["extracted"] is not None)
    answers = sum(c["status"] != "failed" for c in candidates)
    return [{**c, "reward": votes[c["extracted"]] / answers} if c["extracted"] is not None else c for c in candidates]
