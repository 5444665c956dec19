"""Labels of methods: every setting that changes a method's answers, and no other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import ValidationError

from metascale.choice.automatic import decided_beforehand
from metascale.errors import MetaScaleError
from metascale.evals.harness.local_models import known_as
from metascale.graphs import METHODS
from metascale.redaction import redacted
from metascale.settings import KEEPS_ANSWERS, LimitSettings, MetaScaleSettings, ScoringSettings, SearchSettings

LONGEST_VALUE = 60
"""Characters of a value in a label. A longer one is cut and marked by its hash."""

_SAMPLING = frozenset({"temperature", "max_tokens", "batch_size", "end_early"})
"""Settings of the search that concern methods without a search, too."""
_RATING = frozenset({"rated_methods", "methods_dir"})
_VOTING = frozenset({"answer_kind", "weigh_votes", "synthesize"})
"""Settings of scores that concern self-consistency, too: the budget keeps a sample back for a synthesis."""
_CUTTING = frozenset({"max_question_chars", "max_seconds"})
"""Limits that concern methods with one sample, too."""
_UNSET_DIFFERS = frozenset({"answer_kind", "target_reward"})
"""Settings whose default, where it is set, is not the same as nothing."""
_APART = frozenset({"budget", "seed"})
"""Settings that records hold beside the label."""


def concerns(setting: str, method: str) -> bool:
    """Whether a setting can change the answers of a method.

    Settings of the traffic concern no method, all others METASCALE. A method without a pool has no search, only
    samples; one without a reward has no scores; one with a single sample has no rounds and nothing to compare; and one
    that spends its whole budget does not stop on agreement.

    Args:
        setting: its name, or `judge_model`; unknown ones can change anything.
        method: its name, without settings; unknown ones can be changed by anything.
    """
    known = METHODS.get(method)
    unconcerned = set(KEEPS_ANSWERS)
    if known is not None and method != "metascale":
        unconcerned |= SearchSettings.model_fields.keys() - _SAMPLING - (_RATING if method == "mrp" else frozenset())
        if not known.judged:
            unconcerned |= (ScoringSettings.model_fields.keys() - _VOTING) | {"judge_model"}
        if known.whole_budget:
            unconcerned.add("stop_on_agreement")
        if known.one_pass:
            unconcerned |= _VOTING | {"batch_size", "end_early"} | (LimitSettings.model_fields.keys() - _CUTTING)
    return setting not in unconcerned


def changes_of(method: str, arguments: Mapping[str, Any]) -> dict[str, str]:
    """The arguments of a method that change its answers and are not the default, as text.

    A preset gives the same as the settings that it stands for.

    Args:
        method: its name.
        arguments: of its solver.
    """
    settings = arguments.get("settings") or {}
    given = {name: arguments[name] for name in ("batch_size", "policy") if arguments.get(name) is not None} | settings
    try:
        known = MetaScaleSettings.model_validate(given)
        if method == "metascale":
            known = decided_beforehand(known, may_vote=True)
        chosen = known.model_dump(mode="json", exclude_unset=True)
    except (MetaScaleError, ValidationError):  # settings of another version
        chosen = given
    default = MetaScaleSettings().model_dump(mode="json")
    changed = {
        name: value
        for name, value in chosen.items()
        if name not in default or value != default[name] or (name in _UNSET_DIFFERS and name in settings)
    }
    judge = arguments.get("judge_model")
    if judge is not None and judge != arguments.get("model"):
        changed["judge_model"] = known_as(judge)
    if arguments.get("other_models"):
        changed["other_models"] = "+".join(map(known_as, arguments["other_models"]))
    if arguments.get("multiple_correct"):
        changed["multiple_correct"] = True
    return as_texts({name: value for name, value in changed.items() if name not in _APART and concerns(name, method)})


def budget_of(method: str, arguments: Mapping[str, Any]) -> int:
    """The sampling budget of a method; 1 if it draws one sample whatever the budget."""
    given = {**arguments, **(arguments.get("settings") or {})}
    return 1 if METHODS[method].one_pass else int(given.get("budget", MetaScaleSettings().budget))


def seed_of(arguments: Mapping[str, Any]) -> int | None:
    """The seed of an evaluation, or None."""
    seed = {**arguments, **(arguments.get("settings") or {})}.get("seed")
    return None if seed is None else int(seed)


def full_budget_of(method: str, arguments: Mapping[str, Any]) -> str | None:
    """The label of the same method without foresight; None if it has no foresight."""
    changes = changes_of(method, arguments)
    if changes.get("foresee") != "True":
        return None
    return method_label(
        method, {name: text for name, text in changes.items() if name not in {"foresee", "predictions"}}
    )


def labelled(name: str, changes: Mapping[str, str]) -> str:
    """A name with what sets it apart, such as `metascale (evolution=off)`."""
    return f"{name} ({', '.join(f'{key}={text}' for key, text in changes.items())})" if changes else name


def method_label(method: str, changes: Mapping[str, str]) -> str:
    """A method with its changes; those of METASCALE beside the preset `paper` where that names fewer settings."""
    if method != "metascale":
        return labelled(method, changes)
    preset = _changes_of_preset()
    default = as_texts(MetaScaleSettings().model_dump(mode="json"))
    differing = {name for name in {*preset, *changes} if changes.get(name) != preset.get(name)}
    apart = {name: changes.get(name, default.get(name, "")) for name in sorted(differing)}
    return labelled(method, {"preset": "paper"} | apart if len(apart) + 1 < len(changes) else changes)


@cache
def _changes_of_preset() -> dict[str, str]:
    return changes_of("metascale", {"settings": MetaScaleSettings.paper().model_dump(mode="json", exclude_unset=True)})


def as_texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Values as a label shows them, by name, without secrets."""
    return {name: _text(value) for name, value in sorted(values.items())}


def _text(value: object) -> str:
    is_nested = isinstance(value, dict | list | tuple)
    text = redacted(json.dumps(value, sort_keys=True, default=str) if is_nested else str(value))
    if len(text) <= LONGEST_VALUE:
        return text
    return f"{text[:LONGEST_VALUE]}… #{hashlib.sha256(text.encode()).hexdigest()[:8]}"
