"""The places where a reply states its answer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import pairwise

LONGEST_REPLY = 200_000
"""Characters that are read, counted from the end of a reply."""
LONGEST_STATEMENT = 2_000
"""Longest marked answer or last sentence, in characters; a longer one is not a single answer. Not tuned."""
LONGEST_QUALIFIER = 60
"""Characters before a mark in which it may be qualified ("the strongest case against the answer is")."""
MOST_MARKS = 100
"""Marks of each sort that are read, counted from the end, so that the time stays linear in any reply."""

_FIELD = re.compile(
    r"""["'](?:final[_ ]?)?answer["']\s*:\s*(?:"(?P<json>(?:[^"\\\n]|\\.)*)"?|'(?P<python>(?:[^'\\\n]|\\.)*)'?"""
    r"""|\[\s*["']?(?P<item>[^\[\]"',\n]*)["']?\s*\]|(?P<bare>(?:[^,}\n"'\[]|(?<=\d),(?=\d{3}\b))+))""",
    re.IGNORECASE,
)
_NOTHING = re.compile(r"\s*(?:null|none|undefined|n/?a)?\s*", re.IGNORECASE)
_TAG = re.compile(r"<(answer|final[_ ]?answer)>|(<\|begin_of_box\|>)", re.IGNORECASE)
_JOINED = re.compile(r"[\s$\\()]*(?:,|,?\s?\b(?:and|or))[\s$\\()]*")
_HASHES = re.compile(r"^[ \t>*]*####[ \t]*(\S.*)$", re.MULTILINE)
_QUOTED = re.compile(r'\bfinal answer\W{0,8}"""\s*(.+?)(?:"""|\Z)', re.IGNORECASE | re.DOTALL)
_SAID = re.compile(
    r"(?:\b(?:answer|Antwort|réponse|respuesta|risposta|resposta|(?:correct|right|best)\s+(?:option|choice|one))|答案)"
    r"[*_\s]{0,4}(?:(?:is|are|was|would be|should be|must be|ist|est|es|è|é)\b(?:[*_\s]{0,4}[:：])?|[:=：是为])"
    rf"[*_\s]{{0,6}}(?=(\S[^\n]{{0,{LONGEST_STATEMENT}}}))",
    re.IGNORECASE,
)
_OTHER_ANSWER = re.compile(
    r"\b(?:against\b[^.\n]*|(?:if|whether)\s(?:the|this|my|our)\s|(?:wrong|incorrect|naive|previous|other|possible|tempting"
    r"|(?P<first>obvious|initial|original|first))\s)$",
    re.IGNORECASE,
)
_REJECTION = re.compile(
    r"\b(?:incorrect|wrong|contradicts?|cannot|no longer|not (?:correct|right|true|necessarily))\b|\bcan.t\b",
    re.IGNORECASE,
)
_HEADING = re.compile(
    r"^[^\w\n]{0,12}(?:the\s)?(?:(?:final|correct)\s)?(?:answer|result)[^\w\n]{0,8}\n\s*(?=(\S[^\n]*))",
    re.IGNORECASE | re.MULTILINE,
)
_ITEMS = r"(?:(?P<bullet>[-*•])|\d+[.)])\s[^\n]*\n+[ \t]*[*_]*(?(bullet)(?P=bullet)|\d+[.)])"
_LIST = re.compile(_ITEMS)
_POINTS = re.compile(r"(?<![\d.,])[1-9]\d{0,2}\.\d{3}(?![\d.,])")
_UNFINISHED = re.compile(
    r"(?:,|\b(?:and|or|but|so|with|to|of|for|by|from|the|an?|is|are|was|has|have|that|which|then)|\s[+*×=(])\s*\Z"
    rf"|^[ \t]*[*_]*{_ITEMS}(?!(?i:\W*(?:\w+ )?(?:total|result|answer))\b)[^\n]*\Z"
    r"|^[\s$\\(]*(?P<variable>[a-z])\s?=[^\n]*\n+[\s$\\(]*(?!(?P=variable))[a-z]\s?=[^\n]*\Z",
    re.MULTILINE,
)
_LINE = re.compile(r"^[ \t>*_]*A[*_]*:[*_ \t]*(\S.*)$", re.MULTILINE)
_OTHER_OPTION = re.compile(r"^[ \t>*_-]*\(?[B-D][*_]*[):.]", re.MULTILINE)
_RETRACTED = re.compile(
    r"^\W*(?:(?:\w+ly\s)?(?:not|never|no longer|nowhere near|nicht|keine?|pas)\b|n't\b|none\b|unknown|unclear"
    r"|undetermined|cannot\b|can't\b|impossible|incorrect|wrong|missing)",
    re.IGNORECASE,
)
_CORRECTION = re.compile(
    r"(?:[.!?…;\n(]|\s[-–—]|,(?=\s(?:oh|no|wait|I mean)\b))[\s*_]*(?:(?:oh|but|hmm+|oops|no),?\s)?"
    r"(?:(?:hmm+|oops|correction|scratch that|no)\b(?=\s?[,.:!…])|(?:wait|actually|on second thought|I mean)\b"
    r"|that(?:['’]s| is) (?:wrong|incorrect|not (?:right|correct))\b)"
    r"|\bI (?:(?:have )?made an? (?:\w+ )?(?:mistake|error)|mis(?:read|calculated|counted|understood))\b",
    re.IGNORECASE,
)
_ANOTHER_MARK = re.compile(r"\W*(?:the )?(?:final )?answer(?: is)?\W*", re.IGNORECASE)
_EUROPEAN = re.compile(r"\b(?:Antwort|réponse|respuesta|risposta|resposta)\b[^\n]*$", re.IGNORECASE)
_IF = re.compile(r"\b(?:if|unless)\b[^,.;\n]*,[^,.;\n]*$", re.IGNORECASE)
_NOT_SO = re.compile(
    r"(?<!\bclosest )\banswer would be\b.*\b(?:if|unless)\b|\bif\b.*\botherwise\b|\bwhich is (?:wrong|incorrect|not)\b",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(
    r"(?<![\d\s.])(?<!\bRs)(?<!\bapprox)(?<!\bM[rs])(?<!\bMrs)(?<!\bDr)(?<!\bSt)(?<!\bInc)(?<!\be\.g)(?<!\bi\.e)(?<!\bvs)"
    r"(?<!\bNo)(?!(?<=\b[A-Z])\.(?:\s?[A-Z]\.){0,3}\s[A-Z][\w'-]+(?:,|\W*$))[.!?][*_)\"”]{0,3}(?=\s+(?![a-z\s])|\s*$)"
    r"|(?<=\d)[.!?][*_)\"”]{0,3}(?=\s+[A-Z(]|\s*$)"
)


def statements(reply: str) -> list[tuple[int, str | None]]:
    """What a reply marks as its answer, and where: the most reliable mark first.

    JSON fields come first, then all other marks, the later before the earlier. A mark that takes the answer back ("the
    answer is not listed", `null`) is None, and the last of the list.
    """
    marks: list[tuple[int, str | None]] = []
    for field in reversed(list(_FIELD.finditer(reply))[-MOST_MARKS:]):
        value = _decoded(field)
        if _NOTHING.fullmatch(value):
            return [*marks, (field.start(), None)]
        if len(value) <= LONGEST_STATEMENT:
            marks.append((field.start(), value.strip()))
    spoken = (_SAID,) if _OTHER_OPTION.search(reply) else (_SAID, _LINE)
    others = [*_boxed(reply), *_tagged(reply)]
    for pattern in (_HASHES, _QUOTED):
        others += _marked(pattern, reply)
    for pattern in (*spoken, _HEADING):
        others += [(place, _first_sentence(said)) for place, said in _marked(pattern, reply)]
    others.sort(reverse=True)
    correction = _CORRECTION.search(reply, others[0][0]) if others else None
    if correction:
        return [*marks, (correction.end(), None)]
    for place, said in others:
        statement = plain(said)
        several = _LIST.match(reply, place) or (
            _POINTS.search(statement) and _EUROPEAN.search(reply[max(0, place - LONGEST_QUALIFIER) : place])
        )
        if several or _RETRACTED.match(statement) or _is_conditional(reply, place, statement):
            return [*marks, (place, None)]
        if len(said) <= LONGEST_STATEMENT and not _ANOTHER_MARK.fullmatch(statement):
            marks.append((place, statement))
    return marks


def _is_conditional(reply: str, place: int, statement: str) -> bool:
    """Whether an answer holds only under a condition ("if he is late, the answer is 5") or is called wrong."""
    before = reply[max(0, place - LONGEST_QUALIFIER) : place]
    return bool(_IF.search(before) or _NOT_SO.search(before.rpartition("\n")[2] + statement))


def _decoded(field: re.Match[str]) -> str:
    """The value of a field `answer`, without the escapes of JSON."""
    text = next(group for group in field.groups() if group is not None)
    if field["json"] is None or "\\" not in text:
        return text
    try:
        return str(json.loads(f'"{text}"', strict=False))
    except ValueError:
        return text


def _tagged(text: str) -> Iterator[tuple[int, str]]:
    """The contents of `<answer>` and similar tags; the last may be open."""
    for match in list(_TAG.finditer(text))[-MOST_MARKS:]:
        closing = f"</{match[1]}>" if match[1] else "<|end_of_box|>"
        end = text.find(closing, match.end(), match.end() + LONGEST_STATEMENT)
        content = text[match.end() : end if end >= 0 else match.end() + LONGEST_STATEMENT].strip()
        if content:
            yield match.end(), content


def is_unfinished(reply: str) -> bool:
    """Whether a reply breaks off in a sentence, or ends with an item of a list or with one variable of several."""
    return bool(_UNFINISHED.search(reply[-LONGEST_STATEMENT:]))


def first_answers(reply: str) -> list[tuple[int, str]]:
    """What a reply calls its first or its obvious answer, and where, if it does not reject one."""
    marks = [match for match in _SAID.finditer(reply) if _kind_of_answer(match, reply) == "first"][-MOST_MARKS:]
    said = [(match.start(1), plain(_first_sentence(match[1]))) for match in marks]
    end = " ".join(sentence for place, sentence in sentences(reply, 2) if marks and place > marks[-1].end(1))
    rejected = _REJECTION.search(end) or any(_RETRACTED.match(statement) for _, statement in said)
    return [] if rejected else said[::-1]


def _marked(pattern: re.Pattern[str], text: str) -> list[tuple[int, str]]:
    """The positions and texts of the last marks of one sort."""
    marks = [match for match in pattern.finditer(text) if _kind_of_answer(match, text) == "final"]
    return [(match.start(1), match[1]) for match in marks[-MOST_MARKS:]]


def _kind_of_answer(match: re.Match[str], text: str) -> str:
    """Whether a mark speaks of the final answer, of a first one, or of another that the reply does not give."""
    other = _OTHER_ANSWER.search(text[max(0, match.start() - LONGEST_QUALIFIER) : match.start()])
    if other is None:
        return "final"
    return "first" if other["first"] else "other"


def _first_sentence(statement: str) -> str:
    """The first sentence of a statement, or all of it if that sentence is a question."""
    statement = re.split(r"</|<\|", statement)[0]
    end = _SENTENCE_END.search(statement)
    return statement[: end.start()] if end and end[0][0] != "?" else statement


def plain(text: str) -> str:
    """A text without Markdown emphasis, quotation marks and closing punctuation around it."""
    return text.strip().strip("*_`\"'“”‘’ ").removesuffix(".").strip("*_`\"'“”‘’ ")


def last_line(reply: str) -> str | None:
    """The last line of a reply, or the passage in bold on it if there is exactly one."""
    lines = [line.strip() for line in reply.splitlines() if line.strip()]
    if not lines:
        return None
    bold = re.findall(r"\*\*([^*]+)\*\*", lines[-1])
    return plain(bold[0]) if len(bold) == 1 else plain(lines[-1])


def last_sentence(reply: str) -> str:
    """The last sentence of a reply; empty where it is longer than `LONGEST_STATEMENT`."""
    line = next((line for line in reversed(reply.splitlines()) if line.strip()), "")
    sentence = re.split(r"(?<=[.!?])\s+", line.strip())[-1]
    return sentence if len(sentence) <= LONGEST_STATEMENT else ""


def sentences(reply: str, most: int) -> list[tuple[int, str]]:
    """The last sentences of a reply and where they start, in order, at most `most`; a line ends a sentence."""
    found: list[tuple[int, str]] = []
    end = len(reply)
    while end > 0 and len(found) < most:
        start = reply.rfind("\n", 0, end) + 1
        line = reply[start:end]
        places = [0, *(match.end() for match in _SENTENCE_END.finditer(line)), len(line)]
        parts = [(start + a, line[a:b].strip()) for a, b in pairwise(places)]
        found += [(place, part) for place, part in reversed(parts) if re.search(r"\w", part)]
        end = start - 1
    return found[:most][::-1]


def _boxed(text: str) -> list[tuple[int, str]]:
    r"""Each `\boxed{...}`, whose content may hold braces; those joined by "and", "or" or a comma are one."""
    boxes: list[tuple[int, str]] = []
    start = end = 0
    for match in list(re.finditer(r"\\(?:boxed|fbox)\s*\{", text))[-MOST_MARKS:]:
        depth = 1
        for position in range(match.end(), min(len(text), match.end() + 500)):
            depth += {"{": 1, "}": -1}.get(text[position], 0)
            if depth == 0:
                if boxes and _JOINED.fullmatch(text, end, match.start()):
                    boxes.pop()
                else:
                    start = match.start()
                end = position + 1
                boxes.append((match.end(), text[start:end]))
                break
    return boxes
