"""Evaluations on Inspect: run, killed, resumed, viewed and reported, as a user would."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from metascale import MetaScaleSettings, UnknownNameError
from metascale.costs import parts_of_one
from metascale.data import gsm8k as questions
from metascale.errors import SettingError
from metascale.evals.harness.arena import read_verdict
from metascale.evals.harness.bench import BenchPlan, inspect_model, plan
from metascale.evals.harness.solvers import RECORD
from metascale.evals.harness.tasks import arena_hard, gsm8k, mmlu_pro, recorded
from metascale.evals.report.logs import LogError, logs_in, read_logs
from metascale.evals.report.records import AnswerGiven
from metascale.graphs import METHODS
from metascale.models.simulated import NOTICE
from metascale.result import troubles
from tests.bench_process import BenchProcess, bench
from tests.command_line import SIMULATED, invoke, metascale
from tests.conftest import ServerFactory
from tests.langgraph_server import wait_for_server
from tests.recordings import few
from tests.waiting import CEILING, wait_until

BIN = Path(sys.executable).parent
TASKS = {"gsm8k": gsm8k, "mmlu_pro": mmlu_pro, "arena_hard": arena_hard}


def inspect(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "inspect"), "eval", *arguments, "--display", "none", "--log-dir", "logs"]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_inspect_runs_each_task_with_a_method_on_the_offline_model(tmp_path: Path) -> None:
    options = ["--model", "metascale/simulated", "--solver", "metascale/metascale"]
    options += ["-S", "budget=5", "-S", "seed=1", "-S", 'settings={"confirm": 0, "stop_on_agreement": null}']
    method = "metascale (confirm=0, reward=judge, stop_on_agreement=None)"
    done = inspect(*(f"metascale/{task}" for task in TASKS), *options, "--limit", "3", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    answers = read_logs([tmp_path / "logs"])
    assert Counter(answer.task for answer in answers) == dict.fromkeys(TASKS, 3)
    for answer in answers:
        assert (answer.method, answer.budget, answer.simulated) == (method, 5, True)
        assert answer.score is not None
        assert 0 <= answer.score <= 1
        assert answer.usage is not None
        assert answer.usage["samples"] == len(answer.samples) == 5
        assert answer.usage["calls"] == 11
        assert len(answer.pool) == 8
        assert len(answer.battles) == (2 if answer.task == "arena_hard" else 0)
        if answer.task != "arena_hard":
            winner = next(s for s in answer.samples if s.id == answer.winner)
            assert winner.right == bool(answer.score)


def test_any_inspect_task_takes_a_method_and_a_second_judge(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from inspect_ai import Task, task\n"
        "from inspect_ai.dataset import MemoryDataset, Sample\n"
        "from inspect_ai.scorer import includes\n"
        "@task\n"
        "def own() -> Task:\n"
        "    return Task(dataset=MemoryDataset([Sample(input='Why?', target='Simulated')]), scorer=includes())\n"
    )
    options = ["--model", "metascale/simulated", "--solver", "metascale/best_of_n", "-S", "budget=2"]
    done = inspect("own.py", *options, "-S", "judge_model=metascale/simulated", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (answer,) = read_logs([tmp_path / "logs"])
    assert (answer.task, answer.score) == ("own", 1.0)


def test_a_token_limit_of_inspect_ends_a_run_with_the_best_so_far(tmp_path: Path) -> None:
    options = ["--model", "metascale/simulated", "--solver", "metascale/best_of_n", "-S", "budget=64", "-S", "seed=1"]
    done = inspect("metascale/gsm8k", *options, "--limit", "2", "--token-limit", "6000", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for answer in read_logs([tmp_path / "logs"]):
        assert answer.usage is not None
        assert 1 <= answer.usage["samples"] < 64
        assert answer.winner is not None


def key(answer: AnswerGiven) -> tuple[str, int, str, int]:
    return (answer.method, answer.budget, answer.question_id, answer.epoch)


def checkpoints(folder: Path) -> int:
    """The checkpoints in a benchmark's journal."""
    try:
        with closing(sqlite3.connect(f"file:{folder}/logs/runs.sqlite?mode=ro", uri=True)) as journal:
            return int(journal.execute("select count(*) from checkpoints").fetchone()[0])
    except sqlite3.OperationalError:  # there is no journal yet
        return 0


def has_checkpoints(folder: Path, count: int, process: BenchProcess) -> bool:
    return checkpoints(folder) >= count or process.poll() is not None


