"""Extracting the final answer of a reply: every form is read, and nothing is guessed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metascale.answers import Kind, extract, read_number
from tests.recordings import Place, few, rows_of, whole


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("16 - 3 - 4 = 9 eggs.\n#### 18", "18"),
        ("#### $1,234.50", "1234.5"),
        ("#### -3", "-3"),
        ("#### −3", "-3"),
        ("She walks.\nA: 12", "12"),
        ("Answer: 42 apples", "42"),
        ("The answer is 3/4 of a cup.", "0.75"),
        ("The answer is 1/3.", "1/3"),
        ("The final answer is 2 1/2 hours.", "2.5"),
        ("So the answer is \\boxed{\\frac{3}{8}}", "0.375"),
        ("Thus \\(\\boxed{1{,}000}\\).", "1000"),
        ("$\\boxed{12\\text{ cm}^2}$", "12"),
        ("\\boxed{50\\%}", "50"),
        ("The answer is 50%.", "50"),
        ("the answer is: **$18.00**.", "18"),
        ("**Answer:** $18", "18"),
        ("**Final Answer:** 18 dollars per day", "18"),
        ("The final answer is\n\n25", "25"),
        ("Final Answer:\n**-7.25**", "-7.25"),
        ("The answer is x = 3^2 = 9.", "9"),
        ("The answer is 9 * 2 = $18 every day.", "18"),
        ("The answer is 3.0 \\times 10^8 m/s.", "300000000"),
        ("The answer is 1.5e3", "1500"),
        ('{"reasoning": "The answer is 4 plus 3", "answer": "7"}', "7"),
        ('```json\n{"answer": 7.50, "reasoning": "so 9"}\n```', "7.5"),
        ('{"answer": "66666.67"', "66666.67"),
        ('>> FINAL ANSWER:\n"""\n-36\n"""', "-36"),
        ("The answer is 5. Wait, I forgot one: the answer is 6.", "6"),
        ("The answer is that Janet makes $18 a day.", "18"),
        ("Janet makes **$18** every day at the market.", "18"),
        ("I add them up.\n\n1,024", "1024"),
        ("1.5", "1.5"),
        ("The answer is 119.69999999999999", "119.69999999999999"),
    ],
)
def test_numbers(reply: str, answer: str) -> None:
    assert extract(reply, "number") == answer
    assert extract(answer, "number") == answer


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "I do not know.",
        "Adding x to both sides, we get 33 + x = 2x + x",
        "First 3 boys, then 4 girls came.",
        "#### Step 1: add 3 and 4",
        "#### 1. Add them up",
        "The answer is between 3 and 4.",
        "The answer is 5-6.",
        "The answer is 5 or 6.",
        "The answer is not 5.",
        "The answer is unknown; it could be 5",
        "The answer is 3:1.",
        "The answer is 3 hours and 20 minutes.",
        "The answer is 1/0.",
        "The answer is 1,23.",
        "The answer is " + "9" * 5000,
        "Therefore he has 12 apples and 3 pears.",
        "The answer is 2e99999999.",
        "The answer is 5. In fact the answer is not known.",
    ],
)
def test_no_number_is_guessed(reply: str) -> None:
    assert extract(reply, "number") is None


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("The answer is (C).", "C"),
        ("The answer is C", "C"),
        ("The correct answer is **C**.", "C"),
        ("Answer: D. 233.8 K", "D"),
        ("Final Answer:\nB. immediately granted", "B"),
        ("the answer is \\boxed{\\text{J}}.", "J"),
        ("The correct option is F because it is warm.", "F"),
        ("The best choice is (A) a rational number.", "A"),
        ("Therefore, the most likely type of attachment is insecure (F).", "F"),
        ("The answer is not listed, but is closest to (G).", "G"),
        ('{"reasoning": "...", "answer": "E"}', "E"),
        ("A. cats\nB. dogs\nSo I say:\n**B**", "B"),
        ("A: cats\nB: dogs\nThe answer is B", "B"),
        ("(H)", "H"),
    ],
)
def test_choices(reply: str, answer: str) -> None:
    assert extract(reply, "choice") == answer
    assert extract(answer, "choice") == answer


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "The answer is a rational number.",
        "The answer is A rational number.",
        "The answer is (A) or (B).",
        "The answer is A and B",
        "The answer is not (B).",
        "The answer is (None of these).",
        "The answer is ( ).",
        "This rules out (C).",
        "It is either (C) or (D).",
        "(A) is wrong, so it is (B).",
        "A: cats\nB: dogs\nI cannot tell.",
        "The answer is 7.",
        "The answer is K.",
        "I think it is nice",
    ],
)
def test_no_choice_is_guessed(reply: str) -> None:
    assert extract(reply, "choice") is None


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("The answer is Paris.", "paris"),
        ('The answer is "the Blue  Whale".', "blue whale"),
        ('>> FINAL ANSWER:\n"""\nQh4#\n"""', "qh4#"),
        ("Paris", "paris"),
    ],
)
def test_texts(reply: str, answer: str) -> None:
    assert extract(reply, "text") == answer
    assert extract(answer, "text") == answer


