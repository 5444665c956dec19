"""Whether a judge can judge: measured on labelled material, with judges whose faults are known."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from metascale import MetaScaleSettings, ModelSetupError, Score, prompts
from metascale.data import Chain, JudgedPair, bigbench_mistake, llmbar_pairs
from metascale.evals.judges.mistakes import combined_score
from metascale.evals.judges.statistics import correlation_in_pairs, matthews, spread
from metascale.evals.judges.trial import Trial, drawn_chains, drawn_pairs, planned_calls, try_judge
from metascale.evals.statistics import wilson
from metascale.models import MeteredModel
from metascale.rewards import JudgeReward, PanelReward
from metascale.settings import PanelMember
from tests.command_line import SIMULATED, metascale
from tests.conftest import ServerFactory, chat_model
from tests.labelled import KNOWN, is_right
from tests.openai_server import Fault, OpenAIServer
from tests.recordings import Place, few, rows_of, whole
from tests.scripted import ScriptedModel, verdict

PAIRS = llmbar_pairs()[:6]
CHAINS = [
    *[chain for chain in bigbench_mistake() if chain.mistake_index is None][:3],
    *[chain for chain in bigbench_mistake() if chain.mistake_index is not None][:4],
]
Writes = Callable[[dict[str, str], str], str]


def test_the_spread_of_repeated_values() -> None:
    found = spread([[1, 2], [3, 4]])
    assert found == pytest.approx((0.5**0.5, 1.75**0.5, 1.75 / 2.25))
    uneven = spread([[1, 3], [5, 5, 8], [2]])
    middle, size = (4 + 18) / 5, 5 - 13 / 5
    outer = 2 * (2 - middle) ** 2 + 3 * (6 - middle) ** 2
    assert uneven is not None
    assert uneven.within == pytest.approx((8 / 3) ** 0.5)
    assert uneven.between == pytest.approx(((outer - 8 / 3) / size) ** 0.5)
    assert spread([[0.1] * 3, [0.7] * 3]) == (0.0, pytest.approx(0.6 / 2**0.5), 1.0)
    assert spread([[0.3, 0.3], [0.3, 0.3]]) == (0.0, 0.0, None)
    assert spread([[0.0, 1.0]]) == (0.5**0.5, None, None)
    assert spread([[0.1], []]) is None


@pytest.mark.parametrize(("place", "tolerance"), [(few, 0.2), (whole, 0.005)])
def test_the_spread_of_gpt4s_ratings(place: Place, tolerance: float) -> None:
    found = spread([row["judge_scores"] for row in rows_of(place("judge_noise_tot_creative.jsonl"))])
    assert found == pytest.approx((0.73, 1.75, 0.85), abs=tolerance)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1))
@hypothesis_settings(max_examples=100, deadline=None)
def test_matthews_is_the_correlation_of_yes_and_no(pairs: list[tuple[bool, bool]]) -> None:
    said, true = zip(*pairs, strict=True)
    varied = len(set(said)) == len(set(true)) == 2
    wanted = np.corrcoef(said, true)[0, 1] if varied else 0.0
    assert matthews(said, true) == pytest.approx(wanted, abs=1e-9)


def test_correlation_of_pairs_without_an_order() -> None:
    assert correlation_in_pairs([(0, 0), (1, 1), (0, 0)]) == pytest.approx(1)
    assert correlation_in_pairs([(0, 1), (1, 0), (0, 1)]) == pytest.approx(-1)
    assert correlation_in_pairs([(0, 2), (1, 3), (4, 2)]) == pytest.approx(
        statistics.correlation([0, 1, 4, 2, 3, 2], [2, 3, 2, 0, 1, 4])
    )
    assert correlation_in_pairs([(1, 1)] * 5) is None
    assert correlation_in_pairs([(0, 1), (1, 0)]) is None


def test_the_combined_score_is_that_of_mr_gsm8k() -> None:
    assert combined_score(0.5, 0.4, 0.2) == pytest.approx(0.1 + 0.12 + 0.1)
    assert combined_score(-0.5, 0.4, 0.2) == pytest.approx(0.22)


def judging(write: Writes) -> Callable[[str, int, dict[str, Any]], Fault | None]:
    """A server's script: `write` gets the material of a request and its system message."""

    def script(_: str, __: int, body: dict[str, Any]) -> Fault:
        system, *rest = (message["content"] for message in body["messages"])
        return Fault(text=write(dict(prompts.fenced("\n".join(rest))), system))

    return script


def mistake(chain: Chain) -> str:
    wrong = chain.mistake_index is not None
    found = {"right": not wrong, "step": chain.mistake_index + 1 if chain.mistake_index is not None else None}
    return json.dumps({"analysis": "Checked.", **found, "reason": "It is false." if wrong else ""})


