"""The command line, put together from its commands."""

from __future__ import annotations

import logging
import sys
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from metascale import __version__
from metascale.cli import memory
from metascale.cli.batch import batch
from metascale.cli.bench import bench, report
from metascale.cli.choice import try_choice
from metascale.cli.export import export_command
from metascale.cli.judge import judge_trial
from metascale.cli.options import FAILED, WRONG_USAGE, UsageError, fail, method_named
from metascale.cli.policies import replay_memory, replay_policies, share_budget
from metascale.cli.serve import serve
from metascale.cli.settings import list_settings
from metascale.cli.solve import solve
from metascale.errors import UnknownNameError

MISUSE: type[Exception] = typer.BadParameter.__mro__[1]
"""The error of a command line that cannot be read: Typer's own or click's, depending on its version."""


class Commands(TyperGroup):
    """A group of commands that says in one line what is wrong with its command line."""

    def main(self, args: Any = None, prog_name: Any = None, *more: Any, **extra: Any) -> Any:
        """Run a command, always under the name `metascale`; see `click.Command.main`."""
        if more or not extra.pop("standalone_mode", True):
            return super().main(args, prog_name, *more, **{"standalone_mode": False, **extra})
        try:
            code = super().main(args, "metascale", standalone_mode=False, **extra)
        except typer.Abort:
            _end(UsageError("nothing was done: the question was not answered"), FAILED)
        except MISUSE as misuse:
            if not str(misuse):
                sys.exit(WRONG_USAGE)  # no command was named, and the help was shown
            _end(_in_one_line(misuse), WRONG_USAGE)
        sys.exit(code if isinstance(code, int) else 0)


def _end(error: Exception, code: int) -> NoReturn:
    try:
        fail(error, code)
    except typer.Exit as end:
        sys.exit(end.exit_code)


def _in_one_line(misuse: Any) -> UsageError:
    """What is wrong with a command line, and which command lists what is right."""
    path = misuse.ctx.command_path.split()[1:] if misuse.ctx else []
    said = " ".join(misuse.format_message().split()).replace(". Did you", "; did you").rstrip(".?")
    return UsageError(f"{said}; {' '.join(['metascale', *path, '-h'])} shows what is possible")


def main() -> None:
    """Run the command line."""
    logging.getLogger("psycopg").addHandler(logging.NullHandler())  # a failure there is reported in one line
    app()


def _say_version(asked: bool) -> None:  # noqa: FBT001  Typer's way
    if asked:
        typer.echo(f"metascale {__version__}")
        raise typer.Exit


def _metascale(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Let a chat model choose how to think before it answers (METASCALE)."""


def draw(
    name: Annotated[str, typer.Argument(help="Which graph.")] = "metascale",
) -> None:
    """Print a graph as Mermaid text."""
    try:
        create = method_named(name).create
    except UnknownNameError as error:
        fail(error, WRONG_USAGE)
    typer.echo(create("simulated").get_graph().draw_mermaid())


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.callback()(_metascale)
app.command()(solve)
app.command()(batch)
app.command(name="graph")(draw)
app.command(name="settings")(list_settings)
app.command(name="export")(export_command)
app.command()(report)
app.command()(serve)

memory_app = typer.Typer(
    help="Look at a strategy memory, tell it how good an answer was, export it, or forget it.", no_args_is_help=True
)
memory_app.command()(memory.show)
memory_app.command()(memory.feedback)
memory_app.command()(memory.export)
memory_app.command()(memory.forget)
app.add_typer(memory_app, name="memory")

bench_app = typer.Typer()
bench_app.callback(invoke_without_command=True)(bench)
bench_app.command(name="choice")(try_choice)
bench_app.command(name="judge")(judge_trial)
bench_app.command(name="replay")(replay_policies)
bench_app.command(name="memory")(replay_memory)
bench_app.command(name="budget")(share_budget)
app.add_typer(bench_app, name="bench")
