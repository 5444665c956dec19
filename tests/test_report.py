"""The report: its numbers by hand on tiny inputs, its page and its figures on synthetic evaluations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from scipy.stats import binomtest

import metascale.evals.report.page
from metascale.budget.progress import expected_by_round
from metascale.evals.report import figures, tables
from metascale.evals.report.labels import labelled
from metascale.evals.report.page import Picture, slug, write_report
from metascale.evals.report.records import AnswerGiven, Battle, BattleVerdict, SampleRecord
from metascale.evals.statistics import wilson
from metascale.records import Bill, MetaThought, Origin

HOSTILE = "<script>alert(1)</script>"
VERDICTS: tuple[BattleVerdict, ...] = ("A>>B", "A>B", "A=B", "B>A", "B>>A")


def thought(
    name: str, origin: Origin = "self_composed", parents: Sequence[str] = (), generation: int = 0
) -> MetaThought:
    return {
        "id": name,
        "mindset": "",
        "strategy": "",
        "origin": origin,
        "parents": list(parents),
        "generation": generation,
    }


POOL = (
    thought("no_strategy", "fixed"),
    thought("chain_of_thought", "fixed"),
    thought("m1"),
    thought("m2"),
    thought("m3", "retrieved"),
    thought("m4", "evolved", ["m1", "m2"], 1),
    thought("m5", "evolved", ["m1", "m2"], 1),
    thought("m6", "evolved", ["m4", "m1"], 2),
)


def bill(samples: int = 1, calls: int = 1, cost: float | None = None) -> Bill:
    return {
        "samples": samples,
        "calls": calls,
        "input_tokens": 10 * calls,
        "output_tokens": 20 * calls,
        "seconds": 0.5 * calls,
        "cost_usd": cost,
    }


def sample(number: int, arm: str = "no_strategy", reward: float | None = None, **changes: Any) -> SampleRecord:
    plain = SampleRecord(number, 1, arm, "ok", reward, None, None, input_tokens=5, output_tokens=10)
    return replace(plain, **changes)


def answer(question: str = "q1", score: float | None = 1.0, **changes: Any) -> AnswerGiven:
    plain = AnswerGiven(
        task="gsm8k",
        method="direct",
        budget=1,
        model="openai:x",
        simulated=False,
        question_id=question,
        epoch=1,
        score=score,
        usage=None if score is None else bill(),
        reward=None,
        winner=None if score is None else 0,
    )
    return replace(plain, **changes)


def drawn_samples(rng: np.random.Generator, budget: int, arms: Sequence[str], *, judged: bool) -> list[SampleRecord]:
    samples = []
    for number in range(budget):
        arm = arms[number % len(arms)]
        right = bool(rng.random() < 0.45 + 0.05 * arms.index(arm))
        reward = float(np.clip(rng.normal(0.7 if right else 0.4, 0.2), 0, 1)) if judged else None
        text = "42" if right else f"{rng.integers(3)}"
        tokens = int(rng.integers(50, 400))
        samples.append(sample(number, arm, reward, right=right, extracted=text, output_tokens=tokens))
    return samples


def given(rng: np.random.Generator, method: str, budget: int, **changes: Any) -> AnswerGiven:
    pool = POOL if method == "metascale" else POOL[:1]
    samples = drawn_samples(rng, budget, [t["id"] for t in pool], judged=method != "direct")
    winner = max(samples, key=lambda s: s.reward or 0.0)
    calls = {"direct": budget, "best_of_n": 2 * budget, "metascale": 2 * budget + 3}[method]
    plain = answer(
        score=float(bool(winner.right)),
        method=method,
        budget=budget,
        usage=bill(budget, calls, 0.0001 * calls),
        reward=winner.reward,
        winner=winner.id,
        pool=pool,
        samples=samples,
    )
    return replace(plain, **changes)


def battles(rng: np.random.Generator) -> list[Battle]:
    chances = (0.15, 0.35, 0.15, 0.25, 0.1)
    return [
        Battle(
            verdict=VERDICTS[rng.choice(5, p=chances)] if rng.random() < 0.95 else None,
            swapped=swapped,
            style=tuple(rng.uniform(-0.5, 0.5, 4)),
        )
        for swapped in (False, True)
    ]


def evaluation(model: str = "openai:x", *, simulated: bool = False, questions: int = 12) -> list[AnswerGiven]:
    """Two tasks and the arena, three methods at up to three budgets; `mmlu_pro` twice; some failed runs."""
    rng = np.random.default_rng(7)
    answers = []
    for task, epochs in (("gsm8k", 1), ("mmlu_pro", 2), ("arena_hard", 1)):
        for method, budgets in (("direct", (1,)), ("best_of_n", (1, 4, 16)), ("metascale", (1, 4, 16))):
            for budget in budgets:
                for number in range(questions * epochs):
                    where: dict[str, Any] = {
                        "task": task,
                        "model": model,
                        "simulated": simulated,
                        "question_id": f"q{number % questions}",
                        "epoch": number // questions + 1,
                    }
                    if task == "arena_hard":
                        where |= {"battles": battles(rng), "score": float(rng.random())}
                    run = given(rng, method, budget, **where)
                    failed = task == "gsm8k" and method == "best_of_n" and number == 3
                    answers.append(replace(run, score=None, usage=None, winner=None) if failed else run)
    return answers


class Page(HTMLParser):
    """What a test asks of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.captions: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self._inside = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in {"src", "href", "srcset", "data", "action", "poster"}:
                self.links.append(value or "")
            if name == "id":
                self.ids.append(value or "")
        if tag in {"caption", "figcaption", "h2", "h3", "h4"}:
            self.captions.append("")
            self._inside = True

    def handle_endtag(self, tag: str) -> None:
        self._inside &= tag not in {"caption", "figcaption", "h2", "h3", "h4"}

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.captions[-1] += data


