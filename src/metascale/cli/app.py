"""The command line."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import sys
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, get_args

import typer
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import ValidationError
from rich.console import Console
from rich.live import Live
from rich.table import Table

from metascale import __version__
from metascale.cli.dialogue import Dialogue, pool_table
from metascale.cli.export import export_command
from metascale.cli.live import view, write_svg
from metascale.cli.memory import DEFAULT_NAME, memory_app
from metascale.cli.session import Ended, Question, Session, WaitingError
from metascale.errors import (
    MetaScaleError,
    ModelSetupError,
    QuestionError,
    SettingError,
    ThreadError,
    UnknownNameError,
    describe,
)
from metascale.graphs import METHODS, Method
from metascale.interrupts import AnswerError
from metascale.memory.embeddings import EMBEDDINGS
from metascale.models import MeteredModel, resolve_model
from metascale.models.resolve import SIMULATION_NOTICE, model_or_simulation
from metascale.pool.admission import arm_statistics
from metascale.rewards import JudgeReward, Reward, create_reward
from metascale.rewards.rubric import Rubric, RubricError
from metascale.runtime.bridge import run_sync
from metascale.runtime.databases import (
    SERIALIZER,
    DatabaseError,
    check_database,
    failure_of,
    open_checkpointer,
    open_store,
)
from metascale.settings import MetaScaleSettings, PolicyName, RewardName
from metascale.state import State

if TYPE_CHECKING:
    from metascale.data import Chain, JudgedPair
    from metascale.evals.judges.improve_rubric import Improvement
    from metascale.evals.judges.recorded import RecordedTrial
    from metascale.evals.judges.trial import Trial

FAILED, WRONG_USAGE, WAITING = 1, 2, 3
ONLY_THREAD = "run"
PRESETS = {"paper": MetaScaleSettings.paper}
PRESET_HELP = "paper: its pool, UCB, evolution and choice by single scores."
LOCAL = "127.0.0.1"
MODEL_FREE = ("agreement", "reward_model", "verifier")
"""Rewards in which no chat model judges."""

app = typer.Typer(
    help="Let a chat model choose how to think before it answers (METASCALE).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class UsageError(MetaScaleError, ValueError):
    """The command line does not make sense."""


def main() -> None:
    """Run the command line."""
    logging.getLogger("psycopg").addHandler(logging.NullHandler())  # what fails there is told in one line
    app()


def _say_version(asked: bool) -> None:  # noqa: FBT001  Typer's way
    if asked:
        typer.echo(f"metascale {__version__}")
        raise typer.Exit


@app.callback()
def _commands(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Let a chat model choose how to think before it answers (METASCALE)."""


@app.command()
def solve(
    question: Annotated[str, typer.Argument(help="What to answer; '-' reads it from standard input.")],
    method: Annotated[str, typer.Option(help=f"{', '.join(METHODS)}.")] = "metascale",
    model: Annotated[
        str | None, typer.Option(help="openai:NAME, simulated, … (default: METASCALE_MODEL, else simulated).")
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="OpenAI-compatible server for openai:NAME models, judge included.")
    ] = None,
    judge_model: Annotated[str | None, typer.Option(help="Model that scores answers (default: the same).")] = None,
    budget: Annotated[int | None, typer.Option(help="Answers to generate.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Answers generated in parallel.")] = None,
    policy: Annotated[str | None, typer.Option(help=f"How to search: {', '.join(get_args(PolicyName))}.")] = None,
    reward: Annotated[str | None, typer.Option(help=f"What scores answers: {', '.join(get_args(RewardName))}.")] = None,
    foresee: Annotated[
        bool, typer.Option("--foresee", help="First predict pass rate, length and needed notions, and budget by them.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Makes the run repeatable, as far as the model allows.")] = None,
    preset: Annotated[str | None, typer.Option(help=PRESET_HELP)] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other setting; may be repeated."),
    ] = None,
    db: Annotated[
        str | None,
        typer.Option(metavar="FILE|URL", help="SQLite file, or postgresql://…, that keeps runs; goes with --thread."),
    ] = None,
    thread: Annotated[str | None, typer.Option(help="Name of the run in --db: an interrupted one continues.")] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|URL",
            help="SQLite file, or postgresql://…, of a strategy memory: learn from its runs, and add this one.",
        ),
    ] = None,
    memory_name: Annotated[str, typer.Option(help="Which memory in --memory: of a user, of a project.")] = DEFAULT_NAME,
    review_pool: Annotated[
        bool, typer.Option("--review-pool", help="Look at the meta-thoughts, and edit them, before any sample.")
    ] = False,
    pool: Annotated[
        Path | None, typer.Option(help='The review, as JSON: "accept", or what to drop, change and add.')
    ] = None,
    ask_for_budget: Annotated[
        bool, typer.Option("--ask-for-budget", help="Ask for more samples once the budget is spent.")
    ] = False,
    more: Annotated[
        int | None, typer.Option(help="Grant so many more samples to the run in --db, finished or asking for them.")
    ] = None,
    svg: Annotated[Path | None, typer.Option(help="Draw the final view of the search into this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress and no notices.")] = False,
) -> None:
    """Answer one question. The answer goes to standard output, everything else to standard error.

    Exit codes: 0 answered, 1 the run failed, 2 wrong usage, 3 the run waits in --db for an answer. Ctrl-C ends a run
    with the best answer so far.
    """
    console = Console(stderr=True)
    try:
        given = {"budget": budget, "batch_size": batch_size, "policy": policy, "reward": reward, "seed": seed}
        given |= {"memory": memory_name if memory is not None else None, "foresee": foresee or None}
        given |= {"review_pool": review_pool or pool is not None or None, "ask_for_budget": ask_for_budget or None}
        settings = _settings(_preset(preset), given, setting or [])
        if _method(method).one_pass:
            settings = settings.model_copy(update={"budget": 1})
        _check_method(method, settings, judged=judge_model is not None or reward is not None, memory=memory, more=more)
        if (db is None) != (thread is None):
            raise UsageError("--db and --thread go together")
        at_terminal = console.is_terminal and sys.stdin.isatty() and question != "-"
        _check_answers(settings, db, pool, more, at_terminal=at_terminal)
        dialogue = Dialogue(settings, console if at_terminal else None, _review(pool))
        for where in (db, memory):
            if where is not None:
                check_database(where)
        name, simulated_by_default = model_or_simulation(model)
        if simulated_by_default and not quiet:
            console.print(SIMULATION_NOTICE, style="yellow", soft_wrap=True)
        ended = asyncio.run(
            _solve(
                _question(question),
                settings,
                method=method,
                models=(name, judge_model, base_url),
                place=(db, thread),
                memory=memory,
                console=console if console.is_terminal and not quiet else None,
                dialogue=dialogue,
                more=more,
            )
        )
    except (
        UsageError,
        UnknownNameError,
        QuestionError,
        ModelSetupError,
        SettingError,
        ThreadError,
        AnswerError,
        DatabaseError,
        ValidationError,
    ) as error:
        _fail(console, error, WRONG_USAGE)
    except WaitingError as error:
        _report_question(error.question, console, as_json=as_json, quiet=quiet)
        _fail(console, error, WAITING)
    except Exception as error:  # noqa: BLE001  a person gets one line, whatever went wrong
        _fail(console, failure_of(error, db, memory) or error, FAILED)
    else:
        if ended.result["stop_reason"] == "interrupted" and db is not None and not quiet:
            console.print("Interrupted; the same command continues the run.", style="yellow")
        _report(ended, console, as_json=as_json, quiet=quiet)
        _draw_view(ended.state, settings, name, svg, console)


