"""The view of a run where standard error is no terminal: a plain line for each round and each other phase."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from rich.console import Console

from metascale.cli.options import counted
from metascale.cli.phases import PHASES, clock, cost, how_sure, why_stopped
from metascale.records import Result
from metascale.settings import MetaScaleSettings
from metascale.state import State, empty_state

UNTOLD = {"select_arm", "compose", "finalize"}
"""Phases that take no time, or go on beside the samples of a round."""


class LogView:
    """Says what a run does, for a log file."""

    def __init__(
        self,
        console: Console,
        settings: MetaScaleSettings,
        *,
        note: str = "",
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Write to the console. `note` is said at the end, and `now` is a clock in seconds."""
        self._console = console
        self._settings = settings
        self._note = note
        self._now = now
        self._began = now()
        self._state = empty_state()
        self._at_work: set[str] = set()

    def watch(self, state: State) -> None:
        """Say that a round begins, or what it brought."""
        before, self._state = self._state, state
        drawn = {candidate["id"] for candidate in state["candidates"]}
        waiting = [pull for pull in state["plan"] if pull["id"] not in drawn]
        if state["round"] > before["round"] and waiting:
            self._say(f"round {state['round']}: sampling {counted(len(waiting), 'answer')}")
        if len(_rewards(state)) > len(_rewards(before)):
            self._say(f"round {state['round']}: best reward {max(_rewards(state)):.2f}, {self._spent()}")

    def at_work(self, running: Mapping[str, int]) -> None:
        """Say which phases begin."""
        now = {name for name, count in running.items() if count}
        for name in sorted(now - self._at_work - UNTOLD):
            if name in PHASES:
                self._say(PHASES[name])
        self._at_work = now

    def end(self, result: Result) -> None:
        """Say how the run ended."""
        note = self._note and f" ({self._note})"
        self._say(f"{why_stopped(result)}; sure: {how_sure(result)}; cost: {cost(result['usage'])}{note}")

    def _spent(self) -> str:
        usage = self._state["usage"]
        failed = sum(c["status"] == "failed" for c in self._state["candidates"])
        parts = [
            f"samples {usage['samples']}/{self._settings.budget + self._state['granted']}",
            f"calls {usage['calls']}",
            *([f"{failed} failed"] if failed else []),
            *([f"${usage['cost_usd']:.4f}"] if usage["cost_usd"] else []),
        ]
        return ", ".join(parts)

    def _say(self, what: str) -> None:
        line = f"{clock(self._now() - self._began)}  {what}"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def _rewards(state: State) -> list[float]:
    return [c["reward"] for c in state["candidates"] if c["reward"] is not None]