def test_a_long_reply_is_not_a_short_text() -> None:
    assert extract("Paris is a city.\nIt lies on a river.", "text") is None
    assert extract(f"The answer is {'very ' * 60}long", "text") is None


@pytest.mark.parametrize(
    ("reply", "answer"),
    [("#### 18", "18"), ("The answer is (C).", "C"), ("The answer is Paris", "paris"), ("So 3 and 4.\nThen?", None)],
)
def test_auto_takes_what_is_there(reply: str, answer: str | None) -> None:
    assert extract(reply) == answer


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown kind of answer 'numbr'"):
        extract("#### 3", "numbr")  # type: ignore[arg-type]


MARKED = st.builds(
    "{}{}{}".format,
    st.text(alphabet="ab .\n", max_size=8),
    st.sampled_from(["", "#### ", "The answer is ", "\\boxed{", '{"answer": "', "A: ", "**", "Final answer:\n"]),
    st.text(alphabet="0123456789.,/$%-+eE×^{}()ABC ax*\\\"'#\n−½", max_size=24),
)


@settings(max_examples=400)
@given(MARKED, st.sampled_from(["number", "choice", "text", "auto"]))
def test_extraction_never_raises_and_is_idempotent(reply: str, kind: Kind) -> None:
    answer = extract(reply, kind)
    if answer is not None:
        assert extract(answer, kind) == answer


@pytest.mark.parametrize(
    ("place", "name", "rows"),
    [
        (few, "extraction_gsm8k_openai.jsonl", 24),
        (few, "extraction_gsm8k_json.jsonl", 24),
        (whole, "extraction_gsm8k_openai.jsonl", 476),
        (whole, "extraction_gsm8k_json.jsonl", 152),
    ],
)
@pytest.mark.parametrize("kind", ["number", "auto"])
def test_real_outputs_agree_with_the_recorded_answers(place: Place, name: str, rows: int, kind: Kind) -> None:
    agree = 0
    for row in rows_of(place(name)):
        expected = None if row["answer"] is None else read_number(str(row["answer"]))
        agree += extract(row["output_text"], kind) == expected
    assert agree == rows


@pytest.mark.parametrize(("place", "least", "most"), [(few, 10, 10), (whole, 20, 40)])
def test_hard_real_outputs_are_answered_rightly_or_not_at_all(place: Place, least: int, most: int) -> None:
    rows = rows_of(place("extraction_mmlu_pro.jsonl"))
    found = [(extract(row["output_text"], "choice", choices=row["n_options"]), row["recorded_pred"]) for row in rows]
    answered = [(ours, theirs) for ours, theirs in found if ours]
    assert least <= len(answered) <= most
    assert any(theirs for _, theirs in answered)
    assert all(ours == theirs for ours, theirs in answered if theirs)
