"""Reads runs from the SQLite files of `metascale solve --db` and the logs of `metascale bench`."""

from __future__ import annotations

import itertools
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AnyMessage
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.types import StateSnapshot

from metascale.answers import Kind, extract
from metascale.errors import MetaScaleError, describe
from metascale.graphs import METHODS
from metascale.models.simulated import OVERCONFIDENCE
from metascale.records import Foresight, Prediction
from metascale.runtime.databases import SERIALIZER
from metascale.state import AnyGraph, fingerprint_of, state_of
from metascale.training.rollouts import Answer, Message, Rollout

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample

_HEADER = b"SQLite format 3\0"
_ROLES = {"human": "user", "ai": "assistant"}
_VERDICTS = {"C": True, "I": False}
"""Correctness by a scorer's value; other values say nothing about correctness."""


class SourceError(MetaScaleError):
    """A source does not exist or cannot be read."""


class Sources:
    """Reads files and folders in order.

    Attributes:
        skipped: number of runs left out, by reason: `unfinished`, `failed`, `no_texts`, `not_text`.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        """Take the files and folders to read."""
        self._paths = list(dict.fromkeys(path.resolve() for path in paths))
        self._seen: set[str] = set()
        self._number = itertools.count()
        self.skipped: Counter[str] = Counter()

    def runs(self) -> Iterator[Rollout]:
        """Every finished run.

        Raises:
            SourceError: a source does not exist or cannot be read.
            LogError: an Inspect log cannot be read. ImportError: logs need the extra `evals`.
        """
        for path in self._paths:
            if not path.exists():
                raise SourceError(f"no such source: {str(path)!r}")
            yield from self._database(path) if _is_database(path) else self._logs(path)

    def _database(self, path: Path) -> Iterator[Rollout]:
        try:
            with closing(_read_only(path)) as connection:
                yield from self._threads(connection)
        except sqlite3.Error as error:
            raise SourceError(f"{str(path)!r} cannot be read as runs of metascale: {error}") from error

    def _threads(self, connection: sqlite3.Connection) -> Iterator[Rollout]:
        saver = SqliteSaver(connection, serde=SERIALIZER)
        saver.is_setup = True  # setup would write to the database
        graphs = _Graphs(saver)
        threads = "select thread_id from checkpoints where checkpoint_ns = '' group by thread_id order by min(rowid)"
        for (thread,) in connection.execute(threads).fetchall():
            try:
                snapshot = graphs.snapshot(thread)
                run = self._of_thread(snapshot)
            except sqlite3.Error:
                raise
            except Exception as error:
                raise SourceError(f"the thread {thread!r} cannot be read: {describe(error)}") from error
            if run is not None:
                yield run

    def _of_thread(self, snapshot: StateSnapshot) -> Rollout | None:
        state = state_of(snapshot)
        if state["result"] is None or snapshot.next:
            self.skipped["unfinished"] += 1
            return None
        asked = state["messages"][:-1]
        if not asked or any(not isinstance(message.content, str) for message in asked):
            self.skipped["not_text"] += 1
            return None
        made_of = fingerprint_of(snapshot)
        number = next(self._number)
        candidates = sorted(state["candidates"], key=lambda candidate: candidate["id"])
        return Rollout(
            model=str(made_of.get("model") or ""),
            simulated=made_of.get("model") in OVERCONFIDENCE,
            prompt=[_message(message) for message in asked],
            gold=None,
            answers=[_answer(number, c, None) for c in candidates if c["status"] != "failed"],
            predictions=_predictions(state["foresight"]),
        )

    def _logs(self, path: Path) -> Iterator[Rollout]:
        from metascale.evals.report.logs import is_simulated, logs_in, method_of  # noqa: PLC0415  the extra `evals`

        for log in logs_in([path]):
            method = method_of(log)
            if method is None:
                continue
            model = str(method[1].get("model") or log.eval.model)
            for sample in log.samples or []:
                if sample.uuid is not None and sample.uuid in self._seen:
                    continue
                self._seen.add(str(sample.uuid))
                run = self._of_sample(log, sample, model, simulated=is_simulated(log))
                if run is not None:
                    yield run

    def _of_sample(self, log: EvalLog, sample: EvalSample, model: str, *, simulated: bool) -> Rollout | None:
        from metascale.evals.harness.solvers import RECORD  # noqa: PLC0415  the extra `evals`

        record = sample.store.get(RECORD, {})
        candidates = [c for c in record.get("candidates", []) if c["status"] != "failed"]
        prompt = _prompt(sample)
        if sample.error or not candidates:
            self.skipped["failed"] += 1
        elif any("text" not in c for c in candidates):
            self.skipped["no_texts"] += 1
        elif prompt is None:
            self.skipped["not_text"] += 1
        else:
            number = next(self._number)
            gold = _Gold(log, sample)
            return Rollout(
                model=model,
                simulated=simulated,
                prompt=prompt,
                gold=gold.answer,
                answers=[_answer(number, c, gold.right(c, record.get("winner"))) for c in candidates],
                predictions=_predictions((record.get("foresight") or {}).get("foresight")),
            )
        return None


class _Graphs:
    """Graphs that read the threads of one database: each method reads its own."""

    def __init__(self, saver: SqliteSaver) -> None:
        self._saver = saver
        self._graphs: dict[str, AnyGraph] = {}

    def snapshot(self, thread: str) -> StateSnapshot:
        config: Any = {"configurable": {"thread_id": thread}}
        snapshot = self._graph("metascale").get_state(config)
        method = fingerprint_of(snapshot).get("method", "metascale")
        return snapshot if method == "metascale" else self._graph(method).get_state(config)

    def _graph(self, method: str) -> AnyGraph:
        if method not in self._graphs:
            self._graphs[method] = METHODS[method].create("simulated", checkpointer=self._saver)
        return self._graphs[method]


class _Gold:
    """Correctness in a log: by the gold answer, read as the scorer does, or else by the scorer's value of the winner.

    Attributes:
        answer: the gold answer; None if the scorer does not use one.
    """

    def __init__(self, log: EvalLog, sample: EvalSample) -> None:
        rule = next((s for s in log.eval.scorers or [] if s.name.rpartition("/")[2] == "final_answer"), None)
        self._kind: Kind = (rule.options or {}).get("kind", "auto") if rule else "auto"
        self._choices = int((sample.metadata or {}).get("choices", 10))
        target = sample.target if rule and isinstance(sample.target, str) else ""
        self._known = extract(target, self._kind, choices=self._choices)
        self.answer = target if self._known is not None else None
        score = next(iter((sample.scores or {}).values()), None)
        is_battle = bool(score and (score.metadata or {}).get("battles"))
        self._verdict = _VERDICTS.get(str(score.value)) if score and not is_battle else None

    def right(self, candidate: Mapping[str, Any], winner: int | None) -> bool | None:
        if self._known is not None:
            return extract(candidate["text"], self._kind, choices=self._choices) == self._known
        return self._verdict if candidate["id"] == winner else None


def _is_database(path: Path) -> bool:
    if path.is_dir():
        return False
    try:
        with path.open("rb") as file:
            return file.read(len(_HEADER)) == _HEADER
    except OSError as error:
        raise SourceError(f"{str(path)!r} cannot be read: {describe(error)}") from error


def _read_only(path: Path) -> sqlite3.Connection:
    """A read-only connection. If nobody writes to the database, it creates no files beside it."""
    log = path.with_name(path.name + "-wal")
    is_written = log.exists() and log.stat().st_size > 0
    mode = "mode=ro" if is_written else "mode=ro&immutable=1"
    return sqlite3.connect(f"{path.resolve().as_uri()}?{mode}", uri=True, check_same_thread=False)


def _message(message: AnyMessage) -> Message:
    return {"role": _ROLES.get(message.type, message.type), "content": str(message.content)}


def _prompt(sample: EvalSample) -> list[Message] | None:
    """The question as asked; None if it is more than text."""
    if isinstance(sample.input, str):
        return [{"role": "user", "content": sample.input}]
    if any(not isinstance(message.content, str) for message in sample.input):
        return None
    return [{"role": message.role, "content": message.text} for message in sample.input]


def _answer(run: int, candidate: Mapping[str, Any], correct: bool | None) -> Answer:  # noqa: FBT001
    return Answer(
        run=run,
        text=candidate["text"],
        status=candidate["status"],
        reward=candidate["reward"],
        correct=correct,
        length=candidate["output_tokens"] or None,
        shared=candidate.get("shared", False),
    )


def _predictions(foresight: Foresight | None) -> Sequence[Prediction]:
    return foresight["predictions"] if foresight else []
