"""The live view of a run on a terminal."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from metascale.choice.ranking import ranking
from metascale.cli.options import UsageError
from metascale.pool.admission import arm_statistics
from metascale.records import MetaThought, Origin
from metascale.settings import MetaScaleSettings
from metascale.state import State

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


def label(thought: MetaThought) -> str:
    """A short name of a meta-thought: its mindset, its strategy, or its id."""
    return " ".join((thought["mindset"] or thought["strategy"] or thought["id"].replace("_", " ")).split())


def view(state: State, settings: MetaScaleSettings) -> Group:
    """The arms, the bill and the best answer so far."""
    return Group(*_foreseen(state), _arms(state), _spent(state, settings), *_best(state))


def _foreseen(state: State) -> list[Text]:
    foresight = state.get("foresight")
    if foresight is None:
        return []
    rate, spread = f"{foresight['pass_rate']:.0%}", f"{foresight['spread']:.0%}"
    return [Text(f"foreseen: right {rate} ± {spread} of the time, so {foresight['outlook']}")]


def _arms(state: State) -> Table:
    table = Table(title="How to think: the meta-thoughts", title_justify="left", expand=True)
    table.add_column("arm", no_wrap=True)
    table.add_column("meta-thought", ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column("origin", no_wrap=True)
    table.add_column("gen", justify="right")
    table.add_column("pulls", justify="right")
    table.add_column("mean", justify="right")
    table.add_column("best", justify="right")
    ranked = ranking(state["candidates"])
    leader = ranked[0]["meta_thought"] if ranked else None
    for thought, arm in zip(state["pool"], arm_statistics(state["pool"], state["candidates"]), strict=True):
        rewards = arm.rewards
        table.add_row(
            thought["id"],
            Text(label(thought)),
            ORIGINS[thought["origin"]],
            str(thought["generation"]),
            str(arm.pulls),
            f"{sum(rewards) / len(rewards):.2f}" if rewards else "-",
            f"{max(rewards):.2f}" if rewards else "-",
            style="bold" if thought["id"] == leader else "",
        )
    return table


def _spent(state: State, settings: MetaScaleSettings) -> Text:
    usage = state["usage"]
    cost = "" if not usage["cost_usd"] else f" · ${usage['cost_usd']:.4f}"
    failed = sum(c["status"] == "failed" for c in state["candidates"])
    trouble = f" · {failed} failed" if failed else ""
    return Text(
        f"samples {usage['samples']}/{settings.budget + state['granted']} · calls {usage['calls']} · "
        f"tokens {usage['input_tokens']:,} in, {usage['output_tokens']:,} out · "
        f"{usage['seconds']:.1f} s{cost}{trouble}"
    )


def _best(state: State) -> list[Panel]:
    ranked = ranking(state["candidates"])
    if not ranked:
        return []
    best = ranked[0]
    return [best_panel(best["text"], best["reward"], best["meta_thought"])]


def best_panel(text: str, reward: float | None, meta_thought: str) -> Panel:
    """The end of the best answer so far."""
    shown = "\n".join(text.splitlines()[-6:])
    worth = "not scored" if reward is None else f"reward {reward:.2f}"
    return Panel(Text(shown), title=f"best so far: {worth}, under {meta_thought}", title_align="left")


def check_writable(file: Path) -> None:
    """Check that a file can be written, before anything is spent on what it will hold.

    Raises:
        UsageError: it cannot.
    """
    if file.is_dir():
        raise UsageError(f"{str(file)!r} is a folder, not a file")
    if not file.parent.is_dir():
        raise UsageError(f"{str(file)!r} is in a folder that does not exist")
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise UsageError(f"{str(file)!r} cannot be written")


def write_svg(state: State, settings: MetaScaleSettings, title: str, file: Path) -> None:
    """Draw the view as an SVG image, 110 columns wide, without the web font that Rich's would load.

    Raises:
        OSError: the file cannot be written.
    """
    console = Console(record=True, width=110, file=io.StringIO(), force_terminal=True)
    console.print(view(state, settings))
    drawn = re.sub(r"@font-face \{.*?\}\s*", "", console.export_svg(title=title), flags=re.DOTALL)
    file.write_text(drawn, encoding="utf-8")