@app.command(name="graph")
def draw(
    name: Annotated[str, typer.Argument(help="Which graph.")] = "metascale",
) -> None:
    """Print a graph as Mermaid text."""
    try:
        create = _method(name).create
    except UnknownNameError as error:
        _fail(Console(stderr=True), error, WRONG_USAGE)
    typer.echo(create("simulated").get_graph().draw_mermaid())


app.add_typer(memory_app, name="memory")
app.command(name="export")(export_command)
bench_app = typer.Typer()
app.add_typer(bench_app, name="bench")


@bench_app.callback(invoke_without_command=True)
def bench(
    context: typer.Context,
    model: Annotated[
        str | None, typer.Option(help="openai:NAME, simulated, recorded:FILE, or Inspect's provider/name.")
    ] = None,
    task: Annotated[
        list[str] | None, typer.Option(help="gsm8k, mmlu_pro, arena_hard, recorded; repeat for more.")
    ] = None,
    method: Annotated[list[str] | None, typer.Option(help="Methods; repeat for more (default: all).")] = None,
    budget: Annotated[
        list[int] | None, typer.Option(help="Sampling budgets; repeat for more (default: 1 4 16).")
    ] = None,
    path: Annotated[Path | None, typer.Option(help="The task's questions, as JSONL.")] = None,
    subset: Annotated[int | None, typer.Option(help="Draw so many questions at random (64 in the paper).")] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first so many questions.")] = None,
    epochs: Annotated[int, typer.Option(help="Times that each question is asked.")] = 1,
    seed: Annotated[int | None, typer.Option(help="Makes the runs repeatable, as far as the model allows.")] = None,
    base_url: Annotated[str | None, typer.Option(help="OpenAI-compatible server for openai:NAME models.")] = None,
    judge_model: Annotated[str | None, typer.Option(help="Model that scores answers (default: the same).")] = None,
    remote: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="Instead of --model: a LangGraph server that answers; repeat for a fleet."),
    ] = None,
    at_once: Annotated[
        int | None, typer.Option(min=1, help="Questions that each --remote server has at a time (default: 8).")
    ] = None,
    preset: Annotated[str | None, typer.Option(help=PRESET_HELP)] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Any other setting; may be repeated.")
    ] = None,
    log_dir: Annotated[Path, typer.Option(help="Where the logs go; an interrupted benchmark goes on there.")] = Path(
        "logs"
    ),
    yes: Annotated[bool, typer.Option("--yes", help="Start without asking.")] = False,
) -> None:
    """Run methods x tasks x budgets on Inspect, after saying what it will cost.

    Logs open in `inspect view --log-dir DIR`, and `metascale report DIR --out OUT` makes a report of them.

    With --remote the methods run on LangGraph servers, on the model that is theirs. Questions of a server that dies go
    to the others. METASCALE_SERVER_TOKEN holds the bearer token, where they ask for one.
    """
    if context.invoked_subcommand is not None:
        return
    console = Console(stderr=True)
    try:
        _check_who_answers(model, remote, at_once, local=(base_url, judge_model))
        from metascale.evals.harness import bench as benchmark  # noqa: PLC0415  the extra `evals`
        from metascale.evals.harness.models import SERVERS  # noqa: PLC0415

        model = SERVERS if model is None else model
        further = _preset(preset) | _named_values(setting or [])
        laid = benchmark.plan(
            model=model,
            tasks=task or ["gsm8k"],
            methods=method or list(METHODS),
            budgets=budget or [1, 4, 16],
            task_args={key: value for key, value in {"path": path and str(path), "subset": subset}.items() if value},
            limit=limit,
            epochs=epochs,
            seed=seed,
            settings=further,
            judge_model=judge_model,
            base_url=base_url,
        )
        _say_what_it_costs(laid, MetaScaleSettings.model_validate(further).prices.get(model.partition(":")[2]), console)
        for line in benchmark.check_servers(laid, remote) if remote else ():
            console.print(f"note: {line}", style="yellow", markup=False, soft_wrap=True)
        _ask_to_start(yes=yes)
        where = " ".join(remote) if remote else base_url
        complete, ran = benchmark.run(laid, log_dir, base_url=where, limit=limit, at_once=at_once)
    except (MetaScaleError, ValidationError, ImportError) as error:
        _fail(console, _with_extra(error), WRONG_USAGE)
    except Exception as error:  # noqa: BLE001  a person gets one line, whatever went wrong
        _fail(console, error, FAILED)
    if not complete:
        whys = [re.sub(r"""^\w+\(['"](.*)['"]\)$""", r"\1", log.error.message) for log in ran if log.error]
        why = "; ".join(dict.fromkeys(whys))
        said = f"some evaluations are not complete{f' ({why})' if why else ''}; the same command goes on with them"
        _fail(console, MetaScaleError(said), FAILED)
    console.print(
        f"Logs are in {log_dir}; metascale report {log_dir} --out report makes a report of them.", markup=False
    )


