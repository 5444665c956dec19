"""Recorded samples of a real model with what tells right ones from wrong ones: token probabilities, verdicts.

A file has one JSON object a line:

- `question_id`, `arm`, `gold`, and `text` (the answer; its final answer is extracted) or `answer` (the final answer,
  null if none is marked);
- `origin`, `self_composed` if the model composed the meta-thought for this question;
- `logprobs`, the log-probability of each token in nats, and `pieces`, as many tokens; or their summary `certainty`,
  with the keys of `metascale.records.Certainty`;
- `yes`, the probability of "Yes" when the model is asked whether its answer is right; `digit`, the expected digit from
  0 to 9 when asked the same; `verdicts`, a judge's scores from 1 to 10, the first of which is the signal;
- `tokens`, how many were written for the answer, and `verdict_tokens`, for its verdicts together.

All but the first line are optional.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Self, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from metascale.answers import Kind, extract, read_number
from metascale.choice.votes import sureness
from metascale.data import read_models, read_rows
from metascale.errors import MetaScaleError
from metascale.models.probabilities import certainty_of
from metascale.models.recorded import RecordedSample
from metascale.records import Certainty

Numbers = NDArray[np.float64]
Indices = NDArray[np.int64]
CERTAINTY = "certainty (numbers and tail)"
"""The signal that votes are weighed by."""
OF_CERTAINTY = {"mean": "mean of all tokens", "lowest": "lowest window", "tail": "tail", "numbers": "numbers"}
P_TRUE, DIGIT, VERDICT = "P(True)", "digit from 0 to 9", "verdict"
ASKED = (P_TRUE, DIGIT, VERDICT)
"""Signals that cost a request each; certainty comes with the sample."""
_NEVER_CERTAIN = 1e-4
"""Least and greatest probability: the recordings have four decimals."""


Answer = str | bool
"""A final answer in a file, of which numbers are made texts."""
Place = tuple[str, str, int]
"""A sample's question, arm and number."""
Mark = Annotated[float, Field(ge=1, le=10)]
"""A judge's score."""


class RecordingsError(MetaScaleError, ValueError):
    """There is nothing to measure in recorded samples, or a name is not recorded."""


class _Placed(BaseModel):
    """What tells one sample from another."""

    model_config = ConfigDict(coerce_numbers_to_str=True, allow_inf_nan=False)

    question_id: str
    arm: str
    sample: int | None = None

    @property
    def place(self) -> Place:
        return self.question_id, self.arm, self.sample or 0


class _Sample(_Placed, RecordedSample):
    """A line of a file."""

    gold: Answer
    text: str | None = None
    answer: Answer | None = None
    origin: str | None = None
    certainty: Certainty | None = None
    digit: float | None = Field(None, ge=0, le=9)
    verdicts: list[Mark] | None = None
    verdict_tokens: float = Field(0, ge=0)

    @model_validator(mode="after")
    def _has_an_answer(self) -> Self:
        if self.text is None and "answer" not in self.model_fields_set:
            raise ValueError("neither 'text' nor 'answer' is given")
        return self

    def final(self, kind: Kind) -> str | None:
        """The final answer in canonical form; None if none is marked."""
        if "answer" not in self.model_fields_set:
            return extract(self.text or "", kind)
        return None if self.answer is None else _canonical(self.answer, kind)


class _Verdict(_Placed):
    """A line of a file of verdicts."""

    score: Mark | None
    repeat: int = 0
    tokens: float = Field(0, ge=0)


