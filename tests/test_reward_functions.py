"""MASA's meta-rewards as TRL calls them: on plain and on conversational completions, hostile ones included."""

from __future__ import annotations

import json
from typing import Any

import pytest

from metascale.training import difficulty_reward, length_reward, meta_reward, notion_reward
from metascale.training.stated import Stated, read_stated, to_text

COLUMNS: dict[str, list[Any]] = {
    "pass_rate": [0.5],
    "good_lengths": [[100, 140, 300]],
    "question": ["How far does the train go?"],
    "good_answers": [["The speed times the time gives it.", "By its speed: 120."]],
    "bad_answers": [["It is 7, by guessing."]],
}
GOOD = {"pass_rate": 0.5, "length": 150, "notions": ["speeds", "time", "guessing", "trains"]}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(GOOD),
        f"Here it is:\n```json\n{json.dumps(GOOD, indent=2)}\n```",
        f'<meta>Perhaps {{"pass_rate": 0.9}}? No.</meta>\n{json.dumps(GOOD)}',
        json.dumps({"analysis": "It turns on units.", **GOOD}),
        f"{json.dumps(GOOD)}\nThat is: {json.dumps(GOOD)}",
        f"<meta>…</meta>{json.dumps({'math_notion': GOOD['notions'], 'pass_rate': 4, 'solution_length': 150})}",
    ],
)
def test_a_prediction_is_read_in_either_form(text: str) -> None:
    assert read_stated(text) == Stated(0.5, 150, GOOD["notions"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "about one half",
        '{"answer": 7}',
        "[0.5, 150]",
        f"<meta>I never stop thinking {json.dumps(GOOD)}",
        f"{json.dumps(GOOD)} or {json.dumps({**GOOD, 'pass_rate': 0.9})}",
        '{"pass_rate": 0.5, "length": 150',
        "{" * 5_000,
    ],
)
def test_what_is_no_prediction_earns_nothing(text: str) -> None:
    assert read_stated(text) is None
    for reward in (difficulty_reward, length_reward, notion_reward, meta_reward):
        assert reward([None], [text], **COLUMNS) == [0.0]


@pytest.mark.parametrize(
    ("stated", "read"),
    [
        ({"pass_rate": 1}, Stated(1.0, None, None)),
        ({"pass_rate": 1, "solution_length": 200}, Stated(1 / 8, 200, None)),
        ({"pass_rate": 0.5, "solution_length": 200}, Stated(None, 200, None)),
        ({"pass_rate": 9, "math_notion": []}, Stated(None, None, [])),
        ({"pass_rate": 1.01, "length": 0}, Stated(None, None, None)),
        ({"pass_rate": True, "length": "150"}, Stated(None, None, None)),
        ({"pass_rate": -0.1, "length": 10**400, "notions": "time"}, Stated(None, None, None)),
        ({"pass_rate": None, "length": 12, "notions": ["time", 7, None]}, Stated(None, 12, ["time"])),
    ],
)
def test_values_that_cannot_be_are_not_read(stated: dict[str, Any], read: Stated) -> None:
    assert read_stated(json.dumps(stated)) == read


def test_the_three_rewards_and_their_mean() -> None:
    completions = [[{"role": "assistant", "content": json.dumps(GOOD)}]]
    assert difficulty_reward([[]], completions, **COLUMNS, completion_ids=[[1]], trainer_state=None) == [1.0]
    assert length_reward([[]], completions, **COLUMNS) == [1.0]
    assert notion_reward([[]], completions, **COLUMNS) == [pytest.approx(2 / 3)]
    assert meta_reward([[]], completions, **COLUMNS) == [pytest.approx((1 + 1 + 2 / 3) / 3)]
    assert difficulty_reward([[]], [json.dumps({**GOOD, "pass_rate": 0.75})], **COLUMNS) == [pytest.approx(0.01**0.25)]
    assert length_reward([[]], [json.dumps({**GOOD, "length": 300})], **COLUMNS) == [0.0]


def test_half_a_prediction_earns_what_it_says() -> None:
    half = [json.dumps({"pass_rate": 0.5, "length": "long"})]
    assert difficulty_reward([[]], half, **COLUMNS) == [1.0]
    assert length_reward([[]], half, **COLUMNS) == notion_reward([[]], half, **COLUMNS) == [0.0]
    assert meta_reward([[]], half, **COLUMNS) == [pytest.approx(1 / 3)]


def test_rows_that_lack_a_measurement_have_no_reward_and_spoil_no_other() -> None:
    columns = {name: [*values, None if name != "question" else "And?"] for name, values in COLUMNS.items()}
    completions = [json.dumps(GOOD)] * 2
    for reward in (difficulty_reward, length_reward, notion_reward, meta_reward):
        first, second = reward([[], []], completions, **columns)
        assert first is not None
        assert second is None
    unknown_lengths = COLUMNS | {"good_lengths": [None]}
    assert meta_reward([[]], completions[:1], **unknown_lengths) == [None]


def test_blocks_of_text_are_read_and_other_roles_are_not() -> None:
    blocks = [{"type": "text", "text": json.dumps(GOOD)}]
    said = [
        {"role": "tool", "content": json.dumps({**GOOD, "pass_rate": 0.9})},
        {"role": "assistant", "content": blocks},
    ]
    assert difficulty_reward([[]], [said], **COLUMNS) == [1.0]
    assert difficulty_reward([[]], [[{"role": "assistant", "content": None}]], **COLUMNS) == [0.0]


def test_what_is_written_is_read() -> None:
    text = to_text({"pass_rate": 1 / 3, "length": 120, "notions": ["größter Teiler", "“units”"]})
    assert read_stated(text) == Stated(0.33, 120, ["größter Teiler", "“units”"])
    assert "größter" in text
