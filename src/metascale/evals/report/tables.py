"""The numbers of a report: pure functions from answers to rows.

Every row belongs to one task and one model, and is either real or simulated. Rows never average over these, so
simulated numbers cannot mix with real ones. A failed run counts as wrong in mean scores and has no usage.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, NamedTuple, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from metascale.bandits import Arm
from metascale.budget.progress import expected_by_round, shortfalls
from metascale.evals.report.records import AnswerGiven, SampleRecord
from metascale.evals.report.style import matches_of
from metascale.evals.statistics import (
    Interval,
    bootstrap_win_rates,
    bradley_terry,
    is_tie,
    mcnemar,
    mean_interval,
    paired_bootstrap,
    wilson,
    win_rate,
)
from metascale.records import Bill, Origin
from metascale.stats.reliability import CalibrationBin, auc, expected_calibration

VOTED = "self_consistency"
"""The method whose rewards are shares of votes."""

OURS = "metascale"
"""The method to compare the others with."""
ARENA = "arena_hard"
"""The task whose answers are judged in battles."""
BASELINE = "baseline"
"""The opponent in every battle."""
NEAR = 0.15
"""Largest difference of equal costs, as a share of METASCALE's cost."""
SEED = 0
"""Seed of every bootstrap: the same logs make the same report."""
CURVE_RESAMPLES = 500
"""Resamples for each point of a curve: enough for a band, and a curve has many points."""
STYLE_FEATURES = ("length", "headers", "lists", "bold passages")
"""The features of `Battle.style`, in order."""

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")


class Setting(NamedTuple):
    """Answers of different settings are never mixed. Sorts real models before simulated ones.

    Attributes:
        simulated: whether the offline model answered.
        model: the model's name.
        task: such as `gsm8k`.
    """

    simulated: bool
    model: str
    task: str


@dataclass(frozen=True)
class Row:
    """One method at one budget. Costs are means over the runs with usage; None if there are none.

    Attributes:
        setting: the task and the model.
        method: such as `best_of_n`.
        budget: the sampling budget that was set.
        questions: how many different questions were asked.
        answers: how many runs there were: questions times epochs.
        score: mean over questions of the mean over epochs, in [0, 1].
        interval: its 95 % interval: Wilson's where `proportion`, otherwise a bootstrap over questions.
        proportion: whether every score is 0 or 1 and every question was asked once.
        failed: runs without a score; they count as 0.
        samples: answers generated.
        calls: model requests of every kind, judgements included.
        input_tokens: prompt tokens.
        output_tokens: completion tokens.
        seconds: wall-clock working time.
        dollars: None also if the price of a run is unknown.
        wasted: share of the samples' output tokens that went into samples other than the chosen one, in [0, 1]; None
            where samples have no tokens.
        consistency: share of the questions asked in several epochs whose extracted answer was the same each time, in
            [0, 1]; None with one epoch, or where no answer can be extracted.
    """

    setting: Setting
    method: str
    budget: int
    questions: int
    answers: int
    score: float
    interval: Interval
    proportion: bool
    failed: int
    samples: float | None
    calls: float | None
    input_tokens: float | None
    output_tokens: float | None
    seconds: float | None
    dollars: float | None
    wasted: float | None
    consistency: float | None


@dataclass(frozen=True)
class MethodComparison:
    """METASCALE against another method at equal cost, over their common questions.

    Attributes:
        setting: the task and the model.
        basis: what is equal: the samples, or all model requests.
        budget: METASCALE's.
        rival: the other method.
        rival_budget: the other method's.
        questions: how many common questions there are.
        score: METASCALE's mean over them, in [0, 1].
        rival_score: the other's.
        difference: METASCALE's minus the other's, in [-1, 1].
        interval: its 95 % interval, a bootstrap over questions.
        p: of McNemar's exact test; None unless both have scores of 0 and 1 and one epoch.
        calls: METASCALE's mean number of model requests.
        rival_calls: the other's.
        verdict: of METASCALE; a tie where the interval holds 0.
    """

    setting: Setting
    basis: Literal["samples", "calls"]
    budget: int
    rival: str
    rival_budget: int
    questions: int
    score: float
    rival_score: float
    difference: float
    interval: Interval
    p: float | None
    calls: float | None
    rival_calls: float | None
    verdict: Literal["better", "worse", "tie"]


