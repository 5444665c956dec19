"""Methods x tasks x budgets, run by Inspect: planned, and resumed after an interruption."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspect_ai import Task, eval_set, task_with
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig, Model, get_model

from metascale.budget.rounds import widest_round
from metascale.costs import (
    ANSWER_TOKENS,
    LONG_ANSWER_TOKENS,
    Part,
    dearest_of,
    merged,
    part_of_baseline,
    part_of_battles,
    parts_of_one,
    question_tokens,
)
from metascale.errors import ModelSetupError, SettingError, UnknownNameError
from metascale.evals.harness.finals import final_answers
from metascale.evals.harness.fleet import Fleet, context_of
from metascale.evals.harness.local_models import known_as, local_name
from metascale.evals.harness.models import ADDRESS_VARIABLE, KEY_VARIABLE, OWN_SERVER, RECORDED, SERVERS
from metascale.evals.harness.outcome import BENCHMARK, Evaluation, Outcome, outcome_of
from metascale.evals.harness.solvers import SOLVERS
from metascale.evals.harness.tasks import arena_hard, baseline_answers, gsm8k, mmlu_pro, recorded
from metascale.evals.harness.watch import EndAtRefusal, watching
from metascale.graphs import METHODS
from metascale.journal.database import journal_in
from metascale.journal.runs import name_of
from metascale.models.local.names import is_local
from metascale.models.parameters import split_name
from metascale.models.resolve import NO_KEY
from metascale.models.simulated import OVERCONFIDENCE
from metascale.settings import MetaScaleSettings

TASKS: dict[str, Callable[..., Task]] = {
    "gsm8k": gsm8k,
    "mmlu_pro": mmlu_pro,
    "arena_hard": arena_hard,
    "recorded": recorded,
}


@dataclass(frozen=True)
class Cell:
    """One evaluation of a benchmark.

    Attributes:
        task: the task's name.
        method: the method's name.
        budget: its sampling budget; 1 for methods that draw one sample.
        questions: how many questions it answers, epochs included.
        parts: most model requests without errors, by role and model.
    """

    task: str
    method: str
    budget: int
    questions: int
    parts: Sequence[Part]

    @property
    def calls(self) -> int:
        """Model requests of every kind."""
        return sum(part.calls for part in self.parts)


@dataclass(frozen=True)
class BenchPlan:
    """A whole benchmark before it runs.

    Attributes:
        cells: its evaluations.
        tasks: the same, as Inspect tasks.
        model: the model's name in Inspect.
        model_args: its arguments.
        contexts: the settings of every method and budget, in the format of servers.
        judge: the judge's name in Inspect; None for the model itself.
        evaluations: how the logs of each evaluation are known.
        shared: requests that all evaluations share, such as those for the baseline's answers.
    """

    cells: Sequence[Cell]
    tasks: Sequence[Task]
    model: str
    model_args: dict[str, Any]
    contexts: Sequence[Mapping[str, Any]] = ()
    judge: str | None = None
    evaluations: Sequence[Evaluation] = ()
    shared: Sequence[Part] = ()

    @property
    def widest_round(self) -> int:
        """Most samples that a run draws at once."""
        return max(widest_round(MetaScaleSettings.model_validate(context)) for context in self.contexts)

    @property
    def parts(self) -> list[Part]:
        """The requests of all evaluations, by role and model."""
        return merged([*(part for cell in self.cells for part in cell.parts), *self.shared])

    @property
    def calls(self) -> int:
        """Model requests of all evaluations."""
        return sum(part.calls for part in self.parts)


def plan(
    *,
    model: str,
    tasks: Sequence[str],
    methods: Sequence[str],
    budgets: Sequence[int],
    task_args: Mapping[str, Any],
    limit: int | None = None,
    epochs: int = 1,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    judge_model: str | None = None,
    other_models: Sequence[str] = (),
    base_url: str | None = None,
) -> BenchPlan:
    """Lay out a benchmark.

    Args:
        model: a model's name for `metascale solve` or Inspect.
        tasks: names of `TASKS`.
        methods: names of `METHODS`.
        budgets: sampling budgets; methods with one sample run once.
        task_args: arguments for every task, such as `path` or `subset`.
        limit: questions per task; None for all.
        epochs: how often each question is asked.
        seed: seed of the runs.
        settings: further `MetaScaleSettings`.
        judge_model: scores answers; None for the model itself.
        other_models: further models that may answer, with the method `metascale`; other methods take the first one.
        base_url: the OpenAI-compatible server of `openai:NAME` models.

    Raises:
        UnknownNameError: a task or method does not exist.
        SettingError: a number is below 1, something is given twice, a setting has an argument of its own, or a task
            lacks its file.
        GoldError: a gold answer cannot be read.
        ModelSetupError: a model has no name, or cannot be a judge.
        pydantic.ValidationError: a setting is invalid.
    """
    _check(tasks, task_args, methods=methods, budgets=budgets, limit=limit, epochs=epochs, settings=settings or {})
    for kind, names, known in (("task", tasks, TASKS), ("method", methods, METHODS)):
        for name in names:
            if name not in known:
                raise UnknownNameError(kind, name, known)
    name, model_args = inspect_model(model, base_url)
    judge, judge_args = inspect_model(judge_model, base_url) if judge_model else (None, {})
    if judge_args:
        raise ModelSetupError(f"{judge_model!r} cannot be a judge: it only knows the answers that it recorded")
    others = [inspect_model(other, base_url) for other in other_models]
    if any(args for _, args in others):
        raise ModelSetupError("a recorded model answers alone, so there are no others beside it")
    beside = [other for other, _ in others]
    solved_by, judged_by = known_as(name), known_as(judge) if judge else None
    cells: list[Cell] = []
    laid: list[Task] = []
    contexts: list[dict[str, Any]] = []
    evaluations: list[Evaluation] = []
    shared: list[Part] = []
    for task_name in tasks:
        is_arena = task_name == "arena_hard"
        for method in methods:
            for budget in [1] if METHODS[method].one_pass else budgets:
                given: dict[str, Any] = {"budget": budget, "seed": seed, "judge_model": judge}
                chosen = MetaScaleSettings.model_validate({"budget": budget, "seed": seed, **(settings or {})})
                contexts.append(context_of(chosen))
                names = [known_as(other) for other in beside] if method == "metascale" else []
                if names:
                    given["other_models"] = beside
                solver = SOLVERS[method](**given, settings=dict(settings or {}))
                task = TASKS[task_name](**task_args)
                asked = list(task.dataset)[:limit]
                _check_golds(task_name, asked, by_record=bool(model_args))
                title = f"{task_name}-{method}-{budget}"
                known_by = name_of(title, solved_by, model_args, judged_by, task_args, settings, seed, *names)
                about = {"cell": title, BENCHMARK: known_by}
                ids = [sample.id or number for number, sample in enumerate(asked, 1)]
                runs = frozenset((one, epoch) for one in ids for epoch in range(1, epochs + 1))
                evaluations.append(Evaluation(known_by, runs))
                counts = EndAtRefusal(title)
                laid.append(task_with(task, solver=solver, epochs=epochs, metadata=about, early_stopping=counts))
                length = question_tokens(_texts(asked))
                answer = LONG_ANSWER_TOKENS if is_arena else ANSWER_TOKENS
                judges = judged_by or solved_by
                dearest = dearest_of([solved_by, *names], chosen.prices)
                parts = parts_of_one(method, chosen, solver=dearest, judge=judges, question=length, answer=answer)
                if is_arena:
                    parts.append(part_of_battles(task_args.get("judge_model") or name, question=length))
                cells.append(Cell(task_name, method, budget, len(runs), [part.times(len(runs)) for part in parts]))
        if is_arena:
            answered = baseline_answers(task_args.get("baseline"))
            unanswered = [sample for sample in asked if str(sample.id) not in answered]
            baseline = part_of_baseline(
                task_args.get("baseline_model") or name, question=question_tokens(_texts(unanswered))
            )
            shared.append(baseline.times(len(unanswered)))
    return BenchPlan(cells, laid, name, model_args, contexts, judge, evaluations, shared)


def _texts(samples: Sequence[Sample]) -> list[str]:
    return [s.input if isinstance(s.input, str) else "".join(turn.text for turn in s.input) for s in samples]


def _check_golds(task_name: str, samples: Sequence[Sample], *, by_record: bool) -> None:
    """Check that new answers to recorded questions can be scored, before anything is paid for."""
    form = final_answers("auto", None, {})
    for sample in samples if task_name == "recorded" and not by_record else ():
        form.golds(sample.target or [], sample.id)


def _check(
    tasks: Sequence[str],
    task_args: Mapping[str, Any],
    *,
    methods: Sequence[str],
    budgets: Sequence[int],
    limit: int | None,
    epochs: int,
    settings: Mapping[str, Any],
) -> None:
    for what, numbers in (("budget", budgets), ("number of questions", [limit]), ("number of epochs", [epochs])):
        wrong = next((number for number in numbers if number is not None and number < 1), None)
        if wrong is not None:
            raise SettingError(f"the {what} is at least 1, not {wrong}")
    for what, given in (("task", tasks), ("method", methods), ("budget", budgets)):
        twice = next((one for one in given if list(given).count(one) > 1), None)
        if twice is not None:
            raise SettingError(f"the {what} {twice!r} is given twice")
    if "recorded" in tasks and not task_args.get("path"):
        raise SettingError("the task 'recorded' needs --path FILE")
    own = next((name for name in ("budget", "seed") if name in settings), None)
    if own is not None:
        raise SettingError(f"the setting {own!r} of a benchmark is its own option: --{own}")


def inspect_model(name: str, base_url: str | None = None) -> tuple[str, dict[str, Any]]:
    """A model's name in Inspect, with its arguments: `openai:NAME` becomes `openai/NAME`.

    With a base URL it becomes `openai-api/local/NAME`, which uses chat completions only. A model file, `gguf:FILE`,
    becomes `gguf/FILE`.

    Raises:
        ModelSetupError: there is no name, or it has parameters.
    """
    if split_name(name)[1] if is_local(name) else "?" in name:
        raise ModelSetupError(f"a benchmark takes no parameters in a model's name, so leave out the end of {name!r}")
    if name in OVERCONFIDENCE:
        return f"metascale/{name}", {}
    if name == SERVERS or is_local(name):
        return local_name(name) if is_local(name) else name, {}
    provider, colon, rest = name.partition(":")
    if provider == RECORDED and rest:
        return f"metascale/{RECORDED}", {"path": rest}
    if provider == "openai" and rest and base_url:
        return f"{OWN_SERVER}{rest}", {}
    if colon and "/" not in provider:
        return f"{provider}/{rest}", {}
    if "/" not in name:
        raise ModelSetupError(
            "a model for a benchmark is 'openai:NAME', 'gguf:FILE', 'simulated' or Inspect's 'provider/name', not "
            f"{name!r}"
        )
    return name, {}


def check_servers(laid: BenchPlan, urls: Sequence[str]) -> list[str]:
    """Check that servers can run a benchmark.

    Returns:
        One line about each server that does not answer.

    Raises:
        FleetError: none answers, or one refuses the token, a graph or the settings.
    """
    fleet = Fleet(urls)
    return asyncio.run(fleet.check([cell.method for cell in laid.cells], laid.contexts))


def run(
    laid: BenchPlan,
    log_dir: Path,
    *,
    base_url: str | None = None,
    limit: int | None = None,
    at_once: int | None = None,
    call_timeout: float | None = None,
    tell: Callable[[str], None] = print,
    progress: Callable[[str], None] | None = None,
) -> Outcome:
    """Run a benchmark, or the rest of it: what was answered is not asked again.

    Inspect's logs in `log_dir` hold the answered questions, and a journal beside them what was paid for since. Failed
    questions are asked again. The benchmark ends early where no request can succeed, or none does for a while.

    Args:
        laid: the benchmark.
        log_dir: where the logs are.
        base_url: the OpenAI-compatible server of `openai:NAME` models; for `langgraph/servers` their URLs, separated
            by spaces.
        limit: questions of each task; all of them if None.
        at_once: requests in flight to each model, or questions in flight on each LangGraph server; None for Inspect's
            own limit, which begins at 20 and adapts, or for the fleet's default.
        call_timeout: seconds that one request may take; None for no limit.
        tell: prints a line for a person while the benchmark runs.
        progress: prints how far it is, instead of Inspect's display; None for the display.

    Raises:
        ModelSetupError: a model is unknown or cannot be set up.
        DatabaseError: the journal cannot be opened.
    """
    with _own_server(None if laid.model == SERVERS else base_url):
        model = _set_up(
            laid.model,
            base_url=base_url,
            config=GenerateConfig(max_connections=at_once if laid.model == SERVERS else None),
            **laid.model_args,
        )
        if laid.judge is not None:
            _set_up(
                laid.judge, base_url=os.environ.get(ADDRESS_VARIABLE) if laid.judge.startswith(OWN_SERVER) else None
            )
        with journal_in(log_dir), watching(tell, progress or _unsaid, call_timeout) as watch:
            try:
                _, ended = eval_set(
                    list(laid.tasks),
                    log_dir=str(log_dir),
                    model=model,
                    limit=limit,
                    max_connections=None if laid.model == SERVERS else at_once,
                    fail_on_error=True,
                    continue_on_fail=True,
                    log_model_api=False,
                    log_realtime=False,
                    log_dir_allow_dirty=True,
                    retry_attempts=1,
                    retry_immediate=False,
                    max_tasks=2,
                    display=None if progress is None else "none",
                )
            except KeyboardInterrupt:
                ended = []
    return outcome_of(laid.evaluations, log_dir, interrupted=len(ended) < len(laid.cells), refusal=watch.refusal)


def _unsaid(_: str) -> None:
    """Inspect's display says it."""


def _set_up(name: str, **arguments: Any) -> Model:
    try:
        return get_model(name, **arguments)
    except Exception as error:
        plain = " ".join(re.sub(r"\[/?[a-z ]+\]", "", str(error)).removeprefix("ERROR: ").split())
        raise ModelSetupError(f"cannot set up the model {name!r}: {plain}") from error


@contextmanager
def _own_server(base_url: str | None) -> Iterator[None]:
    """Let every model of the prefix `OWN_SERVER` be at a base URL: the evaluated one, judges, and those of scorers."""
    given = {ADDRESS_VARIABLE: base_url, KEY_VARIABLE: os.environ.get("OPENAI_API_KEY") or NO_KEY} if base_url else {}
    before = {name: os.environ.get(name) for name in given}
    os.environ.update({name: value for name, value in given.items() if value})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
