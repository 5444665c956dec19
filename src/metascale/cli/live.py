"""The live view of a run on a terminal."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from metascale.bandits import Arm
from metascale.choice.ranking import ranking
from metascale.cli.labels import labels, shortened
from metascale.cli.phases import clock, cost, how_sure, phase, why_stopped
from metascale.pool.admission import arm_statistics
from metascale.records import MetaThought, Origin, Result
from metascale.settings import MetaScaleSettings
from metascale.state import State, empty_state

ORIGINS: dict[Origin, str] = {
    "fixed": "fixed",
    "self_composed": "self-composed",
    "retrieved": "retrieved",
    "builtin": "built-in",
    "method": "method",
    "remembered": "remembered",
    "foreseen": "foreseen",
    "human": "yours",
    "evolved": "evolved",
    "refinement": "refinement",
    "synthesis": "synthesis",
}
WIDE, NARROW = 100, 60
"""Columns of a terminal from which every column of the table is shown, and below which only the main ones are."""
BLOCKS, DIGITS = "▁▂▃▄▅▆▇█", "0123456789"
"""A reward as one character, from 0 to 1."""
SHORT_ID = 4
"""Characters of the ids that a terminal shows which is not wide; the names of the fixed arms say who they are."""
SPINNER = "|/-\\"
FRAMES_PER_SECOND = 8
LINES_OF_BEST, LINES_OF_END = 4, 5


@dataclass(frozen=True)
class Frame:
    """The view of a run at one moment: what it is doing, its bill, its arms, and its best or its final answer.

    Attributes:
        state: the run so far.
        settings: its settings.
        running: the nodes at work, each with how many of it.
        waited: seconds since the phase began.
        seconds: seconds that the run has taken.
        result: the end of the run; None before.
        note: what a reader must not overlook, such as that this is a simulation.
        height: lines to fit into; None for as many as it takes.
    """

    state: State
    settings: MetaScaleSettings
    running: Mapping[str, int] = field(default_factory=dict)
    waited: float = 0.0
    seconds: float | None = None
    result: Result | None = None
    note: str = ""
    height: int | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it as wide as the console and at most `height` lines high."""
        plain = options.ascii_only or options.legacy_windows
        head = [*self._phase(), *self._foreseen(plain=plain), self._spent(plain=plain)]
        for line in head:
            line.no_wrap, line.overflow = True, "crop" if plain else "ellipsis"
        foot = self._foot(options, plain=plain)
        lines = len(head) + sum(len(console.render_lines(part, options)) for part in foot)
        yield from head
        if self.state["pool"]:
            most = None if self.height is None else max(1, self.height - lines - 2)
            yield self._arms(options.max_width, most, plain=plain)
        yield from foot

    def _phase(self) -> list[Text]:
        if self.result is not None or not self.running:
            return []
        turn = SPINNER[int(self.waited * FRAMES_PER_SECOND) % len(SPINNER)]
        return [Text(f"{turn} {phase(self.running, self.state)}, {clock(self.waited)}", style="cyan")]

    def _foreseen(self, *, plain: bool) -> list[Text]:
        foresight = self.state.get("foresight")
        if foresight is None:
            return []
        rate, spread = f"{foresight['pass_rate']:.0%}", f"{foresight['spread']:.0%}"
        within = "+-" if plain else "±"
        return [Text(f"foreseen: right {rate} {within} {spread} of the time, so {foresight['outlook']}")]

    def _spent(self, *, plain: bool) -> Text:
        usage = self.state["usage"]
        failed = sum(c["status"] == "failed" for c in self.state["candidates"])
        parts = [
            f"samples {usage['samples']}/{self.settings.budget + self.state['granted']}",
            *([f"${usage['cost_usd']:.4f}"] if usage["cost_usd"] else []),
            *([f"{failed} failed"] if failed else []),
            f"calls {usage['calls']}",
            clock(usage["seconds"] if self.seconds is None else self.seconds),
            f"tokens {usage['input_tokens']:,} in, {usage['output_tokens']:,} out",
        ]
        return Text((" - " if plain else " · ").join(parts))

    def _arms(self, width: int, most: int | None, *, plain: bool) -> Table:
        pool, candidates = self.state["pool"], self.state["candidates"]
        ranked = ranking(candidates)
        chosen = self.result["meta_thought"]["id"] if self.result else ranked[0]["meta_thought"] if ranked else None
        arms = dict(zip((thought["id"] for thought in pool), arm_statistics(pool, candidates), strict=True))
        models = _models(self.state)
        shown = _shown(pool, arms, chosen, most)
        space = _space(width, shown, with_models=bool(models))
        table = Table(box=box.ASCII if plain else box.SIMPLE_HEAD, show_edge=False, pad_edge=False, expand=True)
        table.add_column("arm", no_wrap=True, overflow="crop", max_width=None if width >= WIDE else SHORT_ID)
        table.add_column("meta-thought", ratio=1, no_wrap=True, overflow="crop")
        for name in _columns(width, with_models=bool(models)):
            table.add_column(name, justify="left" if name in {"model", "origin", "scores"} else "right", no_wrap=True)
        names = dict(zip((thought["id"] for thought in pool), labels(pool, space), strict=True))
        for thought in shown:
            arm = arms[thought["id"]]
            cells = _cells(thought, arm, models.get(thought["id"], ""), plain=plain)
            style = "bold green" if thought["id"] == chosen else "dim" if thought.get("retired") else ""
            mark = "*" if thought["id"] == chosen else ""
            arm_id = thought["id"] if width >= WIDE or len(thought["id"]) <= SHORT_ID else ""
            row = (arm_id, f"{mark}{names[thought['id']]}", *(cells[c.header] for c in table.columns[2:]))
            table.add_row(*(_text(cell, plain=plain) for cell in row), style=style)
        hidden = len(pool) - len(shown)
        if hidden:
            table.add_row("", Text(f"and {hidden} more"), style="dim")
        return table

    def _foot(self, options: ConsoleOptions, *, plain: bool) -> list[RenderableType]:
        if self.result is not None:
            return [self._end(self.result, options.max_width, plain=plain)]
        ranked = ranking(self.state["candidates"])
        if not ranked:
            return []
        best = ranked[0]
        lines = LINES_OF_BEST if self.height is None or self.height >= 20 else 1
        return [best_panel(best["text"], best["reward"], best["meta_thought"], lines=lines, plain=plain)]

    def _end(self, result: Result, width: int, *, plain: bool) -> Panel:
        thought = result["meta_thought"]
        (name,) = labels([thought], max(2, width - 24))
        rows = Table.grid(padding=(0, 2, 0, 0))
        rows.add_column(style="dim", no_wrap=True)
        rows.add_column(ratio=1)
        by = name if name == thought["id"].replace("_", " ") else f"{thought['id']}: {name}"
        rows.add_row("answer", _text(self._short_answer(result, max(8, width - 24)), "bold", plain=plain))
        rows.add_row("found by", _text(by, plain=plain))
        rows.add_row("how sure", Text(how_sure(result), no_wrap=True, overflow="crop" if plain else "ellipsis"))
        rows.add_row("stopped", Text(why_stopped(result)))
        rows.add_row("cost", Text(cost(result["usage"])))
        return Panel(rows, title=Text(f"the end{self.note and f': {self.note}'}"), title_align="left")

    def _short_answer(self, result: Result, width: int) -> str:
        """The final answer where one is marked, else how the text begins, or ends where the height is free."""
        if self.height is None:
            return _last_lines(result["answer"], LINES_OF_END)
        chosen = next((c for c in self.state["candidates"] if c["id"] == result["candidate"]), None)
        return shortened((chosen and chosen["extracted"]) or result["answer"], width)