@bench_app.command(name="judge")
def judge_trial(
    model: Annotated[str | None, typer.Option(help="The judge: openai:NAME, simulated, …")] = None,
    reward: Annotated[str | None, typer.Option(help="How it judges: judge, panel, …")] = None,
    base_url: Annotated[str | None, typer.Option(help="OpenAI-compatible server for openai:NAME models.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many pairs and chains, drawn by the seed.")] = None,
    repeats: Annotated[int, typer.Option(min=0, help="Times that each chain is judged again.")] = 3,
    pairs: Annotated[Path | None, typer.Option(help="Your own pairs, as JSONL like LLMBar's.")] = None,
    mistakes: Annotated[Path | None, typer.Option(help="Your own chains, as JSONL like BIG-Bench Mistake's.")] = None,
    reason_judge: Annotated[str | None, typer.Option(help="Model that grades the reasons given for mistakes.")] = None,
    recorded: Annotated[
        list[Path] | None, typer.Option(help="Recorded judgements to read; repeat for more. Needs no model.")
    ] = None,
    improve_rubric: Annotated[
        Path | None, typer.Option(metavar="OUT.md", help="Instead, look for a better rubric than the judge's.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Times that the rubric is improved, while that succeeds.")] = 1,
    meta_judge: Annotated[str | None, typer.Option(help="Model that writes rubrics (default: the judge's).")] = None,
    seed: Annotated[int | None, typer.Option(help="Draws the material, and makes judging repeatable.")] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Any other setting; may be repeated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Start without asking.")] = False,
) -> None:
    """Put a judge on trial: does it prefer the better answer, find mistakes, and agree with itself?

    With --improve-rubric a meta-judge is shown what the judge misjudges on one half of the material, and writes a
    better rubric; it is kept in OUT.md only if the judge does better by it on the other half. New runs then take it
    with --set rubric=@OUT.md; one that has begun refuses to go on with another rubric.

    The report goes to standard output, everything else to standard error. Exit codes: 0 judged, 1 nothing could be
    judged, 2 wrong usage.
    """
    console = Console(stderr=True)
    try:
        from metascale.evals.judges.recorded import try_recorded  # noqa: PLC0415  only where it is used

        read = [try_recorded(path) for path in recorded or []]
        trial, improvement, name = None, None, ""
        if (meta_judge if improve_rubric is None else reason_judge) is not None:
            raise UsageError("--meta-judge goes with --improve-rubric, and --reason-judge without it")
        if model is not None or improve_rubric is not None or not read:
            settings = _settings({}, {"reward": reward, "seed": seed}, setting or [])
            judge, chat_model = _judge_on_trial(model, settings, base_url)
            name = f"{settings.reward} on {chat_model.name}" if chat_model else settings.reward
            graders = _model_for_reasons(reason_judge, base_url)
            material = (pairs, mistakes, limit)
            if improve_rubric is None:
                trial = _try_judge((judge, chat_model, graders), settings, material, repeats, yes=yes, console=console)
            else:
                writer = _model_for_reasons(meta_judge, base_url) or chat_model
                present = _present_rubric(settings, setting or [])
                improvement = _improve_rubric(
                    (judge, writer), settings, present, material, rounds, improve_rubric, yes=yes, console=console
                )
    except (MetaScaleError, ValidationError) as error:
        _fail(console, error, WRONG_USAGE)
    except Exception as error:  # noqa: BLE001  a person gets one line, whatever went wrong
        _fail(console, error, FAILED)
    _report_on_judge(name, trial, improvement, read, as_json=as_json)
    if improvement and improve_rubric:
        _keep_rubric(improvement, name, improve_rubric, console)
    if (trial and trial.is_dead) or (improvement and improvement.is_dead):
        _fail(console, MetaScaleError("nothing could be judged"), FAILED)