def perfect(material: dict[str, str], system: str) -> str:
    if "explanation" in material:
        assert f"step {KNOWN[material['task'], material['steps']].mistake_index + 1}" in system
        return json.dumps({"analysis": "Compared.", "right": True})
    if "steps" in material:
        return mistake(KNOWN[material["task"], material["steps"]])
    return verdict(10 if is_right(material) else 1)


async def trial(server: OpenAIServer, *, reasons: bool = False, **changes: Any) -> Trial:
    reward = JudgeReward(chat_model(server))
    model = MeteredModel(chat_model(server))
    options = {"repeats": 2, "model": model, "reason_judge": model if reasons else None, **changes}
    settings = options.pop("settings", MetaScaleSettings())
    return await try_judge(reward, PAIRS, CHAINS, settings, **options)


async def test_a_perfect_judge(start_server: ServerFactory) -> None:
    server = start_server(script=judging(perfect))
    found = await trial(server, reasons=True)
    assert found.pairs is not None
    assert (found.pairs.accuracy, found.pairs.same_winner, found.pairs.ties, found.pairs.unscored) == (1, 1, 0, 0)
    assert found.pairs.interval == wilson(6, 6)
    assert set(found.pairs.subsets) == {"Natural"}
    assert found.chains is not None
    assert found.chains.reliability is not None
    assert (found.chains.auc, found.chains.weight) == (1, pytest.approx(1))
    assert found.mistakes is not None
    assert (found.mistakes.mcc, found.mistakes.step, found.mistakes.reason) == (1, 1, 1)
    assert found.mistakes.score == pytest.approx(1)
    assert not found.simulation
    assert not found.problems

    pasted = PanelMember.model_validate({"reliability": json.loads(found.model_dump_json())["chains"]["reliability"]})
    assert pasted.reliability == found.chains.reliability

    plan = planned_calls(
        JudgeReward(chat_model(server)),
        PAIRS,
        CHAINS,
        repeats=2,
        model=MeteredModel(chat_model(server)),
        reason_judge=MeteredModel(chat_model(server)),
    )
    assert sum(plan.values()) == found.usage["calls"] == len(server.served)
    assert found.usage["input_tokens"] == server.input_tokens


async def test_a_judge_that_gives_everything_the_same_score(start_server: ServerFactory) -> None:
    found = await trial(start_server(script=judging(lambda *_: verdict(7))), model=None)
    assert found.pairs is not None
    assert (found.pairs.accuracy, found.pairs.ties, found.pairs.same_winner) == (0.5, 12, 0)
    assert found.chains is not None
    assert (found.chains.auc, found.chains.weight) == (0.5, 0)
    assert found.repeats is not None
    assert (found.repeats.within, found.repeats.between, found.repeats.icc) == (0, 0, None)
    assert found.mistakes is None
    assert any("it has no preference" in note for note in found.notes)


async def test_a_list_judge_that_prefers_what_stands_first(start_server: ServerFactory) -> None:
    def first_is_best(material: dict[str, str], _: str) -> str:
        shown = [label for label in material if label.startswith("answer_")]
        said = [{"answer": n, "critique": "", "score": 9 if n == 1 else 4} for n in range(1, len(shown) + 1)]
        return json.dumps({"verdicts": said}) if shown else verdict(5)

    server = start_server(script=judging(first_is_best))
    found = await trial(server, model=None, settings=MetaScaleSettings(judge_at_once=2))
    assert found.pairs is not None
    assert (found.pairs.accuracy, found.pairs.same_winner, found.pairs.flipped) == (0.5, 0, 6)


async def test_repeats_that_are_copies_are_told(start_server: ServerFactory) -> None:
    def always_the_same(material: dict[str, str], _: str) -> str:
        return verdict(1 + len(material["answer"]) % 10)

    found = await trial(start_server(script=judging(always_the_same)), model=None, repeats=6)
    assert found.repeats is not None
    assert found.repeats.copies
    assert (found.repeats.within, found.repeats.icc, found.repeats.judgements) == (0, 1, 7 * len(CHAINS))
    assert found.repeats.same_wording == pytest.approx(1)
    assert found.repeats.other_wording == pytest.approx(1)
    assert any("adds no information" in note for note in found.notes)


async def test_a_judge_that_varies_is_measured_on_both_scales(start_server: ServerFactory) -> None:
    said = iter([4, 6] * 1000)
    found = await trial(start_server(script=judging(lambda *_: verdict(next(said)))), model=None, repeats=3)
    assert found.repeats is not None
    assert not found.repeats.copies
    assert found.repeats.within > 0
    assert found.repeats.within_of_10 == pytest.approx(9 * found.repeats.within)