@dataclass(frozen=True)
class Recordings:
    """Recorded samples, n of them.

    Attributes:
        file: the file's name.
        questions: ids of the questions.
        arms: names of the arms.
        question: each sample's question, an index, shape (n,).
        arm: its arm, an index, shape (n,).
        composed: whether its meta-thought was composed for its question, so that the arm's name means something else
            in other questions, shape (n,).
        answer: its final answer, a number that equal answers to one question share, shape (n,); -1 if none is marked.
        right: whether the answer is right, shape (n,).
        tokens: tokens written for it, shape (n,); NaN where unknown.
        signals: by name, higher for better answers, shape (n,); NaN where it is not recorded.
        verdicts: a judge's scores from 1 to 10, in the order in which it was asked, shape (n, k) for at most k of them;
            NaN where there are fewer.
        signal_tokens: tokens written for one value of a signal, on average; 0 where none were.
    """

    file: str
    questions: Sequence[str]
    arms: Sequence[str]
    question: Indices
    arm: Indices
    composed: NDArray[np.bool_]
    answer: Indices
    right: NDArray[np.bool_]
    tokens: Numbers
    signals: Mapping[str, Numbers]
    verdicts: Numbers
    signal_tokens: Mapping[str, float]

    @property
    def notes(self) -> list[str]:
        """What is missing that would tell more, in words."""
        if CERTAINTY in self.signals and OF_CERTAINTY["numbers"] not in self.signals:
            return [
                "log-probabilities are recorded without the tokens (`pieces`), so the certainty of numbers is unknown"
            ]
        return []


def read_recordings(path: Path, verdicts: Path | None = None) -> Recordings:
    """Read a file of recorded samples.

    Args:
        path: the file.
        verdicts: a judge's verdicts in a file of their own: rows with `question_id`, `arm`, `sample`, `score` and
            `tokens`.

    Raises:
        ModelSetupError: a file cannot be read, or a row has another form; the message names the line.
    """
    return _recordings(path.name, read_models(path, _Sample), _verdicts(verdicts) if verdicts else {})


def only_arms(recordings: Recordings, arms: Sequence[str]) -> Recordings:
    """The samples of some arms; of all arms if none is named.

    Raises:
        RecordingsError: one of them is not recorded.
    """
    unknown = next((name for name in arms if name not in recordings.arms), None)
    if unknown is not None:
        raise RecordingsError(f"no arm {unknown!r} in {recordings.file}; recorded: {', '.join(recordings.arms)}")
    if not arms:
        return recordings
    kept = np.isin(recordings.arm, [recordings.arms.index(name) for name in arms])
    return replace(
        recordings,
        question=recordings.question[kept],
        arm=recordings.arm[kept],
        composed=recordings.composed[kept],
        answer=recordings.answer[kept],
        right=recordings.right[kept],
        tokens=recordings.tokens[kept],
        signals={name: values[kept] for name, values in recordings.signals.items()},
        verdicts=recordings.verdicts[kept],
    )


def is_recordings(path: Path) -> bool:
    """Whether a file holds recorded samples rather than only which of them were right.

    Raises:
        ModelSetupError: it cannot be read.
    """
    return "arm" in read_rows(path, ("question_id",))[0]


def _recordings(
    name: str, rows: Sequence[_Sample], verdicts: Mapping[Place, Sequence[tuple[float, float]]]
) -> Recordings:
    kind = _kind([row.gold for row in rows])
    questions = list(dict.fromkeys(row.question_id for row in rows))
    arms = list(dict.fromkeys(row.arm for row in rows))
    finals = [row.final(kind) for row in rows]
    codes: dict[tuple[str, str], int] = {}
    numbers: defaultdict[str, int] = defaultdict(int)
    for row, final in zip(rows, finals, strict=True):
        if final is not None and (key := (row.question_id, final)) not in codes:
            codes[key] = numbers[row.question_id]
            numbers[row.question_id] += 1
    found = [_found(row, verdicts.get(row.place, ())) for row in rows]
    signals = {name: np.array([one.get(name, math.nan) for one in found]) for name in _names(found)}
    return Recordings(
        file=name,
        questions=questions,
        arms=arms,
        question=np.array([questions.index(row.question_id) for row in rows]),
        arm=np.array([arms.index(row.arm) for row in rows]),
        composed=np.array([row.origin == "self_composed" for row in rows]),
        answer=np.array(
            [-1 if final is None else codes[row.question_id, final] for row, final in zip(rows, finals, strict=True)]
        ),
        right=np.array(
            [final is not None and final == _canonical(row.gold, kind) for row, final in zip(rows, finals, strict=True)]
        ),
        tokens=np.array([math.nan if row.tokens is None else row.tokens for row in rows]),
        signals=signals,
        verdicts=_padded([_scores(row, verdicts.get(row.place, ())) for row in rows]),
        signal_tokens={P_TRUE: 1.0, DIGIT: 1.0, VERDICT: _mean([one["tokens"] for one in found if "tokens" in one])},
    )


