"""Recorded samples with token probabilities: what tells right from wrong, and what choosing by it gains."""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.pieces import judged, summarised, with_pieces
from metascale.bandits import RoundRobin
from metascale.cli.app import app
from metascale.errors import ModelSetupError
from metascale.evals.judges.signals import combined, measure_signals
from metascale.evals.policies.arms import COMPOSED, measure_arms
from metascale.evals.policies.choosing import FITTED, MAJORITY, Chosen, choose_ways, right_of
from metascale.evals.policies.searching import (
    BEST_OF_N,
    CISC,
    MIXED,
    SELF_CONSISTENCY,
    VOTES,
    Method,
    recorded_rewards,
    replay_search,
    search,
)
from metascale.evals.recordings import (
    CERTAINTY,
    DIGIT,
    P_TRUE,
    VERDICT,
    Recordings,
    RecordingsError,
    is_recordings,
    only_arms,
    read_recordings,
)
from metascale.evals.statistics import Interval
from metascale.models import RecordedChatModel

TOLD = {
    "question_id": "q",
    "question": "What is 2+2?",
    "arm": "chain_of_thought",
    "sample": 0,
    "gold": "4",
    "text": "#### 4",
    "tokens": 2,
    "logprobs": [-0.1, -0.2],
    "pieces": ["####", " 4"],
}
REAL = Path(__file__).parent / "data" / "recordings" / "certainty_gsm8k_qwen15.jsonl.gz"
SHIPPED = Path(__file__).parents[1] / "benchmarks/recordings/gsm8k_qwen15"


def write(path: Path, *rows: dict[str, Any]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


def row(question: int, arm: str, answer: str | None, sure: float, **other: Any) -> dict[str, Any]:
    certainty = {"tokens": 9, "mean": sure, "lowest": sure, "tail": sure, "numbers": sure}
    return {"question_id": f"q{question}", "arm": arm, "gold": "4", "answer": answer, "certainty": certainty, **other}


@pytest.fixture(scope="module")
def real() -> Recordings:
    """Qwen2.5-Coder-1.5B on 48 questions of GSM8K."""
    return read_recordings(REAL)


def of(found: list[Chosen], way: str, samples: int) -> Chosen:
    return next(one for one in found if (one.way, one.samples) == (way, samples))


# --- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["samples.jsonl", "samples.jsonl.gz"])
def test_a_file_of_texts_and_token_lists_is_read(tmp_path: Path, name: str) -> None:
    sample = {"question_id": "a", "arm": "cot", "gold": "4", "tokens": 3, "logprobs": [-0.5, -1.0, -3.0]}
    path = write(
        tmp_path / name,
        {
            **sample,
            "sample": 0,
            "text": "So 2+2 is 4.\n#### 4",
            "pieces": ["So", " is", " 4"],
            "yes": 0.9,
            "digit": 4.5,
        },
        {**sample, "sample": 1, "text": "It is hard.", "verdicts": [2, 4], "verdict_tokens": 60},
        {**sample, "sample": 2, "text": "#### 4.0", "logprobs": None},
    )
    found = read_recordings(path)
    assert is_recordings(path)
    assert found.right.tolist() == [True, False, True]
    assert found.answer.tolist() == [0, -1, 0]
    assert found.signals["numbers"][:2] == pytest.approx([(-3 + 4 * -1.5) / 5, -1.5])
    assert np.isnan(found.signals[CERTAINTY]).tolist() == [False, False, True]
    assert found.signals[P_TRUE][0] == pytest.approx(np.log(9))
    assert found.signals[DIGIT][0] == pytest.approx(0)
    assert found.signals[VERDICT][1] == pytest.approx(np.log(0.15 / 0.85)), "the first verdict"
    assert found.signal_tokens[VERDICT] == 30


def test_without_the_tokens_nothing_is_said_of_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "samples.jsonl", {**row(0, "a", "4", -1), "certainty": None, "logprobs": [-1.0, -2.0]})
    assert "numbers" not in read_recordings(path).signals
    for command in (["judge", "--recordings"], ["replay"]):
        said = CliRunner().invoke(app, ["bench", *command, str(path)])
        assert said.exit_code == 0, said.output
        assert "without the tokens" in said.output
    assert read_recordings(REAL).notes == []


