"""The part of a reply that is meant for its reader, without the thinking that some models write before it."""

from __future__ import annotations

import json
import re
from bisect import bisect_left

LONGEST_INLINE_CODE = 300
"""Characters of the longest code span between backticks; a limit keeps the time linear. Not tuned."""

_NAMES = (
    r"(?:\w{1,20}:|longcat_|chain_of_|inner_|internal_|ant)?"
    r"(?:think|thinking|thoughts?|reasoning|reflection|scratchpad|monologue)(?:_process|_never_used_\w{1,40})?"
)
_OPENING = (
    rf"<(?P<xml>{_NAMES})(?:\s[^<>]{{0,80}})?>|\[(?P<bracket>THINK)\]|◁(?P<triangle>think)▷"
    r"|<\|(?P<token>begin_of_thought|START_THINKING|inner_prefix)\|>|<\|(?P<gemma>channel)>|<(?P<unused>unused94)>"
)
_CLOSING = (
    rf"</(?P<xml_end>{_NAMES})\s*>|\[/(?P<bracket_end>THINK)\]|◁/(?P<triangle_end>think)▷"
    r"|<\|(?P<token_end>end_of_thought|END_THINKING|inner_suffix)\|>|<(?P<gemma_end>channel)\|>"
    r"|<(?P<unused_end>unused95)>"
)
_HARMONY = r"<\|(?P<harmony>channel)\|>"
_CODE = (
    r"^[ \t>]*(?P<fence>`{3,}|~{3,})[^\n]*$"
    rf"|(?<!`)(?P<code>`+)(?!`)[^\n]{{0,{LONGEST_INLINE_CODE}}}?(?<!`)(?P=code)(?!`)"
)
_TAG = re.compile(rf"{_OPENING}|{_CLOSING}|{_HARMONY}", re.IGNORECASE)
_END = re.compile(_CLOSING, re.IGNORECASE)
_MARK = re.compile(rf"{_CODE}|{_OPENING}|{_CLOSING}|{_HARMONY}", re.IGNORECASE | re.MULTILINE)
_BARE_FENCE = re.compile(r"^[ \t>]*(?P<fence>`{3,}|~{3,})[ \t]*$", re.MULTILINE)

_CHANNEL = re.compile(r"<\|channel\|>\s*(\w*)(.*?)(?=<\|channel\|>|\Z)", re.DOTALL)
_CHANNEL_END = re.compile(r"<\|(?:end|return|call|start)\|>")
_WRAPPING = re.compile(
    r"<\|(?:(?:begin|end)_of_solution|(?:START|END)_(?:RESPONSE|TEXT))\|>|\[END FINAL RESPONSE\]\s*(?:<\|end\|>)?"
)
_UNTAGGED = [
    # Granite; Apriel; and gpt-oss behind a server that drops the special tokens between its channels.
    (re.compile(r"\s*Here(?: is|'s) my thought process:"), re.compile(r"Here(?: is|'s) my response:")),
    (re.compile(r"\s*Here are my reasoning steps:"), re.compile(r"\[BEGIN FINAL RESPONSE\]")),
    (re.compile(r"\s*analysis(?=[A-Z])"), re.compile(r"assistantfinal")),
]


def without_thinking(text: str) -> str:
    """A reply without its thinking; the same text where it has none.

    Thinking stands between the tags that models use: `<think>`, `<thinking>`, `<thought>`, `<reasoning>`,
    `<reflection>`, `<scratchpad>` and the like with a prefix (`<seed:think>`, `<inner_monologue>`), `[THINK]`
    (Magistral), `◁think▷` (Kimi), `<|begin_of_thought|>` (OpenThinker), `<|START_THINKING|>` (Command A),
    `<|inner_prefix|>` (Apertus), `<|channel>` (Gemma), and in the channels of gpt-oss other than `final`. A closing tag
    without an opening tag ends thinking that began in the prompt. An opening tag without a closing tag hides the rest.
    Tags in code fences, in inline code and in a JSON value are text.

    Args:
        text: a reply, whole.

    Returns:
        The reply without thinking and without white space around it; empty if all of it is thinking.
    """
    for beginning, ending in _UNTAGGED:
        if beginning.match(text):
            said = ending.split(text)[1:]
            return _WRAPPING.sub("", said[-1]).strip() if said else ""
    if not _TAG.search(text) or _is_json(text):
        return text
    ends = _Ends(text)
    kept: list[str] = []
    start = position = 0
    while mark := _MARK.search(text, position):
        kind = str(mark.lastgroup)
        position = mark.end()
        if kind == "harmony":
            return _final_channel(text[mark.start() :])
        if kind == "fence":
            position = ends.of_code(mark)
        elif kind.endswith("_end"):
            kept, start = [], position
        elif kind != "code":
            kept.append(text[start : mark.start()])
            start = position = ends.of_thinking(mark)
    if start == 0:
        return text
    return _WRAPPING.sub("", _joined([*kept, text[start:]])).strip()


class _Ends:
    """Where code and thinking end in one text, found in logarithmic time."""

    def __init__(self, text: str) -> None:
        self._length = len(text)
        self._fences: dict[str, list[tuple[int, int]]] = {}
        for match in _BARE_FENCE.finditer(text):
            self._fences.setdefault(match["fence"], []).append((match.start(), match.end()))
        self._tags: dict[str, list[tuple[int, int]]] = {}
        for match in _END.finditer(text):
            for name in ("any", _name(match)):
                self._tags.setdefault(name, []).append((match.start(), match.end()))

    def of_code(self, fence: re.Match[str]) -> int:
        """The end of the next fence that is as long, or else of this line: an unclosed fence hides no tag."""
        return _next(self._fences.get(fence["fence"], []), fence.end()) or fence.end()

    def of_thinking(self, opening: re.Match[str]) -> int:
        """The end of the next closing tag of the same name, or else of any closing tag, or else of the text."""
        named = _next(self._tags.get(_name(opening), []), opening.end())
        return named or _next(self._tags.get("any", []), opening.end()) or self._length


def _next(spans: list[tuple[int, int]], position: int) -> int | None:
    """The end of the first span that starts at a position or after it."""
    found = bisect_left(spans, (position, 0))
    return spans[found][1] if found < len(spans) else None


def _name(tag: re.Match[str]) -> str:
    """What an opening tag and its closing tag have in common."""
    kind = str(tag.lastgroup)
    return tag[kind].casefold() if kind.startswith("xml") else kind.removesuffix("_end")


def _joined(pieces: list[str]) -> str:
    """Pieces of a text, with white space between them where there is none, so that no new tag or word arises."""
    joined = ""
    for piece in pieces:
        apart = not joined or not piece or joined[-1].isspace() or piece[0].isspace()
        joined += piece if apart else f" {piece}"
    return joined


def _final_channel(text: str) -> str:
    """What gpt-oss says in its channel `final`, after the special token that ends the channel's header."""
    final = [body.partition("<|message|>")[2] for name, body in _CHANNEL.findall(text) if name == "final"]
    return _joined([_CHANNEL_END.split(body)[0] for body in final]).strip()


def _is_json(text: str) -> bool:
    if text.lstrip()[:1] not in {"{", "["}:
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


__all__ = ["without_thinking"]
