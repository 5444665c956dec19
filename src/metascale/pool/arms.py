"""Arms that the model does not compose: the fixed ones, and those that a setting adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from metascale import prompts
from metascale.pool.beliefs import key_of
from metascale.pool.methods import ReasoningMethod
from metascale.pool.refinement import REFINEMENT
from metascale.records import MetaThought, Origin, Rating

FIXED_ARMS = ("chain_of_thought", "no_strategy")
BUILT_IN_ARMS = (*FIXED_ARMS, *(name for name in prompts.BUILT_IN_META_THOUGHTS if name not in FIXED_ARMS))
"""Names of the meta-thoughts that ship with the package."""
SYNTHESIS = "synthesis"
"""Id of the meta-thought under which the synthesis is written."""


def fixed_arm(name: str) -> MetaThought:
    """One of `FIXED_ARMS`: plain chain of thought, or no strategy at all."""
    return built_in_arm(name)


def built_in_arm(name: str) -> MetaThought:
    """One of `BUILT_IN_ARMS`, under its own name."""
    mindset, strategy = prompts.BUILT_IN_META_THOUGHTS[name]
    return _arm(name, strategy, "fixed" if name in FIXED_ARMS else "builtin", mindset=mindset)


def method_arm(method: ReasoningMethod) -> MetaThought:
    """The meta-thought that applies a reasoning method."""
    return _arm(method.name, method.instructions, "method")


def hint_arm(notions: str) -> MetaThought:
    """The arm whose strategy lists the notions that the task is predicted to need."""
    return _arm("hint", prompts.render("foresee_hint", notions=notions), "foreseen")


def refinement_arm() -> MetaThought:
    """The arm whose pulls refine one of the best answers, under the meta-thought of that answer."""
    return _arm(REFINEMENT, prompts.load("refinement_strategy"), "refinement")


def best_methods(
    ratings: Sequence[Rating], methods: Mapping[str, ReasoningMethod], pool: Sequence[MetaThought], *, at_most: int
) -> list[MetaThought]:
    """The arms of the best-rated methods that the pool does not hold yet.

    Args:
        ratings: best first.
        methods: all rated methods, by name.
        pool: the arms so far.
        at_most: how many to return.
    """
    held = {key_of(thought["mindset"], thought["strategy"]) for thought in pool}
    arms = [method_arm(methods[rating["method"]]) for rating in ratings]
    return [arm for arm in arms if key_of(arm["mindset"], arm["strategy"]) not in held][:at_most]


def _arm(name: str, strategy: str, origin: Origin, *, mindset: str = "") -> MetaThought:
    return {
        "id": name,
        "mindset": mindset,
        "strategy": strategy,
        "origin": origin,
        "parents": [],
        "generation": 0,
    }
