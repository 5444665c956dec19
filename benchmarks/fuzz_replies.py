"""Realistic replies of models and servers, and the ways in which they go wrong: a grammar for `benchmarks.fuzz`."""

from __future__ import annotations

import contextlib
import json
import random
from typing import Any

from metascale.pool.methods import catalogue

LARGEST = 1_000_000
"""Characters of the largest reply."""

TOKENS = [
    *'{}[]",:\\$()*_#`~<>=/%.;?! \n\t0179eE+-aAbBxX',
    *(
        "{{",
        "}}",
        '{"',
        '":',
        '",',
        "[[",
        "]]",
        "[[10]]",
        "[[0]]",
        "[[7.5]]",
        "```json\n",
        "\n```",
        "\r\n",
        "\\n",
        '\\"',
    ),
    *(
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "-0",
        "null",
        "true",
        "false",
        "1" * 400,
        "9" * 5_000,
        "0.1e-400",
        "1/0",
    ),
    *("\ud800", "\udfff", "\\ud800", "\\u0000", "\0", "\x1b", "\u202e", "\u200b", "\ufeff", "\u2028", "é", "e\u0301"),
    *("½", "²", "٣", "७", "−", "１", "\U0001f600", "\xa0", "\u3164", "ﬁ", "ß", "İ"),
    *(
        "\\boxed{",
        "\\fbox {",
        "\\frac{1}{",
        "\\text{",
        "#### ",
        "The answer is ",
        "answer: ",
        '"answer": ',
        "A: ",
        "B: ",
    ),
    *(
        'final answer """',
        '"""',
        "**",
        "is (C)",
        "option ",
        "not ",
        "the ",
        " or ",
        "1,000",
        "1.",
        "x 10^{99}",
        "°C",
        "US$",
    ),
    *("Therefore, Output (a) is better.", "a tie", "whether ", "the first answer ", "wins", "[[A>>B]]", "[[B>A]]"),
    *(
        "<think>",
        "</think>",
        "<meta>",
        "</meta>",
        "---\n",
        "version: ",
        "parent: ",
        "Score 3-5: ",
        "10:",
        "# ",
        "- ",
        "~~~",
    ),
    *('"critique"', '"score"', '"verdicts"', '"meta_thoughts"', '"pass_rate"', '"notions"', '"ratings"', '"index"'),
]
VALUES: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        10,
        11,
        0.5,
        1e308,
        -1e308,
        10**20,
        10**400,
        -(10**400),
        "",
        "7",
        "8/10",
        "NaN",
        "\ud800",
    ),
    *([], {}, [[]], [{}], {"": ""}, "x" * 5_000, ["x"] * 200, {"score": 3}, float("nan"), float("inf"), "A", "tie"),
]


def seeds() -> list[str]:
    """Realistic replies."""
    ratings = [{"method": name, "reason": "It fits.", "rating": 5} for name in catalogue()]
    drafts = [{"mindset": f"You are {who}.", "strategy": "Take it step by step."} for who in ("a baker", "Euler")]
    claims = [{"claim": "It adds.", "verdict": "supported"}, {"claim": "It errs.", "verdict": "refuted"}]
    verdicts = [{"answer": number, "critique": "Fine.", "score": 6 + number} for number in (1, 2)]
    foreseen = {"analysis": "Two steps.", "pass_rate": 0.75, "length": 240, "notions": ["ratio", "unit rate"]}
    objects: list[Any] = [
        {"critique": "The sum \\(x^2\\) is right.", "score": 7},
        {"verdicts": verdicts},
        {"analysis": "A is whole.", "winner": "A"},
        {"claims": claims},
        {"meta_thoughts": drafts},
        {"ratings": ratings},
        foreseen,
        {"pass_rate": 6, "solution_length": 900, "math_notion": ["derivative"]},
        {"modules": ["Break it down.", "Check units."]},
        {"plan": "1. Read. 2. Compute. 3. Check."},
        {"analysis": "Step 2 errs.", "right": False, "step": 2, "reason": "It adds twice."},
        {"data": [{"index": 0, "probs": [1.5], "num_classes": 1}, {"index": 1, "probs": [-0.5], "num_classes": 1}]},
        {"data": [{"index": 0, "data": [2.5]}, {"index": 1, "data": [[0.1], [0.2]]}], "usage": {"prompt_tokens": 9}},
        [[{"score": 0.7, "label": "LABEL_0"}], [{"score": -3.5, "label": "LABEL_0"}]],
        {"name": "Ulm", "people": 129_942, "tags": ["a"], "nested": {"depth": 2.5}},
    ]
    texts = [json.dumps(value) for value in objects]
    return [
        *texts,
        *(f"Here is my verdict:\n```json\n{text}\n```\nGood luck." for text in texts),
        "It takes 2/2=<<2/2=1>>1 bolt of white fiber.\nSo the total is 2+1=<<2+1=3>>3 bolts.\n#### 3",
        "So there are 3 left.\n\n**Final answer:** \\boxed{\\frac{3}{4}}",
        "The correct option is (C) because it is warm. The answer is (C).",
        "A: cats\nB: dogs\nThe answer is B",
        '>> FINAL ANSWER:\n"""\n1,024 dollars\n"""',
        "It costs about $ 1.5 \\times 10^{3} per year. #### 1,500",
        "Output (a) omits the year. Therefore, Output (b) is better.",
        "The assistant is correct but brief. Rating: [[8]]",
        "1 (wrong): nonsense.\n2-5: partly.\nScores 6 to 9: good.\n10: right, checked.",
        '---\nversion: 3\nparent: "abc"\n---\n10: right.\n1: wrong.',
        "<think>It may be 3.</think>" + json.dumps(foreseen),
        "My final verdict is tie: [[A=B]].",
        "# Title\n\n- **bold** item\n1. one\n\n```python\nprint(1)\n```\n",
    ]


