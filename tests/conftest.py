"""Fixtures that speak to real parts: a loopback server, real checkpointers, the real command line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import settings
from langchain_openai import ChatOpenAI

from metascale.data import gsm8k
from metascale.models import latencies
from tests.openai_server import OpenAIServer, serving
from tests.waiting import CEILING

os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"
for variable in ("METASCALE_MODEL", "OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_BASE"):
    os.environ.pop(variable, None)
os.environ["LANGSMITH_TRACING"] = "false"

settings.register_profile("metascale", deadline=None)  # how busy the machine is says nothing about an example
settings.load_profile("metascale")

QUESTION = gsm8k()[0]["question"]
THREAD: Any = {"configurable": {"thread_id": "t"}}
"""A graph's config."""
ServerFactory = Callable[..., OpenAIServer]


def pytest_xdist_auto_num_workers() -> int:
    """One worker more than processors, because many tests wait for servers and processes of their own."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(autouse=True)
def no_request_is_slow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine makes no stragglers, save in tests of stragglers."""
    if request.node.get_closest_marker("stragglers") is None:
        monkeypatch.setattr(latencies, "MARGIN", CEILING)


@pytest.fixture
def start_server() -> Iterator[ServerFactory]:
    """Start loopback servers that end with the test."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(serving(OpenAIServer(**options)))


def chat_model(server: OpenAIServer, **options: Any) -> ChatOpenAI:
    """The real client of a loopback server."""
    return ChatOpenAI(model="loopback", base_url=server.url, api_key="none", **options)


def ask(question: str = QUESTION) -> dict[str, Any]:
    """A graph's input."""
    return {"messages": [{"role": "user", "content": question}]}