def test_a_killed_benchmark_goes_on_where_it_stopped(tmp_path: Path) -> None:
    options = ["--method", "direct", "--method", "best_of_n", "--method", "metascale", "--budget", "4", "--limit", "12"]
    kept = 0
    for more in (1, 4, 7, 11, 16, 2, 5, 8, 13, 3):  # checkpoints until the kill
        process = BenchProcess(tmp_path, *SIMULATED, *options)
        wait_until(partial(has_checkpoints, tmp_path, kept + more, process))
        process.send_signal(signal.SIGKILL)
        assert process.end().code == -signal.SIGKILL
        kept = checkpoints(tmp_path)
    done = bench(tmp_path, *SIMULATED, *options)
    assert done.code == 0, done.said
    assert "SIMULATION" in done.said
    answers = read_logs([tmp_path / "logs"])
    assert Counter(map(key, answers)).most_common(1)[0][1] == 1
    assert Counter(answer.method for answer in answers) == {"direct": 12, "best_of_n": 12, "metascale": 12}

    page = metascale("report", str(tmp_path / "logs"), "--out", str(tmp_path / "report"))
    assert page.returncode == 0, page.stderr
    assert "SIMULATION" in Path(page.stdout.strip()).read_text(encoding="utf-8")


def test_every_method_runs_on_every_task(tmp_path: Path) -> None:
    options = [option for task in TASKS for option in ("--task", task)]
    done = bench(tmp_path, *SIMULATED, *options, "--budget", "3", "--limit", "2")
    assert done.code == 0, done.said
    answers = read_logs([tmp_path / "logs"])
    assert Counter((answer.task, answer.method) for answer in answers) == {(t, m): 2 for t in TASKS for m in METHODS}
    assert all(answer.score is not None and answer.usage is not None for answer in answers)
    notes = [sample.store[RECORD]["notes"] for log in logs_in([tmp_path / "logs"]) for sample in log.samples or []]
    assert [troubles(own) for own in notes] == [[]] * len(answers)


def test_an_ablation_is_not_taken_for_the_method(tmp_path: Path) -> None:
    options = ["--method", "metascale", "--budget", "3", "--limit", "2"]
    for more in ([], ["--set", "evolve_every=0"]):
        done = bench(tmp_path, *SIMULATED, *options, *more)
        assert done.code == 0, done.said
    methods = Counter(answer.method for answer in read_logs([tmp_path / "logs"]))
    assert methods == {"metascale": 2, "metascale (evolve_every=0, reward=judge)": 2}


def test_the_viewer_opens_the_log(tmp_path: Path) -> None:
    options = ["--model", "metascale/simulated", "--solver", "metascale/direct", "--limit", "1"]
    assert inspect("metascale/gsm8k", *options, cwd=tmp_path).returncode == 0
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(BIN / "inspect"), "view", "start", "--log-dir", "logs", "--port", str(port)]
    said = tmp_path / "viewer.log"
    with said.open("w") as output:
        viewer = subprocess.Popen(command, cwd=tmp_path, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_for_server(f"http://127.0.0.1:{port}/", viewer, said)
        logs = httpx.get(f"http://127.0.0.1:{port}/api/logs", timeout=CEILING)
        (log,) = logs.json()["files"]
        opened = httpx.get(f"http://127.0.0.1:{port}/api/logs/{log['name']}", timeout=CEILING)
        assert opened.status_code == 200
        assert NOTICE in opened.text
    finally:
        viewer.terminate()
        viewer.wait(CEILING)


def calls_of_one(method: str, settings: MetaScaleSettings) -> int:
    return sum(part.calls for part in parts_of_one(method, settings))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("budget", "batch_size"), [(1, 4), (7, 4), (16, 4), (33, 8)])