def all_figures(answers: Sequence[AnswerGiven]) -> list[Any]:
    kinds, calibrations, rows = tables.pulls(answers), tables.calibration(answers), tables.summary(answers)
    looks = figures.looks_of(row.method for row in rows)
    return [
        figures.headline(rows, looks),
        figures.quality(rows, looks),
        *[figures.against(cost, rows, looks) for cost in figures.COSTS],
        figures.arms(kinds),
        figures.regret(tables.regret(answers), looks),
        figures.progress(tables.progress(answers), looks),
        figures.reliability(calibrations[0] if calibrations else None),
        figures.family(tables.exemplary_run(answers)),
    ]


def test_a_row_by_hand() -> None:
    answers = [
        answer("q1", 1.0, usage=bill(1, 2, 0.5)),
        answer("q2", 0.0, usage=bill(1, 4, 1.5)),
        answer("q3", None),
        answer("q4", 1.0, usage=bill(1, 3, 1.0)),
        answer("q5", None, ended=False),
    ]
    (row,) = tables.summary(answers)
    assert (row.questions, row.answered, row.failed, row.unanswered) == (5, 3, 1, 1)
    assert (row.score, row.interval, row.proportion) == (pytest.approx(2 / 3), wilson(2, 3), True)
    assert (row.samples, row.calls, row.seconds, row.dollars) == (1, 3, 1.5, 1.0)
    assert (row.wasted, row.consistency) == (None, None)


def test_dollars_are_unknown_as_soon_as_one_price_is() -> None:
    (row,) = tables.summary([answer("q1", usage=bill(cost=1.0)), answer("q2", usage=bill(cost=None))])
    assert row.dollars is None


def test_a_method_whose_every_run_failed_has_no_score_and_no_costs(tmp_path: Path) -> None:
    failed = [answer("q1", None), answer("q2", None)]
    (row,) = tables.summary(failed)
    assert (row.score, row.interval, row.failed, row.calls, row.dollars, row.wasted) == (None, None, 2, *[None] * 3)
    assert write_report([*failed, answer(method="metascale")], tmp_path).exists()


