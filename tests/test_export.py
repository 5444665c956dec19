"""`metascale export` on what real runs left: SQLite files of `solve --db`, and logs of `bench`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.log import EvalLog, read_eval_log, write_eval_log
from langgraph.checkpoint.sqlite import SqliteSaver

from metascale import MetaScaleSettings, create_metascale
from metascale.data import gsm8k
from metascale.evals.report.logs import read_logs
from metascale.foresight.prediction import Predicted
from metascale.models.json_reply import read_reply
from metascale.prompts import fenced
from metascale.training import meta_reward
from metascale.training.rollouts import Answer, Rollout, gathered
from metascale.training.rows import export as rows_of
from metascale.training.selection import Selection, is_foreseen
from tests.bench_process import bench
from tests.command_line import SIMULATED, invoke
from tests.conftest import ask
from tests.exports import export, solve

QUESTIONS = [row["question"] for row in gsm8k()[:4]]
ODD_QUESTION = 'Wie viel ist ½ · 8? 🦆\u2028"Ja"'


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four foreseen runs, the first question by other methods too, an odd question, and a run that has not ended."""
    path = tmp_path_factory.mktemp("runs") / "own runs?#.sqlite"
    for number, question in enumerate(QUESTIONS):
        solve(path, f"foreseen {number}", question, "--set", "foresee=true")
    for method in ("best_of_n", "self_consistency", "mrp", "self_discover_best_of_n"):
        solve(path, method, QUESTIONS[0], "--method", method)
    solve(path, "odd", ODD_QUESTION)
    with SqliteSaver.from_conn_string(str(path)) as saver:
        graph = create_metascale("simulated", settings=MetaScaleSettings(budget=8), checkpointer=saver)
        stream = graph.stream(ask(), {"configurable": {"thread_id": "cut"}}, stream_mode="updates", durability="sync")
        for _ in range(6):
            next(stream)
        stream.close()
    return path


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    methods = ("--method", "metascale", "--method", "direct", "--set", "foresee=true")
    done = bench(folder, *SIMULATED, *methods, "--budget", "4", "--limit", "8")
    assert done.code == 0, done.said
    return folder / "logs"


def test_every_finished_run_of_a_database_is_read_and_nothing_in_it_changes(db: Path, tmp_path: Path) -> None:
    before = (db.read_bytes(), sorted(db.parent.iterdir()))
    done = export(tmp_path / "rows.jsonl", db, "--format", "grpo", "--gate", "none")
    assert (db.read_bytes(), sorted(db.parent.iterdir())) == before
    assert done.code == 0
    assert done.summary["runs_read"] == 9
    assert done.summary["runs_skipped"] == {"unfinished": 1}
    assert done.summary["prompts"] == done.summary["prompts_read"] == done.summary["simulated_prompts"] == 5
    assert [row["question"] for row in done.rows] == [*QUESTIONS, ODD_QUESTION]
    assert done.rows[4]["prompt"] == [{"role": "user", "content": ODD_QUESTION}]
    assert all(row["model"] == "simulated" for row in done.rows)


def test_what_a_judge_said_is_never_called_correct(db: Path, tmp_path: Path) -> None:
    grpo = export(tmp_path / "grpo.jsonl", db, "--format", "grpo", "--gate", "none")
    for row in grpo.rows:
        assert row["solution"] is row["pass_rate"] is row["measured_by"] is row["good_answers"] is None
        assert 0 < row["mean_reward"] < 1
    sft = export(tmp_path / "sft.jsonl", db, "--format", "sft")
    assert sft.summary["completions_removed"] == {"unscored": 1}
    for row in sft.rows:
        assert row["correct"] is None
        assert row["reward"] > 0
    guess = export(tmp_path / "none.jsonl", db, "--format", "grpo", "--what", "predictions", "--gate", "none")
    assert guess.code == 1
    assert guess.complaint.count("\n") == 1
    assert "--good-reward" in guess.complaint
    assert guess.summary["prompts_removed"] == {"not_measured": 5}
    assert not list(tmp_path.glob("*none*"))