async def test_mistakes_are_counted_as_mr_gsm8k_does(start_server: ServerFactory) -> None:
    wrong = [chain for chain in CHAINS if chain.mistake_index is not None]
    shifted = wrong[0].model_copy(update={"mistake_index": (wrong[0].mistake_index or 0) + 1})
    passed = wrong[1].model_copy(update={"mistake_index": None})
    believed = {chain.question: chain for chain in (*CHAINS, shifted, passed)}

    def fallible(material: dict[str, str], _: str) -> str:
        if "explanation" in material:
            return json.dumps({"analysis": "", "right": material["task"] == wrong[2].question})
        return mistake(believed[material["task"]]) if "steps" in material else verdict(5)

    found = (await trial(start_server(script=judging(fallible)), reasons=True, repeats=0)).mistakes
    assert found is not None
    assert (found.step, found.reason, found.unread) == (0.5, 0.25, 0)
    assert found.mcc == pytest.approx((3 * 3 - 1 * 0) / (4 * 3 * 3 * 4) ** 0.5)
    assert found.score == pytest.approx(combined_score(found.mcc, 0.5, 0.25))


async def test_ungraded_reasons_give_no_combined_score(start_server: ServerFactory) -> None:
    found = await trial(start_server(script=judging(perfect)), repeats=0)
    assert found.mistakes is not None
    assert (found.mistakes.step, found.mistakes.reason, found.mistakes.score) == (1, None, None)
    assert any("Reasons were not graded" in note for note in found.notes)


@pytest.mark.parametrize("fault", [Fault(401, "{}"), Fault(text="No idea.")])
async def test_a_judge_that_says_nothing_gets_a_report(start_server: ServerFactory, fault: Fault) -> None:
    found = await trial(start_server(script=lambda *_: fault), repeats=1)
    assert found.is_dead
    assert found.pairs is not None
    assert (found.pairs.accuracy, found.pairs.unscored) == (None, 12)
    assert found.problems
    assert any("cannot judge" in note for note in found.notes)
    assert "NaN" not in found.model_dump_json()


class Broken:
    """A reward of somebody else's, which does whatever it likes."""

    def __init__(self, answer: Callable[[int], list[Score]]) -> None:
        self.answer = answer

    def calls(self, new: int, earlier: int = 0) -> int:  # noqa: ARG002
        return 0

    async def score(self, _: str, answers: Sequence[str], *__: Any, **___: Any) -> list[Score]:
        return self.answer(len(answers))


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda count: [Score(float("nan"))] * count, "which is not in [0, 1]"),
        (lambda count: [Score(0.5)] * (count + 1), "scores for"),
        (lambda count: [Score(count / 0)], "ZeroDivisionError"),
    ],
)
async def test_any_reward_can_be_tried(answer: Callable[[int], list[Score]], says: str) -> None:
    found = await try_judge(Broken(answer), PAIRS, CHAINS, MetaScaleSettings())
    assert found.is_dead
    assert all(says in problem for problem in found.problems)


class Beside(Broken):
    """A relative reward: the longest answer is worth 1, the others nothing."""

    def __init__(self) -> None:
        pass

    async def score(self, _: str, answers: Sequence[str], *__: Any, **___: Any) -> list[Score]:
        return [Score(None, memo=len(answer)) for answer in answers]

    def values(self, memos: Sequence[Any]) -> list[float | None]:
        return [float(memo == max(memos)) for memo in memos]


async def test_a_relative_reward_is_asked_for_values_of_both_outputs() -> None:
    pairs = [
        JudgedPair(pair_id=str(label), subset="own", prompt="?", output_1="long one", output_2="short", label=label)
        for label in (1, 1, 2)
    ]
    found = await try_judge(Beside(), pairs, CHAINS, MetaScaleSettings())
    assert found.pairs is not None
    assert (found.pairs.accuracy, found.pairs.same_winner) == (pytest.approx(2 / 3), 1)
    assert found.chains is None
    assert any("only compares answers" in note for note in found.notes)


async def test_a_panel_is_tried_on_single_chains_too() -> None:
    model = ScriptedModel(write=lambda _kind, number, _messages: verdict(8 if number % 2 else 3))
    panel = PanelReward.of_wordings(model)
    found = await try_judge(panel, PAIRS, CHAINS, MetaScaleSettings(), repeats=1)
    assert found.chains is not None
    assert found.chains.unscored == 0
    assert found.repeats is not None
    assert found.usage["calls"] == 3 * (4 * len(PAIRS) + len(CHAINS)) + len(CHAINS)


def test_material_is_drawn_by_the_seed() -> None:
    pairs, chains = llmbar_pairs(), bigbench_mistake()
    assert drawn_pairs(pairs, 20, 1) == drawn_pairs(pairs, 20, 1) != drawn_pairs(pairs, 20, 2)
    assert drawn_pairs(pairs, None, 1) == pairs
    assert drawn_chains(chains, 500, 1) == chains
    for limit, right in ((1, 0), (2, 1), (3, 1), (50, 10)):
        drawn = drawn_chains(chains, limit, 3)
        assert (len(drawn), sum(chain.mistake_index is None for chain in drawn)) == (limit, right)


