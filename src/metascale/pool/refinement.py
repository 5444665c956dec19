"""Which answer is refined next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from metascale.pool.parts import ArmKey
from metascale.records import Candidate, MetaThought, Pull, Refined

REFINEMENT = "refinement"
"""Id of the arm whose pulls refine an answer instead of drawing a new one (AB-MCTS's "deeper", arXiv 2503.04412;
Self-Refine, arXiv 2303.17651)."""
LEADERS = 3
"""How many of the answers with the highest rewards are refined in turn: a single leader may owe its place to luck."""


def to_refine(candidates: Sequence[Candidate], count: int) -> list[int]:
    """The answers to refine next: among the `LEADERS` the least refined first, then the best.

    Args:
        candidates: the samples so far. Only whole, scored answers are refined; they may be refinements themselves.
        count: the number of refinements.

    Returns:
        Ids of candidates, `count` of them, repeated where there are too few; none where nothing can be refined.
    """
    if count == 0:
        return []
    answers = sorted(
        (c for c in candidates if c["status"] == "ok" and c["reward"] is not None),
        key=lambda c: (-(c["reward"] or 0.0), c.get("shared", False), c["id"]),
    )
    rank = {c["id"]: place for place, c in enumerate(answers[:LEADERS])}
    refined = Counter(c["refines"] for c in candidates)
    chosen: list[int] = []
    while rank and len(chosen) < count:
        number = min(rank, key=lambda known: (refined[known], rank[known]))
        refined[number] += 1
        chosen.append(number)
    return chosen


def pulls_of(arms: Sequence[ArmKey], candidates: Sequence[Candidate]) -> list[Pull]:
    """The pulls of a round, numbered after the samples so far; each pull of `REFINEMENT` gets an answer to refine.

    Args:
        arms: the ids of the meta-thoughts to pull, each with its model, in order.
        candidates: the samples so far.
    """
    answers = iter(to_refine(candidates, sum(thought == REFINEMENT for thought, _ in arms)))
    return [
        {
            "id": number,
            "meta_thought": thought,
            "model": model,
            "refines": next(answers) if thought == REFINEMENT else None,
        }
        for number, (thought, model) in enumerate(arms, len(candidates))
    ]


def refined_answer(number: int, thoughts: Mapping[str, MetaThought], answers: Mapping[int, Candidate]) -> Refined:
    """The answer that a sample refines, with the meta-thought under which its first draft was written.

    Args:
        number: the answer's id.
        thoughts: the pool, by id.
        answers: the samples so far, by id.
    """
    answer = draft = answers[number]
    while draft["refines"] is not None:
        draft = answers[draft["refines"]]
    thought = thoughts[draft["meta_thought"]]
    return {"id": number, "meta_thought": thought, "text": answer["text"], "critique": answer["critique"]}