def _canonical(answer: Answer, kind: Kind) -> str:
    """A final answer in canonical form; as it is where it has none."""
    return extract(str(answer), kind) or str(answer).strip()


def _found(row: _Sample, others: Sequence[tuple[float, float]]) -> dict[str, float]:
    """The signals of one sample by name, and under `tokens` what one verdict cost."""
    found: dict[str, float] = {}
    certainty = row.certainty
    if certainty is None and row.logprobs is not None:
        certainty = certainty_of([min(0.0, value) for value in row.logprobs], row.pieces or ())
    if certainty is not None:
        found |= {name: cast("dict[str, float]", certainty)[key] for key, name in OF_CERTAINTY.items()}
        found[CERTAINTY] = sureness(certainty)
    if row.yes is not None:
        found[P_TRUE] = _log_odds(row.yes)
    if row.digit is not None:
        found[DIGIT] = _log_odds(row.digit / 9)
    scores = _scores(row, others)
    if scores:
        found[VERDICT] = _log_odds((scores[0] - 0.5) / 10)
        found["tokens"] = (row.verdict_tokens + sum(tokens for _, tokens in others)) / len(scores)
    return found


def _scores(row: _Sample, others: Sequence[tuple[float, float]]) -> list[float]:
    return [*(row.verdicts or ()), *(score for score, _ in others)]


def _padded(lists: Sequence[Sequence[float]]) -> Numbers:
    """Lists as the rows of an array, filled up with NaN."""
    width = max(map(len, lists), default=0)
    return np.array([[*one, *[math.nan] * (width - len(one))] for one in lists])


def verdict_reward(signal: float) -> float:
    """The reward in [0, 1] that a judge gives with the verdict behind a value of the signal `VERDICT`."""
    return (10 / (1 + math.exp(-signal)) + 0.5 - 1) / 9


def _names(found: Sequence[Mapping[str, float]]) -> list[str]:
    """The recorded signals. Numbers are none where no token is known to hold one."""
    names = [*OF_CERTAINTY.values(), CERTAINTY, P_TRUE, DIGIT, VERDICT]
    mean, numbers = OF_CERTAINTY["mean"], OF_CERTAINTY["numbers"]
    if all(math.isclose(one[mean], one[numbers]) for one in found if mean in one):
        names.remove(numbers)
    return [name for name in names if any(name in one for one in found)]


def _verdicts(path: Path) -> dict[Place, list[tuple[float, float]]]:
    found: defaultdict[Place, list[tuple[float, float]]] = defaultdict(list)
    for row in sorted(read_models(path, _Verdict), key=lambda row: row.repeat):
        if row.score is not None:
            found[row.place].append((row.score, row.tokens))
    return found


def _kind(golds: Sequence[Answer]) -> Kind:
    if all(read_number(str(gold), alone=True) is not None for gold in golds):
        return "number"
    return "choice" if all(len(str(gold)) == 1 for gold in golds) else "auto"


def _log_odds(probability: float) -> float:
    clipped = min(1 - _NEVER_CERTAIN, max(_NEVER_CERTAIN, probability))
    return math.log(clipped / (1 - clipped))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