def test_the_plan_counts_the_calls_that_are_made(method: str, budget: int, batch_size: int) -> None:
    settings = MetaScaleSettings(
        budget=budget,
        batch_size=batch_size,
        seed=2,
        evolution="always",
        final_choice="best",
        head_start=0,
        stop_on_agreement=None,
    )
    given: Any = {"messages": [{"role": "user", "content": "What is love?"}]}
    result = METHODS[method].create("simulated", settings=settings).invoke(given)["result"]
    looks = sum(len(finalist["looks"]) for finalist in result["finalists"])
    without = calls_of_one(method, settings.model_copy(update={"confirm": 0}))
    assert without + looks == result["usage"]["calls"] <= calls_of_one(method, settings)
    assert calls_of_one(method, settings) - without == (budget // 2 if METHODS[method].judged else 0)


@pytest.mark.parametrize(("budget", "least", "most"), [(31, 0, 0), (32, 1, 1), (96, 1, 2)])
def test_the_plan_counts_gated_evolutions_at_most(budget: int, least: int, most: int) -> None:
    settings = MetaScaleSettings(budget=budget, seed=2, confirm=0, stop_on_agreement=None)
    given: Any = {"messages": [{"role": "user", "content": "What is love?"}]}
    graph = METHODS["metascale"].create("simulated", settings=settings)
    made = graph.invoke(given, {"recursion_limit": 1_000})["result"]["usage"]["calls"]
    planned = calls_of_one("metascale", settings)
    never = calls_of_one("metascale", settings.model_copy(update={"evolution": "off"}))
    assert planned - never == most
    assert never + least <= made <= planned


def laid(**changes: Any) -> BenchPlan:
    given = {"tasks": ["gsm8k"], "methods": ["direct", "best_of_n"], "budgets": [1, 8], "task_args": {}, "limit": 10}
    return plan(**{"model": "openai:gpt-4o-mini", **given, **changes})


def test_a_plan_says_what_it_costs() -> None:
    found = laid(epochs=2)
    assert [(cell.method, cell.budget, cell.calls) for cell in found.cells] == [
        ("direct", 1, 20),
        ("best_of_n", 1, 40),
        ("best_of_n", 8, 400),
    ]
    assert found.model == "openai/gpt-4o-mini"


def test_a_benchmark_does_not_start_unasked(tmp_path: Path) -> None:
    done = invoke("bench", "--model", "simulated", "--method", "direct", "--log-dir", str(tmp_path / "logs"))
    assert done.exit_code == 2
    assert "at most 1,319 model requests on metascale/simulated; free: this is a SIMULATION" in done.stderr
    assert "nothing was started" in done.stderr
    assert not (tmp_path / "logs").exists()


def test_wrong_names_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown task 'gsm8'; did you mean 'gsm8k'"):
        laid(tasks=["gsm8"])
    with pytest.raises(UnknownNameError, match="unknown method 'best_of'; did you mean 'best_of_n'"):
        laid(methods=["best_of"])
    done = invoke("bench", "--model", "simulated", "--set", "betta=1", "--yes")
    assert (done.exit_code, done.stderr) == (2, "metascale: unknown setting 'betta'; did you mean 'beta'?\n")
    done = invoke("bench", "--model", "simulated", "--set", "memory=ann", "--yes")
    assert (done.exit_code, "questions of an evaluation are independent" in done.stderr) == (2, True)
    done = invoke("bench", "--model", "gpt-4o", "--yes")
    assert done.exit_code == 2
    assert "a model for a benchmark is" in done.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--limit", "0"], "Invalid value for '--limit'"),
        (["--limit", "-3"], "Invalid value for '--limit'"),
        (["--subset", "0"], "Invalid value for '--subset'"),
        (["--epochs", "0"], "Invalid value for '--epochs'"),
        (["--budget", "0"], "Invalid value for '--budget'"),
        (["--seed", "-1"], "Invalid value for '--seed'"),
        (["--budget", "4", "--budget", "4"], "the budget 4 is given twice"),
        (["--method", "direct", "--method", "direct"], "the method 'direct' is given twice"),
        (["--task", "gsm8k", "--task", "gsm8k"], "the task 'gsm8k' is given twice"),
        (["--set", "budget=8"], "the setting 'budget' of a benchmark is its own option: --budget"),
        (["--judge-model", "recorded:answers.jsonl"], "'recorded:answers.jsonl' cannot be a judge"),
        (["--task", "recorded"], "the task 'recorded' needs --path FILE"),
        (
            ["--task", "recorded", "--path", str(few("replay_metaprompting_gpt4.jsonl"))],
            "the gold answer of question 'word_sorting/13': 'aniline boletus",
        ),
    ],
)
def test_wrong_numbers_are_told_before_anything_is_confirmed(options: list[str], says: str) -> None:
    done = invoke("bench", "--model", "simulated", *options)
    assert done.exit_code == 2
    assert says in " ".join(done.stderr.split())
    assert "model requests" not in done.stderr


@pytest.mark.parametrize(("limit", "epochs", "budgets"), [(0, 1, [1]), (-1, 1, [1]), (1, 0, [1]), (1, 1, [0])])
def test_a_plan_refuses_numbers_below_one(limit: int, epochs: int, budgets: list[int]) -> None:
    with pytest.raises(SettingError, match="is at least 1, not"):
        laid(limit=limit, epochs=epochs, budgets=budgets)


