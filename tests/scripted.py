"""A chat model whose every reply the test writes."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from collections.abc import Callable
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field, PrivateAttr

from metascale.models.simulated import kind_of_request

Reply = AIMessage | str | Exception
Write = Callable[[str, int, list[BaseMessage]], Reply]


class ScriptedModel(BaseChatModel):
    """Replies what `write(kind, number, messages)` returns; an exception is raised. Keeps every request."""

    write: Write
    _requests: list[tuple[str, list[BaseMessage]]] = PrivateAttr(default_factory=list)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def requests(self, kind: str) -> list[list[BaseMessage]]:
        return [messages for known, messages in self._requests if known == kind]

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,  # noqa: ARG002
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **kwargs: Any,  # noqa: ARG002
    ) -> ChatResult:
        kind = kind_of_request(messages[0].text if messages[0].type == "system" else "", messages[-1].text)
        with self._lock:
            number = len(self.requests(kind))
            self._requests.append((kind, messages))
        reply = self.write(kind, number, messages)
        if isinstance(reply, Exception):
            raise reply
        message = reply if isinstance(reply, AIMessage) else AIMessage(reply)
        return ChatResult(generations=[ChatGeneration(message=message)])


class TimedModel(ScriptedModel):
    """A scripted model at a server of its own, whose replies take time: for `ainvoke` in virtual time.

    Attributes:
        takes: seconds that the request of a kind and number takes.
        seed: of the request, kept in `asked` with its kind.
    """

    takes: Callable[[str, int], float]
    seed: int | None = None
    base_url: str = Field(default_factory=lambda: uuid.uuid4().hex)
    _asked: list[tuple[str, int | None]] = PrivateAttr(default_factory=list)

    @property
    def asked(self) -> list[tuple[str, int | None]]:
        return self._asked

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **kwargs: Any,
    ) -> ChatResult:
        kind = kind_of_request(messages[0].text if messages[0].type == "system" else "", messages[-1].text)
        number = len(self.requests(kind))
        self._asked.append((kind, self.seed))
        result: ChatResult | Exception
        try:
            result = self._generate(messages, stop, None, **kwargs)
        except Exception as error:  # noqa: BLE001  it is raised when the reply is due
            result = error
        await asyncio.sleep(self.takes(kind, number))
        if isinstance(result, Exception):
            raise result
        return result


def drafts(*names: str) -> str:
    """A reply to the composing, abstracting and evolving prompts."""
    found = [{"mindset": f"You are {name}.", "strategy": f"Think the way {name} does, all along."} for name in names]
    return json.dumps({"meta_thoughts": found})


def verdict(score: float, critique: str = "Fine.") -> str:
    """A reply to the judging prompt."""
    return json.dumps({"critique": critique, "score": score})


PEOPLE = ("a baker", "Euler", "the harbour pilot", "my grandmother", "two sailors", "Xenophon", "a vet", "Zorro")


def sensible(kind: str, number: int, messages: list[BaseMessage]) -> Reply:  # noqa: ARG001
    """A model without flaws and without surprises."""
    if kind == "judge":
        return verdict(5)
    if kind == "solve":
        return f"Answer {number}."
    if kind.startswith("evolve"):
        return drafts(f"child {number} of the clockmaker", f"heir {number} with a telescope")
    return drafts(*PEOPLE)


DISCOVERY = {
    "self_discover_select": '{"modules": ["Think step by step."]}',
    "self_discover_adapt": '{"modules": ["Count the eggs step by step."]}',
    "self_discover_compose": '{"plan": "1. Count. 2. Sell."}',
}


def discovering(kind: str, number: int, messages: list[BaseMessage]) -> Reply:
    """A sensible model that also composes a reasoning structure (Self-Discover)."""
    return DISCOVERY.get(kind) or sensible(kind, number, messages)
