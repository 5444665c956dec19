"""The conditions of an evaluation: who answered, and what else holds for every method of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inspect_ai.log import EvalLog
from inspect_ai.model import ModelConfig

from metascale.evals.harness.solvers import RECORD
from metascale.evals.report.labels import as_texts
from metascale.models.simulated import OVERCONFIDENCE

_OWN = "metascale/"
"""The prefix of metascale's own tasks."""
_QUESTIONS = frozenset({"path", "hub", "subset", "seed"})
"""Arguments of metascale's tasks that only choose the questions, which have ids of their own."""
_TRAFFIC = frozenset(
    {
        "max_retries",
        "timeout",
        "attempt_timeout",
        "stream_idle_timeout",
        "max_connections",
        "adaptive_connections",
        "logprobs",
        "top_logprobs",
        "prompt_logprobs",
        "cache_prompt",
        "cache",
        "batch",
        "extra_headers",
    }
)
"""Inspect's generation options that do not change answers, or hold secrets."""
_LIMITS = ("message_limit", "token_limit", "turn_limit", "time_limit", "working_limit", "cost_limit")
"""Inspect's limits of a sample. A run that reaches one ends with its best answer so far."""


def task_of(log: EvalLog) -> str:
    """The task's name: short for metascale's own, with its package for those of others."""
    return log.eval.task.removeprefix(_OWN)


def model_of(log: EvalLog, arguments: Mapping[str, Any]) -> str:
    """The model that answers: the solver's, or else the evaluation's."""
    return str(arguments.get("model") or log.eval.model)


def conditions_of(log: EvalLog, arguments: Mapping[str, Any]) -> dict[str, str]:
    """What changes answers or scores, other than a method's settings, and is not the default, as text.

    These are the generation options and the arguments of the model, the limits of a sample, the models in roles, and
    the task's arguments except those that choose its questions. An argument `path` is shown with its last folder alone.

    Args:
        log: of an evaluation.
        arguments: of its solver.
    """
    spec = log.eval
    found: dict[str, Any] = {}
    if model_of(log, arguments) == spec.model:
        found |= spec.model_args | spec.model_generate_config.model_dump(mode="json", exclude_none=True)
    found |= log.plan.config.model_dump(mode="json", exclude_none=True)
    found = {name: value for name, value in found.items() if name not in _TRAFFIC}
    found |= {name: getattr(spec.config, name, None) for name in _LIMITS}
    found |= {role: models if len(models) > 1 else models[0] for role, models in _roles(log).items()}
    is_own = log.eval.task.startswith(_OWN)
    found |= {name: value for name, value in spec.task_args_passed.items() if not (is_own and name in _QUESTIONS)}
    if "path" in found:
        found["path"] = "/".join(Path(str(found["path"])).parts[-2:])
    return as_texts({name: value for name, value in found.items() if value is not None})


def is_simulation(log: EvalLog, arguments: Mapping[str, Any]) -> bool:
    """Whether the offline model answered, judged, or took part in the scores.

    Args:
        log: of an evaluation, with its samples.
        arguments: of its solver.
    """
    panel = (arguments.get("settings") or {}).get("panel") or []
    samples = log.samples or []
    named = [
        model_of(log, arguments),
        arguments.get("judge_model"),
        *(name for models in _roles(log).values() for name in models),
        *(log.eval.task_args.get(name) for name in ("judge_model", "baseline_model")),
        *(member.get("model") for member in panel if isinstance(member, Mapping)),
        *(name for sample in samples for name in sample.model_usage),
    ]
    return any(map(_is_offline_model, named)) or any(
        sample.store.get(RECORD, {}).get("simulated") for sample in samples
    )


def _roles(log: EvalLog) -> dict[str, list[str]]:
    roles = log.eval.model_roles or {}
    each = {role: [one] if isinstance(one, ModelConfig) else one for role, one in roles.items()}
    return {role: [one.model for one in models] for role, models in each.items() if models}


def _is_offline_model(name: object) -> bool:
    return isinstance(name, str) and not OVERCONFIDENCE.keys().isdisjoint(name.replace(":", "/").split("/"))
