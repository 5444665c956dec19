"""Runs on a scripted model, and what a run left in its checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver

from metascale import MetaScaleSettings, create_metascale
from tests.conftest import THREAD, ask
from tests.scripted import ScriptedModel


def run(
    write: Any,
    messages: list[Any] | None = None,
    *,
    create: Any = create_metascale,
    settings: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    **parts: Any,
) -> tuple[dict[str, Any], ScriptedModel]:
    """The final state of a run on a scripted model, and the model.

    A scripted model repeats itself, so the whole budget is drawn and judged unless the settings say otherwise.
    """
    model = ScriptedModel(write=write)
    chosen = MetaScaleSettings.model_validate(
        {"max_retries": 0, "stop_on_agreement": None, "reward": "judge", **(settings or {})}
    )
    graph = create(model, settings=chosen, checkpointer=InMemorySaver(), **parts)
    graph.invoke({"messages": messages} if messages else ask(), {**THREAD, **(config or {})})
    return graph.get_state(THREAD).values, model


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """A final state without what differs between equal runs: message ids and the clock."""
    return {
        "pool": values["pool"],
        "candidates": values["candidates"],
        "result": {**values["result"], "usage": {**values["result"]["usage"], "seconds": None}},
        "messages": [m.content for m in values["messages"]],
    }


def kept_in(path: str | Path) -> dict[int, str]:
    """The samples that a database holds of the thread `t`."""
    with SqliteSaver.from_conn_string(str(path)) as saver:
        graph = create_metascale("simulated", checkpointer=saver)
        return {c["id"]: c["text"] for c in graph.get_state(THREAD).values.get("candidates", [])}