def test_the_score_is_the_mean_over_questions_of_the_mean_over_epochs() -> None:
    answers = [answer("q1", 1.0), answer("q2", 1.0, epoch=1), answer("q2", None, epoch=2), answer("q2", 0.0, epoch=3)]
    (row,) = tables.summary(answers)
    assert row.score == pytest.approx((1 + 1 / 2) / 2)
    assert not row.proportion


def test_scores_that_are_shares_get_a_bootstrap() -> None:
    (row,) = tables.summary([answer("q1", 0.5), answer("q2", 0.5)])
    assert not row.proportion
    assert row.interval == (0.5, 0.5)


def test_tokens_of_answers_that_lost_are_wasted() -> None:
    won = answer("q1", samples=[sample(0, output_tokens=30), sample(1, output_tokens=10)], winner=1)
    lost = answer("q2", None, samples=[sample(0, output_tokens=10)])
    assert tables.summary([won])[0].wasted == pytest.approx(30 / 40)
    assert tables.summary([won, lost])[0].wasted == pytest.approx(40 / 50)


def test_consistency_is_over_questions_asked_in_several_epochs() -> None:
    def said(question: str, epoch: int, text: str | None) -> AnswerGiven:
        return answer(question, epoch=epoch, samples=[sample(0, extracted=text), sample(1, extracted="other")])

    same, changed = [said("q1", 1, "4"), said("q1", 2, "4")], [said("q2", 1, "4"), said("q2", 2, "5")]
    unmarked, once = [said("q3", 1, None), said("q3", 2, None)], [said("q4", 1, "4")]
    assert tables.summary(same + changed + once)[0].consistency == pytest.approx(1 / 2)
    assert tables.summary(same + changed + unmarked)[0].consistency == pytest.approx(1 / 3)
    assert tables.summary(unmarked)[0].consistency is None
    assert tables.summary(once)[0].consistency is None


def runs(method: str, budget: int, calls: int, scores: Sequence[float | None]) -> list[AnswerGiven]:
    """One answer a question, q0, q1, …"""
    return [
        answer(f"q{n}", score, method=method, budget=budget, usage=None if score is None else bill(budget, calls))
        for n, score in enumerate(scores)
    ]


def test_costs_are_matched_at_equal_samples_and_at_nearest_calls() -> None:
    scores = [1.0, 0.0] * 10
    answers = [
        *runs("metascale", 16, 40, scores),
        *runs("best_of_n", 16, 32, scores),
        *runs("best_of_n", 18, 36, scores),
        *runs("best_of_n", 21, 42, scores),
        *runs("self_consistency", 32, 33, scores),
        *[replace(run, usage=bill(1, 1)) for run in runs("direct", 16, 1, scores)],
    ]
    found = [(c.basis, c.rival, c.rival_budget, c.calls, c.rival_calls) for c in tables.comparisons(answers)]
    assert found == [("samples", "best_of_n", 16, 40, 32), ("calls", "best_of_n", 21, 40, 42)]


def test_calls_fifteen_per_cent_apart_are_just_equal() -> None:
    def matched(calls: int) -> bool:
        answers = runs("metascale", 16, 100, [1.0]) + runs("best_of_n", 50, calls, [1.0])
        return bool(tables.comparisons(answers))

    assert [matched(calls) for calls in (84, 85, 115, 116)] == [False, True, True, False]


def compared(ours: Sequence[float | None], others: Sequence[float | None], **options: float) -> tables.MethodComparison:
    answers = runs("metascale", 4, 8, ours) + runs("best_of_n", 4, 99, others)
    (found,) = tables.comparisons(answers, **options)
    return found


RIGHT, WRONG = [1.0] * 20, [0.0] * 20