def test_the_command_reports_on_standard_output() -> None:
    done = metascale("bench", "judge", *SIMULATED, "--limit", "3", "--yes", "--seed", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("SIMULATION")
    for part in ("Pairs, each in both orders", "Chains of thought", "judged again", "The first mistake", "Spent:"):
        assert part in done.stdout
    assert "27 model requests in all" in done.stderr


def test_the_command_prints_one_json_object(start_server: ServerFactory) -> None:
    server = start_server(script=judging(perfect))
    options = ("--model", "openai:judge", "--base-url", server.url, "--reason-judge", "openai:grader")
    done = metascale("bench", "judge", *options, "--limit", "4", "--repeats", "1", "--json", "--yes")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["judge"], found["simulation"]) == ("judge on judge", False)
    assert found["pairs"]["accuracy"] == found["chains"]["auc"] == found["mistakes"]["reason"] == 1
    assert {served.body["model"] for served in server.served} == {"judge", "grader"}
    assert f"{len(server.served):,} model requests in all" in done.stderr


def test_a_trial_does_not_start_unasked() -> None:
    done = metascale("bench", "judge", *SIMULATED, stdin=b"")
    assert (done.returncode, done.stdout) == (2, "")
    assert "1,524 model requests in all" in done.stderr
    assert "nothing was started" in done.stderr


def test_a_dead_judge_is_reported_and_fails(start_server: ServerFactory) -> None:
    server = start_server(script=lambda *_: Fault(401, '{"error": {"message": "Incorrect API key provided"}}'))
    options = ("--model", "openai:judge", "--base-url", server.url, "--limit", "2", "--yes")
    done = metascale("bench", "judge", *options)
    assert done.returncode == 1
    assert "this judge cannot judge" in done.stdout
    assert "Incorrect API key provided" in done.stdout
    assert done.stderr.splitlines()[-1] == "metascale: nothing could be judged"


PAIR = {"pair_id": "p", "subset": "s", "prompt": "?", "output_1": "a", "output_2": "b", "label": 1}
CHAIN = {"question_id": "c", "task": "t", "question": "?", "steps": ["one", "two"], "mistake_index": None}


@pytest.mark.parametrize(
    ("option", "text", "says"),
    [
        ("--pairs", "{", "own.jsonl, line 1: not JSON"),
        ("--pairs", "", "own.jsonl has no row with the key 'pair_id'"),
        ("--pairs", json.dumps(PAIR) + "\n" + json.dumps({**PAIR, "label": 3}), "own.jsonl, line 2: label"),
        ("--pairs", json.dumps({"pair_id": "p"}), "own.jsonl, line 1: the key 'subset' is missing"),
        ("--mistakes", json.dumps({**CHAIN, "mistake_index": 2}), "mistake_index 2 is out of range: there are 2 steps"),
        ("--mistakes", json.dumps({**CHAIN, "steps": []}), "own.jsonl, line 1: steps"),
        ("--pairs", None, "cannot read"),
    ],
)
def test_bad_files_are_refused_with_their_line(tmp_path: Path, option: str, text: str | None, says: str) -> None:
    path = tmp_path / "own.jsonl"
    if text is not None:
        path.write_text(text)
    read = {"--pairs": llmbar_pairs, "--mistakes": bigbench_mistake}[option]
    with pytest.raises(ModelSetupError) as refusal:
        read(path)
    assert says in str(refusal.value)


def test_a_bad_file_gets_one_line(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text(json.dumps(PAIR) + "\n" + json.dumps({**PAIR, "label": 3}))
    done = metascale("bench", "judge", *SIMULATED, "--pairs", str(path), "--yes")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("metascale: own.jsonl, line 2: label")


def test_own_material_is_read(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text("\n".join(map(json.dumps, [{"canary": "…"}, PAIR, {**PAIR, "label": 2, "note": "x"}])))
    assert [pair.label for pair in llmbar_pairs(path)] == [1, 2]
    with pytest.raises(ModelSetupError, match="has no row with the key 'question_id'"):
        bigbench_mistake(path)


def test_a_model_must_be_named() -> None:
    assert "no model is named" in metascale("bench", "judge").stderr
    done = metascale("bench", "judge", *SIMULATED, "--reward", "pannel", "--yes")
    assert (done.returncode, done.stderr) == (2, "metascale: unknown reward 'pannel'; did you mean 'panel'?\n")
    done = metascale("bench")
    assert (done.returncode, done.stderr) == (2, "metascale: a benchmark needs a model: --model openai:NAME\n")