def test_verdicts_of_a_file_of_their_own_are_added(tmp_path: Path) -> None:
    samples = write(tmp_path / "samples.jsonl", row(0, "a", "4", -1, sample=0), row(0, "a", "5", -1, sample=1))
    place = {"question_id": "q0", "arm": "a", "sample": 1, "tokens": 50}
    later = [{**place, "repeat": 2, "score": None}, {**place, "repeat": 1, "score": 3}]
    verdicts = write(tmp_path / "v.jsonl", *later, {**place, "repeat": 0, "score": 8})
    found = read_recordings(samples, verdicts)
    assert found.signals[VERDICT][1] == pytest.approx(np.log(3)), "the first verdict"
    assert np.isnan(found.signals[VERDICT][0])
    assert found.signal_tokens[VERDICT] == 50


@pytest.mark.parametrize(
    "broken",
    [
        {"certainty": 3},
        {"yes": "often"},
        {"yes": 1.2},
        {"certainty": None, "logprobs": "x"},
        {"verdicts": 7},
        {"verdicts": [0.3]},
        {"tokens": "many"},
        {"gold": None},
    ],
)
def test_a_row_of_another_form_is_refused_in_one_line(tmp_path: Path, broken: dict[str, Any]) -> None:
    path = write(tmp_path / "samples.jsonl", row(0, "a", "4", -1), {**row(0, "a", "4", -1), **broken})
    with pytest.raises(ModelSetupError, match=rf"samples.jsonl, line 2: {next(reversed(broken))}"):
        read_recordings(path)
    result = CliRunner().invoke(app, ["bench", "replay", str(path)])
    assert result.exit_code == 2


@pytest.mark.parametrize(
    ("broken", "key"),
    [
        ({"pieces": ["4"]}, "'pieces' and 'logprobs' differ in length: 1 and 2"),
        ({"pieces": []}, "'pieces' and 'logprobs' differ in length: 0 and 2"),
        ({"logprobs": []}, "'pieces' and 'logprobs' differ in length: 2 and 0"),
        ({"logprobs": [-0.1, None]}, "logprobs.1"),
        ({"logprobs": [-0.1, float("nan")]}, "logprobs.1"),
        ({"logprobs": [float("-inf"), -0.1]}, "logprobs.0"),
        ({"logprobs": [-0.1, 0.5]}, "logprobs.1"),
        ({"logprobs": ["-0.1", -0.1]}, "logprobs.0"),
        ({"pieces": ["4", 4]}, "pieces.1"),
        ({"yes": float("nan")}, "yes"),
        ({"sample": "first"}, "sample"),
        ({"tokens": 1.5}, "tokens"),
    ],
)
def test_the_replay_and_the_recorded_model_refuse_the_same_rows(
    tmp_path: Path, broken: dict[str, Any], key: str
) -> None:
    path = write(tmp_path / "samples.jsonl", TOLD, {**TOLD, **broken})
    with pytest.raises(ModelSetupError, match=rf"^samples.jsonl, line 2: {key}"):
        read_recordings(path)
    with pytest.raises(ModelSetupError, match=rf"^samples.jsonl, line 2: {key}"):
        RecordedChatModel(path=path)
    replayed = CliRunner().invoke(app, ["bench", "replay", str(path)])
    assert (replayed.exit_code, "samples.jsonl, line 2: " in replayed.output) == (2, True)