def test_the_verdict_on_right_and_wrong_is_that_of_the_exact_test() -> None:
    for only_ours, only_theirs in [(4, 0), (5, 0), (6, 0), (15, 0), (11, 9), (9, 1), (8, 1), (7, 1), (12, 4), (13, 4)]:
        tied = RIGHT[: 20 - only_ours]
        first = [*tied, *RIGHT[:only_ours], *WRONG[:only_theirs]]
        second = [*tied, *WRONG[:only_ours], *RIGHT[:only_theirs]]
        for ours, others, word in ((first, second, "better"), (second, first, "worse")):
            found = compared(ours, others)
            p = binomtest(only_ours, only_ours + only_theirs).pvalue
            assert found.p == pytest.approx(p)
            assert found.verdict == (word if p < 0.05 else "tie")
            assert found.differing == only_ours + only_theirs


@pytest.mark.parametrize(("questions", "differing", "verdict"), [(20, 6, "better"), (20, 5, "tie"), (19, 19, "tie")])
def test_shares_need_enough_questions_for_a_verdict(questions: int, differing: int, verdict: str) -> None:
    found = compared([0.75] * questions, [0.25] * differing + [0.75] * (questions - differing))
    assert (found.p, found.differing, found.verdict) == (None, differing, verdict)
    assert found.interval.low > 0


def test_only_questions_that_both_answered_are_compared_and_too_many_missing_give_no_verdict() -> None:
    some = [*RIGHT, None, *WRONG[:19]]
    beaten = [*WRONG, 1.0, *WRONG[:19]]
    found = compared(some, beaten)
    assert (found.questions, found.score, found.rival_score, found.verdict) == (39, 20 / 39, 0.0, "better")
    assert (found.failed, found.unanswered) == (1, 0)
    more = compared([None, None, *some], [1.0, 1.0, *beaten])
    assert (more.questions, more.failed, more.verdict) == (39, 3, "too many missing")
    assert compared([None, None, *some], [1.0, 1.0, *beaten], most_missing=0.1).verdict == "better"
    answers = runs("metascale", 4, 8, some) + runs("best_of_n", 4, 99, beaten)
    left = [replace(answer(f"left {n}", None, ended=False), method="best_of_n", budget=4) for n in range(3)]
    (interrupted,) = tables.comparisons(answers + left)
    assert (interrupted.questions, interrupted.unanswered, interrupted.verdict) == (39, 3, "too many missing")


def with_changes(answers: Sequence[AnswerGiven], changes: dict[str, str]) -> list[AnswerGiven]:
    return [replace(run, method=labelled(run.method, changes), changes=changes) for run in answers]


def test_methods_are_compared_with_those_of_the_most_similar_settings() -> None:
    def pairs(*cells: tuple[str, dict[str, str]]) -> list[tuple[str, str]]:
        answers = [run for name, changes in cells for run in with_changes(runs(name, 4, 9, RIGHT), changes)]
        return [(one.method, one.rival) for one in tables.comparisons(answers) if one.basis == "samples"]

    cold, off = {"temperature": "0.2"}, {"evolution": "off"}
    plain, colder, ablated = "metascale", "metascale (temperature=0.2)", "metascale (evolution=off)"
    assert pairs(("metascale", cold), ("best_of_n", cold)) == [(colder, "best_of_n (temperature=0.2)")]
    assert pairs(("metascale", off), ("best_of_n", {})) == [(ablated, "best_of_n")]
    assert pairs(("metascale", {}), ("metascale", cold), ("best_of_n", {}), ("best_of_n", cold)) == [
        (plain, "best_of_n"),
        (plain, colder),
        (colder, "best_of_n (temperature=0.2)"),
    ]


def test_pairs_are_the_common_questions_and_mcnemar_needs_one_epoch() -> None:
    ours = runs("metascale", 4, 8, [1.0, 1.0, 0.0])
    others = runs("best_of_n", 4, 99, [1.0, 0.0])
    (found,) = tables.comparisons(ours + others)
    assert (found.questions, found.score, found.rival_score) == (2, 1.0, 0.5)
    (repeated,) = tables.comparisons([*ours, *others, replace(others[0], epoch=2)])
    assert (found.p, repeated.p) == (1.0, None)
    assert tables.comparisons(ours + [replace(run, question_id="elsewhere") for run in others]) == []


