"""Recorded judgements, read as the product reads them and compared with what was recorded beside them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from metascale.data import read_models, read_rows
from metascale.errors import ModelSetupError
from metascale.rewards.readings import Side, prefer_by_ratings, read_preference, read_rating

SHOWN = 5
"""Disagreements of one file that are shown. Ours."""
TAIL = 160
"""Characters from the end of a judgement that are shown of it: that is where verdicts stand. Ours."""


class RecordedRating(BaseModel):
    """A judgement of one answer from 1 to 10, as Arena-Hard's first version records it."""

    model_config = ConfigDict(strict=True)

    judgment: str | None
    score: float | None = Field(description="The rating that was read from it at the time; null where none was.")
    question_id: str = ""


class RecordedPreference(BaseModel):
    """A judgement of a pair, as LLMBar records it."""

    model_config = ConfigDict(strict=True)

    completion: str | None
    winner: Side | None = Field(description="The winner, in the pair's own numbering.")
    swap: bool = Field(description="The pair's second output was shown first.")
    rating_texts: list[str | None] | None = Field(default=None, description="Two separate ratings in its place.")
    pair_id: str = ""


class Disagreement(BaseModel):
    """A judgement that is read in another way than was recorded."""

    record: str
    read: str | None
    recorded: str | None
    text: str = Field(description="The end of the judgement.")


class RecordedTrial(BaseModel):
    """How the recorded judgements of one file are read."""

    file: str
    what: str = Field(description="'ratings' or 'preferences'.")
    records: int
    read: int = Field(description="Judgements that say something.")
    unread: int = Field(description="Judgements that say nothing that can be read, or a tie.")
    forced: int = Field(description="Unread ones for which LLMBar's own rule still names a winner.")
    agreeing: int = Field(description="Judgements whose reading is what was recorded, nothing included.")
    disagreeing: int
    disagreements: list[Disagreement] = Field(description="The first few.")


def try_recorded(path: Path) -> RecordedTrial:
    """Read the judgements of a JSONL file of either format, which its fields tell.

    Raises:
        ModelSetupError: the file cannot be read, a row is not of its format, or it is of neither.
    """
    rows = read_rows(path, ())
    if any("judgment" in row for row in rows):
        what, found = "ratings", list(_ratings(path))
    elif any("completion" in row for row in rows):
        what, found = "preferences", list(_preferences(path))
    else:
        raise ModelSetupError(f"{path.name} holds no judgements: neither 'judgment' nor 'completion'")
    read = sum(said for said, _, _ in found)
    differing = [case for _, _, case in found if case.read != case.recorded]
    return RecordedTrial(
        file=path.name,
        what=what,
        records=len(found),
        read=read,
        unread=len(found) - read,
        forced=sum(forced for _, forced, _ in found),
        agreeing=len(found) - len(differing),
        disagreeing=len(differing),
        disagreements=differing[:SHOWN],
    )


def _ratings(path: Path) -> Iterator[tuple[bool, bool, Disagreement]]:
    """Of every judgement whether it says something, whether a rule decided in its place, and the two readings."""
    for row in read_models(path, RecordedRating):
        rating = read_rating(row.judgment)
        recorded = None if row.score is None else f"{row.score:g}"
        read = None if rating is None else str(rating)
        yield rating is not None, False, _case(row.question_id, read, recorded, row.judgment)


def _preferences(path: Path) -> Iterator[tuple[bool, bool, Disagreement]]:
    for row in read_models(path, RecordedPreference):
        if row.rating_texts is None:
            said = read = read_preference(row.completion, swapped=row.swap)
        else:
            said = prefer_by_ratings(row.rating_texts)
            read = prefer_by_ratings(row.rating_texts, swapped=row.swap, forced=True)
        text = row.completion if row.rating_texts is None else " | ".join(map(str, row.rating_texts))
        yield said is not None, said is None and read is not None, _case(row.pair_id, read, row.winner, text)


def _case(record: str, read: str | None, recorded: str | None, text: str | None) -> Disagreement:
    return Disagreement(record=record, read=read, recorded=recorded, text=(text or "")[-TAIL:])