def test_a_threshold_on_rewards_takes_golds_place_and_says_so(db: Path, tmp_path: Path) -> None:
    options = ("--format", "grpo", "--what", "predictions", "--good-reward", "0.6", "--gate", "none")
    done = export(tmp_path / "rows.jsonl", db, *options)
    assert len(done.rows) == 5
    for row in done.rows:
        assert row["measured_by"] == "reward"
        good, bad = len(row["good_answers"]), len(row["bad_answers"])
        assert row["pass_rate"] == good / (good + bad)
        assert len(row["good_lengths"]) == good
    first = done.rows[0]
    assert len(first["good_answers"] + first["bad_answers"]) == 32, "four methods score 8; mrp scores none"


def test_rows_carry_the_recorded_predictions_with_their_rewards(db: Path, tmp_path: Path) -> None:
    options = ("--format", "grpo", "--what", "predictions", "--good-reward", "0.6", "--gate", "none")
    done = export(tmp_path / "rows.jsonl", db, *options)
    assert [len(row["predictions"]) for row in done.rows] == [4, 4, 4, 4, 0]
    seen = set()
    for row in done.rows:
        [(_, task)] = fenced(row["prompt"][1]["content"])
        assert task == row["question"]
        for stated in row["predictions"]:
            columns = {
                name: [row[name]] for name in ("pass_rate", "good_lengths", "question", "good_answers", "bad_answers")
            }
            [expected] = meta_reward([row["prompt"]], [json.dumps(stated)], **columns)
            assert stated["meta_reward"] == pytest.approx(expected)
            seen.add(stated["meta_reward"])
    assert len(seen) > 4


def test_logs_tell_what_is_correct(logs: Path, tmp_path: Path) -> None:
    done = export(tmp_path / "rows.jsonl", logs, "--format", "grpo", "--gate", "none")
    assert (done.summary["runs_read"], done.summary["prompts"]) == (16, 8)
    answers = read_logs([logs])
    for row, item in zip(done.rows, gsm8k(), strict=False):
        assert row["question"] == item["question"]
        assert row["solution"] == str(item["gold"])
        assert row["measured_by"] == "gold"
        of_this = [s.right for a in answers if a.question_id == item["question_id"] for s in a.samples]
        assert row["pass_rate"] == of_this.count(True) / len(of_this) == len(row["good_answers"]) / 5
        assert all(text.endswith(f"#### {item['gold']}") for text in row["good_answers"])
        assert not any(text.endswith(f"#### {item['gold']}") for text in row["bad_answers"])
        assert row["prompt"][-1] == {"role": "user", "content": item["question"]}
        assert row["prompt"][0]["role"] == "system"
    assert {row["pass_rate"] for row in done.rows} - {0.0, 1.0}


def test_prompts_without_variance_are_left_out_of_grpo_and_counted(logs: Path, tmp_path: Path) -> None:
    every = export(tmp_path / "all.jsonl", logs, "--format", "grpo", "--gate", "none")
    settled = sum(row["pass_rate"] in {0.0, 1.0} for row in every.rows)
    gated = export(tmp_path / "gated.jsonl", logs, "--format", "grpo")
    assert settled > 0
    assert gated.summary["prompts_removed"] == {"zero_variance": settled}
    assert gated.rows == [row for row in every.rows if row["pass_rate"] not in {0.0, 1.0}]


def test_the_best_answer_is_a_correct_one(logs: Path, tmp_path: Path) -> None:
    grpo = export(tmp_path / "grpo.jsonl", logs, "--format", "grpo", "--gate", "none")
    sft = export(tmp_path / "sft.jsonl", logs, "--format", "sft")
    right = {row["question"]: row["good_answers"] for row in grpo.rows if row["good_answers"]}
    assert [row["prompt"][-1]["content"] for row in sft.rows] == list(right)
    for row in sft.rows:
        [message] = row["completion"]
        assert message["role"] == "assistant"
        assert message["content"] in right[row["prompt"][-1]["content"]]
        assert row["correct"] is True
    assert sft.summary["prompts_removed"] == {"no_completion": 8 - len(right)}
    assert sft.summary["completions_removed"] == {"wrong": sum(len(row["bad_answers"]) for row in grpo.rows)}
    picky = export(tmp_path / "picky.jsonl", logs, "--format", "sft", "--min-reward", "0.7")
    kept = [row for row in sft.rows if row["reward"] >= 0.7]
    assert picky.rows == kept
    assert 0 < len(kept) < len(sft.rows)