@dataclass(frozen=True)
class PaperTable:
    """Methods against tasks for one model, each method at its largest budget on the task.

    Attributes:
        simulated: whether the offline model answered.
        model: the model's name.
        tasks: the columns.
        rows: for each method one cell per task; None where it was not run.
    """

    simulated: bool
    model: str
    tasks: tuple[str, ...]
    rows: Mapping[str, tuple[Row | None, ...]]


@dataclass(frozen=True)
class Calibration:
    """How well rewards match probabilities of being right.

    Attributes:
        setting: the task and the model.
        samples: samples with a reward and a known correctness, at least 1.
        error: expected calibration error, in [0, 1].
        bins: of the reward.
        auc: chance that a right sample has a higher reward than a wrong one, ties one half; None without both kinds.
    """

    setting: Setting
    samples: int
    error: float
    bins: tuple[CalibrationBin, ...]
    auc: float | None


@dataclass(frozen=True)
class Foretold:
    """How well predicted pass rates match outcomes, over one method's questions with predictions and gold answers.

    Attributes:
        setting: the task and the model.
        method: such as `metascale (foresee=True)`.
        budget: the largest of that method.
        questions: number of runs with predictions, at least 1.
        error: expected calibration error of the predicted pass rates, in [0, 1].
        bins: of the predicted pass rate; `accuracy` is the mean share of right samples.
        intervals: Wilson's 95 % intervals of those shares; conservative, because a share varies less than a coin.
        accuracy: the means of the three meta-rewards (`difficulty`, `length`, `notions`) against gold answers.
    """

    setting: Setting
    method: str
    budget: int
    questions: int
    error: float
    bins: tuple[CalibrationBin, ...]
    intervals: tuple[Interval, ...]
    accuracy: Mapping[str, float]


@dataclass(frozen=True)
class Savings:
    """A method with foresight against the same method without, over their common questions.

    Attributes:
        setting: the task and the model.
        method: such as `metascale (foresee=True)`.
        full: the same without foresight, such as `metascale`.
        budget: of both.
        questions: how many common questions there are.
        easy: share of the runs that predicted success, in [0, 1].
        hopeless: share of the runs that predicted failure, in [0, 1].
        samples: mean number of samples saved per question; negative if there were more.
        samples_interval: its 95 % interval, a bootstrap over questions, like the other intervals.
        calls: mean number of model requests saved per question, after those of the predictions.
        calls_interval: its interval.
        share: share of the full budget's requests that were saved, at most 1.
        lost: the score with the full budget minus that with foresight, in [-1, 1].
        lost_interval: its interval.
    """

    setting: Setting
    method: str
    full: str
    budget: int
    questions: int
    easy: float
    hopeless: float
    samples: float
    samples_interval: Interval
    calls: float
    calls_interval: Interval
    share: float
    lost: float
    lost_interval: Interval


@dataclass(frozen=True)
class ArmKind:
    """The arms of one kind, over the runs of one method that had a choice of arms.

    Attributes:
        setting: the task and the model.
        method: such as `metascale`.
        budget: the largest of that method.
        kind: the id of a fixed meta-thought, otherwise the origin.
        runs: how many runs of the method had a choice.
        arms: mean number of such arms in a run.
        pulls: mean number of their samples in a run.
        reward: mean over runs of the mean reward of their samples, in [0, 1]; None where none was scored.
        interval: its 95 % interval, a bootstrap over runs.
    """

    setting: Setting
    method: str
    budget: int
    kind: str
    runs: int
    arms: float
    pulls: float
    reward: float | None
    interval: Interval | None