@pytest.mark.parametrize(("model", "says"), [("openai:gpt-4o", "OPENAI_API_KEY"), ("foo/bar", "not recognized")])
def test_a_model_that_cannot_be_had_gets_one_line(tmp_path: Path, model: str, says: str) -> None:
    options = ["--model", model, "--method", "direct", "--limit", "1", "--yes", "--log-dir", str(tmp_path / "logs")]
    done = invoke("bench", *options)
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-1].startswith(f"metascale: cannot set up the model '{model.replace(':', '/')}'")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_benchmark_over_a_local_server(tmp_path: Path, start_server: ServerFactory) -> None:
    server = start_server()
    options = ["--model", "openai:local", "--base-url", server.url, "--method", "best_of_n", "--budget", "3"]
    done = bench(tmp_path, *options, "--limit", "2", "--set", "confirm=0")
    assert done.code == 0, done.said
    answers = read_logs([tmp_path / "logs"])
    assert sum(answer.usage["calls"] for answer in answers if answer.usage) == server.requests.total() == 12
    assert not any(answer.simulated for answer in answers)


def test_models_are_named_as_on_the_command_line() -> None:
    assert inspect_model("openai:gpt-4o") == ("openai/gpt-4o", {})
    assert inspect_model("simulated") == ("metascale/simulated", {})
    assert inspect_model("recorded:a/b.jsonl") == ("metascale/recorded", {"path": "a/b.jsonl"})
    assert inspect_model("vllm/meta/llama:8b") == ("vllm/meta/llama:8b", {})


def test_subsets_are_drawn_by_seed() -> None:
    drawn = [[sample.id for sample in gsm8k(subset=64, seed=seed).dataset] for seed in (1, 1, 2)]
    assert len(drawn[0]) == 64
    assert drawn[0] == drawn[1] != drawn[2]


def test_tasks_read_local_files_and_refuse_broken_ones(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text(json.dumps({"question_id": "q", "question": "1 + 1?", "gold": 2}))
    (sample,) = gsm8k(path=str(path)).dataset
    assert (sample.id, sample.target) == ("q", "2")
    done = invoke("bench", "--model", "simulated", "--task", "mmlu_pro", "--path", str(path), "--yes")
    assert (done.exit_code, done.stderr) == (2, "metascale: own.jsonl, line 1: the key 'options' is missing\n")


def test_reports_need_logs(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="there is no log"):
        read_logs([tmp_path / "nothing"])
    (tmp_path / "broken.eval").write_text("not a log")
    done = invoke("report", str(tmp_path / "broken.eval"), "--out", str(tmp_path / "out"))
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert "not a readable Inspect log" in done.stderr


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("A is right. [[A>>B]]", "A>>B"),
        ("[[B>A]] because … [[B>A]]", "B>A"),
        ("[[A=B]]", "A=B"),
        ("A>B", None),
        ("[[A>B]] or [[B>A]]", None),
        ("", None),
    ],
)
def test_verdicts(text: str, verdict: str | None) -> None:
    assert read_verdict(text) == verdict


def test_new_answers_to_recorded_questions_are_right_or_wrong_one_by_one(tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    rows = [{"question_id": q["question_id"], "question": q["question"], "gold": q["gold"]} for q in questions()[:4]]
    record.write_text("".join(json.dumps({**row, "text": f"#### {row['gold']}"}) + "\n" for row in rows))
    options = ["--task", "recorded", "--path", str(record), "--method", "metascale", "--preset", "paper"]
    options += ["--budget", "4", "--set", "reward=agreement"]
    assert bench(tmp_path, *options, "--model", "simulated").code == 0
    new = read_logs([tmp_path / "logs"])
    assert [answer.samples[answer.winner or 0].right for answer in new] == [bool(answer.score) for answer in new]
    assert {sample.right for answer in new for sample in answer.samples} == {True, False}


def test_recorded_answers_can_be_evaluated(tmp_path: Path) -> None:
    record = few("replay_metaprompting_gpt4.jsonl")
    assert len(recorded(str(record)).dataset) == 15
    methods = ("direct", "chain_of_thought", "self_consistency")
    options = ["--model", f"recorded:{record}", "--task", "recorded", "--path", str(record), "--budget", "1"]
    done = bench(tmp_path, *options, *(option for method in methods for option in ("--method", method)))
    assert done.code == 0, done.said
    answers = read_logs([tmp_path / "logs"])
    right = Counter(answer.method for answer in answers if answer.score)
    assert right == {"direct": 9, "chain_of_thought": 12, "self_consistency": 12}
    assert not any(answer.simulated for answer in answers)
    assert {sample.right for answer in answers for sample in answer.samples} == {None}, "the record says, not the text"
    assert {answer.conditions["path"] for answer in answers} == {f"{record.parent.name}/{record.name}"}
