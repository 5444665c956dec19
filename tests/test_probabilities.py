"""Token probabilities: read in every form, summarised, and asked for only as far as a server gives them."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from metascale.models.probabilities import LEAST, TAIL, WINDOW, Token, certainty_of, tokens_of


def said(logprobs: Any, key: str = "logprobs") -> AIMessage:
    return AIMessage("4 2", response_metadata={key: logprobs})


OPENAI = [
    {"token": "4", "logprob": -0.5, "bytes": [52], "top_logprobs": [{"token": "4", "logprob": -0.5, "bytes": [52]}]},
    {"token": " 2", "logprob": -1.5, "bytes": None, "top_logprobs": []},
]
READ = [Token("4", -0.5, {"4": -0.5}), Token(" 2", -1.5, {})]


@pytest.mark.parametrize(
    "message",
    [
        said({"content": OPENAI, "refusal": None}),
        said({"content": [{"id": 19, **item} for item in OPENAI]}),
        said(OPENAI),
        said(OPENAI, "logprobs_result"),
        said({"tokens": ["4", " 2"], "token_logprobs": [-0.5, -1.5], "top_logprobs": [{"4": -0.5}, None]}),
    ],
    ids=["openai", "llama.cpp", "ollama", "vertex", "legacy"],
)
def test_every_form_is_read(message: AIMessage) -> None:
    assert tokens_of(message) == READ


def test_probabilities_after_sampling_are_read() -> None:
    (token,) = tokens_of(
        said({"content": [{"token": "Yes", "prob": 0.5, "top_probs": [{"token": "No", "prob": 0.0}]}]})
    )
    assert token == Token("Yes", math.log(0.5), {"No": -math.inf})


@pytest.mark.parametrize(
    "logprobs",
    [
        *(None, {}, [], {"content": None}, {"content": []}, "many", 7, [7], {"content": "yes"}, {"other": []}),
        *([{"token": "4"}], [{"logprob": -1.0}], [{"token": "4", "logprob": None}], [{"token": "4", "logprob": "x"}]),
        [{"token": "4", "logprob": math.nan}],
        [{"token": "4", "logprob": 0.7}],
        [{"token": "4", "logprob": -1.0, "top_logprobs": [3]}],
        {"tokens": ["4"], "token_logprobs": [-1.0, -2.0]},
    ],
)
def test_what_is_malformed_counts_as_nothing(logprobs: Any) -> None:
    assert tokens_of(said(logprobs)) == []


def test_a_summary_by_hand() -> None:
    sure, unsure = [-0.25] * 200, [-2.0] * WINDOW
    summary = certainty_of([*sure, *unsure, *sure])
    assert summary == {
        "tokens": 400 + WINDOW,
        "mean": pytest.approx((400 * -0.25 + WINDOW * -2.0) / (400 + WINDOW)),
        "lowest": pytest.approx(-2.0),
        "tail": pytest.approx(-0.25),
    }
    assert json.loads(json.dumps(summary)) == summary


def test_an_answer_shorter_than_the_windows_is_one_window() -> None:
    values = [-0.1 * n for n in range(min(WINDOW, TAIL))]
    summary = certainty_of(values)
    assert summary is not None
    assert summary["mean"] == pytest.approx(summary["lowest"]) == pytest.approx(summary["tail"])


def test_a_token_that_a_server_calls_very_unlikely_counts_as_the_least_likely_one() -> None:
    summary = certainty_of([-9999.0, 0.0])
    assert summary is not None
    assert summary["mean"] == LEAST / 2


@pytest.mark.parametrize("logprobs", [[], [-1.0, math.nan], [-math.inf], [math.inf]])
def test_there_is_no_summary_of_nothing(logprobs: list[float]) -> None:
    assert certainty_of(logprobs) is None