def test_an_experts_prediction_is_told_what_was_measured(db: Path, tmp_path: Path) -> None:
    options = ("--what", "predictions", "--good-reward", "0.6")
    grpo = export(tmp_path / "grpo.jsonl", db, "--format", "grpo", "--gate", "none", *options)
    sft = export(tmp_path / "sft.jsonl", db, "--format", "sft", *options)
    by_prompt = {json.dumps(row["prompt"]): row for row in grpo.rows}
    assert sft.rows
    for row in sft.rows:
        known = by_prompt[json.dumps(row["prompt"])]
        best = max(known["predictions"], key=lambda stated: stated["notion_reward"])
        assert row["notion_reward"] == best["notion_reward"] >= 0.2
        said = read_reply(row["completion"][0]["content"], Predicted)
        assert said.notions == best["notions"]
        assert said.analysis == best["analysis"]
        assert said.pass_rate == round(known["pass_rate"], 2)
        assert said.length == round(sum(known["good_lengths"]) / len(known["good_lengths"]))
    poor = [
        row for row in grpo.rows if row["predictions"] and max(p["notion_reward"] for p in row["predictions"]) < 0.2
    ]
    assert sft.summary["prompts_removed"] == {"no_predictions": 1, **({"no_completion": len(poor)} if poor else {})}
    every = export(tmp_path / "every.jsonl", db, "--format", "sft", "--min-reward", "0", *options)
    assert len(every.rows) == 4


def test_pairs_are_of_one_prompt_and_differ_by_the_margin(logs: Path, db: Path, tmp_path: Path) -> None:
    gold = export(tmp_path / "gold.jsonl", logs, "--format", "dpo")
    assert gold.rows
    for row in gold.rows:
        assert (row["chosen_correct"], row["rejected_correct"], row["margin"]) == (True, False, 1)
        assert [m["role"] for m in row["chosen"] + row["rejected"]] == ["assistant"] * 2
    for margin in (0.2, 0.5):
        judged = export(tmp_path / f"{margin}.jsonl", db, "--format", "dpo", "--margin", str(margin))
        assert judged.rows
        for row in judged.rows:
            assert row["chosen_reward"] - row["rejected_reward"] == pytest.approx(row["margin"], abs=1e-6)
            assert row["margin"] >= margin
            assert row["chosen_correct"] is None
    foreseen = export(tmp_path / "p.jsonl", db, "--format", "dpo", "--what", "predictions", "--good-reward", "0.6")
    for row in foreseen.rows:
        assert row["chosen_meta_reward"] - row["rejected_meta_reward"] >= 0.2
        read_reply(row["chosen"][0]["content"], Predicted)
    assert foreseen.rows


def answer(text: str, reward: float | None, *, run: int = 0, correct: bool | None = None, **known: Any) -> Answer:
    return Answer(run, text, known.get("status", "ok"), reward, correct, known.get("length"))


def of(*answers: Answer, predictions: Sequence[Any] = ()) -> Rollout:
    return Rollout("m", False, [{"role": "user", "content": "Why?"}], None, answers, predictions)


def test_rewards_of_different_runs_are_not_compared() -> None:
    runs = [of(answer("a", 0.9), answer("b", 0.8)), of(answer("c", 0.2, run=1), answer("d", 0.1, run=1))]
    done = rows_of(gathered(runs), Selection(format="dpo", margin=0.3))
    assert done.removed_prompts == {"no_pair": 1}
    apart = of(answer("a", 0.5), answer("b", 0.5), answer("c", 0.7, run=1), answer("d", 0.7, run=1))
    gate = Selection(format="grpo", gates=frozenset({"zero_variance"}))
    assert rows_of([apart], gate).removed_prompts == {"zero_variance": 1}
    assert len(rows_of([of(answer("a", 0.5), answer("b", 0.6))], gate).rows) == 1


