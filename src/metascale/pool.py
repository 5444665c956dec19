"""The pool of meta-thoughts: what may enter it, and what its arms have earned."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from metascale.bandits import Arm
from metascale.state import Candidate, MetaThought, Origin

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4_000)]


class Draft(BaseModel):
    """A meta-thought as the model writes it."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": False})

    mindset: Text = Field(description="Who thinks: perspective, expertise, role. One or two sentences.")
    strategy: Text = Field(description="How the solution is formed under that mindset. Two to five sentences.")


class Drafts(BaseModel):
    """Several meta-thoughts as the model writes them."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": False})

    meta_thoughts: list[Draft] = Field(description="The meta-thoughts, each different from the others.")


def trigrams(text: str) -> set[str]:
    """The character trigrams of a text, case and white space folded."""
    folded = " ".join(text.casefold().split())
    return {folded[i : i + 3] for i in range(max(1, len(folded) - 2))} if folded else set()


def similarity(one: str, other: str) -> float:
    """Jaccard similarity of two texts' character trigrams, in [0, 1]; 1 for two empty texts.

    Ours: it needs no tokenizer, no language and no model.
    """
    a, b = trigrams(one), trigrams(other)
    return len(a & b) / len(a | b) if a or b else 1.0


def admit(
    pool: Sequence[MetaThought],
    drafts: Iterable[tuple[Draft, Origin]],
    *,
    at_most: int,
    threshold: float,
    parents: Sequence[MetaThought] = (),
) -> list[MetaThought]:
    """The drafts that may enter the pool, as meta-thoughts with ids, in their order.

    Args:
        pool: what is there already.
        drafts: what asks to enter, and where it comes from.
        at_most: how many may enter.
        threshold: similarity in (0, 1] from which a draft is a near-duplicate of one in the pool, or of one admitted
            before it, and is dropped.
        parents: what the drafts were bred from.
    """
    texts = [f"{thought['mindset']}\n{thought['strategy']}" for thought in pool]
    born = sum(thought["origin"] != "fixed" for thought in pool)
    admitted: list[MetaThought] = []
    for draft, origin in drafts:
        if len(admitted) == at_most:
            break
        text = f"{draft.mindset}\n{draft.strategy}"
        if any(similarity(text, known) >= threshold for known in texts):
            continue
        texts.append(text)
        admitted.append(
            {
                "id": f"m{born + len(admitted) + 1}",
                "mindset": draft.mindset,
                "strategy": draft.strategy,
                "origin": origin,
                "parents": [parent["id"] for parent in parents],
                "generation": max((parent["generation"] + 1 for parent in parents), default=0),
            }
        )
    return admitted


def interleave(*sources: Sequence[tuple[Draft, Origin]]) -> list[tuple[Draft, Origin]]:
    """One draft of each source in turn, until all are used: every source gets its share of a small pool."""
    return [draft for draft in chain.from_iterable(zip_longest(*sources)) if draft is not None]


def arm_statistics(pool: Sequence[MetaThought], candidates: Sequence[Candidate]) -> list[Arm]:
    """What each meta-thought of the pool has earned so far, in the pool's order."""
    pulls = {thought["id"]: 0 for thought in pool}
    rewards: dict[str, list[float]] = {thought["id"]: [] for thought in pool}
    for candidate in candidates:
        pulls[candidate["meta_thought"]] += 1
        if candidate["reward"] is not None:
            rewards[candidate["meta_thought"]].append(candidate["reward"])
    return [Arm(pulls[name], tuple(rewards[name])) for name in pulls]