def test_the_replay_and_the_recorded_model_accept_the_same_rows(tmp_path: Path) -> None:
    rows = [
        TOLD,
        {**TOLD, "text": "", "tokens": 0, "logprobs": [], "pieces": []},
        {**TOLD, "logprobs": None, "pieces": None},
        {**TOLD, "logprobs": [-0.1, 1e-6], "pieces": None, "sample": None},
        {**TOLD, "arm": 7, "text": 4},
    ]
    path = write(tmp_path / "samples.jsonl", *rows)
    found = read_recordings(path)
    assert np.isnan(found.signals[CERTAINTY]).tolist() == [False, True, True, False, False]
    assert found.signals["tail"][3] == pytest.approx(-0.05), "what rounding lifted above 0 counts as 0"
    assert RecordedChatModel(path=path).strategies == found.arms == ["chain_of_thought", "7"]
    assert CliRunner().invoke(app, ["bench", "replay", str(path), "--budget", "2"]).exit_code == 0


def test_a_summary_of_certainty_is_finite(tmp_path: Path) -> None:
    path = write(tmp_path / "samples.jsonl", row(0, "a", "4", float("nan")))
    with pytest.raises(ModelSetupError, match=r"samples.jsonl, line 1: certainty.mean"):
        read_recordings(path)


def test_a_row_needs_an_answer(tmp_path: Path) -> None:
    path = write(tmp_path / "samples.jsonl", {"question_id": "q", "arm": "a", "gold": "4"})
    with pytest.raises(ModelSetupError, match=r"line 1: .*neither 'text' nor 'answer'"):
        read_recordings(path)


@pytest.mark.parametrize(
    ("gold", "answer"),
    [("18", 18), (18, "18"), (18, 18.0), ("1,000", "1,000"), ("B", "(B)"), ("x^2", "x^2"), (True, True)],
)
def test_golds_and_answers_are_compared_in_one_form(tmp_path: Path, gold: object, answer: object) -> None:
    path = write(tmp_path / "samples.jsonl", {"question_id": 1, "arm": "a", "gold": gold, "answer": answer})
    assert read_recordings(path).right.tolist() == [True]


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    whole = write(tmp_path / "samples.jsonl.gz", row(0, "a", "4", -1)).read_bytes()
    for damaged in (whole[:-12], b"no archive", whole[:20] + b"\0" * 20):
        (tmp_path / "samples.jsonl.gz").write_bytes(damaged)
        with pytest.raises(ModelSetupError, match="cannot read"):
            read_recordings(tmp_path / "samples.jsonl.gz")


def test_arms_are_chosen_by_name(real: Recordings) -> None:
    cot = only_arms(real, ["chain_of_thought"])
    assert len(cot.right) == 48 * 16
    assert only_arms(real, []) is real
    with pytest.raises(RecordingsError, match=r"no arm 'cto'.*chain_of_thought"):
        only_arms(real, ["cto"])


def test_tokens_are_added_where_a_text_is_split_as_it_was_written(tmp_path: Path) -> None:
    place = {"question_id": "a", "arm": "cot", "gold": "4"}
    rows = [{**place, "sample": n, "text": "So 4", "logprobs": [-1.0] * n} for n in (1, 2)]
    whole, split = (with_pieces(row, lambda text: text.split()) for row in rows)
    assert "pieces" not in whole
    assert split["pieces"] == ["So", "4"]
    verdict = {**place, "sample": 2, "score": 7, "tokens": 30}
    written = write(tmp_path / "v.jsonl", verdict, {**verdict, "score": None}, {**verdict, "score": 9})
    short = [summarised(row) for row in judged([whole, split], written)]
    assert [row.get("verdicts") for row in short] == [None, [7, 9]]
    assert "text" not in short[1]
    raw, summary = (write(tmp_path / name, *rows) for name, rows in [("raw", [whole, split]), ("short", short)])
    for read in (read_recordings(raw, written), read_recordings(summary)):
        assert read.right.tolist() == [True, True]
        assert read.signals["mean of all tokens"].tolist() == [-1, -1]
        assert read.signal_tokens[VERDICT] == 30


# --- signals -------------------------------------------------------------------------------------------------------


