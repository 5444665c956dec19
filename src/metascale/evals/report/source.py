"""What an Inspect log says of how its answers were made, and the texts of its samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inspect_ai.log import EvalLog, EvalSample
from inspect_ai.model import ChatMessageUser

from metascale.evals.harness.choices import option_names
from metascale.evals.harness.solvers import RECORD
from metascale.evals.report.records import Plain, Source
from metascale.redaction import redacted


def source_of(log: EvalLog, arguments: Mapping[str, Any]) -> Source:
    """How the answers of a log were made, by a method with these arguments. Passwords in addresses are hidden."""
    spec, told = log.eval, [sample.completed_at for sample in log.samples or [] if sample.completed_at]
    return Source(
        packages=_packages(log),
        started=log.stats.started_at or spec.created,
        completed=log.stats.completed_at or max(told, default=""),
        epochs=spec.config.epochs or 1,
        arguments=_plain({**arguments, "settings": None} | (arguments.get("settings") or {})),
        task_args=_plain(spec.task_args),
        model_args=_plain(spec.model_args),
        generation=_plain(spec.model_generate_config.model_dump(mode="json")),
        base_url=redacted(spec.model_base_url) if spec.model_base_url else None,
    )


def _packages(log: EvalLog) -> dict[str, str]:
    """The versions of packages, metascale's among them also where the task is another package's."""
    written = {sample.store.get(RECORD, {}).get("version") for sample in log.samples or []} - {None}
    own = {"metascale": " and ".join(sorted(written))} if written else {}
    return dict(sorted({**log.eval.packages, **own}.items()))


def question_of(sample: EvalSample) -> str:
    """The question of a sample as text: what the user says, and the options."""
    if isinstance(sample.input, str):
        said = [sample.input]
    else:
        said = [message.text for message in sample.input if isinstance(message, ChatMessageUser)]
    choices = sample.choices or []
    options = "\n".join(f"{name}) {choice}" for name, choice in zip(option_names(len(choices)), choices, strict=True))
    return "\n\n".join(text for text in (*said, options) if text)


def gold_of(sample: EvalSample) -> str:
    """The expected answer of a sample; empty without one."""
    return sample.target if isinstance(sample.target, str) else ", ".join(sample.target)


def _plain(values: Mapping[str, Any]) -> dict[str, Plain]:
    return {
        name: value if isinstance(value, bool | int | float) else redacted(str(value))
        for name, value in values.items()
        if value is not None
    }