@bench_app.command(name="policies")
def policies_bench(
    tasks: Annotated[
        int | None, typer.Option(min=2, help="Tasks of each landscape (default: 3000; with --calls 500).")
    ] = None,
    budget: Annotated[list[int] | None, typer.Option(help="Pulls; repeat for more (default: 8 16 32 64 128).")] = None,
    calls: Annotated[
        list[int] | None, typer.Option(help="Instead, equal calls, second looks included; repeat for more.")
    ] = None,
    policy: Annotated[list[str] | None, typer.Option(help="Policies; repeat for more (default: all).")] = None,
    confirm: Annotated[
        list[str] | None, typer.Option(help="With --calls: policies that also look twice (default: upper_tail).")
    ] = None,
    landscape: Annotated[
        list[str] | None,
        typer.Option("--setting", metavar="SPREAD,LOW,HIGH,NOISE", help="Your own landscapes instead of the seven."),
    ] = None,
    evolution: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DELTA,SIGMA",
            help="With --calls: also evolve, to children better than their best parent by DELTA, spread SIGMA.",
        ),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Pulls planned at a time (default: 1; with --evolution 4).")
    ] = None,
    treequest_tasks: Annotated[
        int, typer.Option(min=0, help="Tasks of each landscape for TreeQuest's AB-MCTS-A, which is slow; 0 for none.")
    ] = 300,
    seed: Annotated[int, typer.Option(min=0, help="Draws the tasks.")] = 0,
    processes: Annotated[int, typer.Option(min=1, help="Processes at work.")] = os.cpu_count() or 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare policies on simulated tasks with hidden qualities. A SIMULATION: no model is asked.

    Each policy is measured between uniform choice and an oracle that knows the arms.
    """
    console = Console(stderr=True)
    try:
        from metascale.evals.policies import contest as policy_bench  # noqa: PLC0415  where it is used
        from metascale.evals.policies import entrants as policy_entrants  # noqa: PLC0415
        from metascale.evals.policies import tables as policy_tables  # noqa: PLC0415

        if calls and budget:
            raise UsageError("--calls and --budget exclude each other")
        if (confirm or evolution) and not calls:
            raise UsageError(f"--{'confirm' if confirm else 'evolution'} goes with --calls")
        if calls and any(number < 2 or number % 2 for number in calls):
            raise UsageError("--calls takes even numbers from 2: a sample and its score are two calls")
        played = policy_bench.contest(
            budgets=[number // 2 for number in calls] if calls else budget or [8, 16, 32, 64, 128],
            tasks=tasks or (500 if calls else 3_000),
            policies=policy or [],
            settings=landscape or [],
            batch_size=batch_size or (4 if evolution else 1),
            seed=seed,
            treequest_tasks=0 if calls else treequest_tasks,
            confirm=(confirm or ["upper_tail"]) if calls else [],
            evolution=evolution or [],
        )
        with console.status("playing …"):
            results = policy_bench.run(played, processes)
        if calls:
            qualities = policy_bench.quality_rows(played, results)
            evolved = policy_bench.evolution_rows(played, results)
        else:
            shares = policy_bench.share_rows(played, results)
    except (MetaScaleError, ValidationError) as error:
        _fail(console, error, WRONG_USAGE)
    except Exception as error:  # noqa: BLE001  a person gets one line, whatever went wrong
        _fail(console, error, FAILED)
    wanted = policy_entrants.TREEQUEST if treequest_tasks and not calls else {}
    missing = {name: policy_entrants.TREEQUEST_MISSING for name in wanted if name not in played.entrants}
    if as_json:
        found: dict[str, Any] = {"simulation": True, "tasks": played.tasks, "seed": seed}
        found["batch_size"] = played.batch_size
        found |= {"calls": sorted(set(calls))} if calls else {"budgets": list(played.budgets)}
        found |= {"rows": [asdict(row) for row in (qualities if calls else shares)], "missing": missing}
        if evolution:
            found["evolution"] = [asdict(row) for row in evolved]
        sys.stdout.write(json.dumps(found, ensure_ascii=False) + "\n")
    elif calls:
        policy_tables.show_qualities(played, qualities, Console())
        policy_tables.show_evolution(played, evolved, Console())
    else:
        policy_tables.show_shares(played, shares, missing, Console())


@bench_app.command(name="replay")
def replay_policies(
    record: Annotated[Path, typer.Argument(metavar="FILE", help="Recorded correctness, as JSONL.")],
    cot: Annotated[str | None, typer.Option(help="The arm that is chain of thought (default: found by name).")] = None,
    judge_accuracy: Annotated[
        list[float] | None,
        typer.Option(help="How often a right answer scores above a wrong one; repeat (default: 0.7 0.85 1)."),
    ] = None,
    budget: Annotated[list[int] | None, typer.Option(help="Samples; repeat for more (default: 2 4 8 16).")] = None,
    policy: Annotated[list[str] | None, typer.Option(help="Policies; repeat for more (default: all).")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Times that each question is replayed.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="Of the samples' order and the judge's noise.")] = 0,
    processes: Annotated[int, typer.Option(min=1, help="Processes at work.")] = os.cpu_count() or 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare policies on recorded answers, whose rightness is known. Real answers, SIMULATED judge.

    A record has `question_id`, `task`, and `gold` and `answers` (a letter a sample for each arm; - none extracted,
    ? missing) or `correct` (a list of 0 and 1 for each arm). All are compared with best-of-N under chain of thought.
    """
    console = Console(stderr=True)
    try:
        from metascale.evals.policies import replay as policy_replay  # noqa: PLC0415  only where it is used
        from metascale.evals.policies import tables as policy_tables  # noqa: PLC0415

        with console.status("replaying …"):
            found = policy_replay.replay(
                record,
                chain_of_thought=cot,
                accuracies=judge_accuracy or [0.7, 0.85, 1.0],
                samples=budget or [2, 4, 8, 16],
                policies=policy or [],
                repeats=repeats,
                seed=seed,
                processes=processes,
            )
    except MetaScaleError as error:
        _fail(console, error, WRONG_USAGE)
    except Exception as error:  # noqa: BLE001  a person gets one line, whatever went wrong
        _fail(console, error, FAILED)
    if as_json:
        sys.stdout.write(json.dumps({"simulated_judge": True, **asdict(found)}, ensure_ascii=False) + "\n")
    else:
        policy_tables.show_replay(found, Console())


