"""`metascale bench judge`: put a judge on trial, or improve its rubric."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from metascale.cli.loading import load_files
from metascale.cli.options import (
    FAILED,
    WRONG_USAGE,
    AsJson,
    OtherSettings,
    UsageError,
    Yes,
    ask_to_start,
    fail,
    read_settings,
)
from metascale.errors import MetaScaleError
from metascale.models import MeteredModel, resolve_model
from metascale.rewards import JudgeReward, Reward, create_reward
from metascale.rewards.rubric import Rubric
from metascale.runtime.bridge import run_sync
from metascale.settings import MetaScaleSettings

if TYPE_CHECKING:
    from metascale.data import Chain, JudgedPair
    from metascale.evals.judges.improve_rubric import Improvement
    from metascale.evals.judges.trial import Trial

MODEL_FREE = ("agreement", "certainty", "reward_model", "verifier")
"""Rewards in which no chat model judges."""


def judge_trial(
    model: Annotated[str | None, typer.Option(help="The judge: openai:NAME, simulated, …")] = None,
    reward: Annotated[str | None, typer.Option(help="How it judges: judge, panel, …")] = None,
    base_url: Annotated[str | None, typer.Option(help="OpenAI-compatible server for openai:NAME models.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Number of pairs and of chains to draw (default: all).")
    ] = None,
    repeats: Annotated[int, typer.Option(min=0, help="How often each chain is re-judged.")] = 3,
    pairs: Annotated[Path | None, typer.Option(help="Your own pairs, as JSONL like LLMBar's.")] = None,
    mistakes: Annotated[Path | None, typer.Option(help="Your own chains, as JSONL like BIG-Bench Mistake's.")] = None,
    reason_judge: Annotated[str | None, typer.Option(help="Model that grades the reasons given for mistakes.")] = None,
    improve_rubric: Annotated[
        Path | None, typer.Option(metavar="OUT.md", help="Instead of a trial, look for a better rubric.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Most rounds of improvement; the first failure ends them.")] = 1,
    meta_judge: Annotated[str | None, typer.Option(help="Model that writes rubrics (default: the judge's).")] = None,
    recordings: Annotated[
        Path | None, typer.Option(help="Instead of a trial, measure the signals of recorded samples, as JSONL.")
    ] = None,
    verdicts: Annotated[Path | None, typer.Option(help="Verdicts on the recorded samples, as JSONL.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the draw and of the judge.")] = None,
    setting: OtherSettings = None,
    as_json: AsJson = False,
    yes: Yes = False,
) -> None:
    """Put a judge on trial: does it prefer the better answer, find mistakes, and agree with itself?

    With --improve-rubric a meta-judge sees the judge's mistakes on one half of the material and writes a better rubric.
    It is written to OUT.md only if it makes the judge better on the other half. New runs use it with --set
    rubric=@OUT.md; a run that has started refuses to continue with another rubric.

    With --recordings no model is asked. How well do token probabilities, P(True) and verdicts in a file of recorded
    samples (see `bench replay`) tell right answers from wrong ones, each and combined?

    The report goes to standard output, everything else to standard error. Exit codes: 0 judged, 1 nothing could be
    judged, 2 wrong usage.
    """
    if recordings is not None:
        _measure_signals(recordings, verdicts, seed or 0, as_json=as_json)
        return
    console = Console(stderr=True)
    trial, improvement = None, None
    try:
        if (meta_judge if improve_rubric is None else reason_judge) is not None:
            raise UsageError("--meta-judge goes with --improve-rubric, and --reason-judge without it")
        settings = read_settings({"reward": "judge"}, {"reward": reward, "seed": seed}, setting or [])
        load_files(console, model, reason_judge, meta_judge)
        judge, chat_model = _judge_on_trial(model, settings, base_url)
        name = f"{settings.reward} on {chat_model.name}" if chat_model else settings.reward
        grader = _helper_model(reason_judge, base_url)
        material = (pairs, mistakes, limit)
        if improve_rubric is None:
            trial = _try_judge((judge, chat_model, grader), settings, material, repeats, yes=yes, console=console)
        else:
            writer = _helper_model(meta_judge, base_url) or chat_model
            present = _present_rubric(settings, setting or [])
            improvement = _improve_rubric(
                (judge, writer), settings, present, material, rounds, improve_rubric, yes=yes, console=console
            )
    except (MetaScaleError, ValidationError) as error:
        fail(error, WRONG_USAGE)
    except Exception as error:  # noqa: BLE001  a person gets one line, whatever went wrong
        fail(error, FAILED)
    _report_on_judge(name, trial, improvement, as_json=as_json)
    if improvement and improve_rubric:
        _keep_rubric(improvement, name, improve_rubric, console)
    if (trial and trial.is_dead) or (improvement and improvement.is_dead):
        fail(MetaScaleError("nothing could be judged"), FAILED)


def _measure_signals(recordings: Path, verdicts: Path | None, seed: int, *, as_json: bool) -> None:
    """Measure the signals of recorded samples."""
    from metascale.evals.judges import signals, tables  # noqa: PLC0415
    from metascale.evals.recordings import read_recordings  # noqa: PLC0415

    try:
        samples = read_recordings(recordings, verdicts)
        found = signals.measure_signals(samples, seed=seed)
    except MetaScaleError as error:
        fail(error, WRONG_USAGE)
    if as_json:
        rows = [asdict(signal) for signal in found]
        sys.stdout.write(json.dumps({"file": samples.file, "signals": rows}, ensure_ascii=False) + "\n")
    else:
        tables.show_signals(samples, found, Console())


def _judge_on_trial(
    model: str | None, settings: MetaScaleSettings, base_url: str | None
) -> tuple[Reward, MeteredModel | None]:
    """The reward that is put on trial, and the chat model behind it, if any."""
    if settings.reward in MODEL_FREE:
        sys.path.insert(0, str(Path.cwd()))
        return create_reward(settings, resolve_model("simulated")), None
    judge = MeteredModel(resolve_model(model, base_url=base_url))
    return create_reward(settings, judge), judge


def _helper_model(name: str | None, base_url: str | None) -> MeteredModel | None:
    """A model beside the judge; None without a name. The base URL serves only OpenAI models."""
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
    """Read the material, show what judging costs, ask, and judge."""
    from metascale.evals.judges import trial as on_trial  # noqa: PLC0415

    reward, model, reason_judge = judges
    pairs, chains = _drawn(material, settings)
    asked: dict[str, Any] = {"repeats": repeats, "model": model, "reason_judge": reason_judge}
    _ask_to_judge(on_trial.planned_calls(reward, pairs, chains, **asked), yes=yes, console=console)
    with console.status("judging …"):
        return run_sync(lambda: on_trial.try_judge(reward, pairs, chains, settings, **asked))


def _present_rubric(settings: MetaScaleSettings, given: list[str]) -> Rubric:
    """The rubric of the settings with the version of its file; without one, the shipped rubric."""
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
    """Read the material, show what improving may cost, ask, and look for a better rubric."""
    from metascale.evals.judges import improve_rubric as judge_rubric  # noqa: PLC0415
    from metascale.evals.judges.rubric_trial import Cases  # noqa: PLC0415

    judge, meta_judge = judges
    if not isinstance(judge, JudgeReward) or meta_judge is None:
        raise UsageError(f"the reward {settings.reward!r} has no rubric to improve")
    if out.exists() or not out.parent.is_dir():
        why = "already exists" if out.exists() else "is in a folder that does not exist"
        raise UsageError(f"--improve-rubric writes a new file, but {str(out)!r} {why}")
    cases = Cases(*_drawn(material, settings))
    _ask_to_judge(judge_rubric.planned_rubric_calls(judge, cases, settings, rounds), yes=yes, console=console)
    with console.status("judging …"):
        return run_sync(lambda: judge_rubric.improve_rubric(judge, meta_judge, present, cases, settings, rounds=rounds))


def _keep_rubric(improvement: Improvement, judge: str, out: Path, console: Console) -> None:
    """Write the rubric if it was accepted, and report it either way."""
    said = f"The rubric is unchanged; {str(out)!r} was not written."
    if improvement.accepted:
        try:
            out.write_text(improvement.to_markdown(judge), encoding="utf-8")
        except OSError as error:
            fail(error, FAILED)
        said = f"Version {improvement.rubric.version} of the rubric is in {str(out)!r}. Read it before you use it:"
        said = f"{said} --set rubric=@{out}"
    console.print(said, markup=False, highlight=False, soft_wrap=True)


def _report_on_judge(judge: str, trial: Trial | None, improvement: Improvement | None, *, as_json: bool) -> None:
    from metascale.evals.judges import tables  # noqa: PLC0415

    if as_json:
        found = {"judge": judge, **trial.model_dump(mode="json")} if trial else {}
        found |= {"judge": judge, "improvement": improvement.model_dump(mode="json")} if improvement else {}
        sys.stdout.write(json.dumps(found, ensure_ascii=False) + "\n")
        return
    if trial:
        tables.show_trial(trial, judge, Console())
    if improvement:
        tables.show_improvement(improvement, judge, Console())


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
    """Show how many model requests judging costs, and ask whether to start."""
    table = Table("part", "model requests, at most", box=None)
    for part, calls in planned.items():
        table.add_row(part, f"{calls:,}")
    console.print(table)
    console.print(f"{sum(planned.values()):,} model requests in all, without retries and repairs", highlight=False)
    ask_to_start(yes=yes)