@dataclass(frozen=True)
class Curve:
    """The mean course of a quantity over the runs of one method at its largest budget.

    Attributes:
        setting: the task and the model.
        method: such as `metascale`.
        budget: the sampling budget that was set.
        at: the steps: samples so far, or rounds so far.
        runs: number of runs with a value, for each step.
        mean: for each step, the mean over those runs, in units of reward.
        intervals: its 95 % intervals, bootstraps over runs.
    """

    setting: Setting
    method: str
    budget: int
    at: tuple[int, ...]
    runs: tuple[int, ...]
    mean: tuple[float, ...]
    intervals: tuple[Interval, ...]


@dataclass(frozen=True)
class Player:
    """One method at one budget on the arena.

    Attributes:
        method: such as `best_of_n`.
        budget: the sampling budget that was set.
        battles: readable judgements, at least 1.
        unread: unreadable judgements.
        rate: its chance to win against the baseline, in [0, 1].
        interval: its 95 % interval, a bootstrap over battles.
        styled_rate: the same at equal style.
        styled_interval: its 95 % interval.
    """

    method: str
    budget: int
    battles: int
    unread: int
    rate: float
    interval: Interval
    styled_rate: float
    styled_interval: Interval


@dataclass(frozen=True)
class Arena:
    """Arena-Hard for one model.

    Attributes:
        setting: the task and the model.
        players: every method and budget with a readable battle, at least one.
        style: the coefficient of each of `STYLE_FEATURES`; above 0 if the judge prefers more of it.
    """

    setting: Setting
    players: tuple[Player, ...]
    style: tuple[float, ...]


def setting_of(answer: AnswerGiven) -> Setting:
    """The task and the model of an answer."""
    return Setting(answer.simulated, answer.model, answer.task)


def method_order(method: str) -> tuple[bool, str]:
    """Sorts methods by name, METASCALE last."""
    return method == OURS, method