@bench_app.command(name="memory")
def replay_memory(
    record: Annotated[Path, typer.Argument(metavar="FILE", help="Recorded correctness, as JSONL.")],
    arm: Annotated[list[str] | None, typer.Option(help="Arms that take part; repeat (default: all).")] = None,
    samples: Annotated[int, typer.Option(min=1, help="Samples a question.")] = 1,
    judge_accuracy: Annotated[
        float, typer.Option(min=0.5, max=1, help="How often a right answer scores above a wrong one.")
    ] = 1.0,
    orders: Annotated[int, typer.Option(min=2, help="Random orders of the questions.")] = 40,
    reversed_runs: Annotated[int, typer.Option(min=1, help="Wrong runs that the reversed memory begins with.")] = 300,
    embeddings: Annotated[str, typer.Option(help=f"What embeds questions: {', '.join(EMBEDDINGS)}.")] = "hashed",
    seed: Annotated[int, typer.Option(min=0, help="Of orders, samples and policies.")] = 0,
    processes: Annotated[int, typer.Option(min=1, help="Processes at work.")] = os.cpu_count() or 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure a strategy memory on recorded answers to mixed questions, asked one after another.

    It is compared with no memory, with Thompson sampling that is told each question's kind, and with a memory whose
    first runs are all reversed. The record is as for `bench replay`, with `question` where the text is known.
    """
    console = Console(stderr=True)
    try:
        from metascale.evals.policies import memory_replay  # noqa: PLC0415  only where it is used
        from metascale.evals.policies import tables as policy_tables  # noqa: PLC0415

        if embeddings not in EMBEDDINGS:
            raise UnknownNameError("embeddings", embeddings, EMBEDDINGS)
        with console.status("replaying …"):
            found = memory_replay.replay_memory(
                record,
                EMBEDDINGS[embeddings](),
                arms=arm or [],
                samples=samples,
                accuracy=judge_accuracy,
                orders=orders,
                reversed_runs=reversed_runs,
                seed=seed,
                processes=processes,
            )
    except MetaScaleError as error:
        _fail(console, error, WRONG_USAGE)
    except Exception as error:  # noqa: BLE001  a person gets one line, whatever went wrong
        _fail(console, error, FAILED)
    if as_json:
        sys.stdout.write(json.dumps(asdict(found), ensure_ascii=False) + "\n")
    else:
        policy_tables.show_memory_replay(found, samples, judge_accuracy, orders, Console())


@app.command()
def report(
    logs: Annotated[list[Path], typer.Argument(help="Inspect logs of metascale's methods, or folders of them.")],
    out: Annotated[Path, typer.Option(help="The folder that the report is written to.")] = Path("report"),
) -> None:
    """Make one HTML page and its figures of the logs of benchmarks."""
    console = Console(stderr=True)
    try:
        from metascale.evals.report.logs import read_logs  # noqa: PLC0415  the extra `evals`
        from metascale.evals.report.page import write_report  # noqa: PLC0415

        page = write_report(read_logs(logs), out)
    except (MetaScaleError, OSError, ImportError) as error:
        _fail(console, _with_extra(error), WRONG_USAGE)
    typer.echo(str(page))


@app.command()
def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(help="A model to serve; repeat for more (default: METASCALE_MODEL, else simulated)."),
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="OpenAI-compatible server for openai:NAME models (default: OPENAI_BASE_URL).")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; beyond this machine only with a token.")] = LOCAL,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on; 0 takes any that is free.")] = 8123,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the token that clients must send (default: METASCALE_SERVER_TOKEN).")
    ] = None,
    budget: Annotated[int | None, typer.Option(help="Answers to generate where a request does not say.")] = None,
    max_budget: Annotated[int | None, typer.Option(min=1, help="Highest budget that a request may set.")] = None,
    max_concurrent: Annotated[int | None, typer.Option(min=1, help="Searches at a time; one more gets 429.")] = None,
    max_body: Annotated[int | None, typer.Option(min=1, help="Longest request body, in bytes.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds after which a search is given up.")] = None,
    preset: Annotated[str | None, typer.Option(help=PRESET_HELP)] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Any other setting; may be repeated.")
    ] = None,
) -> None:
    """Serve OpenAI's chat completions below /v1, and every graph to LangGraph's clients.

    Clients name METHOD/MODEL as their model, and set a run's settings in `metadata`; what may be asked for, and how
    much of it, is said here. All threads are gone when it stops. Exit codes: 0 stopped, 2 wrong usage.
    """
    console = Console(stderr=True)
    bounds = {"max_budget": max_budget, "max_concurrent": max_concurrent, "max_body": max_body, "timeout": timeout}
    try:
        from metascale.server import start  # noqa: PLC0415  the extra `serve`

        settings = _settings(_preset(preset), {"budget": budget}, setting or [])
        name, simulated_by_default = model_or_simulation(None)
        launch = start.plan(
            model or [name],
            {name: bound for name, bound in bounds.items() if bound is not None},
            settings,
            place=(host, port),
            base_url=base_url,
            token_file=token_file,
        )
    except (MetaScaleError, ValueError, OSError, ImportError) as error:
        _fail(console, _with_extra(error, "serve"), WRONG_USAGE)
    if simulated_by_default and not model:
        console.print(SIMULATION_NOTICE, style="yellow", soft_wrap=True)
    console.print(f"Serving {', '.join(model or [name])} at {launch.url}/v1", markup=False, soft_wrap=True)
    launch.run()


def _with_extra(error: BaseException, extra: str = "evals") -> BaseException:
    """The error, or what to install where a module of the extra is missing."""
    if isinstance(error, ImportError):
        return UsageError(f"this needs more packages ({error.name}): pip install 'metascale[{extra}]'")
    return error


def _check_who_answers(
    model: str | None, remote: list[str] | None, at_once: int | None, *, local: tuple[str | None, str | None]
) -> None:
    """Make sure that either a model or servers answer."""
    if model is None and not remote:
        raise UsageError("a benchmark needs a model: --model openai:NAME")
    if remote and (model, *local) != (None, None, None):
        raise UsageError("servers decide their model: --remote takes no --model, --judge-model and --base-url")
    if at_once and not remote:
        raise UsageError("--at-once goes with --remote")


def _ask_to_start(*, yes: bool) -> None:
    if not yes and not (sys.stdin.isatty() and typer.confirm("Start?", err=True)):
        raise UsageError("nothing was started; --yes goes on without asking")


def _judge_on_trial(
    model: str | None, settings: MetaScaleSettings, base_url: str | None
) -> tuple[Reward, MeteredModel | None]:
    """The reward that is put on trial, and the chat model behind it, if any."""
    if settings.reward in MODEL_FREE:
        sys.path.insert(0, str(Path.cwd()))
        return create_reward(settings, resolve_model("simulated")), None
    judge = MeteredModel(resolve_model(model, base_url=base_url))
    return create_reward(settings, judge), judge


def _model_for_reasons(name: str | None, base_url: str | None) -> MeteredModel | None:
    if name is None:
        return None
    return MeteredModel(resolve_model(name, base_url=base_url if name.startswith("openai:") else None))


def _try_judge(
    judges: tuple[Reward, MeteredModel | None, MeteredModel | None],
    settings: MetaScaleSettings,
    material: tuple[Path | None, Path | None, int | None],
    repeats: int,
    *,
    yes: bool,
    console: Console,
) -> Trial:
    """Read the material, say what judging it costs, ask, and judge."""
    from metascale.evals.judges import trial as on_trial  # noqa: PLC0415

    reward, model, reason_judge = judges
    pairs, chains = _drawn(material, settings)
    asked: dict[str, Any] = {"repeats": repeats, "model": model, "reason_judge": reason_judge}
    _ask_to_judge(on_trial.planned_calls(reward, pairs, chains, **asked), yes=yes, console=console)
    with console.status("judging …"):
        return run_sync(lambda: on_trial.try_judge(reward, pairs, chains, settings, **asked))


def _present_rubric(settings: MetaScaleSettings, given: list[str]) -> Rubric:
    """The settings' rubric with the version that its file gives it, or else the one that ships."""
    files = [text.partition("=@")[2] for text in given if text.startswith("rubric=")]
    if files and files[-1]:
        return Rubric.parse(Path(files[-1]).read_text(encoding="utf-8"))
    return Rubric(settings.rubric) if settings.rubric else Rubric.shipped()


def _improve_rubric(
    judges: tuple[Reward, MeteredModel | None],
    settings: MetaScaleSettings,
    present: Rubric,
    material: tuple[Path | None, Path | None, int | None],
    rounds: int,
    out: Path,
    *,
    yes: bool,
    console: Console,
) -> Improvement:
    """Read the material, say what a better rubric may cost, ask, and look for one."""
    from metascale.evals.judges import improve_rubric as judge_rubric  # noqa: PLC0415
    from metascale.evals.judges.rubric_trial import Cases  # noqa: PLC0415

    judge, meta_judge = judges
    if not isinstance(judge, JudgeReward) or meta_judge is None:
        raise UsageError(f"the reward {settings.reward!r} has no rubric of scores that could be improved")
    if out.exists() or not out.parent.is_dir():
        why = "is there already" if out.exists() else "would be in no folder that exists"
        raise UsageError(f"--improve-rubric writes a new file, but {str(out)!r} {why}")
    cases = Cases(*_drawn(material, settings))
    _ask_to_judge(judge_rubric.planned_rubric_calls(judge, cases, settings, rounds), yes=yes, console=console)
    with console.status("judging …"):
        return run_sync(lambda: judge_rubric.improve_rubric(judge, meta_judge, present, cases, settings, rounds=rounds))


def _keep_rubric(improvement: Improvement, judge: str, out: Path, console: Console) -> None:
    """Write the rubric if it was accepted, and say so either way."""
    said = f"The rubric stays as it is; {str(out)!r} was not written."
    if improvement.accepted:
        try:
            out.write_text(improvement.to_markdown(judge), encoding="utf-8")
        except OSError as error:
            _fail(console, error, FAILED)
        said = f"Version {improvement.rubric.version} of the rubric is in {str(out)!r}. Read it before you use it:"
        said = f"{said} --set rubric=@{out}"
    console.print(said, markup=False, highlight=False, soft_wrap=True)


def _report_on_judge(
    judge: str, trial: Trial | None, improvement: Improvement | None, recorded: list[RecordedTrial], *, as_json: bool
) -> None:
    from metascale.evals.judges import rubric_tables  # noqa: PLC0415
    from metascale.evals.judges import tables as judge_tables  # noqa: PLC0415

    if as_json:
        found = {"judge": judge, **trial.model_dump(mode="json")} if trial else {}
        found |= {"judge": judge, "improvement": improvement.model_dump(mode="json")} if improvement else {}
        found |= {"recorded": [one.model_dump(mode="json") for one in recorded]} if recorded else {}
        sys.stdout.write(json.dumps(found, ensure_ascii=False) + "\n")
        return
    if recorded:
        judge_tables.show_recorded(recorded, Console())
    if trial:
        judge_tables.show_trial(trial, judge, Console())
    if improvement:
        rubric_tables.show_improvement(improvement, judge, Console())


def _drawn(
    material: tuple[Path | None, Path | None, int | None], settings: MetaScaleSettings
) -> tuple[list[JudgedPair], list[Chain]]:
    """The pairs and chains to judge."""
    from metascale.data import bigbench_mistake, llmbar_pairs  # noqa: PLC0415
    from metascale.evals.judges import trial as on_trial  # noqa: PLC0415

    pairs_path, chains_path, limit = material
    seed = on_trial.SEED if settings.seed is None else settings.seed
    pairs = on_trial.drawn_pairs(llmbar_pairs(pairs_path), limit, seed)
    return pairs, on_trial.drawn_chains(bigbench_mistake(chains_path), limit, seed)


def _ask_to_judge(planned: dict[str, int], *, yes: bool, console: Console) -> None:
    """Say how many model requests judging costs, and ask whether to start."""
    table = Table("part", "model requests, at most", box=None)
    for part, calls in planned.items():
        table.add_row(part, f"{calls:,}")
    console.print(table)
    console.print(f"{sum(planned.values()):,} model requests in all, retries and repairs excepted", highlight=False)
    _ask_to_start(yes=yes)


def _say_what_it_costs(laid: Any, price: Any, console: Console) -> None:
    """Print the plan of a benchmark: evaluations, model requests, and dollars where the price is known."""
    table = Table("task", "method", "budget", "questions", "model requests", box=None)
    for cell in laid.cells:
        table.add_row(cell.task, cell.method, str(cell.budget), f"{cell.questions:,}", f"{cell.calls:,}")
    console.print(table)
    cost = laid.cost(price)
    dollars = "their cost is not known (name prices with --set prices=…)" if cost is None else f"about ${cost:,.2f}"
    if laid.model == "metascale/simulated":
        dollars = "free, for this is a SIMULATION: nothing of it is a result about language models"
    if laid.model == "langgraph/servers":
        dollars = "the servers' own model, which nobody here knows, decides what they cost"
    console.print(f"at most {laid.calls:,} model requests on {laid.model}; {dollars}", markup=False, soft_wrap=True)


def _method(name: str) -> Method:
    if name not in METHODS:
        raise UnknownNameError("method", name, METHODS)
    return METHODS[name]


def _preset(name: str | None) -> dict[str, Any]:
    """The settings of a preset; none without a name."""
    if name is None:
        return {}
    if name not in PRESETS:
        raise UnknownNameError("preset", name, PRESETS)
    return PRESETS[name]().model_dump(exclude_unset=True)


def _settings(preset: dict[str, Any], given: dict[str, Any], others: list[str]) -> MetaScaleSettings:
    """The settings that the command line names, over those of the preset."""
    named = {name: value for name, value in given.items() if value is not None}
    return MetaScaleSettings.model_validate(preset | named | _named_values(others))


def _named_values(given: list[str]) -> dict[str, Any]:
    """The values of `--set`: JSON, or else plain text; `@FILE` stands for what the file holds."""
    values: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set takes NAME=VALUE, not {text!r}")
        if value.startswith("@"):
            try:
                value = Path(value[1:]).read_text(encoding="utf-8")
                value = Rubric.parse(value).text if name == "rubric" else value
            except (OSError, UnicodeDecodeError, RubricError) as error:
                raise UsageError(f"--set {name}: the file cannot be read: {describe(error)}") from error
        try:
            values[name] = json.loads(value)
        except ValueError:
            values[name] = value
    return values


def _check_method(
    method: str, settings: MetaScaleSettings, *, judged: bool, memory: str | None, more: int | None
) -> None:
    """Make sure that the method knows what it is asked for."""
    if settings.memory is not None and (memory is None or method != "metascale"):
        raise UsageError("a strategy memory needs --memory FILE and the method 'metascale'")
    if settings.foresee and method != "metascale":
        raise UsageError(f"method {method!r} foresees nothing: --foresee goes with the method 'metascale'")
    if judged and not METHODS[method].judged:
        raise UsageError(f"method {method!r} scores nothing, so it takes no --judge-model and no --reward")
    if method != "metascale" and (settings.review_pool or settings.ask_for_budget or more is not None):
        raise UsageError("only the method 'metascale' has its pool reviewed and its budget extended")


def _check_answers(
    settings: MetaScaleSettings, db: str | None, pool: Path | None, more: int | None, *, at_terminal: bool
) -> None:
    """Make sure that whatever the run will ask can be answered, now or later."""
    if db is not None:
        return
    if more is not None:
        raise UsageError("--more goes with --db and --thread, where the run is that it continues")
    waits = {"--review-pool": settings.review_pool and pool is None, "--ask-for-budget": settings.ask_for_budget}
    for name, is_wanted in waits.items():
        if is_wanted and not at_terminal:
            raise UsageError(f"{name} needs a terminal to ask at, or --db and --thread to wait in")


def _review(file: Path | None) -> Any:
    """The answer about the pool that a file holds; None without a file."""
    if file is None:
        return None
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"--pool: the file cannot be read: {describe(error)}") from error