def mutate(text: str, corpus: list[str], draw: random.Random) -> str:
    """A text that has gone wrong, in one way to five."""
    for _ in range(draw.choice((1, 1, 1, 2, 3, 5))):
        text = draw.choice(MUTATIONS)(text, corpus, draw)
    return text[:LARGEST]


def _span(text: str, draw: random.Random) -> tuple[int, int]:
    start = draw.randint(0, len(text))
    return start, min(len(text), start + draw.choice((0, 1, 2, 5, 20, 100)))


def _insert(text: str, corpus: list[str], draw: random.Random) -> str:  # noqa: ARG001
    start, end = _span(text, draw)
    return text[:start] + draw.choice(TOKENS) + text[draw.choice((start, end)) :]


def _delete(text: str, corpus: list[str], draw: random.Random) -> str:  # noqa: ARG001
    start, end = _span(text, draw)
    return text[:start] + text[end:]


def _cut(text: str, corpus: list[str], draw: random.Random) -> str:  # noqa: ARG001
    return text[: draw.randint(0, len(text))]


def _splice(text: str, corpus: list[str], draw: random.Random) -> str:
    other = draw.choice(corpus)
    return text[: draw.randint(0, len(text))] + other[draw.randint(0, len(other)) :]


def _repeat(text: str, corpus: list[str], draw: random.Random) -> str:  # noqa: ARG001
    start, end = _span(text, draw)
    piece = text[start:end] if draw.random() < 0.5 else draw.choice(TOKENS)
    size = draw.choice((10, 100, 1_000, 1_000, 10_000) if draw.random() < 0.98 else (100_000, LARGEST))
    return text[:start] + piece * (size // max(1, len(piece))) + text[start:]


def _nest(text: str, corpus: list[str], draw: random.Random) -> str:  # noqa: ARG001
    depth = draw.choice((2, 50, 1_000, 20_000))
    before, after = draw.choice((("[", "]"), ('{"a":', "}"), ('{"score":[', "]}"), ("{", "}"), ('"\\"', '\\""')))
    return before * depth + text + after * draw.choice((0, depth))


def _character(text: str, corpus: list[str], draw: random.Random) -> str:  # noqa: ARG001
    start, _ = _span(text, draw)
    return text[:start] + chr(draw.choice((draw.randrange(128), draw.randrange(0x11_0000)))) + text[start + 1 :]


def _restructure(text: str, corpus: list[str], draw: random.Random) -> str:
    """Replace, drop or double a value of a JSON text; other texts give a reply of the corpus."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        text = draw.choice(corpus)
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return text
    places: list[tuple[Any, Any]] = []
    stack = [value]
    while stack and len(places) < 500:
        held = stack.pop()
        if isinstance(held, dict | list):
            keys = list(held) if isinstance(held, dict) else list(range(len(held)))
            places += [(held, key) for key in keys]
            stack += [held[key] for key in keys]
    if not places:
        return json.dumps(draw.choice(VALUES))
    held, key = draw.choice(places)
    way = draw.random()
    if way < 0.7:
        held[key] = draw.choice(VALUES)
    elif way < 0.85:
        del held[key]
    elif isinstance(held, list):
        held += [held[key]] * draw.choice((1, 3, 300))
    else:
        held[draw.choice(("", "answer", "score", "index", "\ud800"))] = held[key]
    with contextlib.suppress(ValueError, RecursionError):  # a number of more digits than Python prints
        return json.dumps(value, ensure_ascii=draw.random() < 0.5)
    return text


MUTATIONS = [_insert, _insert, _insert, _delete, _cut, _splice, _repeat, _nest, _character, _restructure, _restructure]
