"""Thinking in a reply is no part of the answer; tags in code and in data are."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metascale.answers.thinking import without_thinking


@pytest.mark.parametrize(
    ("reply", "rest"),
    [
        ("<think>The answer is 7. Wait, no…</think> 5 apples remain", "5 apples remain"),
        ("<think>\nHm.\n</think>\n\nFive.", "Five."),
        ("<THINK>a</THINK>b", "b"),
        ("<think >a</think >b", "b"),
        ('<thinking effort="high">a</thinking>b', "b"),
        ("<thought>a</thought>b", "b"),
        ("<reasoning>a</reasoning>\n<answer>5</answer>", "<answer>5</answer>"),
        ("<thinking>a<reflection>b</reflection>c</thinking>d", "d"),
        ("<think>a <think> b</think> c</think> d", "d"),
        ("<think>a</thinking>b", "b"),
        ("One. <think>Hm.</think> Two.", "One.  Two."),
        ("One.<think>Hm.</think>Two.", "One. Two."),
        ("<seed:think>a</seed:think>b", "b"),
        ("[THINK]a[/THINK]b", "b"),
        ("◁think▷a◁/think▷b", "b"),
        ("<|begin_of_thought|>a<|end_of_thought|><|begin_of_solution|>b<|end_of_solution|>", "b"),
        ("<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>b<|END_RESPONSE|>", "b"),
        ("<|inner_prefix|>a<|inner_suffix|>b", "b"),
        ("<|channel>thought\na<channel|>b", "b"),
        ("<unused94>thought\na<unused95>b", "b"),
        (
            "<|channel|>analysis<|message|>7?<|end|><|start|>assistant<|channel|>final<|message|>5<|return|>",
            "5",
        ),
        ("7?<|end|><|start|>assistant<|channel|>final <|constrain|>json<|message|>{}", "{}"),
        (
            "<|start|>assistant<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary"
            "<|message|>b<|end|><|start|>assistant<|channel|>final<|message|>c",
            "c",
        ),
        ("analysisWe add 2 and 3.assistantfinalIt is 5.", "It is 5."),
        ("Here is my thought process:\na\nHere is my response:\nb", "b"),
        ("Here are my reasoning steps:\na\n[BEGIN FINAL RESPONSE]\nb\n[END FINAL RESPONSE]\n<|end|>", "b"),
        ("<|START_THINKING|>a<|END_THINKING|><|START_TEXT|>b<|END_TEXT|>", "b"),
        ("<longcat_think>a</longcat_think>b", "b"),
        ("<think_never_used_51bce0c785ca2f68>a</think_never_used_51bce0c785ca2f68>b", "b"),
        ("<antThinking>a</antThinking>b", "b"),
        ("<inner_monologue>a</inner_monologue>b", "b"),
        ("<mm:think>a</mm:think>b", "b"),
    ],
)
def test_thinking_is_left_out(reply: str, rest: str) -> None:
    assert without_thinking(reply) == rest
    assert without_thinking(rest) == rest


@pytest.mark.parametrize(
    ("reply", "rest"),
    [
        ("Maybe 7.\n</think>\n\nFive.", "Five."),
        ("Try\n```python\nprint(7)\n```\nHm.</think>Five.", "Five."),
        ("Try `x</think>Five.", "Five."),
        ("Try\n```python\nprint(7)\n</think>Five.", "Five."),
        ("a</think>b</think>c", "c"),
        ("a [/THINK] b", "b"),
        ("a ◁/think▷ b", "b"),
    ],
)
def test_a_closing_tag_alone_ends_thinking_that_began_in_the_prompt(reply: str, rest: str) -> None:
    assert without_thinking(reply) == rest


@pytest.mark.parametrize(
    "reply",
    [
        "<think>The answer is 5",
        "<think>",
        "  <think>\n```python\nprint(5)\n```\nThe answer is 5.",
        "<think>a</think>",
        "The answer is 7. Wait.\n</think>\n",
        "[THINK]The answer is 5",
        "◁think▷The answer is 5",
        "<|channel|>analysis<|message|>The answer is 5",
        "<|channel|>analysis<|message|>5<|end|><|start|>assistant<|channel|>final",
        "analysisThe answer is 5",
        "Here is my thought process: 5",
    ],
)
def test_nothing_is_left_of_a_reply_that_is_all_thinking(reply: str) -> None:
    assert without_thinking(reply) == ""


@pytest.mark.parametrize(
    ("reply", "rest"),
    [
        ("<think>Say `</think>` or ``` ```? </think>5", "5"),
        ("<think>\n```python\nx = 1\n</think>\n```\nx = 2\n```", "```\nx = 2\n```"),
        ("<think>It's `a</think>Use `<think>` here.", "Use `<think>` here."),
    ],
)
def test_code_inside_thinking_is_thinking(reply: str, rest: str) -> None:
    assert without_thinking(reply) == rest


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "  Five. ",
        "I think <b>5</b> & [THINKING].",
        "The tag `<think>` opens and `</think>` closes.",
        "Write ``a ` </think>`` so.",
        "```html\n<think>a</think>\n```",
        "~~~\n</think>\n~~~\nDone.",
        "> ```\n> <think>\n> ```",
        "```\n[THINK]a[/THINK]\n```\n`<|channel|>analysis<|message|>`",
        '{"answer": "<think>a</think>b"}',
        '["</think>"]',
        "The analysis follows. assistantfinal",
        "analysis of the case: assistantfinal",
    ],
)
def test_other_text_stays_as_it_is(reply: str) -> None:
    assert without_thinking(reply) == reply


TAGS = "<think> </think> <reasoning> </reasoning> [THINK] [/THINK] ◁think▷ ◁/think▷ <|channel|> <|message|> <|end|>"
PIECES = st.sampled_from(
    [*TAGS.split(), "`", "```", "\n```\n", "~~~\n", "final", "a", "5", " ", "\n", "<", '{"a": "', '"}']
)


@settings(max_examples=400)
@given(st.lists(PIECES, max_size=16).map("".join))
def test_what_remains_was_there_and_no_thinking_comes_back(reply: str) -> None:
    rest = without_thinking(reply)
    assert rest == reply or len(rest) <= len(reply)
    assert not set("a5") & set(rest) - set(reply)


RUNS = "".join("`" * length + " " for length in range(100))


@pytest.mark.parametrize(
    "piece", [*TAGS.split(), "`", "``` ", "```x\n", "```\n", "` `` ", "~~~~x\n```\n", "<think ", "{", RUNS]
)
def test_the_time_is_linear(piece: str) -> None:
    def seconds(length: int) -> float:
        text = (piece * (length // len(piece) + 1))[:length] + "<think"
        start = time.perf_counter()
        without_thinking(f"{text}</think>5")
        return time.perf_counter() - start

    assert seconds(200_000) < 2