def test_a_signal_is_compared_within_questions_only(tmp_path: Path) -> None:
    rows = [row(0, "a", "4", -1.0), row(0, "a", "5", -2.0), row(0, "b", None, -0.5), row(1, "a", "4", -9.0)]
    rows += [row(1, "b", "7", -8.0), row(2, "a", "4", -3.0)]
    sure = {s.name: s for s in measure_signals(read_recordings(write(tmp_path / "s.jsonl", *rows)))}[CERTAINTY]
    assert sure.all_answers is not None
    assert sure.votes is not None
    assert sure.same_arm is not None
    assert (sure.all_answers.questions, sure.all_answers.pairs, sure.all_answers.auc) == (2, 3, 0.25)
    assert (sure.votes.pairs, sure.votes.auc) == (2, 0.5)
    assert (sure.same_arm.pairs, sure.same_arm.auc) == (1, 1)


def test_the_mean_of_several_verdicts_is_measured_beside_the_first_of_them(tmp_path: Path) -> None:
    """The first verdict prefers the wrong answer and the next two the right one; a third answer has one verdict."""
    rows = [row(1, "a", answer, 0, sample=sample) for sample, answer in enumerate(("4", "5", "5"))]
    samples = write(tmp_path / "s.jsonl", *rows)
    scores = {0: (3, 9, 9), 1: (5, 4, 4), 2: (8,)}
    looks = [
        {"question_id": "q1", "arm": "a", "sample": sample, "repeat": repeat, "score": score}
        for sample, found in scores.items()
        for repeat, score in enumerate(found)
    ]
    measured = measure_signals(read_recordings(samples, write(tmp_path / "v.jsonl", *looks)))
    areas = {s.name: (s.answers, s.votes and s.votes.auc) for s in measured if s.name.endswith(("verdict", "verdicts"))}
    assert areas == {"verdict": (3, 0.0), "first of 3 verdicts": (2, 0.0), "mean of 3 verdicts": (2, 1.0)}
    other_arm = write(tmp_path / "two.jsonl", *rows, row(1, "b", "4", 0), row(1, "b", "5", 0, sample=1))
    both = read_recordings(other_arm, tmp_path / "v.jsonl")
    assert not any("verdicts" in s.name for s in measure_signals(only_arms(both, ["b"])))
    only_first = write(tmp_path / "w.jsonl", *[look for look in looks if look["repeat"] == 0])
    assert not any("verdicts" in s.name for s in measure_signals(read_recordings(samples, only_first)))


def test_a_combination_is_fitted_to_other_questions(tmp_path: Path) -> None:
    """On noise a combination that saw its own questions would do better than a coin, and a cross-fitted one not."""
    rng = np.random.default_rng(1)
    rows = [
        {
            **row(q, "a", str(rng.choice(["4", "5"])), 0),
            "certainty": dict(zip(KEYS, [9, *rng.normal(size=5)[1:]], strict=True)),
        }
        for q in range(40)
        for _ in range(6)
    ]
    found = read_recordings(write(tmp_path / "noise.jsonl", *rows))
    scores = combined(found, ["mean of all tokens", "lowest window", "tail", "numbers"])
    areas = {s.name: s.votes for s in measure_signals(found)}
    together = areas["certainty, all combined"]
    assert together is not None
    assert together.auc < 0.55
    for question in range(40):
        own = found.question == question
        assert scores[own].sum() == pytest.approx(0, abs=1e-9)


KEYS = ("tokens", "mean", "lowest", "tail", "numbers")


def test_on_real_answers_numbers_tell_more_than_all_tokens(real: Recordings) -> None:
    areas = {signal.name: signal for signal in measure_signals(real)}
    for name, low, high in [
        ("mean of all tokens", 0.63, 0.69),
        ("numbers", 0.73, 0.79),
        (CERTAINTY, 0.73, 0.79),
        (P_TRUE, 0.45, 0.55),
        (VERDICT, 0.55, 0.66),
        ("certainty, all combined", 0.74, 0.80),
    ]:
        found = areas[name].votes
        assert found is not None
        assert low < found.auc < high, name
        assert found.interval.low < found.auc < found.interval.high
    mean, numbers = areas["mean of all tokens"].same_arm, areas["numbers"].same_arm
    assert mean is not None
    assert numbers is not None
    assert numbers.auc > mean.auc + 0.07


