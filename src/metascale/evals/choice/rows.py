"""Files of recorded answers and verdicts, one question a line as a JSON object.

- `answers`: the final answers as strings, or the texts of free answers; null where none was marked.
- `gold`, the right answer; or `quality`, a number in [0, 1] for each answer.
- `verdicts`: for each answer a list of scores in [0, 1], null where a score was unreadable. It may be shorter than
  `answers`, or absent.
- `judges`: verdicts of several judges, by name or in order.
- `certainty`: a number for each answer, higher where the model was surer, or null.
- `arms`: the name of each answer's meta-thought.
- `question_id`.

All but the first two are optional. A file may be compressed by gzip.
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from metascale.answers import Kind, extract, read_number
from metascale.errors import MetaScaleError

Numbers = NDArray[np.float64]
UNANSWERED = frozenset({"", "[invalidanswer]"})
"""Strings that extractors of recorded files write where they found no answer."""
SELF = "verdicts"
"""The name of the judge whose scores are in `verdicts`."""


class ChoiceFileError(MetaScaleError, ValueError):
    """A file cannot be read, a row has another form, or there is nothing to measure."""


@dataclass(frozen=True)
class Question:
    """Recorded answers to one question, n of them.

    Attributes:
        name: its id.
        finals: the final answers, in canonical form; None where none was marked. Free texts are None.
        quality: of each answer in [0, 1], shape (n,); 1 or 0 where the right answer is known.
        verdicts: by judge, the readable scores of each answer.
        certainty: of each answer, shape (n,); NaN where unknown.
        arms: the meta-thought of each answer.
    """

    name: str
    finals: list[str | None]
    quality: Numbers
    verdicts: dict[str, list[list[float]]]
    certainty: Numbers
    arms: list[str]

    @property
    def is_comparable(self) -> bool:
        """Whether answers can be compared by their final answers."""
        return any(final is not None for final in self.finals)


def read_questions(path: Path) -> list[Question]:
    """Read a file.

    Raises:
        ChoiceFileError: it cannot be read, or a row has another form; the message names the line.
    """
    found: list[Question] = []
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise TypeError("a row is a JSON object")
            found.append(_question(row, number))
        except (TypeError, ValueError, KeyError) as error:
            said = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise ChoiceFileError(f"{path.name}, line {number}: {said}") from error
    if not found:
        raise ChoiceFileError(f"{path.name}: no rows")
    return found


def _lines(path: Path) -> Iterable[str]:
    try:
        raw = path.read_bytes()
        text = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
        return text.decode().split("\n")
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise ChoiceFileError(f"{path.name}: cannot be read ({type(error).__name__})") from error


def _question(row: Mapping[str, Any], line: int) -> Question:
    answers = _list(row["answers"], "answers")
    if not answers:
        raise ValueError("answers is empty")
    texts: list[str | None] = [None if answer is None else _text(answer) for answer in answers]
    finals: list[str | None]
    if row.get("quality") is not None:
        quality = np.array([_share(one, "quality") for one in _list(row["quality"], "quality", len(texts))])
        given = [text for text in texts if text is not None]
        finals = texts if len(set(given)) < len(given) else [None for _ in texts]
    elif row.get("gold") is not None:
        gold = _text(row["gold"])
        kind = _kind(gold)
        finals = [None if text is None else _final(text, kind) for text in texts]
        right = _final(gold, kind)
        quality = np.array([float(final is not None and final == right) for final in finals])
    else:
        raise ValueError("neither gold nor quality is given")
    verdicts = {SELF: row["verdicts"]} if row.get("verdicts") is not None else {}
    verdicts |= _judges(row.get("judges"))
    return Question(
        name=str(row.get("question_id", line)),
        finals=finals,
        quality=quality,
        verdicts={name: _verdicts(said, name, len(texts)) for name, said in verdicts.items()},
        certainty=_certainty(row.get("certainty"), len(texts)),
        arms=[str(arm) for arm in _list(row["arms"], "arms", len(texts))] if row.get("arms") is not None else [],
    )


def _list(value: Any, name: str, length: int | None = None) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{name} is no list")
    if length is not None and len(value) != length:
        raise ValueError(f"{name} has {len(value)} items for {length} answers")
    return value


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError(f"an answer is a string or null, not {json.dumps(value)[:40]}")
    return str(value).strip()


def _share(value: Any, name: str) -> float:
    if isinstance(value, bool) and name == "quality":
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{name} holds {json.dumps(value)[:40]}, which is no number in [0, 1]")
    return float(value)


def _judges(given: Any) -> dict[str, Any]:
    if given is None:
        return {}
    if isinstance(given, dict):
        return {str(name): said for name, said in given.items()}
    return {f"judge {number}": said for number, said in enumerate(_list(given, "judges"), 1)}


def _verdicts(given: Any, name: str, answers: int) -> list[list[float]]:
    rows = _list(given, name)
    if len(rows) > answers:
        raise ValueError(f"{name} has {len(rows)} items for {answers} answers")
    found = []
    for row in rows:
        scores = row if isinstance(row, list) else [row]
        found.append([_share(score, name) for score in scores if score is not None])
    return found + [[] for _ in range(answers - len(rows))]


def _certainty(given: Any, answers: int) -> Numbers:
    if given is None:
        return np.full(answers, math.nan)
    known = [math.nan if one is None else one for one in _list(given, "certainty", answers)]
    if any(isinstance(one, bool) or not isinstance(one, int | float) or math.isinf(one) for one in known):
        raise TypeError("certainty holds something that is no finite number")
    return np.array(known, dtype=np.float64)


def _kind(gold: str) -> Kind:
    if read_number(gold, alone=True) is not None:
        return "number"
    return "choice" if len(gold) == 1 and gold.isalpha() else "text"


@lru_cache(maxsize=100_000)
def _final(text: str, kind: Kind) -> str | None:
    """The final answer in canonical form: as a run reads it, or else as it stands; None if it names no choice."""
    if text.casefold() in UNANSWERED:
        return None
    found = extract(text, kind)
    return found if found is not None or kind == "choice" else text


Measure = Literal["accuracy", "quality"]


def measure_of(questions: Sequence[Question]) -> Measure:
    """What is measured: accuracy where every answer is right or wrong, else quality."""
    return "accuracy" if all(np.isin(one.quality, (0.0, 1.0)).all() for one in questions) else "quality"
