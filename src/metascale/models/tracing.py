"""What a request is about: traces show its node, arm and round."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config
from langgraph.constants import TAG_NOSTREAM

PREFIX = "metascale_"
"""The prefix of the metadata of requests: `metascale_node`, `metascale_round`, `metascale_arm`, `metascale_request`."""

_about: ContextVar[dict[str, str | int]] = ContextVar("metascale_about", default={})  # noqa: B039  it is never changed


@contextmanager
def about(node: str, round_number: int | None, arm: str | None) -> Iterator[None]:
    """Let the requests in this context belong to a node, and to a round and an arm where there is one."""
    known = {"node": node, "round": round_number, "arm": arm}
    token = _about.set({name: value for name, value in known.items() if value is not None})
    try:
        yield
    finally:
        _about.reset(token)


def config_of(place: Sequence[int | str]) -> RunnableConfig:
    """The config of a request: out of the graph's message stream, with tags and metadata for tracers.

    Args:
        place: the RNG seed path of the request, which is also its name.
    """
    known = {**_about.get(), "request": " ".join(map(str, place))}
    tags = [f"{name}:{value}" for name, value in known.items() if name != "request"]
    metadata = {f"{PREFIX}{name}": value for name, value in known.items()}
    return {"tags": [TAG_NOSTREAM, *tags], "metadata": {**ensure_config().get("metadata", {}), **metadata}}