# --- choosing ------------------------------------------------------------------------------------------------------


def test_answers_that_tie_share_the_win_and_unmarked_ones_have_no_vote(tmp_path: Path) -> None:
    rows = [row(0, "a", "4", -1), row(0, "a", "5", -1), row(0, "a", None, -1), row(0, "a", None, -1)]
    found = read_recordings(write(tmp_path / "s.jsonl", *rows))
    drawn = np.array([[0, 1, 2, 3]])
    assert right_of(found, drawn, np.ones((1, 4))) == 0.5
    assert right_of(found, drawn, np.array([[1.0, 0.9, 9.0, 9.0]])) == 1
    assert right_of(found, np.array([[2, 3]]), np.ones((1, 2))) == 0


def test_all_arms_offer_equally_many_samples(tmp_path: Path) -> None:
    rows = [row(0, "good", "4", -1), *[row(0, "bad", "5", -1)] * 9]
    found = choose_ways(read_recordings(write(tmp_path / "s.jsonl", *rows)), [2, 4], draws=5)
    assert of(found, MAJORITY, 2).right == 0.5
    assert {one.samples for one in found} == {2}


def test_costs_are_those_of_the_signal(tmp_path: Path) -> None:
    answers = ["4", "5", "4", "4", "6", "4"]
    rows = [
        row(0, "a", answer, -1 - n / 10, sample=n, tokens=100, yes=0.5 + n / 20, verdicts=[3 + n], verdict_tokens=50)
        for n, answer in enumerate(answers)
    ]
    found = choose_ways(read_recordings(write(tmp_path / "s.jsonl", *rows)), [2, 4], draws=60)
    majority = {n: of(choose_ways(read_recordings(tmp_path / "s.jsonl"), [n], draws=60), MAJORITY, n) for n in (3, 4)}
    free, asked, judged = (of(found, f"votes by {name}", 2) for name in (CERTAINTY, P_TRUE, VERDICT))
    assert (free.calls, asked.calls, judged.calls) == (2, 4, 4)
    assert (free.tokens, asked.tokens, judged.tokens) == (200, 202, 300)
    assert asked.at_equal_calls == pytest.approx(majority[4].right)
    assert judged.at_equal_tokens == pytest.approx(majority[3].right)
    assert of(found, f"votes by {P_TRUE}", 4).at_equal_calls is None


def test_weighed_votes_beat_the_majority_of_real_answers(real: Recordings) -> None:
    names = (CERTAINTY, "mean of all tokens", "numbers", "tail")
    certain = replace(real, signals={name: real.signals[name] for name in names})
    found = choose_ways(certain, [2, 4, 8, 16, 32], draws=100)
    for way in (f"votes by {CERTAINTY}", FITTED):
        gains = [of(found, way, n).difference for n in (2, 4, 8, 16, 32)]
        assert gains[0] > 0.06
        assert gains[1] > 0.03
        assert gains[2] > 0.01
        assert min(gains) > 0
    alone = [of(found, f"best by {CERTAINTY}", n).difference for n in (8, 16, 32)]
    assert max(alone) < 0


# --- searching -----------------------------------------------------------------------------------------------------


def searched(found: list[Method], name: str, calls: int, reward: str = VOTES) -> Method:
    return next(one for one in found if (one.name, one.reward, one.calls) == (name, reward, calls))


def test_arms_are_compared_with_chain_of_thought_on_shared_questions(tmp_path: Path) -> None:
    rows = [
        *[row(question, "chain_of_thought", answer, -1) for question in range(4) for answer in ("4", "5")],
        *[row(question, name, "4", -1, origin="self_composed") for question in range(2) for name in ("m1", "m2")],
        row(0, "bad", "5", -1),
        row(0, "bad", None, -1),
    ]
    found = {one.arm: one for one in measure_arms(read_recordings(write(tmp_path / "s", *rows)), "chain_of_thought")}
    assert list(found) == [COMPOSED, "chain_of_thought", "bad"]
    assert (found[COMPOSED].questions, found[COMPOSED].samples) == (2, 4)
    assert [one.right for one in found.values()] == [1, 0.5, 0]
    assert [one.difference for one in found.values()] == [0.5, None, -0.5]
    assert not found[COMPOSED].tie
    assert measure_arms(read_recordings(tmp_path / "s"), None)[0].difference is None
    with pytest.raises(RecordingsError, match="'m1' is no baseline"):
        measure_arms(read_recordings(tmp_path / "s"), "m1")