def test_simulated_and_real_runs_are_never_compared_or_averaged() -> None:
    ours = runs("metascale", 4, 8, [1.0] * 3)
    others = [replace(run, simulated=True) for run in runs("best_of_n", 4, 8, [0.0] * 3)]
    assert tables.comparisons(ours + others) == []
    same_name = [*ours, *(replace(run, simulated=True, score=0.0) for run in ours)]
    assert [(row.setting.simulated, row.score) for row in tables.summary(same_name)] == [(False, 1.0), (True, 0.0)]
    assert [table.simulated for table in tables.paper_table(same_name)] == [False, True]


def test_the_papers_table_takes_the_largest_budget_of_each_method() -> None:
    answers = [
        *runs("metascale", 16, 8, [1.0]),
        *runs("metascale", 4, 8, [0.0]),
        *runs("direct", 1, 1, [0.0]),
        *[replace(run, task="mmlu_pro") for run in runs("metascale", 4, 8, [1.0])],
    ]
    (table,) = tables.paper_table(answers)
    assert (table.tasks, list(table.rows)) == (("gsm8k", "mmlu_pro"), ["direct", "metascale"])
    assert [cell and (cell.budget, cell.score) for cell in table.rows["metascale"]] == [(16, 1.0), (4, 1.0)]
    assert table.rows["direct"][1] is None


def two_arms(**changes: Any) -> AnswerGiven:
    """Means 0.8 of `m1` and 0.3 of `no_strategy`."""
    drawn = [
        sample(0, "no_strategy", 0.2),
        sample(1, "m1", 0.7),
        sample(2, "m1", 0.9),
        sample(3, "no_strategy", 0.4),
        sample(4, "m1", None, status="failed"),
    ]
    return answer(method="metascale", budget=5, pool=(POOL[0], POOL[2]), samples=drawn, **changes)


def test_regret_of_two_arms_by_hand() -> None:
    run = two_arms()
    assert tables.cumulative_regret(run.samples).tolist() == pytest.approx([0.5, 0.5, 0.5, 1.0, 1.0])
    short = replace(run, question_id="q2", samples=[sample(0, "m1", 0.5), sample(1, "m1", 0.5)])
    unscored = replace(run, question_id="q3", samples=[sample(0, "m1")])
    (curve,) = tables.regret([run, short, unscored])
    assert curve.runs == (2, 2, 1, 1, 1)
    assert curve.mean == pytest.approx((0.25, 0.25, 0.5, 1.0, 1.0))
    assert all(i.low <= m <= i.high for i, m in zip(curve.intervals, curve.mean, strict=True))


