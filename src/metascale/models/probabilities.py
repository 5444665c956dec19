"""Token probabilities: read from a message in every form that servers and clients have for them, and summarised."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, TypeVar

from langchain_core.messages import AIMessage

from metascale.records import Certainty

WINDOW = 64
"""Tokens of the window whose mean is `Certainty.lowest`.

Chosen on 2,112 answers of Qwen2.5-Coder-1.5B to 48 questions of GSM8K. Windows of 32 to 96 tokens tell right answers
from wrong ones equally well there; shorter ones do worse. DeepConf (arXiv 2508.15260) takes 2,048, for traces of tens
of thousands of tokens.
"""
TAIL = 64
"""Tokens at the end of an answer whose mean is `Certainty.tail`. Chosen on the same answers: 48 and 64 do best."""
PRIOR_DIGITS = 4
"""Tokens as sure as the whole answer that count beside those with digits in `Certainty.numbers`, so that a single
numeral says little. Chosen on the same answers: 2 to 8 do equally well."""
LEAST = -20.0
"""The log-probability that a less likely token counts with. For a token outside of its top 20, OpenAI writes -9999. The
least likely of 600,000 recorded tokens had -17."""
ROUNDING = 1e-3
"""How far above 0 rounding may lift a log-probability."""
UNASKED = "probabilities_unasked"
"""Key in a message's `response_metadata` under which a sampler says that its request asked for no probabilities."""
_DIGIT = re.compile(r"\d")
_KEYS = ("logprobs", "logprobs_result")
"""Keys in a message's `response_metadata`: LangChain's client for Vertex AI has the second one."""


Message = TypeVar("Message", bound=AIMessage)


@dataclass(frozen=True)
class Token:
    """One token of a reply.

    Attributes:
        text: the token, as the server writes it.
        logprob: its log-probability in nats, at most 0.
        alternatives: log-probabilities of the most likely tokens in its place; empty where they were not asked for.
    """

    text: str
    logprob: float
    alternatives: Mapping[str, float]


def tokens_of(message: AIMessage) -> list[Token]:
    """The tokens of a reply with their log-probabilities; empty where there are none, or they are malformed.

    A reply's tokens include those of its thinking, where the server counts them as text.
    """
    told = next((found for key in _KEYS if (found := message.response_metadata.get(key))), None)
    try:
        return [_token(item) for item in _items(told)]
    except (TypeError, ValueError, KeyError, AttributeError):
        return []


def without_tokens(message: Message) -> Message:
    """The message without its list of tokens, which is longer than its text."""
    about = {key: value for key, value in message.response_metadata.items() if key not in _KEYS}
    return message.model_copy(update={"response_metadata": about})


def with_tokens(message: Message, tokens: Sequence[Token]) -> Message:
    """The message with a list of tokens, if there are any."""
    told = {"content": [{**_told(t.text, t.logprob), "top_logprobs": _told_all(t.alternatives)} for t in tokens]}
    about = {**message.response_metadata} | ({"logprobs": told} if tokens else {})
    return message.model_copy(update={"response_metadata": about})


def _told(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob}


def _told_all(alternatives: Mapping[str, float]) -> list[dict[str, Any]]:
    return [_told(text, logprob) for text, logprob in alternatives.items()]


def certainty_of(logprobs: Sequence[float], texts: Sequence[str] = ()) -> Certainty | None:
    """The summary of the log-probabilities of an answer's tokens.

    Args:
        logprobs: in nats, one for each token, in order.
        texts: the tokens, as many as log-probabilities; empty if they are unknown.

    Returns:
        None if there are no log-probabilities, or one is not finite.

    Raises:
        ValueError: there are not as many texts as log-probabilities.
    """
    if not logprobs or not all(map(math.isfinite, logprobs)):
        return None
    values = [max(LEAST, value) for value in logprobs]
    sums = list(accumulate(values, initial=0.0))
    length = min(WINDOW, len(values))
    mean, tail = sums[-1] / len(values), values[-TAIL:]
    of_numbers = [value for value, holds in zip(values, _hold_numbers(texts), strict=True) if holds] if texts else []
    return {
        "tokens": len(values),
        "mean": mean,
        "lowest": min(end - start for start, end in zip(sums, sums[length:], strict=False)) / length,
        "tail": sum(tail) / len(tail),
        "numbers": (sum(of_numbers) + PRIOR_DIGITS * mean) / (len(of_numbers) + PRIOR_DIGITS),
    }


def _hold_numbers(texts: Sequence[str]) -> Iterator[bool]:
    """Whether each token holds a digit. Numerals that begin a line only count its steps, so they do not count."""
    is_blank = True
    for text in texts:
        digit = _DIGIT.search(text)
        yield digit is not None and not _is_blank(text[: digit.start()], is_blank)
        is_blank = _is_blank(text, is_blank)


def _is_blank(text: str, is_blank: bool) -> bool:  # noqa: FBT001
    """Whether the last line is blank once `text` has been added to one that is blank or not."""
    _, newline, line = text.rpartition("\n")
    return not line.strip() and (is_blank or bool(newline))


def shortfall(reply: AIMessage, alternatives: int) -> str | None:
    """What a reply lacks of the probabilities that its request asked for, in words; None if nothing.

    Args:
        reply: the reply.
        alternatives: wanted alternatives for each token.
    """
    tokens = tokens_of(reply)
    if reply.response_metadata.get(UNASKED):
        return None
    if not tokens:
        return "the server gives no token probabilities, although requests ask for them" if reply.text else None
    given = max(len(token.alternatives) for token in tokens)
    if given < alternatives:
        return f"the server gives {given} alternatives for a token at most, although requests ask for {alternatives}"
    return None


def _items(told: Any) -> Sequence[Any]:
    """What a server tells of each token, as OpenAI has it.

    Raises:
        TypeError, ValueError, KeyError, AttributeError: it is malformed.
    """
    if told is None or isinstance(told, list):  # Ollama's client, and Vertex AI's
        return told or []
    if "content" in told:  # chat completions of OpenAI, vLLM, SGLang and llama.cpp
        return told["content"] or []
    if "token_logprobs" in told:  # legacy completions, and chats of Together AI and Fireworks
        texts, values = told["tokens"], told["token_logprobs"]
        others = told.get("top_logprobs") or [None] * len(texts)
        rows = zip(texts, values, others, strict=True)
        return [{"token": text, "logprob": value, "top_logprobs": other} for text, value, other in rows]
    raise KeyError("content")


def _token(item: Mapping[str, Any]) -> Token:
    others = item.get("top_logprobs") or item.get("top_probs") or ()
    if isinstance(others, Mapping):
        others = [{"token": text, "logprob": value} for text, value in others.items()]
    alternatives: dict[str, float] = {}
    for other in others:
        alternatives.setdefault(str(other["token"]), _logprob(other))
    return Token(str(item["token"]), _logprob(item), alternatives)


def _logprob(item: Mapping[str, Any]) -> float:
    """The log-probability in one item; llama.cpp gives the probability itself if asked for values after sampling.

    Raises:
        TypeError, ValueError: there is none.
    """
    if item.get("prob") is not None:
        value = math.log(item["prob"]) if item["prob"] else -math.inf
    else:
        value = float(item["logprob"])
    if math.isnan(value) or value > ROUNDING:
        raise ValueError(f"{value} is no log-probability")
    return min(0.0, value)
