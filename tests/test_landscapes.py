"""The yardstick of policies: its definitions hold, and its command line says what it measured."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from benchmarks.policies import contest as policy_bench
from benchmarks.policies.__main__ import app
from benchmarks.policies.contest import (
    ORACLE,
    UNIFORM,
    Contest,
    LandscapeError,
    contest,
    evolution_rows,
    mean_difference,
    mean_quality,
    mean_share,
    parse_landscape,
    quality_rows,
    run,
    share,
    share_rows,
)
from benchmarks.policies.entrants import ABMCTSA, ALL_POLICIES, ANYTIME, Bandit, Search, Uniform, bandits
from benchmarks.policies.landscapes import (
    ARMS,
    LANDSCAPES,
    Landscape,
    Normal,
    Task,
    chosen_qualities,
    expected_qualities,
    oracle_arms,
    play,
)
from benchmarks.policies.second_looks import Answer, Drawn, sample, sample_and_confirm
from metascale.bandits import UCB, Arm, RoundRobin, Single
from metascale.errors import UnknownNameError

BINARY = LANDSCAPES[6]


@dataclass(frozen=True)
class Cycle:
    """Every arm in its order: like round robin, without its dice."""

    def plan(self, arms: Sequence[Arm], size: int, rng: np.random.Generator, *, left: int) -> list[int]:  # noqa: ARG002
        return [(sum(arm.pulls for arm in arms) + i) % len(arms) for i in range(size)]


@dataclass(frozen=True)
class Greedy:
    """An oracle that knows the best arm."""

    arm: int

    def plan(self, arms: Sequence[Arm], size: int, rng: np.random.Generator, *, left: int) -> list[int]:  # noqa: ARG002
        return [self.arm] * size


def compare(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(app, arguments, env=environment)


def task(landscape: Landscape = LANDSCAPES[0], number: int = 0, depth: int = 16) -> Task:
    return Task.draw(landscape, (0, 0, number), depth)


@pytest.mark.parametrize("landscape", LANDSCAPES, ids=lambda one: one.name)
def test_qualities_and_rewards_are_in_their_range(landscape: Landscape) -> None:
    drawn = task(landscape, depth=64)
    for values in (drawn.quality, drawn.reward):
        assert values.shape == (ARMS, 64)
        assert values.min() >= 0
        assert values.max() <= 1
    if landscape.points:
        assert np.allclose(drawn.reward * (landscape.points - 1) % 1, 0)
    if landscape is BINARY:
        assert set(np.unique(drawn.quality)) <= {0.0, 1.0}


def test_the_same_choices_get_the_same_rewards() -> None:
    drawn = task(depth=8)
    alone = play(Greedy(3), drawn, 8)
    assert alone.arms == play(Single(3), drawn, 8).arms
    assert chosen_qualities(drawn, alone.arms, [8]) == [drawn.quality[3, int(drawn.reward[3].argmax())]]
    one_by_one, at_once = play(Cycle(), drawn, 8), play(Cycle(), drawn, 8, batch_size=4)
    assert one_by_one.arms == at_once.arms
    assert chosen_qualities(drawn, one_by_one.arms, [8]) == [drawn.quality[int(drawn.reward[:, 0].argmax()), 0]]


def test_a_deeper_or_later_task_changes_nothing_of_an_earlier_one() -> None:
    shallow, deep = task(depth=4), task(depth=64)
    assert np.array_equal(shallow.arms, deep.arms)
    assert shallow.uniform(4) == deep.uniform(64)[:4]
    assert deep.look(2, 1, 1) == deep.look(2, 1, 1)
    assert deep.look(2, 1, 1) != deep.look(2, 1, 2)
    few = run(contest(budgets=[8], tasks=3, policies=["ucb"]))
    more = run(contest(budgets=[8], tasks=5, policies=["ucb"]))
    for name, scores in few.items():
        assert np.array_equal(scores["ucb"].qualities, more[name]["ucb"].qualities[:, :3])


@pytest.mark.parametrize("landscape", [LANDSCAPES[1], LANDSCAPES[5], BINARY], ids=lambda one: one.name)
def test_the_expected_quality_is_that_of_many_plays(landscape: Landscape) -> None:
    arms = landscape.arms(np.random.default_rng(4))
    expected = expected_qualities(landscape, arms, [1, 16])
    rng, times = np.random.default_rng(5), 4_000
    for arm in range(3):
        quality = landscape.qualities(np.repeat(arms[arm : arm + 1], times, axis=0), rng, 16)
        best = quality[np.arange(times), landscape.judged(quality, rng).argmax(axis=1)]
        assert quality.mean() == pytest.approx(expected[0, arm], abs=4 * quality.std() / times**0.5)
        assert best.mean() == pytest.approx(expected[1, arm], abs=4 * best.std() / times**0.5 + 1e-3)


def test_the_oracle_plays_the_varied_arm_where_many_may_be_drawn() -> None:
    arms = np.array([[[0.55, 0.02], [0.5, 0.2]]])
    best = oracle_arms(LANDSCAPES[0], arms, [1, 32])
    assert best.tolist() == [[0], [1]]


def test_the_yardsticks_are_0_and_100_percent() -> None:
    drawn = Normal("apart", 0.03, None, 0.12, 0.05, 0.15)
    played = replace(contest(budgets=[16], tasks=60, policies=["ucb"]), landscapes=(drawn,))
    results = run(replace(played, entrants={"same": Uniform()}))
    assert share(results["apart"], "same", 0) == policy_bench.Estimate(0.0, 0.0)
    scores = {**results["apart"], "same": results["apart"][ORACLE]}
    assert share(scores, "same", 0).value == pytest.approx(1)
    assert share(scores, "same", 0).error == pytest.approx(0, abs=1e-9)
    assert scores[ORACLE].qualities.mean() > scores[UNIFORM].qualities.mean()


def test_standard_errors_shrink_and_cover() -> None:
    own = ["0.12,0.05,0.15,0.03"]
    results = run(contest(budgets=[16], tasks=400, policies=["ucb"], settings=own, seed=1))
    scores = results[own[0]]
    shares = []
    for first in range(0, 400, 50):
        part = {
            name: policy_bench.Scores(found.qualities[:, first : first + 50], found.seconds[first : first + 50])
            for name, found in scores.items()
        }
        shares.append(share(part, "ucb", 0))
    whole = share(scores, "ucb", 0)
    assert whole.error < 0.6 * np.mean([one.error for one in shares])
    scatter = float(np.std([one.value for one in shares], ddof=1))
    assert 0.4 < scatter / np.mean([one.error for one in shares]) < 2.2


def test_who_plays_fewer_tasks_is_measured_against_the_gap_of_all() -> None:
    own = ["0.12,0.05,0.15,0.03"]
    results = run(contest(budgets=[16], tasks=200, policies=["ucb"], settings=own))
    scores = dict(results[own[0]])
    whole = share(scores, "ucb", 0)
    scores["few"] = policy_bench.Scores(scores["ucb"].qualities[:, :50], scores["ucb"].seconds[:50])
    gap = scores[ORACLE].qualities.mean() - scores[UNIFORM].qualities.mean()
    gained = scores["ucb"].qualities[0, :50].mean() - scores[UNIFORM].qualities[0, :50].mean()
    few = share(scores, "few", 0)
    assert few.value == pytest.approx(gained / gap)
    assert few.error > whole.error


def test_anytime_policies_do_not_ask_how_much_is_left() -> None:
    arms = [Arm(2, (0.2 + 0.05 * k, 0.4)) for k in range(ARMS)]
    for name, policy in bandits().items():
        plans = [policy.plan(arms, 4, np.random.default_rng(0), left=left) for left in (4, 400)]
        if isinstance(policy, ANYTIME):
            assert plans[0] == plans[1], name
    assert set(ALL_POLICIES) <= set(bandits())
    with pytest.raises(UnknownNameError, match="did you mean 'ucb'"):
        bandits(["ucbb"])


@pytest.mark.parametrize("batch_size", [1, 3, 4])
def test_a_cut_of_a_long_run_is_a_short_run(batch_size: int) -> None:
    drawn = task(depth=16)
    cut = Bandit(UCB()).enter(drawn, [4, 8, 16], batch_size).qualities
    apart = [Bandit(UCB()).enter(drawn, [budget], batch_size).qualities[0] for budget in (4, 8, 16)]
    assert cut == apart


def test_processes_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_bench, "CHUNK", 2)
    played = contest(budgets=[8, 12], tasks=5, policies=["upper_tail"], settings=["0.1,0.1,0.1,0.1"], batch_size=4)
    alone, together = run(played), run(played, processes=2)
    for name in (UNIFORM, ORACLE, "upper_tail"):
        pair = [results["0.1,0.1,0.1,0.1"][name].qualities for results in (alone, together)]
        assert pair[0].shape == (2, 5)
        assert np.array_equal(*pair)


def test_a_better_policy_gets_a_larger_share() -> None:
    played = contest(budgets=[32], tasks=150, policies=["round_robin"], settings=["0.12,0.05,0.15,0.03"])
    results = run(replace(played, entrants={"ucb": Bandit(UCB()), "even": Bandit(RoundRobin())}))
    ucb, even = mean_share(results, "ucb", 0), mean_share(results, "even", 0)
    assert ucb.value - even.value > 3 * (ucb.error + even.error)
    gain = mean_difference(results, "ucb", "even", 0)
    assert gain.value == pytest.approx(mean_quality(results, "ucb", 0).value - mean_quality(results, "even", 0).value)
    rows = {row.name: row for row in share_rows(replace(played, entrants={"ucb": None, "even": None}), results)}
    assert rows["even"].worst.budget == 32
    assert rows["ucb"].pace.ratio == 1
    assert rows["ucb"].pace.microseconds > 0


def test_second_looks_keep_to_their_calls_and_never_invent_answers() -> None:
    spent = {"samples": 0, "looks": 0}
    rng = np.random.default_rng(0)

    def judge() -> float:
        spent["looks"] += 1
        return float(rng.random())

    def draw(size: int, left: int) -> Drawn:
        assert 1 <= size <= left
        spent["samples"] += size
        return Drawn([Answer(0.5, judge, [float(rng.random())]) for _ in range(size)])

    answer, looks = sample_and_confirm(draw, 64, 4)
    assert looks == spent["looks"] > 0
    assert 2 * spent["samples"] + looks <= 64
    assert answer.quality == 0.5


def test_a_second_look_helps_with_a_noisy_judge() -> None:
    played = contest(
        budgets=[64],
        tasks=40,
        policies=["round_robin"],
        settings=["0.0,0.1,0.1,0.15"],
        batch_size=8,
        confirm=["round_robin"],
    )
    assert isinstance(played.entrants["round_robin + confirm"], Search)
    rows = {row.name: row for row in quality_rows(played, run(played))}
    gain = rows["round_robin + confirm"].gain
    assert gain is not None
    assert gain[0].value > 2 * gain[0].error
    assert rows["round_robin"].gain is None


@pytest.mark.parametrize("spend", [sample, lambda *given: sample_and_confirm(*given)[0]])
def test_what_is_spent_beside_answers_is_not_spent_on_them(spend: Callable[..., Answer]) -> None:
    rng, spent = np.random.default_rng(0), {"samples": 0, "beside": 0}

    def draw(size: int, left: int) -> Drawn:
        size = min(size, (2 * left - 1) // 2)
        spent["samples"] += size
        spent["beside"] += 1
        return Drawn([Answer(0.5, lambda: None, [float(rng.random())]) for _ in range(size)], beside=1)

    spend(draw, 65, 4)
    assert spent["beside"] > 3
    assert 2 * spent["samples"] + spent["beside"] <= 65


@pytest.mark.parametrize("landscape", [LANDSCAPES[1], LANDSCAPES[6]], ids=["normal", "right or wrong"])
def test_a_child_depends_on_its_best_parent_and_chance_only(landscape: Landscape) -> None:
    parent = task(landscape, depth=400)
    child = parent.born([2, 5], 0.1, 0.0)
    best = max((2, 5), key=lambda arm: parent.arms[arm, 0])
    assert child.arms[-1, 0] == pytest.approx(min(1.0, parent.arms[best, 0] + 0.1))
    assert np.array_equal(child.quality[:-1], parent.quality)
    assert child.quality[-1].mean() == pytest.approx(child.arms[-1, 0], abs=0.06)
    assert np.array_equal(parent.born([2, 5], 0.1, 0.3).arms, parent.born([5, 2], 0.1, 0.3).arms)
    assert child.born([0], 0.0, 0.3).arms[-1, 0] != parent.born([0], 0.0, 0.3).arms[-1, 0]


def test_the_gate_keeps_more_of_what_good_children_bring_than_of_what_bad_ones_cost() -> None:
    played = contest(
        budgets=[64],
        tasks=60,
        policies=["ucb"],
        settings=["0.12,0.05,0.2,0.08"],
        batch_size=4,
        evolution=["0.05,0.08", "-0.1,0.03"],
    )
    good, bad = evolution_rows(played, run(played))
    assert good.always[0].value > 2 * good.always[0].error
    assert bad.always[0].value < -2 * bad.always[0].error
    assert good.kept[0] is not None
    assert bad.kept[0] is not None
    assert good.kept[0] > 0.6 > bad.kept[0]


@pytest.mark.parametrize("text", ["0.1", "a,b", "0,-1", "2,0.1", "nan,0", "0,0,0"])
def test_an_evolution_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(LandscapeError, match="DELTA"):
        contest(budgets=[4], tasks=2, evolution=[text])


def test_treequest_chooses_the_arms(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, float]] = []

    class Algorithm:
        """Goes wider twice, then always deeper from the first answer."""

        def init_tree(self) -> SimpleNamespace:
            return SimpleNamespace(tree=SimpleNamespace(get_node=lambda node: SimpleNamespace(state=node)))

        def ask(self, state: SimpleNamespace, actions: list[str]) -> tuple[SimpleNamespace, SimpleNamespace]:
            parent = told[0][0] if len(told) >= 2 else None
            action = actions[np.random.randint(len(actions))]  # noqa: NPY002
            return state, SimpleNamespace(action=action, node_to_expand=parent, trial_id=len(told))

        def tell(self, state: SimpleNamespace, trial: int, result: tuple[int, float]) -> SimpleNamespace:
            assert trial == len(told)
            told.append(result)
            return state

    module = ModuleType("treequest")
    module.ABMCTSA = Algorithm
    monkeypatch.setitem(sys.modules, "treequest", module)
    drawn = task(depth=6)
    one = ABMCTSA(one_action=True).enter(drawn, [2, 6], 1)
    assert [arm for arm, _ in told] == [*drawn.uniform(2), *[drawn.uniform(1)[0]] * 4]
    assert [reward for _, reward in told[2:]] == [
        drawn.reward[told[0][0], j] for j in range(1 + (told[0][0] == told[1][0]), 5 + (told[0][0] == told[1][0]))
    ]
    assert one.seconds is not None
    told.clear()
    first = ABMCTSA().enter(drawn, [6], 1).qualities
    arms = [arm for arm, _ in told]
    told.clear()
    assert ABMCTSA().enter(drawn, [6], 1).qualities == first == chosen_qualities(drawn, arms, [6])


@pytest.mark.skipif(importlib.util.find_spec("treequest") is None, reason="needs the extra 'bench'")
def test_the_real_treequest_takes_part() -> None:
    played = contest(budgets=[8], tasks=3, policies=["ucb"], settings=["0.1,0.1,0.1,0.1"], treequest_tasks=2)
    rows = {row.name: row for row in share_rows(played, run(played))}
    assert rows["AB-MCTS-A, an action an arm"].tasks == 2
    assert np.isfinite(rows["AB-MCTS-A, one action"].shares[0].error)


@pytest.mark.parametrize(
    "text", ["", "1,2,3", "a,b,c,d", "-0.1,0.1,0.1,0.1", "0,0,0.1,0.1", "0,0.2,0.1,0.1", "nan,0.1,0.1,0.1"]
)
def test_a_landscape_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(LandscapeError):
        parse_landscape(text)


def test_a_landscape_without_a_gap_is_refused() -> None:
    played: Contest = contest(budgets=[1], tasks=2, settings=["0,0.1,0.1,0"], policies=["single"])
    zeros = policy_bench.Scores(np.zeros((1, 2)), np.zeros(2))
    with pytest.raises(LandscapeError, match="more tasks"):
        share_rows(played, {"0,0.1,0.1,0": {UNIFORM: zeros, ORACLE: zeros, "single": zeros}})


def test_the_command_prints_tables() -> None:
    small = ("--tasks", "4", "--budget", "8", "--policy", "ucb", "--processes", "1", "--setting", "0.1,0.1,0.1,0.1")
    done = compare(*small, COLUMNS="200")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("SIMULATION")
    assert done.stdout.count("SIMULATION:") == 4
    if importlib.util.find_spec("treequest") is None:
        assert "metascale[bench]" in done.stdout
    told = json.loads(compare(*small, "--treequest-tasks", "0", "--json").stdout)
    assert told["simulation"] is True
    assert [row["name"] for row in told["rows"]] == ["ucb"]
    assert told["rows"][0]["shares"][0]["error"] > 0


def test_the_command_at_equal_calls() -> None:
    small = ("--tasks", "3", "--calls", "32", "--policy", "upper_tail", "--processes", "1", "--batch-size", "4")
    done = compare(*small, "--setting", "0.1,0.1,0.1,0.1", "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["calls"] == [32]
    assert [row["name"] for row in told["rows"]] == ["uniform choice", "upper_tail", "upper_tail + confirm", "oracle"]


def test_the_command_shows_what_evolution_adds() -> None:
    arguments = ("--calls", "64", "--tasks", "4", "--policy", "ucb", "--evolution", "0.05,0.08", "--processes", "1")
    told = json.loads(compare(*arguments, "--json").stdout)
    assert [row["name"] for row in told["evolution"]] == ["ucb", "upper_tail + confirm"]
    assert told["batch_size"] == 4
    shown = compare(*arguments).stdout
    assert "SIMULATION: what evolution adds" in shown
    assert "0.05,0.08" in shown


@pytest.mark.parametrize(
    "arguments",
    [
        ("--policy", "ucbb"),
        ("--setting", "1,2"),
        ("--calls", "31"),
        ("--calls", "32", "--budget", "8"),
        ("--confirm", "ucb"),
        ("--evolution", "0,0.1"),
        ("--calls", "32", "--evolution", "0"),
        ("--budget", "0"),
        ("--treequest-tasks", "1"),
        ("--tasks", "1"),
    ],
)
def test_wrong_usage_of_the_command(arguments: tuple[str, ...]) -> None:
    done = compare("--processes", "1", *arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