def test_arms_are_composed_for_the_question_only_where_rows_say_so(tmp_path: Path) -> None:
    rows = [
        *[row(question, "m1", answer, -1, origin="fixed") for question in range(2) for answer in ("4", "5")],
        *[row(question, "m2", "4", -1) for question in range(2)],
        row(0, "m2", "5", -1, origin="self_composed"),
    ]
    path = write(tmp_path / "s", *rows)
    found = {one.arm: (one.samples, one.right) for one in measure_arms(read_recordings(path), "m1")}
    assert found == {"m1": (4, 0.5), "m2": (2, 1), COMPOSED: (1, 0)}
    only = only_arms(read_recordings(path), ["m2"])
    assert [one.samples for one in measure_arms(only, None)] == [2, 1]
    told = CliRunner().invoke(app, ["bench", "replay", str(path), "--cot", "m1", "--budget", "2", "--json"])
    assert [one["difference"] for one in json.loads(told.stdout)["arms"]] == [0.5, None, -0.5]


def test_the_composed_meta_thoughts_of_the_real_recording_are_one_arm() -> None:
    (found,) = measure_arms(read_recordings(SHIPPED / "composed.jsonl.gz"), None)
    assert (found.arm, found.questions, found.samples) == (COMPOSED, 24, 575)
    assert found.right == pytest.approx(0.407, abs=5e-4)


def test_searches_cost_what_their_reward_costs_and_use_it(tmp_path: Path) -> None:
    rows = [
        *[row(q, "chain_of_thought", "5", -1, verdicts=[3], yes=0.5) for q in range(4) for _ in range(16)],
        *[row(q, "good", "4", -1, verdicts=[9], yes=0.5) for q in range(4) for _ in range(8)],
        *[row(q, "poor", "6", -1, verdicts=[2], yes=0.5) for q in range(4) for _ in range(8)],
    ]
    found = read_recordings(write(tmp_path / "s", *rows))
    methods = replay_search(found, "chain_of_thought", calls=[8, 16], policies=["upper_tail"], draws=20, repeats=2)
    assert searched(methods, SELF_CONSISTENCY, 16).right == 0
    assert searched(methods, BEST_OF_N, 16).samples == 8
    judged_search = searched(methods, "upper_tail", 16, "judge")
    assert (judged_search.samples, judged_search.right, judged_search.difference) == (8, 1, 1)
    assert not judged_search.tie
    assert searched(methods, "upper_tail", 16, "p_true").samples == 8
    assert searched(methods, "upper_tail", 16, "agreement").samples == 16
    assert searched(methods, "upper_tail", 16, "agreement").right == 0


def test_a_search_draws_each_sample_once_and_goes_on_when_arms_are_exhausted(real: Recordings) -> None:
    own = np.flatnonzero(real.question == 0)
    arms = [own[real.arm[own] == arm] for arm in range(len(real.arms))]
    for reward in recorded_rewards(real).values():
        known = [arm[reward.known[arm]] for arm in arms]
        total = sum(map(len, known))
        drawn = search(RoundRobin(), known, [None] * len(known), reward, total, rng=np.random.default_rng(0))
        assert sorted(drawn) == sorted(np.concatenate(known).tolist())


def test_on_real_answers_mixing_arms_costs_and_certainty_helps_while_samples_are_few(real: Recordings) -> None:
    found = replay_search(real, "chain_of_thought", calls=[2], policies=["single"], draws=100, repeats=1)
    assert searched(found, MIXED, 2).difference < -0.03
    assert not searched(found, MIXED, 2).tie
    assert searched(found, CISC, 2).difference > 0.03
    assert {one.questions for one in found if one.reward == VOTES} == {48, 15}


