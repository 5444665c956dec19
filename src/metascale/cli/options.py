"""What the commands share: exit codes, options, how settings are read, and how a command fails."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from metascale.errors import MetaScaleError, UnknownNameError, describe
from metascale.graphs import METHODS, Method
from metascale.rewards.rubric import Rubric, RubricError
from metascale.settings import MetaScaleSettings

FAILED, WRONG_USAGE, WAITING, INTERRUPTED = 1, 2, 3, 130
PRESETS = {"paper": MetaScaleSettings.paper}

Preset = Annotated[str | None, typer.Option(help="paper: its pool, UCB, evolution, and choice by single scores.")]
OtherSettings = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Any other setting; may be repeated.")
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        help="openai:NAME, gguf:FILE, … (default: METASCALE_MODEL, else simulated); repeated, all of them may answer.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Yes = Annotated[bool, typer.Option("--yes", help="Start without asking.")]


class UsageError(MetaScaleError, ValueError):
    """The command line does not make sense."""


def fail(error: BaseException, code: int) -> NoReturn:
    """End the command with an exit code and one line on standard error."""
    line = f"metascale: {describe(error)}"
    Console(stderr=True).print(line, style="red", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(code)


def counted(count: int, noun: str) -> str:
    """A number of things, such as `1 run` and `1,200 runs`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def with_extra(error: BaseException, extra: str = "evals") -> BaseException:
    """The error, or what to install where a module of the extra is missing."""
    if isinstance(error, ImportError):
        return UsageError(f"this needs more packages ({error.name}): pip install 'metascale[{extra}]'")
    return error


def ask_to_start(*, yes: bool) -> None:
    """Ask at a terminal whether to start, unless the answer is given.

    Raises:
        UsageError: the answer is no, or there is no terminal to ask at.
    """
    if not yes and not (sys.stdin.isatty() and typer.confirm("Start?", err=True)):
        raise UsageError("nothing was started; --yes starts without asking")


def method_named(name: str) -> Method:
    """The method of this name.

    Raises:
        UnknownNameError: there is none.
    """
    if name not in METHODS:
        raise UnknownNameError("method", name, METHODS)
    return METHODS[name]


def preset_values(name: str | None) -> dict[str, Any]:
    """The settings of a preset; none without a name.

    Raises:
        UnknownNameError: there is no such preset.
    """
    if name is None:
        return {}
    if name not in PRESETS:
        raise UnknownNameError("preset", name, PRESETS)
    return PRESETS[name]().model_dump(exclude_unset=True)


def read_settings(preset: dict[str, Any], given: dict[str, Any], others: list[str]) -> MetaScaleSettings:
    """The settings of a command line.

    Args:
        preset: values that the rest overrides.
        given: values of options of their own, by setting; None where the option is absent.
        others: values of `--set`.

    Raises:
        UsageError: a value of `--set` has no name, or its file cannot be read.
        ValidationError: a setting is unknown or out of its range.
    """
    named = {name: value for name, value in given.items() if value is not None}
    return MetaScaleSettings.model_validate(preset | named | named_values(others))


def named_values(given: list[str]) -> dict[str, Any]:
    """The values of `--set`: JSON, or else plain text; `@FILE` reads the value from a file.

    Raises:
        UsageError: a value has no name, or its file cannot be read.
    """
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