def test_each_completion_stands_in_one_pair_and_equal_texts_in_none() -> None:
    run = of(*(answer(text, reward / 10) for reward, text in enumerate("abcdefg")))
    done = rows_of([run], Selection(format="dpo", margin=0.3))
    pairs = [(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in done.rows]
    assert pairs == [("g", "a"), ("f", "b")]
    assert not rows_of([of(answer("same", 0.9), answer("same", 0.1))], Selection(format="dpo")).rows


def test_only_whole_answers_within_the_limits_are_completions() -> None:
    foreseen = [{"pass_rate": 0.5, "length": length, "notions": []} for length in (80, 100, 900)]
    run = of(
        answer("cut", 0.9, status="truncated", length=10),
        answer("", 0.8, status="empty"),
        answer("long", 0.7, length=301),
        answer("medium", 0.6, length=250),
        answer("short", 0.5, length=100),
        answer("unknown", 0.4),
        predictions=foreseen,
    )

    def best(**limits: Any) -> tuple[str, dict[str, int]]:
        done = rows_of([run], Selection(format="sft", **limits))
        return done.rows[0]["completion"][0]["content"], dict(done.removed_completions)

    assert best() == ("long", {"not_whole": 2})
    assert best(max_length=300) == ("medium", {"not_whole": 2, "max_length": 1})
    assert best(cutoff=2) == ("short", {"not_whole": 2, "cutoff": 2})
    assert best(max_length=90) == ("unknown", {"not_whole": 2, "max_length": 3})
    none = rows_of([of(answer("long", 0.7, length=301))], Selection(format="grpo", max_length=300))
    assert (none.rows, none.removed_prompts) == ([], {"no_completion": 1})


@pytest.mark.parametrize(
    ("rates", "foreseen"),
    [
        ([0.95, 1.0, 0.9], True),
        ([0.0, 0.05, 0.1, 0.05], True),
        ([1.0, 0.7, 1.0, 1.0], False),
        ([0.5, 0.5, 0.5], False),
        ([0.85, 0.85], False),
        ([1.0], False),
        ([], False),
    ],
)
def test_the_predictive_gate(rates: list[float], foreseen: bool) -> None:  # noqa: FBT001
    assert is_foreseen(rates, 0.1, 0.1) is foreseen
    run = of(
        answer("a", 0.1), answer("b", 0.9), predictions=[{"pass_rate": r, "length": 9, "notions": []} for r in rates]
    )
    gates = frozenset({"predictive", "zero_variance"})
    done = rows_of([run], Selection.model_validate({"format": "grpo", "gates": gates}))
    assert done.removed_prompts == ({"predictive": 1} if foreseen else {})


def test_gates_are_named_on_the_command_line(db: Path, tmp_path: Path) -> None:
    every = export(tmp_path / "all.jsonl", db, "--format", "grpo", "--gate", "none")
    gates = ("--gate", "predictive", "--sigma", "0.3", "--near", "0.5")
    done = export(tmp_path / "some.jsonl", db, "--format", "grpo", *gates)
    removed = done.summary["prompts_removed"]["predictive"]
    assert 0 < removed <= 4
    assert len(done.rows) == len(every.rows) - removed
    sure = [row for row in every.rows if is_foreseen([stated["pass_rate"] for stated in row["predictions"]], 0.3, 0.5)]
    assert len(sure) == removed


def test_models_are_kept_apart() -> None:
    runs = [of(answer("a", 0.9)), of(answer("b", 0.9, run=1))]
    other = Rollout("other", False, runs[0].prompt, None, runs[0].answers, [])
    assert [len(run.answers) for run in gathered([*runs, other])] == [2, 1]


def test_a_source_named_twice_is_read_once(logs: Path, db: Path, tmp_path: Path) -> None:
    once = export(tmp_path / "once.jsonl", logs, db, "--format", "grpo")
    one_log = next(logs.glob("*.eval"))
    twice = export(tmp_path / "twice.jsonl", logs, db, one_log, db, "--format", "grpo")
    assert twice.rows == once.rows
    assert {row["model"] for row in once.rows} == {"simulated", "metascale/simulated"}


def test_a_database_that_is_being_written_is_read_as_far_as_it_is(db: Path, tmp_path: Path) -> None:
    live = tmp_path / "live.sqlite"
    live.write_bytes(db.read_bytes())
    with SqliteSaver.from_conn_string(str(live)) as saver:
        graph = create_metascale("simulated", settings=MetaScaleSettings(budget=3), checkpointer=saver)
        graph.invoke(ask("And one more?"), {"configurable": {"thread_id": "new"}})
        assert (tmp_path / "live.sqlite-wal").stat().st_size > 0
        done = export(tmp_path / "rows.jsonl", live, "--format", "grpo", "--gate", "none")
    assert done.rows[-1]["question"] == "And one more?"
    assert done.rows[-1]["model"] == ""


def test_a_later_turn_of_a_conversation_keeps_what_came_before(tmp_path: Path) -> None:
    path = tmp_path / "talk.sqlite"
    with SqliteSaver.from_conn_string(str(path)) as saver:
        graph = create_metascale("simulated", settings=MetaScaleSettings(budget=2), checkpointer=saver)
        for question in ("What is 2 + 2?", "And doubled?"):
            graph.invoke(ask(question), {"configurable": {"thread_id": "t"}})
    [row] = export(tmp_path / "rows.jsonl", path, "--format", "grpo", "--gate", "none").rows
    assert [message["role"] for message in row["prompt"]] == ["user", "assistant", "user"]
    assert row["question"] == "And doubled?"


def test_a_question_that_is_more_than_text_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "seen.sqlite"
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    content = [{"type": "text", "text": "What is this?"}, image]
    with SqliteSaver.from_conn_string(str(path)) as saver:
        graph = create_metascale("simulated", settings=MetaScaleSettings(budget=2), checkpointer=saver)
        graph.invoke({"messages": [{"role": "user", "content": content}]}, {"configurable": {"thread_id": "t"}})
    done = export(tmp_path / "rows.jsonl", path, "--format", "sft")
    assert (done.code, done.summary["runs_skipped"]) == (1, {"not_text": 1})
    assert "with more than text in the question" in done.complaint


def search_log(logs: Path) -> EvalLog:
    """The log of the method that draws several answers."""
    read = [read_eval_log(str(path)) for path in logs.glob("*.eval")]
    return next(log for log in read if log.plan.steps[-1].solver.rpartition("/")[2] == "metascale")


def test_other_scorers_know_the_winner_alone(logs: Path, tmp_path: Path) -> None:
    log = search_log(logs)
    [rule] = log.eval.scorers or []
    rule.name = "includes"
    write_eval_log(log, str(tmp_path / "other.eval"))
    grpo = export(tmp_path / "grpo.jsonl", tmp_path / "other.eval", "--format", "grpo", "--gate", "none")
    assert all(row["solution"] is row["pass_rate"] is None for row in grpo.rows)
    sft = export(tmp_path / "sft.jsonl", tmp_path / "other.eval", "--format", "sft")
    assert len(sft.rows) == 8
    right = [next(iter((sample.scores or {}).values())).value == "C" for sample in log.samples or []]
    assert [row["correct"] for row in sft.rows if row["correct"] is not None] == [True] * sum(right)
    assert sft.summary["completions_removed"] == {"wrong": 8 - sum(right)}
    assert 0 < sum(right) < 8


def test_a_log_without_texts_is_counted_and_not_made_up(logs: Path, tmp_path: Path) -> None:
    log = search_log(logs)
    for sample in log.samples or []:
        for candidate in sample.store["metascale"]["candidates"]:
            del candidate["text"]
    write_eval_log(log, str(tmp_path / "old.eval"))
    done = export(tmp_path / "rows.jsonl", tmp_path / "old.eval", "--format", "sft")
    assert (done.code, done.summary["runs_skipped"]) == (1, {"no_texts": 8})
    assert "8 logged by an older version, without texts" in done.complaint


def _broken(folder: Path, db: Path) -> dict[str, Path]:
    paths = {name: folder / name for name in ("missing.sqlite", "text.sqlite", "other.sqlite", "torn.sqlite", "empty")}
    paths["text.sqlite"].write_text("not a database")
    with sqlite3.connect(paths["other.sqlite"]) as connection:
        connection.execute("create table birds (name text)")
    connection.close()
    paths["torn.sqlite"].write_bytes(db.read_bytes())
    with sqlite3.connect(paths["torn.sqlite"]) as connection:
        connection.execute("update checkpoints set checkpoint = x'c1c1' where thread_id = 'foreseen 1'")
    connection.close()
    paths["empty"].mkdir()
    return paths


def test_what_cannot_be_read_is_named_in_one_line(db: Path, tmp_path: Path) -> None:
    says = {
        "missing.sqlite": (2, "no such source"),
        "text.sqlite": (2, "is not a readable Inspect log"),
        "other.sqlite": (2, "cannot be read as runs of metascale: no such table"),
        "torn.sqlite": (2, "the thread 'foreseen 1' cannot be read"),
        "empty": (1, "nothing to export: the sources contain no run of metascale"),
    }
    for name, path in _broken(tmp_path, db).items():
        sources = [path] if name == "empty" else [db, path]
        done = export(tmp_path / "rows.jsonl", *sources, "--format", "sft")
        assert done.code == says[name][0], done
        assert says[name][1] in done.complaint
        assert done.complaint.count("\n") == 1
        assert not (tmp_path / "rows.jsonl").exists()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--format", "ppo"), "unknown format 'ppo'"),
        (("--format", "sft", "--what", "guesses"), "unknown kind of completion 'guesses'"),
        (("--format", "grpo", "--gate", "zero-variance"), "did you mean 'zero_variance'?"),
        (("--format", "grpo", "--gate", "none", "--gate", "predictive"), "--gate none excludes other gates"),
        (("--format", "grpo", "--min-reward", "0.5"), "--min-reward"),
        (("--format", "sft", "--min-reward", "5"), "min_reward"),
        (("--format", "sft", "--what", "predictions", "--max-length", "9"), "limit answers, not predictions"),
        (("--format", "dpo", "--margin", "0"), "margin"),
    ],
)
def test_wrong_usage_is_refused_before_anything_is_read(options: tuple[str, ...], says: str, tmp_path: Path) -> None:
    done = export(tmp_path / "rows.jsonl", tmp_path / "nowhere.sqlite", *options)
    assert done.code == 2
    assert says in done.complaint
    assert done.complaint.count("\n") == 1
    assert done.complaint.startswith("metascale: ")


def test_nothing_is_overwritten(db: Path, tmp_path: Path) -> None:
    assert invoke("export", str(db), "--format", "sft", "--out", str(db)).exit_code == 2
    there = tmp_path / "rows.jsonl"
    there.write_text("mine")
    for out, says in ((there, "already exists"), (tmp_path / "no" / "rows.jsonl", "in a folder that does not exist")):
        done = invoke("export", str(db), "--format", "sft", "--out", str(out))
        assert done.exit_code == 2
        assert says in done.stderr
    assert there.read_text() == "mine"


def test_the_summary_in_words(logs: Path, tmp_path: Path) -> None:
    done = invoke("export", str(logs), "--format", "sft", "--out", str(tmp_path / "rows.jsonl"))
    assert done.exit_code == 0
    assert done.stderr == ""
    assert "16 runs read, of 8 prompts" in done.stdout
    assert "completions, wrong by the gold answer" in done.stdout
    assert "SIMULATION" in done.stdout