def _question(text: str) -> str:
    if text == "-":
        try:
            text = sys.stdin.buffer.read().decode("utf-8")
        except UnicodeDecodeError as error:
            raise QuestionError("the question is not valid UTF-8") from error
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise QuestionError("the question is not valid UTF-8")
    return text


async def _solve(
    question: str,
    settings: MetaScaleSettings,
    *,
    method: str,
    models: tuple[str, str | None, str | None],
    place: tuple[str | None, str | None],
    memory: str | None,
    console: Console | None,
    dialogue: Dialogue,
    more: int | None,
) -> Ended:
    name, judge_name, base_url = models
    db, thread = place
    model = resolve_model(name, base_url=base_url)
    parts: dict[str, Any] = {"settings": settings}
    if METHODS[method].judged:
        judge_url = base_url if judge_name and judge_name.startswith("openai:") else None
        judge = resolve_model(judge_name, base_url=judge_url) if judge_name else model
        sys.path.insert(0, str(Path.cwd()))  # where a verifier of the user's is looked for
        parts["reward"] = create_reward(settings, judge)
    async with AsyncExitStack() as stack:
        checkpointer: BaseCheckpointSaver[str] = InMemorySaver(serde=SERIALIZER)
        if db is not None:
            checkpointer = await stack.enter_async_context(open_checkpointer(db))
        if memory is not None:
            parts["store"] = await stack.enter_async_context(open_store(memory))
        graph = METHODS[method].create(model, **parts, checkpointer=checkpointer)
        session = Session(graph, settings, thread or ONLY_THREAD, method=method, model=name, judge_model=judge_name)
        live = stack.enter_context(Live(console=console, refresh_per_second=8)) if console else None
        dialogue.live = live

        def watch(state: State) -> None:
            if live is not None:
                live.update(view(state, settings))

        return await session.solve(question, watch, dialogue, more=more)