def test_progress_is_the_mean_of_what_the_runs_expected_after_each_round() -> None:
    rewards = [0.2, 0.4, 0.5, 0.3, 0.6, 0.4] * 3
    drawn = [replace(sample(i, f"m{i % 2 + 1}", reward), round=i // 6 + 1) for i, reward in enumerate(rewards)]
    run = replace(two_arms(), samples=drawn)
    short = replace(run, question_id="q2", samples=drawn[:12])
    perfect = replace(run, question_id="q3", samples=[replace(one, reward=1.0) for one in drawn])
    last = expected_by_round([(one.round, one.meta_thought, one.reward) for one in drawn])[-1]
    (curve,) = tables.progress([run, short, perfect])
    assert curve.at[-1] == 3
    assert curve.runs[-1] == 2
    assert last is not None
    assert last > 0
    assert curve.mean[-1] == pytest.approx(last / 2)
    assert tables.progress([replace(run, samples=drawn[:1])]) == []


def test_an_arm_without_a_score_counts_as_average_in_regret() -> None:
    drawn = [sample(0, "m1", 0.8), sample(1, "m2", 0.4), sample(2, "m3")]
    assert tables.cumulative_regret(drawn).tolist() == pytest.approx([0.0, 0.4, 0.6])


def test_pulls_by_kind_of_arm() -> None:
    second = replace(two_arms(), question_id="q2", samples=[sample(0, "m1", 0.4)])
    fixed, composed = tables.pulls([two_arms(), second])
    assert (fixed.kind, fixed.runs, fixed.arms, fixed.pulls) == ("no_strategy", 2, 1, 1)
    assert fixed.reward == pytest.approx(0.3)
    assert (composed.kind, composed.pulls) == ("self_composed", 2)
    assert composed.reward == pytest.approx((0.8 + 0.4) / 2)
    assert [kind.kind for kind in tables.pulls(evaluation(questions=1)) if kind.setting.task == "gsm8k"] == [
        "chain_of_thought",
        "no_strategy",
        "self_composed",
        "retrieved",
        "evolved",
    ]


def test_calibration_is_over_samples_with_reward_and_key() -> None:
    drawn = [
        sample(0, reward=0.95, right=True),
        sample(1, reward=0.05, right=False),
        sample(2, reward=0.5),
        sample(3, right=True),
    ]
    (found,) = tables.calibration([answer(samples=drawn)])
    assert (found.samples, found.auc) == (2, 1.0)
    assert found.error == pytest.approx(0.05)
    assert tables.calibration([answer(samples=drawn[2:])]) == []


def test_a_judge_that_prefers_its_own_answers_is_told() -> None:
    def run(question: str, own: float, other: float, *, right: bool) -> AnswerGiven:
        drawn = [sample(0, reward=own, right=right, model="judge"), sample(1, reward=other, right=right, model="other")]
        unlike = sample(2, reward=1.0 - other, right=not right, model="other")
        return answer(question, method="metascale", samples=[*drawn, unlike])

    runs = [run("q1", 0.9, 0.7, right=True), run("q2", 0.8, 0.7, right=True), run("q3", 0.6, 0.3, right=False)]
    own, other = tables.favours([*runs, replace(runs[0], method="self_consistency")])
    assert (own.model, own.questions, other.questions) == ("judge", 3, 3)
    assert own.favour == pytest.approx(0.2)
    assert other.favour == pytest.approx(-0.2)
    assert (own.right, own.wrong) == (pytest.approx(0.85), pytest.approx(0.6))
    assert own.interval.low == pytest.approx(0.1)
    assert tables.favours([answer(samples=runs[0].samples[:1])]) == []


def test_the_arena_rates_every_method_and_budget() -> None:
    def fights(verdicts: Sequence[Any], method: str) -> list[AnswerGiven]:
        return [
            answer(f"q{n}", 0.5, task="arena_hard", method=method, battles=[Battle(verdict, False, (0.0,) * 4)])
            for n, verdict in enumerate(verdicts)
        ]

    (found,) = tables.arena(
        fights(["A>B"] * 6 + ["B>A"] * 2 + [None], "metascale") + fights(["A>B", "B>A"], "direct") + fights([None], "x")
    )
    direct, ours = found.players
    assert (ours.method, ours.battles, ours.unread) == ("metascale", 8, 1)
    assert ours.rate == pytest.approx(0.75, abs=0.01)
    assert direct.rate == pytest.approx(0.5, abs=0.01)
    assert ours.interval.low < 0.75 < ours.interval.high
    assert len(found.style) == len(tables.STYLE_FEATURES)
    assert tables.arena(fights([None], "x")) == []


def test_the_exemplary_run_has_most_generations() -> None:
    deep = answer("deep", pool=POOL, samples=[sample(0, "m6", 0.5)])
    shallow = answer("shallow", pool=POOL[:-1], samples=[sample(0, "m1", 0.5)])
    assert tables.exemplary_run([shallow, replace(deep, samples=()), deep, answer("none", pool=POOL[:3])]) is deep
    assert tables.exemplary_run([answer("none", pool=POOL[:3])]) is None
    assert tables.arm_rewards(deep) == {**dict.fromkeys([t["id"] for t in POOL]), "m6": 0.5}


@pytest.mark.parametrize("simulated", [True, False])
def test_every_figure_of_a_simulation_says_so_and_no_other_does(*, simulated: bool) -> None:
    answers = [a for a in evaluation("m", simulated=simulated, questions=3) if a.task == "gsm8k"]
    drawn = all_figures(answers)
    assert all(figure is not None for figure in drawn)
    assert {"SIMULATION" in figure.get_suptitle() for figure in drawn} == {simulated}
    for figure in drawn:
        for axes in figure.axes:
            assert any(near.get_ylabel() for near in axes.get_shared_y_axes().get_siblings(axes))
            assert axes.get_label() == "<colorbar>" or any(
                near.get_xlabel() for near in axes.get_shared_x_axes().get_siblings(axes)
            )


def test_nothing_is_drawn_of_nothing() -> None:
    assert all_figures([]) == [None] * 11
    free = tables.summary([answer(score=None)])
    assert [figures.against(cost, free, figures.looks_of(["direct"])) for cost in figures.COSTS] == [None] * 4
    assert figures.family(answer(pool=POOL[:3])) is None


@pytest.mark.parametrize("name", [r"$\frac{", "_a$b$c", "x" * 500, "two\nlines\x00 %s {0} & \\"])
def test_figures_take_any_name(name: str) -> None:
    answers = [replace(a, model=name, method=name, task=name, question_id=name) for a in evaluation(questions=1)[-3:]]
    for figure in all_figures(answers):
        if figure is not None:
            figure.draw_without_rendering()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    simulated = [answer for answer in evaluation("offline", simulated=True, questions=8) if answer.task == "arena_hard"]
    real = [answer for answer in evaluation(questions=8) if answer.task == "gsm8k"]
    return write_report([*real, *simulated], tmp_path_factory.mktemp("report") / "deep" / "er")


def test_the_page_needs_nothing_else(report: Path) -> None:
    text = report.read_text()
    page = Page(text)
    assert report.name == "report.html"
    assert not re.search(r"https?://|@import|url\(", text)
    assert {"script", "link", "iframe", "object"}.isdisjoint(page.tags)
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in page.links)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_every_table_and_figure_of_a_simulation_says_so_and_no_other_does(report: Path) -> None:
    captions = Page(report.read_text()).captions
    simulated = [caption for caption in captions if "offline" in caption]
    real = [caption for caption in captions if "openai:x" in caption]
    assert len(simulated) > len(real) > 15
    assert all("SIMULATION" in caption for caption in simulated)
    assert not any("SIMULATION" in caption for caption in real)


def test_a_report_of_real_models_does_not_speak_of_simulation(tmp_path: Path) -> None:
    assert "SIMULATION" not in write_report([answer()], tmp_path).read_text()


def test_the_page_and_its_files_hold_the_same_figures_and_none_is_blank(report: Path) -> None:
    images = sorted((report.parent / "figures").glob("*.png"))
    drawings = sorted((report.parent / "figures").glob("*.svg"))
    assert [path.stem for path in images] == [path.stem for path in drawings]
    assert len(images) == Page(report.read_text()).tags.count("img") == 2 * 11
    for image, drawing in zip(images, drawings, strict=True):
        pixels = matplotlib.image.imread(image)
        assert (pixels != pixels[0, 0]).any(axis=-1).mean() > 0.01
        assert drawing.read_text().count("<path") > 10
        assert re.fullmatch(r"[a-z0-9-]+", image.stem)
        assert ("simulation" in image.stem) == ("offline" in image.stem)


def test_the_same_answers_make_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "COSTS", figures.COSTS[:1])
    answers = evaluation(questions=2)[:6]
    pages = [write_report(answers, tmp_path / name) for name in ("one", "two")]
    first, second = ({f.name: f.read_bytes() for f in p.parent.rglob("*.*") if f.is_file()} for p in pages)
    assert first == second
    assert len(first) > 4


