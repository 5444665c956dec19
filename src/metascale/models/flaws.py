"""Flaws of replies: a refusal, or an ending that is not known to be whole. The message itself reports both."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from langchain_core.messages import AIMessage

from metascale.models.cleaning import is_thinking_only
from metascale.records import Status

Outcome = tuple[Status, str, str | None]
"""An answer: its status, its text, and what is wrong with it (None if nothing is)."""

WHY_EMPTY = "why_empty"
"""Key in a message's `response_metadata` under which a sampler says why an empty message is no answer."""

ENDED_EARLY = "ended_early"
"""The finish reason of a reply that was not read to its end, because the model was too little sure of it."""

_ENDINGS = ("finish_reason", "stop_reason", "stopReason", "finishReason", "done_reason", "completionReason")
"""Keys under which servers report how a reply ended."""
_WHOLE = frozenset(
    (
        *("stop", "stop_sequence", "stop_sequences", "end_turn", "end"),
        *("completed", "complete", "finish", "finished", "success"),
        *("tool_calls", "tool_call", "tool_use", "function_call"),
        *("eos", "eos_token", "end_of_text", "endoftext", "end_of_sequence", "stopped_eos"),
    )
)
_AT_THE_LIMIT = frozenset(
    (
        *("length", "max_tokens", "max_output_tokens", "max_completion_tokens", "max_new_tokens"),
        *("model_length", "max_length"),
        *("model_context_window_exceeded", "context_length", "token_limit", "error_limit", "stopped_limit"),
    )
)
_REFUSED = frozenset(
    (
        *("content_filter", "content_filtered", "guardrail_intervened", "error_toxic", "sensitive"),
        *("refusal", "safety", "blocked", "blocklist", "prohibited_content", "recitation", "spii", "model_armor"),
    )
)
_RESPONSE_STATUSES = ("completed", "incomplete", "failed", "cancelled", "in_progress", "queued")
"""Statuses of the Responses API."""
_SAYS_NOTHING = frozenset(("", "none", "null"))
_LONGEST_REASON = 80
"""Characters of a server's reason that are repeated."""


@dataclass(frozen=True)
class Flaw:
    """What is wrong with a reply.

    Attributes:
        status: `truncated` for every reply that is not whole.
        what: what happened to it.
        at_limit: whether the token limit cut it off.
    """

    status: Literal["refused", "truncated"]
    what: str = ""
    at_limit: bool = False

    def of(self, subject: str) -> str:
        """The flaw of `subject` in words."""
        return "the model refused" if self.status == "refused" else f"{subject} {self.what}"


_REFUSAL = Flaw("refused")
_UNSURE = Flaw("truncated", "was ended early: the model was less sure of it than of the others")
_CUT = Flaw("truncated", "was cut off at the token limit", at_limit=True)


def flaw_of(message: AIMessage) -> Flaw | None:
    """The flaw that a message reports; None if there is none.

    Servers have many names for an ending. One that is not known to be good is a flaw.
    """
    if refusal_of(message):
        return _REFUSAL
    ending = ending_of(message.response_metadata)
    name = ending.rpartition(".")[2].lower().replace("-", "_").replace(" ", "_").removeprefix("image_")
    name = re.sub(r"^(.+?)\1+$", r"\1", name)  # LangChain joins what two chunks of a stream say
    if name in _WHOLE or name in _SAYS_NOTHING:
        return None
    if name in _REFUSED:
        return _REFUSAL
    if name == ENDED_EARLY:
        return _UNSURE
    return _CUT if name in _AT_THE_LIMIT else Flaw("truncated", f"ended with {ending[:_LONGEST_REASON]!r}")


def refusal_of(message: AIMessage) -> str:
    """The text of a refusal that a message holds outside its content; empty where there is none."""
    refusal = message.additional_kwargs.get("refusal")
    if refusal:
        return str(refusal)
    blocks = message.content if isinstance(message.content, list) else []
    return next(
        (str(b.get("refusal") or "refused") for b in blocks if isinstance(b, dict) and b.get("type") == "refusal"),
        "",
    )


def outcome(message: AIMessage) -> Outcome:
    """What a model's message is as an answer.

    Thinking is no part of it, and neither is what was written of an answer before it was ended early.
    """
    text = message.text.strip()
    flaw = flaw_of(message)
    if flaw and flaw.status == "refused":
        return "refused", text or refusal_of(message), flaw.of("it")
    if not text and is_thinking_only(message):
        return "empty", "", "the reply holds only thinking and no answer" + (f": {flaw.of('it')}" if flaw else "")
    if flaw:
        return flaw.status, "" if flaw is _UNSURE else text, flaw.of("the answer")
    if not text:
        return "empty", "", str(message.response_metadata.get(WHY_EMPTY) or "the answer is empty")
    return "ok", text, None


def ending_of(about: Mapping[str, Any]) -> str:
    """How a reply ended, in the server's word; empty where it does not say.

    The Responses API reports a `status`, and under `incomplete_details` the reason why a reply is not complete.
    """
    details = about.get("incomplete_details")
    if details:
        return str(details.get("reason") or "incomplete" if isinstance(details, Mapping) else details).strip()
    told = next((about[key] for key in _ENDINGS if about.get(key)), None)
    if told is None and about.get("status") in _RESPONSE_STATUSES:
        told = about["status"]
    return str(told or "").strip()
