"""Final answers: one rule for what the search compares, what the scorer judges and what the report calls right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inspect_ai._util.registry import registry_info, registry_params
from inspect_ai.scorer._score import _scorers

from metascale.answers import Kind, extract
from metascale.errors import MetaScaleError

SCORER = "final_answer"
"""The name of the scorer that reads final answers."""
RECORD_SCORER = "recorded_answer"
"""The name of the scorer that asks a record, and reads the final answers of texts that the record does not hold."""
MOST_CHOICES = 26


class GoldError(MetaScaleError):
    """A gold answer cannot be read, so no answer to its question could be right."""


@dataclass(frozen=True)
class FinalAnswers:
    """How the final answers to a question are read.

    Attributes:
        kind: what they are.
        choices: how many options there are, 1 to 26.
    """

    kind: Kind = "auto"
    choices: int = 10

    def of(self, text: str) -> str | None:
        """The final answer of a text in canonical form, or None."""
        return extract(text, self.kind, choices=self.choices)

    def golds(self, target: str | Sequence[str], question: object) -> frozenset[str]:
        """The right answers to a question in canonical form.

        Args:
            target: the gold answer, or several that are all right.
            question: the question's id.

        Raises:
            GoldError: one cannot be read, or there is none.
        """
        given = [target] if isinstance(target, str) else list(target)
        read = [self.of(gold) for gold in given]
        unread = [gold for gold, canonical in zip(given, read, strict=True) if canonical is None]
        if unread or not given:
            kind = "final answer" if self.kind == "auto" else self.kind
            what = f"{unread[0]!r} is no {kind} that can be read" if unread else "there is none"
            raise GoldError(f"the gold answer of question {str(question)!r}: {what}")
        return frozenset(gold for gold in read if gold is not None)

    def is_right(self, text: str, golds: frozenset[str]) -> bool:
        """Whether the final answer of a text is right; a text without one is wrong."""
        return self.of(text) in golds


def final_answers(kind: Kind, options: Sequence[object] | None, metadata: Mapping[str, Any]) -> FinalAnswers:
    """How the final answers to a sample are read.

    Args:
        kind: what they are.
        options: the sample's `choices`, or None.
        metadata: the sample's; where it has no `choices`, the number in `choices` here is that of the options.
    """
    stated = metadata.get("choices")
    count = len(options or ()) or (stated if isinstance(stated, int) else 0) or FinalAnswers.choices
    return FinalAnswers(kind, max(1, min(count, MOST_CHOICES)))


def wanted_kind() -> Kind | None:
    """The kind of final answer that the scorer of the running task reads; None if it is another scorer."""
    for one in _scorers.get([]):
        if registry_info(one).name.rpartition("/")[2] == SCORER:
            kind: Kind = registry_params(one).get("kind", "auto")
            return kind
    return None
