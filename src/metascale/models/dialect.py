"""What a server refuses in requests, and how requests then go without it. Learned from errors, kept for each server."""

from __future__ import annotations

import re
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any
from weakref import WeakValueDictionary

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from metascale.errors import chain_of
from metascale.models.failures import REJECTED_STATUSES, address_of, reason_of, status_of
from metascale.models.parameters import LIMIT_FIELDS, LIMIT_NAMES, holds, without
from metascale.models.wrapped import WrappedChatModel
from metascale.runtime.bridge import FINGERPRINT

PARAMETERS = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "n",
    *LIMIT_NAMES,
    "stop",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "parallel_tool_calls",
    "reasoning_effort",
    "verbosity",
    "service_tier",
    "store",
    "user",
    "metadata",
    "stream_options",
)
"""Parameters without which a request still asks the same."""
PROBABILITIES = ("logprobs", "top_logprobs")
PROBABILITIES_STATUSES = frozenset({403, 500})
"""Further statuses by which servers refuse token probabilities; 403 is OpenAI's for reasoning models."""
_OUT_OF_RANGE = re.compile(
    r"less than|greater than|more than|at most|up to|between|maximum|\bmax\b|exceed|too (?:large|many|high)|range|limit"
    r"|[<>≤≥]",
    re.IGNORECASE,
)
_NO_STREAM = re.compile(r"\bstream(?:s|ing)?\b(?!_)", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.-])\d+(?!\w|\.\d)")
_REFUSED = re.compile(
    r"unsupported|not (?:currently )?support|n't support|no support|unrecogni[sz]ed|unknown|unexpected|not permitted"
    r"|not allowed|\bextra[ _](?:inputs|fields|forbidden)|not available|deprecated|only the default|may only be"
    r"|cannot (?:both )?be (?:used|specified|set|combined)|incompatible|invalid (?:parameter|argument|field)"
    r"|not a valid (?:parameter|argument|field)|no such (?:parameter|argument|field)|not (?:implemented|enabled)"
    r"|not accept|n't accept|no longer|must be (?:unset|omitted)|(?:is|are) fixed"
    r"|only \S+ (?:is|are) (?:allowed|supported|permitted)",
    re.IGNORECASE,
)
_NO_SYSTEM_ROLE = re.compile(
    r"(?:system|developer)['\"`]? (?:role|message|prompt|instruction)s?['\"`]? (?:is |are )?(?:not|un)"
    r"|(?:not|n't) support (?:the )?['\"`]?(?:system|developer)\b|only ['\"`]?user['\"`]?.{1,40}roles? (?:is|are)"
    r"|(?:unexpected|invalid|unknown|unsupported) role:? ?['\"`]?(?:system|developer)"
    r"|role:? ?['\"`](?:system|developer)['\"`] (?:is )?(?:not|un)|roles must alternate"
    r"|input should be 'user'(?:,| or) 'assistant'",
    re.IGNORECASE,
)
_ROLE_STATUSES = REJECTED_STATUSES | {500}
"""Statuses by which servers refuse a role. llama.cpp's server reports errors of chat templates as 500."""


_LLAMA_CPP = re.compile(r"b\d+-[0-9a-f]{6,}")
"""The fingerprint of llama.cpp's server: the number of its build and the commit."""