def grouped(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    """The items by key, in order of appearance."""
    groups: dict[Key, list[Item]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return dict(groups)


def summary(answers: Sequence[AnswerGiven]) -> list[Row]:
    """One row for each task, model, method and budget; METASCALE's after the others'."""
    return [_row(setting, method, budget, cell) for (setting, method, budget), cell in _cells(answers)]


def comparisons(answers: Sequence[AnswerGiven]) -> list[MethodComparison]:
    """METASCALE, at each of its budgets, against every other method at equal cost, paired by question.

    At equal samples: the other method has the same budget and drew as many samples within 15 %, which excludes methods
    with one sample. At equal calls: the other's budget with the mean calls closest to METASCALE's, if within 15 %.
    Pairs without a common question are left out.
    """
    cells = {(setting, method, budget): cell for (setting, method, budget), cell in _cells(answers)}
    rows = summary(answers)
    found = []
    for ours in (row for row in rows if row.method == OURS):
        rivals = [row for row in rows if row.setting == ours.setting and row.method != OURS]
        pairs: list[tuple[Literal["samples", "calls"], Row]] = [
            ("samples", rival) for rival in rivals if rival.budget == ours.budget and _near(ours.samples, rival.samples)
        ]
        for same in grouped(rivals, lambda row: row.method).values():
            near = [rival for rival in same if _near(ours.calls, rival.calls)]
            if near:
                pairs.append(("calls", min(near, key=lambda rival: (_distance(ours.calls, rival.calls), rival.budget))))
        for basis, rival in pairs:
            both = (cells[row.setting, row.method, row.budget] for row in (ours, rival))
            found += _comparison(basis, ours, rival, *both)
    return found


def paper_table(answers: Sequence[AnswerGiven]) -> list[PaperTable]:
    """One table for each model, real models first: methods against tasks, each at its largest budget."""
    tables = []
    for (simulated, model), rows in grouped(summary(answers), lambda row: row.setting[:2]).items():
        tasks = tuple(sorted({row.setting.task for row in rows}))
        largest = {(row.method, row.setting.task): row for row in sorted(rows, key=lambda row: row.budget)}
        methods = sorted({row.method for row in rows}, key=method_order)
        lines = {method: tuple(largest.get((method, task)) for task in tasks) for method in methods}
        tables.append(PaperTable(simulated, model, tasks, lines))
    return tables


def calibration(answers: Sequence[AnswerGiven]) -> list[Calibration]:
    """For each task and model: the judge's rewards against correctness, over all samples that have both.

    Self-consistency is left out, because its rewards are shares of votes.
    """
    found = []
    for setting, group in _settings(answers):
        known = [
            (sample.reward, sample.right)
            for answer in group
            if not answer.method.startswith(VOTED)
            for sample in answer.samples
            if sample.reward is not None and sample.right is not None
        ]
        if known:
            rewards, right = [reward for reward, _ in known], [is_right for _, is_right in known]
            error, bins = expected_calibration(rewards, right)
            found.append(Calibration(setting, len(known), error, tuple(bins), auc(rewards, right)))
    return found


def foretold(answers: Sequence[AnswerGiven]) -> list[Foretold]:
    """For each method with foresight, at its largest budget: predicted pass rates against the right samples' share."""
    found = []
    cells = _cells([answer for answer in answers if answer.foreseen is not None])
    for (setting, method, budget), cell in (list(same)[-1] for _, same in groupby(cells, key=lambda item: item[0][:2])):
        known = [(one.foreseen.pass_rate, one.foreseen.accuracy) for one in cell if one.foreseen]
        pairs = [(predicted, accuracy) for predicted, accuracy in known if accuracy is not None]
        if pairs:
            predicted, shares = [rate for rate, _ in pairs], [accuracy["pass_rate"] for _, accuracy in pairs]
            error, bins = expected_calibration(predicted, shares)
            found.append(
                Foretold(
                    setting,
                    method,
                    budget,
                    len(pairs),
                    error,
                    tuple(bins),
                    tuple(wilson(one.accuracy * one.count, one.count) for one in bins),
                    {
                        "difficulty": float(np.mean([accuracy["difficulty"] for _, accuracy in pairs])),
                        "length": float(np.mean([accuracy["length"] for _, accuracy in pairs])),
                        "notions": float(np.mean([accuracy["notions"] for _, accuracy in pairs])),
                    },
                )
            )
    return found


def savings(answers: Sequence[AnswerGiven]) -> list[Savings]:
    """What foresight saved and lost, for each method and budget that the logs also hold without foresight."""
    cells = {(setting, method, budget): cell for (setting, method, budget), cell in _cells(answers)}
    found = []
    for (setting, method, budget), cell in cells.items():
        full = cell[0].full_budget
        other = cells.get((setting, full, budget)) if full is not None else None
        if full is None or other is None or not any(answer.foreseen for answer in cell):
            continue
        ours, theirs = _question_means(cell), _question_means(other)
        common = [question for question in ours if question in theirs]
        billed = [_question_bills(one) for one in (cell, other)]
        paid = [question for question in common if all(question in bills for bills in billed)]
        if not paid:
            continue
        samples, calls = (
            [[bills[question][place] for question in paid] for bills in (billed[1], billed[0])] for place in (0, 1)
        )
        scores = [[means[question] for question in common] for means in (theirs, ours)]
        outlooks = [answer.foreseen.outlook for answer in cell if answer.foreseen]
        found.append(
            Savings(
                setting=setting,
                method=method,
                full=full,
                budget=budget,
                questions=len(common),
                easy=outlooks.count("easy") / len(cell),
                hopeless=outlooks.count("hopeless") / len(cell),
                samples=_fewer(samples),
                samples_interval=paired_bootstrap(*samples, seed=SEED),
                calls=_fewer(calls),
                calls_interval=paired_bootstrap(*calls, seed=SEED),
                share=_fewer(calls) / float(np.mean(calls[0])),
                lost=_fewer(scores),
                lost_interval=paired_bootstrap(*scores, seed=SEED),
            )
        )
    return found


def _fewer(pair: Sequence[Sequence[float]]) -> float:
    return float(np.mean(pair[0]) - np.mean(pair[1]))


def _question_bills(answers: Iterable[AnswerGiven]) -> dict[str, tuple[float, float]]:
    """Mean samples and calls of each question, over the runs with usage."""
    by_question = grouped((answer for answer in answers if answer.usage), lambda answer: answer.question_id)
    bills = {question: [run.usage for run in runs if run.usage] for question, runs in by_question.items()}
    return {
        question: (float(np.mean([one["samples"] for one in known])), float(np.mean([one["calls"] for one in known])))
        for question, known in bills.items()
    }


def pulls(answers: Sequence[AnswerGiven]) -> list[ArmKind]:
    """Pulls and rewards of each kind of arm, for each method that chooses among arms, at its largest budget."""
    return [
        _arm_kind(setting, method, budget, kind, runs)
        for (setting, method, budget), runs in _choosing(answers)
        for kind in sorted({_kind(thought) for run in runs for thought in run.pool}, key=_kind_order)
    ]


def cumulative_regret(samples: Sequence[SampleRecord]) -> NDArray[np.float64]:
    """The regret of one run up to each of its samples, in hindsight, shape (len(samples),).

    A sample adds the best mean reward of any arm of the run minus that of the arm it was drawn from, both over the
    whole run; see `metascale.budget.progress.shortfalls`.
    """
    drawn = grouped(samples, lambda sample: sample.meta_thought)
    arms = [Arm(len(of_arm), _rewards(of_arm)) for of_arm in drawn.values()]
    lost = dict(zip(drawn, shortfalls(arms), strict=True))
    return np.cumsum([lost[sample.meta_thought] for sample in samples], dtype=np.float64)


def regret(answers: Sequence[AnswerGiven]) -> list[Curve]:
    """The mean cumulative regret, sample by sample, of each method that chooses among arms, at its largest budget.

    Runs without a scored sample are left out.
    """
    return _curves(answers, lambda run: cumulative_regret(run.samples).tolist() if _rewards(run.samples) else [])


def progress(answers: Sequence[AnswerGiven]) -> list[Curve]:
    """The mean expected progress, round by round, of each method that chooses among arms, at its largest budget.

    Rounds without enough rewards for an expectation are left out of the mean.
    """
    return _curves(
        answers,
        lambda run: expected_by_round([(one.round, one.meta_thought, one.reward) for one in run.samples]),
    )


def _curves(answers: Sequence[AnswerGiven], steps: Callable[[AnswerGiven], Sequence[float | None]]) -> list[Curve]:
    curves = []
    for (setting, method, budget), runs in _choosing(answers):
        each = [steps(run) for run in runs]
        longest = max(map(len, each), default=0)
        values = {
            index + 1: known
            for index in range(longest)
            if (known := [value for run in each if len(run) > index and (value := run[index]) is not None])
        }
        if values:
            curves.append(
                Curve(
                    setting,
                    method,
                    budget,
                    tuple(values),
                    tuple(map(len, values.values())),
                    tuple(float(np.mean(known)) for known in values.values()),
                    tuple(mean_interval(known, seed=SEED, resamples=CURVE_RESAMPLES) for known in values.values()),
                )
            )
    return curves


def arena(answers: Sequence[AnswerGiven]) -> list[Arena]:
    """For each model, the win rates on Arena-Hard against its baseline, without and with control of style."""
    found = []
    for setting, group in _settings([answer for answer in answers if answer.task == ARENA]):
        fought = {
            (method, budget): [battle for answer in cell for battle in answer.battles]
            for (_, method, budget), cell in _cells(group)
        }
        read = {who: [b for b in battles if b.verdict is not None] for who, battles in fought.items()}
        names = {who: f"{who[0]}@{who[1]}" for who, battles in read.items() if battles}
        if not names:
            continue
        matches = [
            match
            for (_, method, budget), cell in _cells(group)
            if (method, budget) in names
            for answer in cell
            for match in matches_of(names[method, budget], answer.battles, BASELINE, question=answer.question_id)
        ]
        ratings = {style: bradley_terry(matches, anchor=BASELINE, style=style) for style in (False, True)}
        intervals = {
            style: bootstrap_win_rates(matches, anchor=BASELINE, seed=SEED, style=style) for style in (False, True)
        }
        players = tuple(
            Player(
                *who,
                len(read[who]),
                len(fought[who]) - len(read[who]),
                win_rate(ratings[False], name),
                intervals[False][name],
                win_rate(ratings[True], name),
                intervals[True][name],
            )
            for who, name in names.items()
        )
        found.append(Arena(setting, players, tuple(float(weight) for weight in ratings[True].style)))
    return found


def exemplary_run(answers: Sequence[AnswerGiven]) -> AnswerGiven | None:
    """The run with most generations, then most meta-thoughts, then most samples; None if no meta-thought evolved."""
    evolved = [answer for answer in answers if any(thought["parents"] for thought in answer.pool)]
    size = {id(run): (max(t["generation"] for t in run.pool), len(run.pool), len(run.samples)) for run in evolved}
    return max(evolved, key=lambda run: size[id(run)], default=None)


def arm_rewards(answer: AnswerGiven) -> dict[str, float | None]:
    """The mean reward of each meta-thought of a run, None if none of its samples was scored."""
    drawn = grouped(answer.samples, lambda sample: sample.meta_thought)
    return {thought["id"]: _mean(_rewards(drawn.get(thought["id"], ()))) for thought in answer.pool}


def _settings(answers: Sequence[AnswerGiven]) -> list[tuple[Setting, list[AnswerGiven]]]:
    return sorted(grouped(answers, setting_of).items(), key=lambda item: item[0])


def _cells(answers: Sequence[AnswerGiven]) -> list[tuple[tuple[Setting, str, int], list[AnswerGiven]]]:
    cells = grouped(answers, lambda answer: (setting_of(answer), answer.method, answer.budget))
    return sorted(cells.items(), key=lambda item: (item[0][0], method_order(item[0][1]), item[0][2]))


def _choosing(answers: Sequence[AnswerGiven]) -> list[tuple[tuple[Setting, str, int], list[AnswerGiven]]]:
    """The cells of largest budget, with their runs that had more than one arm."""
    chosen = _cells([answer for answer in answers if len(answer.pool) > 1 and answer.samples])
    return [list(same)[-1] for _, same in groupby(chosen, key=lambda item: item[0][:2])]


def _row(setting: Setting, method: str, budget: int, answers: Sequence[AnswerGiven]) -> Row:
    means = _question_means(answers)
    scores = list(means.values())
    proportion = _is_proportion(answers)
    bills = [answer.usage for answer in answers if answer.usage is not None]
    return Row(
        setting=setting,
        method=method,
        budget=budget,
        questions=len(means),
        answers=len(answers),
        score=float(np.mean(scores)),
        interval=wilson(round(sum(scores)), len(scores)) if proportion else mean_interval(scores, seed=SEED),
        proportion=proportion,
        failed=sum(answer.score is None for answer in answers),
        samples=_mean([bill["samples"] for bill in bills]),
        calls=_mean([bill["calls"] for bill in bills]),
        input_tokens=_mean([bill["input_tokens"] for bill in bills]),
        output_tokens=_mean([bill["output_tokens"] for bill in bills]),
        seconds=_mean([bill["seconds"] for bill in bills]),
        dollars=_dollars(bills),
        wasted=_wasted(answers),
        consistency=_consistency(answers),
    )


def _question_means(answers: Iterable[AnswerGiven]) -> dict[str, float]:
    by_question = grouped(answers, lambda answer: answer.question_id)
    return {question: float(np.mean([run.score or 0.0 for run in runs])) for question, runs in by_question.items()}


def _is_proportion(answers: Sequence[AnswerGiven]) -> bool:
    once = len({answer.question_id for answer in answers}) == len(answers)
    return once and all(answer.score in {None, 0.0, 1.0} for answer in answers)


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _dollars(bills: Sequence[Bill]) -> float | None:
    known = [bill["cost_usd"] for bill in bills if bill["cost_usd"] is not None]
    return _mean(known) if len(known) == len(bills) else None


def _wasted(answers: Iterable[AnswerGiven]) -> float | None:
    spent = [(sample.output_tokens, sample.id == run.winner) for run in answers for sample in run.samples]
    total = sum(tokens for tokens, _ in spent)
    return sum(tokens for tokens, won in spent if not won) / total if total else None


def _consistency(answers: Iterable[AnswerGiven]) -> float | None:
    by_question = grouped(answers, lambda answer: answer.question_id)
    repeated = [[_won(run) for run in runs] for runs in by_question.values() if len(runs) > 1]
    if not any(answer is not None for given in repeated for answer in given):
        return None
    return sum(given[0] is not None and len(set(given)) == 1 for given in repeated) / len(repeated)


def _won(answer: AnswerGiven) -> str | None:
    return next((sample.extracted for sample in answer.samples if sample.id == answer.winner), None)


def _distance(ours: float | None, other: float | None) -> float:
    return abs(ours - other) if ours is not None and other is not None else np.inf


def _near(ours: float | None, other: float | None) -> bool:
    return ours is not None and _distance(ours, other) <= NEAR * ours


def _comparison(
    basis: Literal["samples", "calls"],
    ours: Row,
    rival: Row,
    our_answers: Sequence[AnswerGiven],
    rival_answers: Sequence[AnswerGiven],
) -> list[MethodComparison]:
    """One comparison, or none without a common question."""
    our_means, rival_means = _question_means(our_answers), _question_means(rival_answers)
    common = [question for question in our_means if question in rival_means]
    if not common:
        return []
    first, second = [our_means[question] for question in common], [rival_means[question] for question in common]
    difference = float(np.mean(first) - np.mean(second))
    interval = paired_bootstrap(first, second, seed=SEED)
    p = mcnemar([s == 1 for s in first], [s == 1 for s in second]) if ours.proportion and rival.proportion else None
    decided: Literal["better", "worse"] = "better" if difference > 0 else "worse"
    return [
        MethodComparison(
            setting=ours.setting,
            basis=basis,
            budget=ours.budget,
            rival=rival.method,
            rival_budget=rival.budget,
            questions=len(common),
            score=float(np.mean(first)),
            rival_score=float(np.mean(second)),
            difference=difference,
            interval=interval,
            p=p,
            calls=ours.calls,
            rival_calls=rival.calls,
            verdict="tie" if is_tie(interval) else decided,
        )
    ]


def _kind(thought: Mapping[str, object]) -> str:
    return str(thought["id"] if thought["origin"] == "fixed" else thought["origin"])


def _kind_order(kind: str) -> tuple[int, str]:
    order = [origin for origin in get_args(Origin) if origin != "fixed"]
    return (order.index(kind) if kind in order else -1), kind


def _arm_kind(setting: Setting, method: str, budget: int, kind: str, runs: Sequence[AnswerGiven]) -> ArmKind:
    ids = [{thought["id"] for thought in run.pool if _kind(thought) == kind} for run in runs]
    drawn = [[s for s in run.samples if s.meta_thought in arms] for run, arms in zip(runs, ids, strict=True)]
    rewards = [float(np.mean(scored)) for samples in drawn if (scored := _rewards(samples))]
    return ArmKind(
        setting=setting,
        method=method,
        budget=budget,
        kind=kind,
        runs=len(runs),
        arms=float(np.mean([len(arms) for arms in ids])),
        pulls=float(np.mean([len(samples) for samples in drawn])),
        reward=_mean(rewards),
        interval=mean_interval(rewards, seed=SEED) if rewards else None,
    )


def _rewards(samples: Iterable[SampleRecord]) -> tuple[float, ...]:
    return tuple(sample.reward for sample in samples if sample.reward is not None)
