"""What a thread remembers of the command that began its run: the question, the method, the models, the settings."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langchain_core.messages import convert_to_messages
from langgraph.checkpoint.base import CheckpointTuple

from metascale.runtime.databases import check_database, is_postgres, open_checkpointer
from metascale.settings import ASKING_PEOPLE, MetaScaleSettings
from metascale.state import FINGERPRINT

COMMAND = "metascale_command"
"""The key of a thread's metadata that holds the parts of its command."""


@dataclass(frozen=True)
class Remembered:
    """What a thread remembers; empty for a thread without a run.

    Attributes:
        question: the last question; None without one.
        parts: those of `method`, `model`, `judge_model`, `base_url` and `memory` that the command had.
        settings: the settings that differed from their defaults, apart from those that ask people.
    """

    question: str | None = None
    parts: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


def recall(where: str, thread: str) -> Remembered:
    """What a thread in a database remembers. A database file that does not exist is not made.

    Raises:
        DatabaseError: the database cannot be used.
    """
    if not is_postgres(where) and not Path(where).exists():
        return Remembered()
    check_database(where)
    return asyncio.run(_recall(where, thread))


async def _recall(where: str, thread: str) -> Remembered:
    async with open_checkpointer(where) as saver:
        held = await saver.aget_tuple({"configurable": {"thread_id": thread, "checkpoint_ns": ""}})
    return Remembered() if held is None else _remembered(held)


def command_metadata(parts: Mapping[str, str | None]) -> str:
    """The parts of a command as a thread keeps them: without the credentials that an address may hold."""
    kept = {name: part for name, part in parts.items() if part is not None and not _holds_credentials(part)}
    return json.dumps(kept)


def _remembered(held: CheckpointTuple) -> Remembered:
    metadata: Mapping[str, Any] = held.metadata
    values = held.checkpoint["channel_values"]
    began: dict[str, Any] = json.loads(str(metadata.get(FINGERPRINT, "{}")))
    told: dict[str, Any] = json.loads(str(metadata.get(COMMAND, "{}")))
    said = values.get("messages") or values.get("__start__", {}).get("messages", [])
    asked = [str(message.text) for message in convert_to_messages(said) if message.type == "human"]
    defaults = MetaScaleSettings().model_dump(mode="json")
    named = {name: began[name] for name in ("method", "model", "judge_model") if began.get(name)}
    changed = {
        name: began[name]
        for name, default in defaults.items()
        if name not in ASKING_PEOPLE and began.get(name, default) != default
    }
    return Remembered(asked[-1] if asked else None, named | told, changed)


def _holds_credentials(part: str) -> bool:
    return re.search(r"://[^/,]*@", part) is not None
