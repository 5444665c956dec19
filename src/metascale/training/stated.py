"""Reads predictions from completions, and writes them as text."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from metascale.models.json_reply import objects_in
from metascale.records import Prediction

PAPER_STEPS = 8
"""MASA's prompt asks how many answers out of this many will be right."""

_PAPER_KEYS = {"solution_length", "math_notion"}
_KEYS = {"pass_rate", "length", "notions", *_PAPER_KEYS}
_THOUGHT = re.compile(r"</?(?:meta|think)>")


@dataclass(frozen=True)
class Stated:
    """What a completion predicts; None where a value is missing or out of range.

    Attributes:
        pass_rate: in [0, 1].
        length: length of an answer in tokens, at least 1.
        notions: concepts that an answer needs.
    """

    pass_rate: float | None
    length: float | None
    notions: list[str] | None


def read_stated(completion: str) -> Stated | None:
    """The prediction in a completion: one JSON object, bare, fenced or in prose, after any `<meta>` or `<think>` span.

    Takes the keys of metascale's own prompt (`pass_rate` in [0, 1], `length`, `notions`) and those of MASA's released
    code (`pass_rate` as an integer from 0 to 8, `solution_length`, `math_notion`).

    Returns:
        The prediction; None if there is none, if several differ, or if the thinking never ends.
    """
    *_, last = [None, *_THOUGHT.finditer(completion)]
    if last is not None and not last.group().startswith("</"):
        return None
    said = objects_in(completion[last.end() :] if last is not None else completion)
    found = [stated for stated in said if _KEYS & stated.keys()]
    if not found or any(other != found[0] for other in found):
        return None
    return _read(found[0])


def to_text(prediction: Prediction) -> str:
    """A prediction in the format of metascale's prompt; with its analysis if that was recorded."""
    said = {"pass_rate": round(prediction["pass_rate"], 2), "length": prediction["length"]}
    why = {"analysis": prediction["analysis"]} if "analysis" in prediction else {}
    return json.dumps({**why, **said, "notions": prediction["notions"]}, ensure_ascii=False)


def _read(stated: Mapping[str, Any]) -> Stated:
    rate = _number(stated.get("pass_rate"))
    if rate is not None and _PAPER_KEYS & stated.keys():
        rate = rate / PAPER_STEPS if rate.is_integer() else None
    length = _number(stated.get("length", stated.get("solution_length")))
    notions = stated.get("notions", stated.get("math_notion"))
    return Stated(
        pass_rate=rate if rate is not None and 0 <= rate <= 1 else None,
        length=length if length is not None and length >= 1 else None,
        notions=[n for n in notions if isinstance(n, str)] if isinstance(notions, list) else None,
    )


def _number(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        return float(value) if is_number and math.isfinite(value) else None  # type: ignore[arg-type]
    except OverflowError:
        return None