def test_hostile_names_are_escaped(tmp_path: Path) -> None:
    pool = (*POOL[:3], thought(HOSTILE, "evolved", ["m1"], 1), thought("m9", "fixed"))
    hostile = [
        replace(run, task=HOSTILE, model=HOSTILE, method=method, question_id=HOSTILE, pool=pool)
        for run, method in zip(
            evaluation(questions=1)[3:6], (HOSTILE, "metascale", '"><img src=x onerror=y>'), strict=True
        )
    ]
    page = write_report(hostile, tmp_path)
    text = page.read_text()
    assert HOSTILE not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<img src=x" not in text
    assert "script" not in Page(text).tags
    assert all(path.parent == tmp_path / "figures" for path in tmp_path.rglob("*.svg"))
    assert not any("<script" in path.read_text() for path in tmp_path.rglob("*.svg"))


class Skeleton(HTMLParser):
    """The elements of a page with the names of their attributes, and what it would load or run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.policy = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        given = dict(attrs)
        self.policy = given.get("content") or "" if "http-equiv" in given else self.policy
        for name in ("src", "href"):
            assert (given.get(name) or "#").startswith(("#", "data:image/png;base64,"))


BREAKING_OUT = "".join(
    [
        HOSTILE,
        "\"'><img src=x onerror=alert(1)>",
        "</caption></table></style><style>@import url(//evil.test)</style>",
        "{{ 7*7 }}{% raw %}<!--",
        "]]><svg/onload=alert(1)>&lt;b&gt;&#60;script&#62;",
        "\u202e<a href=javascript:alert(1)>\x00\x0b</title>",
    ]
)


def test_no_element_and_no_attribute_of_the_page_comes_from_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        metascale.evals.report.page, "_drawn", lambda part, _: [("scores", "x", part.setting.model, None)]
    )
    monkeypatch.setattr(metascale.evals.report.page, "_saved", lambda _, name, text, __: Picture(name, "AAAA", 1, text))

    def page(ending: str) -> Skeleton:
        pool = tuple(replace_in(one, ending) for one in POOL)
        answers = [
            replace(
                run,
                task=f"{run.task}{ending}",
                model=f"m{ending}",
                method=run.method if run.method == "metascale" else f"{run.method}{ending}",
                question_id=f"{run.question_id}{ending}",
                pool=pool,
                samples=[replace(s, meta_thought=f"{s.meta_thought}{ending}", extracted=ending) for s in run.samples],
            )
            for run in evaluation(questions=1)
            if run.task == "arena_hard"
        ]
        return Skeleton(write_report(answers, tmp_path / str(len(ending))).read_text())

    harmless, hostile = page("-plain"), page(BREAKING_OUT)
    assert hostile.elements == harmless.elements
    assert len(hostile.elements) > 100
    assert set(hostile.policy.split("; ")) == {
        "default-src 'none'",
        "img-src data:",
        "style-src 'unsafe-inline'",
        "base-uri 'none'",
        "form-action 'none'",
    }


def replace_in(one: MetaThought, ending: str) -> MetaThought:
    return {
        **one,
        "id": f"{one['id']}{ending}",
        "mindset": ending,
        "strategy": ending,
        "parents": [f"{parent}{ending}" for parent in one["parents"]],
    }


def test_names_that_look_alike_get_files_of_their_own(tmp_path: Path) -> None:
    page = write_report([answer(model="a/b"), answer(model="a:b"), answer(model="../../a b")], tmp_path)
    names = sorted(path.name for path in (page.parent / "figures").glob("*quality*.png"))
    assert names == ["gsm8k-a-b-quality-2.png", "gsm8k-a-b-quality-3.png", "gsm8k-a-b-quality.png"]


def test_slugs_are_safe() -> None:
    assert slug("OpenAI:GPT-4o/Mini") == "openai-gpt-4o-mini"
    assert (slug("../.."), slug("模型"), slug("é" * 99)) == ("unnamed", "unnamed", "e" * 40)


def test_a_report_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no answers"):
        write_report([], tmp_path / "out")
    assert not (tmp_path / "out").exists()