def _report(ended: Ended, console: Console, *, as_json: bool, quiet: bool) -> None:
    result = ended.result
    if not quiet:
        if ended.stored:
            console.print("This thread has answered the question before; nothing was spent now.", style="yellow")
        for note in result["notes"]:
            console.print(f"note: {note}", style="yellow", markup=False, soft_wrap=True)
    if as_json:
        sys.stdout.write(json.dumps(_as_json(ended), ensure_ascii=False) + "\n")
    else:
        typer.echo(result["answer"])


def _report_question(question: Question, console: Console, *, as_json: bool, quiet: bool) -> None:
    """Show what a run asks that nobody is there to answer."""
    if as_json:
        sys.stdout.write(json.dumps({"waits_for": question}, ensure_ascii=False) + "\n")
    elif question["asks"] == "review_pool" and not quiet:
        console.print(pool_table(question["pool"]))


def _draw_view(state: State, settings: MetaScaleSettings, model: str, file: Path | None, console: Console) -> None:
    if file is not None:
        what = "SIMULATION: no language model was asked" if model == "simulated" else model
        try:
            write_svg(state, settings, f"metascale solve ({what})", file)
        except OSError as error:
            _fail(console, error, FAILED)


def _as_json(ended: Ended) -> dict[str, Any]:
    """What `--json` prints: the result, with every arm's statistics and every sample."""
    pool, candidates = ended.state["pool"], ended.state["candidates"]
    arms = [
        {
            **thought,
            "pulls": arm.pulls,
            "mean_reward": sum(arm.rewards) / len(arm.rewards) if arm.rewards else None,
            "best_reward": max(arm.rewards, default=None),
        }
        for thought, arm in zip(pool, arm_statistics(pool, candidates), strict=True)
    ]
    return {**ended.result, "pool": arms, "candidates": sorted(candidates, key=lambda c: c["id"])}


def _fail(console: Console, error: BaseException, code: int) -> NoReturn:
    console.print(f"metascale: {describe(error)}", style="red", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(code)


if __name__ == "__main__":
    main()