class Dialect:
    """What one server refuses: parameters, and the system role. Any thread may use it.

    Attributes:
        counts_one_reply: whether the server reports the tokens of only one of several replies, as llama.cpp's does.
    """

    def __init__(self) -> None:
        """Start with nothing refused."""
        self.left_out: set[str] = set()
        self.limit_name: str | None = None
        self.most_alternatives: int | None = None
        self.has_system_role = True
        self.streams = True
        self.counts_one_reply = False
        self._lock = threading.Lock()

    def recognise(self, replies: Sequence[BaseMessage]) -> None:
        """Learn from replies which server it is."""
        fingerprints = (str(reply.response_metadata.get(FINGERPRINT)) for reply in replies)
        self.counts_one_reply = self.counts_one_reply or any(map(_LLAMA_CPP.fullmatch, fingerprints))

    def phrased(self, messages: Sequence[BaseMessage]) -> Sequence[BaseMessage]:
        """The messages; where the server has no system role, with the instructions in the user's first turn."""
        return messages if self.has_system_role else _without_system_role(messages)

    def adapted(self, model: BaseChatModel, options: dict[str, Any]) -> tuple[BaseChatModel, dict[str, Any]]:
        """The model and the keyword arguments of a request, without what the server refuses."""
        if self.limit_name is not None:
            model, options = _limit_renamed(model, options, self.limit_name)
        for name in sorted(self._omitted):
            model, options = _without(model, options, name)
        most = self.most_alternatives
        if most is not None and (probabilities_asked(model, options) or 0) > most:
            if "top_logprobs" in options:
                options = {**options, "top_logprobs": most}
            else:
                model = model.model_copy(update={"top_logprobs": most})
        return model, options

    @property
    def _omitted(self) -> set[str]:
        """The parameters that are left out: those refused, and what makes no sense without them."""
        return self.left_out.union(["top_logprobs"] if "logprobs" in self.left_out else [])

    def notes(
        self,
        model: BaseChatModel,
        options: Mapping[str, Any],
        messages: Sequence[BaseMessage],
        *,
        but: Collection[str] = (),
    ) -> Iterator[str]:
        """What is changed in a request, one line each.

        Args:
            model: the model before it was adapted.
            options: the keyword arguments before they were adapted.
            messages: the messages before they were phrased.
            but: parameters that are no news if they are left out.
        """
        for name in sorted(self.left_out.difference(but)):
            is_implied = name == "top_logprobs" and "logprobs" in self.left_out
            if _is_sent(model, options, name) and not is_implied:
                yield f"the server refuses {name}, so requests are sent without it"
        most, wanted = self.most_alternatives, probabilities_asked(model, options) or 0
        if most is not None and wanted > most and "top_logprobs" not in self._omitted:
            yield f"the server allows {most} alternatives for a token, so requests do not ask for {wanted}"
        if self.limit_name is not None and any(_is_sent(model, options, name) for name in LIMIT_NAMES):
            yield f"the server takes the token limit as {self.limit_name} only, so it is sent by that name"
        if not self.has_system_role and any(isinstance(message, SystemMessage) for message in messages):
            yield "the server takes no system message, so the instructions are in the user's turn"

    def learn(
        self,
        error: BaseException,
        model: BaseChatModel,
        options: Mapping[str, Any],
        messages: Sequence[BaseMessage],
        *,
        is_streamed: bool = False,
    ) -> bool:
        """Learn from a failed request; returns whether the request can now be sent in another way.

        Args:
            error: why it failed.
            model: the model, as it was sent.
            options: the keyword arguments, as they were sent.
            messages: the messages, as they were sent.
            is_streamed: whether it asked for a stream.
        """
        status = status_of(error)
        said = f"{reason_of(error)}\n{error}"
        with self._lock:
            has_system = any(isinstance(message, SystemMessage) for message in messages)
            if status in _ROLE_STATUSES and has_system and _NO_SYSTEM_ROLE.search(said):
                self.has_system_role = False
                return True
            is_no_stream = status in REJECTED_STATUSES and _NO_STREAM.search(said) and _REFUSED.search(said)
            if is_streamed and (is_no_stream or "stream" in type(error).__name__.lower()):
                self.streams = False
                return True
            is_about_arguments = status is None and isinstance(error, TypeError)
            is_unusual = status in PROBABILITIES_STATUSES
            if status not in REJECTED_STATUSES and not is_about_arguments and not is_unusual:
                return False
            allowed = _allowed_alternatives(said, probabilities_asked(model, options))
            if allowed is not None:
                self.most_alternatives = allowed
                return True
            name = _refused_parameter(error, said, model, options)
            if name is None or (is_unusual and name not in PROBABILITIES):
                return False
            other = _other_limit_name(name)
            if other is not None and self.limit_name is None and "extra_body" in type(model).model_fields:
                self.limit_name = other
            else:
                self.left_out.update(LIMIT_NAMES if other is not None else (name,))
            return True


_dialects: WeakValueDictionary[tuple[str, str, str], Dialect] = WeakValueDictionary()
_dialects_lock = threading.Lock()


def dialect_of(model: BaseChatModel, name: str) -> Dialect:
    """The dialect of a model's server, the same for every client of one class, address and model name.

    It lives as long as it is referenced. A model that runs in this process has one of its own.
    """
    if getattr(model, "in_process", False):
        return Dialect()
    kind = type(model)
    with _dialects_lock:
        return _dialects.setdefault((f"{kind.__module__}.{kind.__qualname__}", address_of(model), name), Dialect())


