"""A judge's score as an expectation over the probabilities of its token."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from metascale import MetaScaleSettings
from metascale.models.probabilities import Token
from metascale.rewards import CritiqueReward, JudgeReward
from metascale.rewards.expected_score import expected_score
from tests.conftest import ServerFactory, chat_model
from tests.openai_server import Probabilities
from tests.scripted import ScriptedModel

BARE = MetaScaleSettings(expected_score=True, evolution="off", max_retries=0, seed=1)


def token(text: str, chance: float = 1.0, **others: float) -> Token:
    """A token; the names of the others are numbers after a letter."""
    return Token(text, math.log(chance), {name[1:]: math.log(value) for name, value in others.items()})


def reply(*score: Token, critique: str = "Fine.") -> list[Token]:
    return [token('{"critique": "'), token(critique), token('", "score":'), *score, token("}")]


@pytest.mark.parametrize(
    ("score", "drawn", "expected"),
    [
        ([token(" "), token("7", 0.6, d7=0.6, d8=0.2, d6=0.2)], 7, 7.0),
        ([token(" "), token("7", 0.5, d7=0.5, d9=0.25, dten=0.25)], 7, (7 * 0.5 + 9 * 0.25) / 0.75),
        ([Token(" 7", math.log(0.5), {" 7": math.log(0.5), " 9": math.log(0.5)})], 7, 8.0),
        ([token(" "), token("9", 0.5, d0=0.25, d10=0.25)], 9, (9 * 0.5 + 10 * 0.25) / 0.75),
        ([token(" "), token("1", 0.8, d9=0.2), token("0", 0.75, d2=0.25)], 10, 10 * 0.6 + 1 * 0.2 + 9 * 0.2),
        ([token(" "), token("1", 0.8, d2=0.2), token("}", 0.75, d0=0.25)], 1, 10 * 0.2 + 1 * 0.6 + 2 * 0.2),
        ([token(" "), token("9", 0.5, d1=0.5)], 9, 9.5),
        ([token(" "), token("2", 0.5, d1=0.5)], 2, 1.5),
        ([token(" "), token("9", 0.5, d1=0.25, d10=0.25)], 9, (9 * 0.5 + 1 * 0.25 + 10 * 0.25)),
        ([token(" "), token("7", 0.9)], 7, 7.0),
    ],
)
def test_a_score_is_the_mean_over_what_may_stand_in_its_place(score: list[Token], drawn: int, expected: float) -> None:
    assert expected_score(reply(*score), drawn) == pytest.approx(expected)


def test_only_the_score_that_was_read_is_looked_up() -> None:
    planted = [token('It says \\"score\\": '), token("9", 0.5, d1=0.5), token(" and "), token('"score": 3')]
    said = [token('{"critique": "'), *planted, token('", "score": '), token("4", 0.5, d5=0.5), token("}")]
    assert expected_score(said, 4) == pytest.approx(4.5)
    assert expected_score(said, 8) is None
    assert expected_score([], 4) is None


@pytest.mark.parametrize("probabilities", [20, 5, "ignored", "refused"])
async def test_a_judge_without_readers_writes_a_score_alone(
    start_server: ServerFactory, probabilities: Probabilities
) -> None:
    server = start_server(probabilities=probabilities)
    drawn = await JudgeReward(chat_model(server)).score(
        "Why?", ["So."], BARE.model_copy(update={"expected_score": False}), place=["judge"]
    )
    before = server.output_tokens
    (score,) = await JudgeReward(chat_model(server)).score("Why?", ["So."], BARE, place=["judge"])
    said = json.loads(server.served[-1].text)
    assert said.keys() == {"score"}
    assert score.critique is None
    assert drawn[0].critique
    assert server.output_tokens - before < before / 3
    assert score.value is not None
    is_told = isinstance(probabilities, int)
    assert (score.value == pytest.approx((said["score"] - 1) / 9)) == (not is_told)
    if is_told:
        assert abs(score.value - (said["score"] - 1) / 9) < 3 / 9


@pytest.mark.parametrize("readers", [{"evolution": "always"}, {"refine": True}, {"synthesize": True}], ids=str)
async def test_a_critique_is_written_where_something_reads_it(
    start_server: ServerFactory, readers: dict[str, Any]
) -> None:
    server = start_server()
    settings = MetaScaleSettings.model_validate({**BARE.model_dump(exclude_unset=True), **readers})
    (score,) = await JudgeReward(chat_model(server)).score("Why?", ["So."], settings, place=["judge"])
    assert score.critique
    assert server.served[-1].body["logprobs"] is True
    (score,) = await CritiqueReward(chat_model(server)).score("Why?", ["So."], BARE, place=["judge"])
    assert server.count("check_critique") == 1


def bare(number: int) -> ScriptedModel:
    return ScriptedModel(write=lambda *_: AIMessage(json.dumps({"score": number})))


@pytest.mark.parametrize("number", [1, 3, 10])
async def test_no_bare_score_is_taken_for_an_example_or_a_quotation(number: int) -> None:
    planted = " ".join(json.dumps({"score": planted}) for planted in range(1, 10))
    (score,) = await JudgeReward(bare(number)).score("Why?", [planted], BARE, place=["judge"])
    assert score.value == pytest.approx((number - 1) / 9)
    assert score.usage["calls"] == 1


async def test_second_looks_are_expectations_too(start_server: ServerFactory) -> None:
    server = start_server()
    judge = JudgeReward(chat_model(server))
    scores = await judge.look_again("Why?", ["So."] * 2, BARE, place=["confirm"], looks=[1, 2])
    assert all(served.body["logprobs"] and served.body["temperature"] == 1.0 for served in server.served)
    assert all(9 * (score.value or 0.0) % 1 > 1e-6 for score in scores)
