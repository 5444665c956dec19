"""Asks the user at the terminal what a run wants to know."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from metascale.cli.live import ORIGINS, LiveView, best_panel
from metascale.cli.session import Question, WaitingError
from metascale.interrupts import ACCEPT, AnswerError, BudgetQuestion, PoolQuestion, edited_pool, granted_by
from metascale.records import MetaThought
from metascale.settings import MetaScaleSettings

HOW_TO_REVIEW = "Enter takes this pool; drop ID ..., edit ID, add: "
SECTIONS = re.compile(r"\s*# mindset\n(.*)# strategy\n(.*)", re.DOTALL)


class Dialogue:
    """Answers a run's questions from a prepared review, or else by asking at the terminal.

    Attributes:
        console: the terminal; None without one.
        live: the live view, which is hidden during a question.
    """

    def __init__(self, settings: MetaScaleSettings, console: Console | None, pool: Any = None) -> None:
        """Take the prepared answer about the pool, if there is one."""
        self.console = console
        self.live: LiveView | None = None
        self._settings = settings
        self._pool = pool

    def __call__(self, question: Question) -> Any:
        """The answer as JSON.

        Raises:
            AnswerError: the prepared answer is invalid; it does not reach the run. WaitingError: there is no answer and
            no terminal. KeyboardInterrupt: the user refuses to answer.
        """
        if self.live is None:
            return self._answer(question)
        with self.live.hidden():
            return self._answer(question)

    def _answer(self, question: Question) -> Any:
        if question["asks"] == "review_pool":
            if self._pool is not None:
                return self._checked_pool(question)
            if self.console is None:
                raise WaitingError("the pool waits for review; the same command with --pool FILE goes on", question)
            return review(question, self._settings, self.console)
        if self.console is None:
            option = "--more" if question["stop_reason"] == "budget" else "--more-usd"
            raise WaitingError(
                f"{_spent(question)}; the same command with {option} N goes on, and with {option} 0 it ends with the "
                "best answer",
                question,
            )
        return ask_for_more(question, self.console)

    def _checked_pool(self, question: PoolQuestion) -> Any:
        try:
            edited_pool(_shown(question), self._pool, self._settings)
        except AnswerError as error:
            raise AnswerError(f"--pool: {error}") from error
        return self._pool


def _shown(question: PoolQuestion) -> list[MetaThought]:
    return [cast("MetaThought", {**thought, "parents": [], "generation": 0}) for thought in question["pool"]]


def pool_table(pool: Sequence[Any]) -> Table:
    """The meta-thoughts of a `PoolQuestion` or a state, in full."""
    title = "How to think: review the meta-thoughts"
    table = Table(title=title, title_justify="left", expand=True, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in ("arm", "mindset", "strategy", "origin"):
        table.add_column(column, ratio=None if column in {"arm", "origin"} else 1)
    for thought in pool:
        table.add_row(thought["id"], Text(thought["mindset"]), Text(thought["strategy"]), ORIGINS[thought["origin"]])
    return table


def review(question: PoolQuestion, settings: MetaScaleSettings, console: Console) -> Any:
    """Let the user drop, edit and add meta-thoughts; returns the answer to the question."""
    shown = pool = _shown(question)
    edits: dict[str, list[Any]]
    while True:
        console.print(pool_table(pool))
        match _read(console, HOW_TO_REVIEW).split():
            case []:
                return _edits(shown, pool)
            case ["drop", first, *others]:
                edits = {"drop": [first, *others]}
            case ["edit", name]:
                known = next((thought for thought in pool if thought["id"] == name), None)
                words = _written(console, known["mindset"], known["strategy"]) if known else {}
                edits = {"change": [{"id": name, **words}]}
            case ["add"]:
                edits = {"add": [_written(console, "", "")]}
            case _:
                continue
        try:
            pool = edited_pool(pool, edits, settings)
        except AnswerError as error:
            console.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)


def _spent(question: BudgetQuestion) -> str:
    if question["stop_reason"] == "budget":
        return f"the budget of {question['budget']} samples is spent"
    return f"the ${question['max_cost_usd']:,.2f} of max_cost_usd are spent"


def ask_for_more(question: BudgetQuestion, console: Console) -> dict[str, Any]:
    """Ask the user how many samples or dollars to add; returns the grant as JSON."""
    if question["answer"] is not None:
        console.print(best_panel(question["answer"], question["reward"], question["meta_thought"] or ""))
    usage = question["usage"]
    console.print(
        f"T{_spent(question)[1:]}: {usage['calls']} calls, {usage['seconds']:.1f} s.",
        highlight=False,
    )
    while True:
        try:
            unit = "samples" if question["stop_reason"] == "budget" else "US dollars"
            answer = _read(console, f"How many more {unit}? (Enter: none) ") or 0
            return granted_by(answer, question["stop_reason"]).model_dump()
        except AnswerError as error:
            console.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)


def _edits(before: Sequence[MetaThought], after: Sequence[MetaThought]) -> Any:
    """The `PoolEdits` that turn one pool into the other."""
    old, new = ({thought["id"]: thought for thought in pool} for pool in (before, after))
    words = {name: {"mindset": t["mindset"], "strategy": t["strategy"]} for name, t in new.items()}
    edits = {
        "drop": [name for name in old if name not in new],
        "change": [{"id": name, **words[name]} for name in new if name in old and new[name] != old[name]],
        "add": [words[name] for name in new if name not in old],
    }
    return edits if any(edits.values()) else ACCEPT


def _written(console: Console, mindset: str, strategy: str) -> dict[str, str]:
    """A mindset and a strategy, written in the user's editor if one is set, else line by line."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if editor:
        found = SECTIONS.fullmatch(_edited(editor, f"# mindset\n{mindset}\n\n# strategy\n{strategy}\n"))
        if found:
            return {"mindset": found[1].strip(), "strategy": found[2].strip()}
        return {"mindset": mindset, "strategy": strategy}
    return {
        "mindset": _read(console, "mindset (Enter leaves it): ") or mindset,
        "strategy": _read(console, "strategy (Enter leaves it): ") or strategy,
    }


def _edited(editor: str, text: str) -> str:
    """The text as it was saved in an editor, which is a command with its options."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "meta_thought.md"
        file.write_text(text, encoding="utf-8")
        subprocess.run([*shlex.split(editor, posix=os.name != "nt"), str(file)], check=False)  # noqa: S603  the user's own
        return file.read_text(encoding="utf-8")


def _read(console: Console, prompt: str) -> str:
    try:
        return console.input(Text(prompt, style="bold")).strip()
    except EOFError as error:
        raise KeyboardInterrupt from error
