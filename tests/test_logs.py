"""The way from Inspect's logs to a report's numbers: what counts, how often, and under which label."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.log import EvalError, EvalLog, EvalSample, write_eval_log
from inspect_ai.model import GenerateConfig, ModelConfig

from benchmarks.table import keep, read, table
from metascale import MetaScaleSettings
from metascale.evals.report import tables
from metascale.evals.report.labels import changes_of, concerns, full_budget_of, method_label
from metascale.evals.report.logs import read_logs
from metascale.graphs import METHODS
from metascale.settings import KEEPS_ANSWERS
from tests.command_line import invoke
from tests.inspect_runs import SETTINGS, evaluated

RUNS = {
    "best_of_n": "gsm8k(), 'best_of_n', limit=5, epochs=2",
    "metascale": "gsm8k(), 'metascale', limit=5, epochs=2",
    "two questions": "gsm8k(), 'direct', limit=2",
    "three questions": "gsm8k(), 'direct', limit=3",
    "own model": "gsm8k(), 'direct', 'mockllm/model', {'model': 'metascale/simulated'}, limit=1",
}


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, EvalLog]:
    found = evaluated(tmp_path_factory.mktemp("logs"), *RUNS.values())
    return {name: with_samples(log, without_events) for name, log in zip(RUNS, found, strict=True)}


@pytest.fixture(scope="module")
def whole(logs: dict[str, EvalLog]) -> dict[str, EvalLog]:
    """Uninterrupted evaluations of two methods: five questions, two epochs."""
    return {method: logs[method] for method in ("best_of_n", "metascale")}


def without_events(sample: EvalSample) -> EvalSample:
    return sample.model_copy(update={"events": [], "attachments": {}, "messages": []})


def written(log: EvalLog, folder: Path, name: str) -> Path:
    path = folder / f"{name}.eval"
    write_eval_log(log, str(path))
    return path


def interrupted(log: EvalLog, name: str, keep: Callable[[EvalSample], bool], status: Any = "started") -> EvalLog:
    """An earlier attempt at the same evaluation, which ended before some of its samples did."""
    return log.model_copy(
        update={
            "status": status,
            "eval": log.eval.model_copy(
                update={"eval_id": name, "run_id": name, "created": "2020-01-01T00:00:00+00:00"}
            ),
            "samples": [sample for sample in log.samples or [] if keep(sample)],
        }
    )


def broken(sample: EvalSample, message: str, **changes: Any) -> EvalSample:
    error = EvalError(message=message, traceback="", traceback_ansi="")
    return sample.model_copy(update={"error": error, "scores": None, "store": {}, "uuid": None, **changes})


def with_samples(log: EvalLog, change: Callable[[EvalSample], EvalSample]) -> EvalLog:
    return log.model_copy(update={"samples": [change(sample) for sample in log.samples or []]})


def report_of(*paths: Path) -> tuple[list[tables.Row], list[tables.MethodComparison]]:
    answers = read_logs(paths)
    return tables.summary(answers), tables.comparisons(answers)


@pytest.mark.parametrize("seed", range(5))
def test_whatever_lies_beside_the_finished_logs_changes_nothing(
    whole: dict[str, EvalLog], tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    plain, mixed = tmp_path / "plain", tmp_path / "mixed"
    given = [mixed]
    for folder in (plain, mixed / "deeper"):
        folder.mkdir(parents=True)
    for method, log in whole.items():
        written(log, plain, method)
        written(log, mixed, method)
        for number in range(rng.randrange(4)):
            share, status = rng.random(), rng.choice(["started", "cancelled", "error"])
            part = interrupted(log, f"part{number}", lambda _, share=share: rng.random() < share, status)
            spoil = rng.choice(["CancelledError('stop')", "PermissionDeniedError: 401", None])
            if spoil:
                part = with_samples(part, lambda s, spoil=spoil: broken(s, spoil) if rng.random() < 0.5 else s)
            written(part, rng.choice([mixed, mixed / "deeper"]), f"{method}-{number}")
        if rng.random() < 0.5:
            shutil.copy(mixed / f"{method}.eval", mixed / "deeper" / f"copy-of-{method}.eval")
        if rng.random() < 0.5:
            given.append(mixed / f"{method}.eval")
    assert report_of(*rng.sample(given, len(given))) == report_of(plain)
    assert all(answer.left_out == 0 for answer in read_logs(given))


@pytest.mark.parametrize("seed", range(4))
def test_interrupted_logs_that_hold_all_answers_together_count_as_one_whole(
    whole: dict[str, EvalLog], tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    for method, log in whole.items():
        part_of = {(sample.id, sample.epoch): rng.randrange(3) for sample in log.samples or []}
        for number in range(3):
            part = interrupted(log, f"{number}", lambda s, n=number, of=part_of: of[s.id, s.epoch] >= n, "cancelled")
            written(part, tmp_path, f"{method}-{number}")
    found = report_of(tmp_path)
    assert found == report_of(*(written(log, tmp_path, method) for method, log in whole.items()))


def test_a_killed_log_alone_tells_unanswered_from_failed_and_from_wrong(
    whole: dict[str, EvalLog], tmp_path: Path
) -> None:
    def spoilt(sample: EvalSample) -> EvalSample:
        place = (sample.id, sample.epoch)
        if place == ("gsm8k-test/1", 1):
            return broken(sample, "AuthenticationError: 401")
        if place == ("gsm8k-test/1", 2):
            return broken(sample, "CancelledError()")
        if place == ("gsm8k-test/2", 1):
            record = {"problem": "no sample succeeded", "winner": None, "candidates": [], "pool": []}
            return sample.model_copy(update={"store": {"metascale": record}})
        return sample

    log = interrupted(whole["best_of_n"], "killed", lambda sample: sample.id != "gsm8k-test/4")
    answers = read_logs([written(with_samples(log, spoilt), tmp_path, "killed")])
    assert Counter(answer.outcome for answer in answers) == {"answered": 5, "failed": 2, "unanswered": 3}
    assert {answer.problem for answer in answers if answer.outcome == "failed"} == {
        "AuthenticationError: 401",
        "no sample succeeded",
    }
    (row,) = tables.summary(answers)
    assert (row.questions, row.answered, row.failed, row.unanswered) == (5, 5, 2, 3)
    kept = read_logs([written(whole["best_of_n"], tmp_path, "whole")])
    known = {(a.question_id, a.epoch): a.score for a in kept}
    for answer in answers:
        assert answer.score == (known[answer.question_id, answer.epoch] if answer.outcome == "answered" else None)


def test_a_failure_that_was_asked_again_counts_as_its_answer(whole: dict[str, EvalLog], tmp_path: Path) -> None:
    log = whole["metascale"]
    written(
        interrupted(with_samples(log, lambda s: broken(s, "503")), "first", lambda _: True, "success"), tmp_path, "a"
    )
    written(log, tmp_path, "b")
    assert {answer.outcome for answer in read_logs([tmp_path])} == {"answered"}


def test_a_benchmark_that_was_run_twice_counts_once_and_says_so(logs: dict[str, EvalLog], tmp_path: Path) -> None:
    for name in ("two questions", "three questions"):
        written(logs[name], tmp_path, name)
    assert [answer.left_out for answer in read_logs([tmp_path])] == [1, 1, 0]
    done = invoke("report", str(tmp_path), "--out", str(tmp_path / "report"))
    assert (done.exit_code, "note: 2 answers are left out" in done.stderr) == (0, True)


def test_results_that_are_kept_make_the_table_of_their_logs(whole: dict[str, EvalLog], tmp_path: Path) -> None:
    paths = [written(log, tmp_path, name) for name, log in whole.items()]
    answers = read([*paths])
    keep(answers, tmp_path / "kept.jsonl.gz")
    assert table(answers).count("metascale") == 1
    assert table(read([tmp_path / "kept.jsonl.gz"])) == table(answers)


def changed(log: EvalLog, **arguments: Any) -> EvalLog:
    """The same answers, as if the solver had been given other arguments."""
    step = log.plan.steps[0]
    other = step.model_copy(update={"params": {**(step.params or {}), **arguments}})
    return log.model_copy(update={"plan": log.plan.model_copy(update={"steps": [other]})})


def respecified(log: EvalLog, **changes: Any) -> EvalLog:
    return log.model_copy(update={"eval": log.eval.model_copy(update=changes)})


KEEPING: list[dict[str, Any]] = [
    {"settings": SETTINGS | {"prices": {"gpt": {"input": 1, "output": 2}}, "call_timeout": 5}},
    {"settings": SETTINGS | {"max_retries": 7, "max_in_flight": 2, "stragglers": "hedge"}},
    {"settings": SETTINGS | {"temperature": 1.0, "batch_size": None, "policy": "upper_tail"}},
    {"batch_size": None, "policy": "upper_tail", "multiple_correct": False},
]


@pytest.mark.parametrize("arguments", KEEPING)
def test_what_does_not_change_an_answer_is_not_in_a_label(
    whole: dict[str, EvalLog], tmp_path: Path, arguments: dict[str, Any]
) -> None:
    first = read_logs([written(whole["metascale"], tmp_path, "plain")])
    others = read_logs([written(changed(whole["metascale"], **arguments), tmp_path, "changed")])
    assert {(a.method, tables.setting_of(a)) for a in others} == {(a.method, tables.setting_of(a)) for a in first}
    assert len(read_logs([tmp_path])) == len(first)


APART: list[Callable[[EvalLog], EvalLog]] = [
    lambda log: changed(log, judge_model="openai/judge"),
    lambda log: changed(log, model="openai/other"),
    lambda log: changed(log, batch_size=2),
    lambda log: changed(log, policy="ucb"),
    lambda log: changed(log, seed=2),
    lambda log: changed(log, settings=SETTINGS | {"temperature": 0.2}),
    lambda log: changed(log, settings=SETTINGS | {"reward": "agreement"}),
    lambda log: changed(log, settings=SETTINGS | {"target_reward": None}),
    lambda log: changed(log, settings=SETTINGS | {"max_seconds": 9}),
    lambda log: changed(log, settings=SETTINGS | {"rubric": "x" * 100 + "1"}),
    lambda log: respecified(log, model="openai/other"),
    lambda log: respecified(log, model_args={"path": "a.jsonl"}),
    lambda log: respecified(log, model_generate_config=GenerateConfig(temperature=0.2)),
    lambda log: respecified(log, model_generate_config=GenerateConfig(max_tokens=9)),
    lambda log: respecified(log, model_roles={"grader": ModelConfig(model="openai/judge")}),
    lambda log: respecified(log, task_args_passed={"judge_model": "openai/judge"}),
    lambda log: respecified(log, config=log.eval.config.model_copy(update={"token_limit": 9})),
    lambda log: respecified(log, task="other/gsm8k"),
    lambda log: log.model_copy(update={"plan": log.plan.model_copy(update={"config": GenerateConfig(top_p=0.5)})}),
]


@pytest.mark.parametrize("place", range(len(APART)))
def test_what_changes_an_answer_is_never_merged_into_one_row(
    whole: dict[str, EvalLog], tmp_path: Path, place: int
) -> None:
    log = whole["metascale"]
    written(log, tmp_path, "plain")
    written(APART[place](log), tmp_path, "changed")
    answers = read_logs([tmp_path])
    assert len(answers) == 20
    assert Counter(row.answered for row in tables.summary(answers)) == {10: 2}
    assert all(answer.left_out == 0 for answer in answers)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"settings": {"policy": "ucb"}}, {"policy": "ucb"}),
        ({"settings": MetaScaleSettings.paper().model_dump(exclude_unset=True)}, {"policy": "ucb", "settings": {
            "evolution": "always", "operators": "combine", "confirm": 0, "final_choice": "best", "head_start": 0.0,
            "stop_on_agreement": None, "batch_size": 4, "reward": "judge"}}),
        ({"settings": {"temperature": 0.50}}, {"settings": {"temperature": 0.5, "max_tokens": None}}),
        ({"settings": {"pool_size": 8}}, {"settings": {"reward": "judge"}}),
    ],
)  # fmt: skip
def test_two_ways_to_say_the_same_have_one_label(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert changes_of("metascale", first) == changes_of("metascale", second) != {}


@pytest.mark.parametrize(
    ("settings", "label"),
    [
        ({}, "metascale"),
        ({"evolution": "off"}, "metascale (evolution=off, reward=judge)"),
        (MetaScaleSettings.paper().model_dump(exclude_unset=True), "metascale (preset=paper)"),
        (
            MetaScaleSettings.paper(evolution="off", temperature=0.7).model_dump(exclude_unset=True),
            "metascale (preset=paper, evolution=off, temperature=0.7)",
        ),
        (
            MetaScaleSettings.paper(evolution="gated").model_dump(exclude_unset=True),
            "metascale (preset=paper, evolution=gated)",
        ),
    ],
)
def test_a_label_names_the_preset_where_that_is_shorter(settings: dict[str, Any], label: str) -> None:
    assert method_label("metascale", changes_of("metascale", {"settings": settings})) == label


def test_the_full_budget_of_a_preset_with_foresight_is_the_preset() -> None:
    foreseeing = MetaScaleSettings.paper(foresee=True).model_dump(exclude_unset=True)
    assert full_budget_of("metascale", {"settings": foreseeing}) == "metascale (preset=paper)"


@pytest.mark.parametrize(
    "settings", [{"prices": {"x": {"input": 1, "output": 1}}}, {"temperature": 0.3}, {"policy": "ucb", "confirm": 0}]
)
def test_settings_for_all_methods_leave_the_comparisons_as_they_are(
    whole: dict[str, EvalLog], tmp_path: Path, settings: dict[str, Any]
) -> None:
    def pairs() -> list[tuple[str, str, str]]:
        found = tables.comparisons(read_logs([tmp_path]))
        return [(one.basis, tables.base_of(one.method), tables.base_of(one.rival)) for one in found]

    for method, log in whole.items():
        written(log, tmp_path, method)
    before = pairs()
    assert before
    for method, log in whole.items():
        written(changed(log, settings=settings), tmp_path, method)
    assert pairs() == before


CHANGING = {
    *("policy", "batch_size", "beta", "softmax_temperature", "temperature", "max_tokens", "refine", "pool_size"),
    *("retriever_k", "duplicate_similarity", "head_start", "seed_methods", "rated_methods", "methods_dir", "seed"),
    *("review_pool", "evolution", "operators", "evolve_every", "parents", "children", "max_pool", "foresee"),
    *("predictions", "memory", "memory_seeds", "reward", "judge_at_once", "rubric", "panel", "reward_model"),
    *(
        "verifier",
        "answer_kind",
        "confirm",
        "synthesize",
        "final_choice",
        "budget",
        "max_calls",
        "max_tokens_total",
        "max_cost_usd",
    ),
    *("max_seconds", "target_reward", "stop_on_agreement", "min_progress", "max_failures", "max_question_chars"),
    *("ask_for_budget", "weigh_votes", "end_early", "expected_score"),
}


def test_every_setting_is_known_to_change_answers_or_to_keep_them() -> None:
    assert set(KEEPS_ANSWERS) == {"max_retries", "call_timeout", "max_in_flight", "stragglers", "prices"}
    assert set(MetaScaleSettings.model_fields) == CHANGING | KEEPS_ANSWERS, "say of a new setting whether it does"


UNCONCERNED: dict[str, Any] = {
    "policy": "round_robin",
    "beta": 5.0,
    "softmax_temperature": 3.0,
    "refine": True,
    "pool_size": 3,
    "head_start": 0.5,
    "seed_methods": 2,
    "rated_methods": "all",
    "evolution": "always",
    "operators": "combine",
    "evolve_every": 1,
    "parents": 1,
    "children": 3,
    "max_pool": 4,
    "foresee": True,
    "predictions": 2,
    "memory_seeds": 0,
    "duplicate_similarity": 0.1,
    "retriever_k": 1,
    "judge_at_once": 3,
    "rubric": "Be kind.",
    "reward": "agreement",
    "confirm": 3,
    "synthesize": True,
    "final_choice": "sum",
    "answer_kind": "text",
    "batch_size": 1,
    "max_calls": 2,
    "max_tokens_total": 10,
    "target_reward": 0.1,
    "stop_on_agreement": 0.6,
    "min_progress": 0.9,
    "weigh_votes": True,
    "end_early": True,
    "expected_score": True,
    "max_failures": 1,
    "max_retries": 0,
    "call_timeout": 60,
    "max_in_flight": 8,
}


@pytest.mark.parametrize("method", [name for name in METHODS if name != "metascale"])
def test_settings_that_do_not_concern_a_method_do_not_change_its_answer(method: str) -> None:
    given: Any = {"messages": [{"role": "user", "content": "What is love?"}]}
    unconcerned = {name: value for name, value in UNCONCERNED.items() if not concerns(name, method)}
    assert len(unconcerned) > 15
    create = METHODS[method].create
    plain, other = (
        create("simulated", settings=MetaScaleSettings(budget=6, seed=3, **more)).invoke(given)["result"]
        for more in ({}, unconcerned)
    )
    assert (other["answer"], other["reward"], other["usage"]["samples"]) == (
        plain["answer"],
        plain["reward"],
        plain["usage"]["samples"],
    )


SIMULATED: list[Callable[[EvalLog], EvalLog]] = [
    lambda log: changed(log, model="metascale/simulated"),
    lambda log: changed(log, judge_model="metascale/simulated-overconfident"),
    lambda log: changed(log, settings={"reward": "panel", "panel": [{"model": "simulated"}]}),
    lambda log: respecified(log, task_args={"judge_model": "metascale/simulated"}),
    lambda log: respecified(log, model_roles={"grader": ModelConfig(model="metascale/simulated")}),
    lambda log: with_samples(log, lambda s: s.model_copy(update={"store": {"metascale": {"simulated": True}}})),
]


def real(log: EvalLog) -> EvalLog:
    """A log as a real model would have left it."""
    plain = with_samples(log, lambda sample: sample.model_copy(update={"model_usage": {}}))
    return respecified(plain, model="openai/gpt-4o")


def test_a_simulation_is_called_one_whoever_is_offline(whole: dict[str, EvalLog], tmp_path: Path) -> None:
    def simulated(log: EvalLog) -> set[bool]:
        return {answer.simulated for answer in read_logs([written(log, tmp_path, "log")])}

    log = real(whole["best_of_n"])
    assert simulated(log) == {False}
    assert [simulated(make(log)) for make in SIMULATED] == [{True}] * len(SIMULATED)


def test_the_model_of_a_row_is_the_one_that_answered(logs: dict[str, EvalLog], tmp_path: Path) -> None:
    (answer,) = read_logs([written(logs["own model"], tmp_path, "log")])
    assert (answer.model, answer.simulated, answer.outcome) == ("metascale/simulated", True, "answered")


def test_questions_with_one_id_and_different_texts_are_different_questions(
    whole: dict[str, EvalLog], tmp_path: Path
) -> None:
    log = whole["best_of_n"]
    other = with_samples(log, lambda sample: sample.model_copy(update={"input": f"Another? {sample.id}"}))
    part = interrupted(log, "part", lambda sample: sample.id == "gsm8k-test/0")
    for name, each in (("log", log), ("other", respecified(other, eval_id="other")), ("part", part)):
        written(each, tmp_path, name)
    (row,) = tables.summary(read_logs([tmp_path]))
    assert (row.questions, row.answered, row.unanswered) == (10, 20, 0)
