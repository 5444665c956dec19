"""Replies of every form, and what a person reads in them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from metascale.answers import Kind, extract, read_number
from tests.recordings import whole

CASES = [
    json.loads(line) for line in (Path(__file__).parent / "data" / "readings.jsonl").read_text("utf-8").splitlines()
]


@pytest.mark.parametrize("case", CASES, ids=[f"{case['kind']}: {case['reply'][:60]}" for case in CASES])
def test_a_reply_is_read_as_a_person_reads_it(case: dict[str, object]) -> None:
    kind: Kind = case["kind"]  # type: ignore[assignment]
    found = extract(str(case["reply"]), kind)
    assert found in case["accept"]  # type: ignore[operator]
    assert found is None or extract(found, kind) == found


@pytest.mark.parametrize("kind", ["number", "auto"])
@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("She pays $204 + $160 + $430.\nTherefore, the total cost is $794.", "794"),
        ("34 / 4 = 8.5\n\nFinal answer: Solo needs to read 8.5 pages per day over the next 4 days.", "8.5"),
        ("9 * 4 = 36\nTherefore, Jim spends a total of 36 hours on TV and reading in 4 weeks.", "36"),
        ("9 - 6 = 3\nTherefore, Harry slept 3 more hours than James.", "3"),
        ("$765 / 3 = $255\nTherefore, Shiela will pay $255 each month for 3 months.", "255"),
        ("Therefore, the final price is $27.00, not $28.00 as initially stated.", "27"),
        ("Therefore, if someone buys 10 gallons of gas, they will spend $28.00.", "28"),
        ("So, each train covers 230 miles, and the other train covers 230 miles.", "230"),
        ("Combined weights = 125 + 498 = 623 pounds", "623"),
        ("12 / 6 = 2 pieces\n\nTherefore, Tracy obtained 2 pieces of 6 inches from the 4-foot piece.", "2"),
        ("The maximum number of boxes while not exceeding the limit is 83.", "83"),
        ("Therefore, John still has **12 lego sets**.\n\nI hope that helps!", "12"),
        ("The obvious answer is 5.\n\nTherefore, the total is 4 + 5 = 9, not 5.", "9"),
    ],
)
def test_a_conclusion_is_read(reply: str, answer: str, kind: Kind) -> None:
    assert extract(reply, kind) == answer


@pytest.mark.parametrize(
    "reply",
    [
        "Therefore, each train covers 80 miles on the first day and 150 miles on the second day.",
        "Therefore, he needs two boxes for the 12 apples.",
        "So the price must have been higher than $19.50, which is the discounted price of $19.50.",
        "The strongest case against the answer is that there are 7.",
        "The obvious answer is 66.\n\nTherefore, the counterexample shows that the boots cannot cost $66.",
        "Therefore, we cannot conclude that there are 5 cars.",
        "In this case there might be 5.",
        "The trap is that he has 4 more days.",
        "Therefore, there are 5.\n\nBut what if there are 6?",
    ],
)
def test_an_unclear_conclusion_is_not_read(reply: str) -> None:
    assert extract(reply, "number") is None


@pytest.mark.parametrize(
    ("statement", "value"),
    [
        ("$1.2M", "1200000"),
        ("1½ cups", "1.5"),
        ("3×10⁸ m/s", "300000000"),
        (r"\boxed{-\dfrac{7}{4}}", "-1.75"),
        ("2x", None),
    ],
)
def test_a_statement_is_read_without_a_mark(statement: str, value: str | None) -> None:
    assert read_number(statement) == value


def test_the_answers_of_a_small_model_are_read() -> None:
    path = whole("recordings_gsm8k_qwen15.jsonl.gz")
    rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).decode().splitlines()]
    rows = [row for row in rows if row["finish"] == "stop" and row["sample"] < 4]
    stated = [row for row in rows if row["arm"] != "challenge_the_obvious"]
    assert (len(rows), len(stated)) == (1475, 1285)
    for asked, share in ((stated, 0.975), (rows, 0.95)):
        read = sum(extract(row["text"], "number") is not None for row in asked)
        assert read / len(asked) >= share
    sentences = [found for row in rows if (found := extract(row["text"])) and len(found.split()) > 8]
    assert sentences == []
