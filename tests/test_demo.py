"""The first command, without a model: a simulation that says so, is worth watching, and takes time only then."""

from __future__ import annotations

import asyncio

import pytest
from langchain_core.messages import HumanMessage

from metascale.answers import extract
from metascale.cli.solve import UNKNOWN_QUESTION
from metascale.data import gsm8k, mmlu_pro
from metascale.models.resolve import SIMULATION_NOTICE
from metascale.models.simulated import NOTICE, SimulatedChatModel, _bare, knows
from tests.command_line import SIMULATED, invoke
from tests.conftest import QUESTION
from tests.virtual_time import in_virtual_time


def test_a_solution_is_worked_and_a_wrong_one_has_a_slip() -> None:
    item = gsm8k()[1]
    texts = {str(SimulatedChatModel(seed=seed).invoke(item["question"]).text) for seed in range(20)}
    answers = {text: extract(text) for text in texts}
    assert len(set(answers.values())) > 1
    for text, answer in answers.items():
        assert text.startswith(NOTICE)
        assert "It takes 2/2=1 bolt of white fiber" in text
        assert f"2+1={answer} bolts" in text
        assert text.endswith(f"#### {answer}")
        assert "<<" not in text


def test_what_the_simulation_draws_does_not_depend_on_how_it_words_a_solution() -> None:
    text = str(SimulatedChatModel(seed=1).invoke(QUESTION).text)
    assert _bare(text) == _bare(_bare(text)) != text
    assert _bare(f"Before.\n{text}\nAfter.") == f"Before.\n{_bare(text)}\nAfter."
    assert _bare("No solution.\n#### 3") == "No solution.\n#### 3"


def test_only_a_demonstration_takes_time() -> None:
    async def seconds(model: SimulatedChatModel) -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await model.ainvoke([HumanMessage(QUESTION)])
        return loop.time() - began

    assert in_virtual_time(lambda: seconds(SimulatedChatModel())) < 0.01
    assert 50 <= in_virtual_time(lambda: seconds(SimulatedChatModel(latency=100))) <= 151


@pytest.mark.parametrize(("question", "known"), [(QUESTION, True), ("What is love?", False)])
def test_a_question_of_ones_own_gets_a_plain_statement_and_a_way_on(question: str, *, known: bool) -> None:
    assert knows(question) == known
    done = invoke("solve", question, "--budget", "1")
    assert (done.exit_code, done.stderr.splitlines()[0]) == (0, SIMULATION_NOTICE if known else UNKNOWN_QUESTION)
    assert NOTICE in done.stdout
    named = invoke("solve", question, *SIMULATED, "--budget", "1").stderr
    assert not {SIMULATION_NOTICE, UNKNOWN_QUESTION} & set(named.splitlines())
    for way in ("--model gguf:FILE", "--base-url http://localhost:11434/v1", "OPENAI_API_KEY"):
        assert way in UNKNOWN_QUESTION


def test_it_knows_the_questions_that_ship() -> None:
    assert all(knows(item["question"]) for item in gsm8k()[:50])
    assert not knows(mmlu_pro()[0]["question"]), "an exam's question needs its options"