def probabilities_asked(model: BaseChatModel, options: Mapping[str, Any]) -> int | None:
    """The alternatives for each token whose probabilities a request asks for; None if it asks for no probabilities."""

    def value(name: str) -> Any:
        return options[name] if name in options else getattr(model, name, None)

    return value("top_logprobs") or 0 if value("logprobs") else None


def _allowed_alternatives(said: str, asked: int | None) -> int | None:
    """The most alternatives for a token that an error allows, where a request asked for more; else None."""
    if not asked or "logprobs" not in said.lower() or not _OUT_OF_RANGE.search(said):
        return None
    return max((number for number in map(int, _NUMBER.findall(said)) if number < asked), default=0)


def _refused_parameter(error: BaseException, said: str, model: BaseChatModel, options: Mapping[str, Any]) -> str | None:
    """The parameter that an error names as refused, if the request held it."""
    for link in chain_of(error):
        named, code = getattr(link, "param", None), str(getattr(link, "code", ""))
        last = re.split(r"[.\[\]]", str(named))[-1] if named else ""
        is_refused = code.startswith(("unsupported", "unknown")) or _REFUSED.search(said)
        if last in PARAMETERS and is_refused and _is_sent(model, options, last):
            return last
    if not _REFUSED.search(said):
        return None
    found = [(place, name) for name in PARAMETERS if (place := _mention(name, said)) is not None]
    return next((name for _, name in sorted(found) if _is_sent(model, options, name)), None)


def _mention(name: str, said: str) -> int | None:
    """Where a text names a parameter: as a whole word, and one of a single letter in quotes or at an end."""
    alone = rf"['\"`.]{name}(?:['\"`:]|$)|: {name}$|\b{name} (?:is|are|must)"
    pattern = alone if len(name) == 1 else rf"(?<!\w){name}(?!\w)"
    found = re.search(pattern, said, re.IGNORECASE | re.MULTILINE)
    return found.start() if found else None


def _is_sent(model: BaseChatModel, options: Mapping[str, Any], name: str) -> bool:
    """Whether a request holds a parameter."""
    if name in options or name in (options.get("extra_body") or {}):
        return True
    return model.sends(name) if isinstance(model, WrappedChatModel) else holds(model, name)


def _without(model: BaseChatModel, options: dict[str, Any], name: str) -> tuple[BaseChatModel, dict[str, Any]]:
    """The model and the keyword arguments without a parameter, wherever they hold it."""
    kept = {key: value for key, value in options.items() if key != name}
    if name in (kept.get("extra_body") or {}):
        kept["extra_body"] = {key: value for key, value in kept["extra_body"].items() if key != name}
    return (model.leaving_out(name) if isinstance(model, WrappedChatModel) else without(model, name)), kept


def _other_limit_name(name: str) -> str | None:
    """The other name of OpenAI's two for the token limit; None for other parameters."""
    return {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}.get(name)


def _limit_renamed(model: BaseChatModel, options: dict[str, Any], name: str) -> tuple[BaseChatModel, dict[str, Any]]:
    """The model and the keyword arguments with the token limit in the request's body, under `name`."""
    own = next((value for field in LIMIT_FIELDS if (value := getattr(model, field, None)) is not None), None)
    limit = next((options[known] for known in LIMIT_NAMES if options.get(known) is not None), own)
    if limit is None:
        return model, options
    for known in LIMIT_NAMES:
        model, options = _without(model, options, known)
    body = options.get("extra_body") or getattr(model, "extra_body", None) or {}
    return model, {**options, "extra_body": {**body, name: limit}}


def _without_system_role(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """The messages with the text of all system messages at the start of the first turn of the user."""
    instructions = "\n\n".join(message.text for message in messages if isinstance(message, SystemMessage))
    others = [message for message in messages if not isinstance(message, SystemMessage)]
    if not instructions:
        return others
    place = next((index for index, message in enumerate(others) if isinstance(message, HumanMessage)), None)
    if place is None:
        return [HumanMessage(instructions), *others]
    turn = others[place]
    content = (
        f"{instructions}\n\n{turn.content}"
        if isinstance(turn.content, str)
        else [{"type": "text", "text": instructions}, *turn.content]
    )
    others[place] = turn.model_copy(update={"content": content})
    return others