def test_the_commands_print_tables_and_json(tmp_path: Path) -> None:
    rows = [
        row(q, arm, answer, -1 - n / 10, sample=n, tokens=100, yes=0.5)
        for q in range(3)
        for arm in ("a", "b")
        for n, answer in enumerate(["4", "5", None])
    ]
    path = write(tmp_path / "s.jsonl", *rows)
    runner = CliRunner(env={"COLUMNS": "200"})
    replayed = runner.invoke(app, ["bench", "replay", str(path), "--budget", "2", "--arm", "a", "--repeats", "20"])
    assert replayed.exit_code == 0, replayed.output
    assert "votes by certainty" in replayed.output
    assert "SIMULATED" not in replayed.output
    in_json = runner.invoke(app, ["bench", "replay", str(path), "--budget", "2", "--repeats", "20", "--json"])
    first = json.loads(in_json.stdout)["found"][0]
    assert (first["way"], first["samples"], first["questions"]) == (MAJORITY, 2, 3)
    options = ["--cot", "a", "--policy", "ucb", "--processes", "1", "--repeats", "20", "--budget", "2"]
    searches = runner.invoke(app, ["bench", "replay", str(path), *options])
    assert searches.exit_code == 0, searches.output
    assert "does the way of thinking matter?" in searches.output
    assert "reward agreement" in searches.output
    told = json.loads(runner.invoke(app, ["bench", "replay", str(path), *options, "--json"]).stdout)
    assert [one["arm"] for one in told["arms"]] == ["a", "b"]
    assert {one["reward"] for one in told["searches"]} == {VOTES, "agreement", "certainty", "p_true"}
    judged = runner.invoke(app, ["bench", "judge", "--recordings", str(path)])
    assert judged.exit_code == 0, judged.output
    assert "P(True)" in judged.output
    signals = json.loads(runner.invoke(app, ["bench", "judge", "--recordings", str(path), "--json"]).stdout)["signals"]
    interval = next(signal for signal in signals if signal["name"] == CERTAINTY)["votes"]["interval"]
    assert Interval(**interval).low <= Interval(**interval).high if isinstance(interval, dict) else len(interval) == 2
    assert runner.invoke(app, ["bench", "replay", str(path), "--arm", "c"]).exit_code == 2
    assert runner.invoke(app, ["bench", "judge", "--recordings", str(tmp_path / "none")]).exit_code == 2


def test_the_documentation_gives_the_gain_over_plain_votes_that_the_replay_finds() -> None:
    """On the recorded questions and on those that nothing was tuned on; the README rounds the latter."""
    top = Path(__file__).parents[1]
    page = (top / "docs/reference/real-model.md").read_text(encoding="utf-8")
    readme = " ".join((top / "README.md").read_text(encoding="utf-8").split())
    printed = re.findall(r"^\| chain of thought, votes by certainty \| (.+) \|$", page, re.MULTILINE)
    gains = []
    for folder, line in zip(("gsm8k_qwen15", "gsm8k_qwen15_held_out"), printed, strict=True):
        recorded = read_recordings(top / "benchmarks/recordings" / folder / "samples.jsonl.gz", None)
        methods = replay_search(recorded, "chain_of_thought", policies=["single"], repeats=1)
        votes = [one for one in methods if one.name == CISC]
        gains = [f"{100 * one.difference:+.1f}" for one in votes]
        spans = [" to ".join(f"{100 * end:+.1f}" for end in one.interval) for one in votes]
        ties = [" =" * one.tie for one in votes]
        assert [f"{a} ({b}){c}" for a, b, c in zip(gains, spans, ties, strict=True)] == line.split(" | ")
    few = [f"{float(gain):.0f}" for gain in gains[:3]]
    assert f"gained [{few[0]}, {few[1]} and {few[2]} points](" in readme
