"""The pool of meta-thoughts: which drafts may enter it, and the statistics of its arms."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, zip_longest
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from metascale import prompts
from metascale.bandits import Arm, Prior
from metascale.pool.arms import FIXED_ARMS
from metascale.pool.beliefs import Kept
from metascale.records import Candidate, MetaThought, OperatorName, Origin

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4_000)]

MINDSET_CHARS, STRATEGY_CHARS = 400, 1_200
"""Characters to which a grammar limits the parts of a meta-thought, about twice what is asked for; longer ones are read
nevertheless. Not tuned."""


class Remark(NamedTuple):
    """A critique of an answer.

    Attributes:
        critique: its text. Untrusted.
        reward: the answer's reward in [0, 1]; None where it has none.
    """

    critique: str
    reward: float | None


@dataclass(frozen=True)
class PoolArm(Arm):
    """An arm of the pool, with what evolution needs to know about it.

    Attributes:
        remarks: critiques of its answers, in the order of the answers.
        parents: indices of its parents in the pool.
        operator: that bred it; None for arms of the first pool.
        is_fixed: whether it is prescribed, so that it never retires.
        breeds: whether it may be a parent. Arms that refine or synthesise answers may not.
        is_blank: whether it has neither a mindset nor a strategy, so that no child can inherit anything.
        retired: whether it is never pulled again.
    """

    remarks: tuple[Remark, ...] = ()
    parents: tuple[int, ...] = ()
    operator: OperatorName | None = None
    is_fixed: bool = False
    breeds: bool = True
    is_blank: bool = False
    retired: bool = False


class Draft(BaseModel):
    """A meta-thought as the model writes it."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": False})

    mindset: Text = Field(
        description="Who thinks: perspective, expertise, role. One or two sentences.",
        examples=["You are a cartographer who draws before deciding.", "You are an auditor who trusts no sum."],
        json_schema_extra={"maxLength": MINDSET_CHARS},
    )
    strategy: Text = Field(
        description="How the solution is formed under that mindset. Two to five sentences.",
        examples=[
            "Sketch what is given and what is asked. Fill the gaps one by one, then read the answer off the sketch.",
            "Compute everything twice, in two ways. Where the results differ, find the step that failed.",
        ],
        json_schema_extra={"maxLength": STRATEGY_CHARS},
    )


class Drafts(BaseModel):
    """Several meta-thoughts as the model writes them."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": False})

    meta_thoughts: list[Draft] = Field(description="The meta-thoughts, each different from the others.")


def builtin_drafts() -> list[tuple[Draft, Origin]]:
    """The meta-thoughts that ship with the package, without the fixed arms."""
    return [
        (Draft(mindset=mindset, strategy=strategy), "builtin")
        for name, (mindset, strategy) in prompts.BUILT_IN_META_THOUGHTS.items()
        if name not in FIXED_ARMS
    ]


@lru_cache(maxsize=1_024)
def trigrams(text: str) -> frozenset[str]:
    """The character trigrams of a text, case and white space folded."""
    folded = " ".join(text.casefold().split())
    return frozenset(folded[i : i + 3] for i in range(max(1, len(folded) - 2))) if folded else frozenset()


def similarity(one: str, other: str) -> float:
    """Jaccard similarity of two texts' character trigrams, in [0, 1]; 1 for two empty texts.

    It needs no tokenizer and no model, and works for any language.
    """
    a, b = trigrams(one), trigrams(other)
    return len(a & b) / len(a | b) if a or b else 1.0


def admit(
    pool: Sequence[MetaThought],
    drafts: Iterable[tuple[Draft | Kept, Origin]],
    *,
    at_most: int,
    threshold: float,
    parents: Sequence[MetaThought] = (),
    operator: OperatorName | None = None,
) -> list[MetaThought]:
    """The drafts that may enter the pool, as meta-thoughts with ids, in their order.

    Args:
        pool: the current meta-thoughts, including retired ones.
        drafts: candidates for the pool, with their origins.
        at_most: the most drafts to admit.
        threshold: similarity in (0, 1] from which a draft counts as a near-duplicate of a meta-thought in the pool or
            of an admitted draft, and is dropped. In the first pool the strategies alone are compared too, because
            small models write one strategy under several names.
        parents: of the drafts.
        operator: that bred the drafts; None for the first pool.
    """
    known = [(thought["mindset"], thought["strategy"]) for thought in pool]
    born = max(sum(thought["origin"] != "fixed" for thought in pool), highest_number(pool))
    admitted: list[MetaThought] = []
    for draft, origin in drafts:
        if len(admitted) == at_most:
            break
        new = (draft.mindset, draft.strategy)
        if any(_are_alike(new, old, threshold, strategies_alone=operator is None) for old in known):
            continue
        known.append(new)
        thought: MetaThought = {
            "id": f"m{born + len(admitted) + 1}",
            "mindset": draft.mindset,
            "strategy": draft.strategy,
            "origin": origin,
            "parents": [parent["id"] for parent in parents],
            "generation": max((parent["generation"] + 1 for parent in parents), default=int(operator is not None)),
        }
        if operator is not None:
            thought["operator"] = operator
        admitted.append(thought)
    return admitted


def _are_alike(one: tuple[str, str], other: tuple[str, str], threshold: float, *, strategies_alone: bool) -> bool:
    """Whether two pairs of mindset and strategy are near-duplicates."""
    if strategies_alone and one[1] and other[1] and similarity(one[1], other[1]) >= threshold:
        return True
    return similarity("\n".join(one), "\n".join(other)) >= threshold


def highest_number(pool: Sequence[MetaThought]) -> int:
    """The highest k among the ids `mk` of the pool; 0 where there is none."""
    return max((int(t["id"][1:]) for t in pool if re.fullmatch(r"m\d+", t["id"])), default=0)


def interleave(*sources: Sequence[tuple[Draft, Origin]]) -> list[tuple[Draft, Origin]]:
    """One draft of each source in turn until all are used, so that each source gets its share of a small pool."""
    return [draft for draft in chain.from_iterable(zip_longest(*sources)) if draft is not None]


def arm_statistics(pool: Sequence[MetaThought], candidates: Sequence[Candidate]) -> list[PoolArm]:
    """The statistics of each meta-thought so far, in the pool's order."""
    place = {thought["id"]: index for index, thought in enumerate(pool)}
    pulls = [0] * len(pool)
    rewards: list[list[float]] = [[] for _ in pool]
    remarks: list[list[Remark]] = [[] for _ in pool]
    for candidate in candidates:
        index = place[candidate["meta_thought"]]
        pulls[index] += 1
        if candidate["reward"] is not None:
            rewards[index].append(candidate["reward"])
        if candidate["critique"]:
            remarks[index].append(Remark(candidate["critique"], candidate["reward"]))
    return [
        PoolArm(
            pulls=pulls[index],
            rewards=tuple(rewards[index]),
            prior=Prior(**thought["prior"]) if "prior" in thought else None,
            remarks=tuple(remarks[index]),
            parents=tuple(place[parent] for parent in thought["parents"] if parent in place),
            operator=thought.get("operator"),
            is_fixed=thought["origin"] in {"fixed", "refinement"},
            breeds=thought["origin"] not in {"refinement", "synthesis"},
            is_blank=not (thought["mindset"] or thought["strategy"]),
            retired=thought.get("retired", False),
        )
        for index, thought in enumerate(pool)
    ]