def best_panel(text: str, reward: float | None, meta_thought: str, *, lines: int = 6, plain: bool = False) -> Panel:
    """The end of the best answer so far, its last lines each cut to the panel's width."""
    worth = "not scored" if reward is None else f"reward {reward:.2f}"
    shown = Text(_last_lines(text, lines), no_wrap=True, overflow="crop" if plain else "ellipsis")
    return Panel(shown, title=Text(f"best so far: {worth}, under {meta_thought}"), title_align="left")


class LiveView:
    """The live view of a run: a frame that is redrawn several times a second, so that its clock ticks."""

    def __init__(
        self,
        console: Console,
        settings: MetaScaleSettings,
        *,
        note: str = "",
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Draw on the console. `note` is shown with the end, and `now` is a clock in seconds."""
        self._console = console
        self._live = Live(self, console=console, refresh_per_second=FRAMES_PER_SECOND, transient=True)
        self._frame = Frame(empty_state(), settings, note=note)
        self._now = now
        self._began = self._phase_began = now()
        self._seconds_before: float | None = None

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the last frame on the terminal."""
        self._frame = replace(self._frame, running={})
        self._live.transient = False
        self._live.stop()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the frame as it is now."""
        yield self.frame(console.height)

    def frame(self, height: int | None) -> Frame:
        """The frame as it is now, at most `height` lines high; one line is left for the cursor."""
        now, frame = self._now(), self._frame
        seconds = None if frame.result is not None else (self._seconds_before or 0.0) + now - self._began
        room = None if height is None else height - 1
        return replace(frame, waited=now - self._phase_began, seconds=seconds, height=room)

    def watch(self, state: State) -> None:
        """Show a changed state."""
        if self._seconds_before is None:
            self._seconds_before = state["usage"]["seconds"]
        self._frame = replace(self._frame, state=state)
        self._live.refresh()

    def at_work(self, running: Mapping[str, int]) -> None:
        """Show which nodes are at work."""
        before = {name for name, count in self._frame.running.items() if count}
        if {name for name, count in running.items() if count} != before:
            self._phase_began = self._now()
        self._frame = replace(self._frame, running=dict(running))

    def end(self, state: State, result: Result) -> None:
        """Show the end of the run."""
        self._frame = replace(self._frame, state=state, result=result)

    @contextlib.contextmanager
    def hidden(self) -> Iterator[None]:
        """Clear the view while a person is asked something, and do not count that time."""
        began = self._now()
        self._live.stop()
        try:
            yield
        finally:
            self._began += self._now() - began
            self._phase_began = self._now()
            self._live.start()


def _text(said: str, style: str = "", *, plain: bool) -> Text:
    return Text(said.replace("…", "...") if plain else said, style)


def _last_lines(text: str, count: int) -> str:
    return "\n".join(text.strip().splitlines()[-count:])


def _columns(width: int, *, with_models: bool) -> list[str]:
    """The columns after the meta-thought's name."""
    model = ["model"] if with_models and width >= NARROW else []
    if width >= WIDE:
        return [*model, "origin", "pulls", "mean", "best", "scores"]
    return [*model, "pulls", "mean", "scores"] if width >= NARROW else ["mean"]


WIDTHS = {"model": 16, "origin": 13, "pulls": 5, "mean": 4, "best": 4, "scores": 8}


def _space(width: int, shown: list[MetaThought], *, with_models: bool) -> int:
    """Characters for the name of a meta-thought."""
    longest = max(len(thought["id"]) for thought in shown)
    others = [longest if width >= WIDE else min(SHORT_ID, longest)]
    others += [WIDTHS[name] for name in _columns(width, with_models=with_models)]
    return max(8, width - sum(others) - 3 * len(others) - 1)


def _cells(thought: MetaThought, arm: Arm, model: str, *, plain: bool) -> dict[Any, str]:
    rewards = arm.rewards
    marks = DIGITS if plain else BLOCKS
    return {
        "model": shortened(model, WIDTHS["model"]),
        "origin": ORIGINS[thought["origin"]],
        "pulls": str(arm.pulls),
        "mean": f"{sum(rewards) / len(rewards):.2f}" if rewards else "-",
        "best": f"{max(rewards):.2f}" if rewards else "-",
        "scores": "".join(marks[min(len(marks) - 1, int(r * len(marks)))] for r in rewards[-WIDTHS["scores"] :]),
    }


def _models(state: State) -> dict[str, str]:
    """The models that were asked under each arm, with their samples, where the run has several."""
    asked: dict[str, Counter[str]] = {}
    for candidate in state["candidates"]:
        asked.setdefault(candidate["meta_thought"], Counter())[candidate.get("model", "")] += 1
    if len(set().union(*asked.values())) < 2:
        return {}
    return {
        arm: ", ".join(f"{model.rpartition(':')[2]} {count}" for model, count in models.most_common())
        for arm, models in asked.items()
    }


def _shown(pool: list[MetaThought], arms: Mapping[str, Arm], chosen: str | None, most: int | None) -> list[MetaThought]:
    """The meta-thoughts that fit into `most` rows: the leader and the most sampled ones, in order of birth."""
    if most is None or len(pool) <= most:
        return list(pool)
    by_pulls = sorted(pool, key=lambda thought: (thought["id"] != chosen, -arms[thought["id"]].pulls))
    kept = {thought["id"] for thought in by_pulls[: max(1, most - 1)]}
    return [thought for thought in pool if thought["id"] in kept]
