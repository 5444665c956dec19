"""`metascale serve`: OpenAI's chat completions and LangGraph's API over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from metascale.budget.rounds import widest_round
from metascale.cli.loading import load_files
from metascale.cli.options import WRONG_USAGE, OtherSettings, Preset, fail, preset_values, read_settings, with_extra
from metascale.errors import (
    MetaScaleError,
)
from metascale.models.lineup import names_in
from metascale.models.resolve import SIMULATION_NOTICE, model_or_simulation

LOCAL = "127.0.0.1"


def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="A model to serve; repeat for more, which are then also searched together as a+b "
            "(default: METASCALE_MODEL, else simulated)."
        ),
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="OpenAI-compatible server for openai:NAME models (default: OPENAI_BASE_URL).")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; any but this machine's own needs a token.")] = LOCAL,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on; 0 picks a free one.")] = 8123,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the token that clients must send (default: METASCALE_SERVER_TOKEN).")
    ] = None,
    budget: Annotated[int | None, typer.Option(help="Answers to generate unless a request sets it.")] = None,
    max_budget: Annotated[int | None, typer.Option(min=1, help="Highest budget that a request may set.")] = None,
    max_concurrent: Annotated[
        int | None, typer.Option(min=1, help="Searches in parallel; further requests get 429.")
    ] = None,
    max_body: Annotated[int | None, typer.Option(min=1, help="Longest request body, in bytes.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Timeout of a search in seconds.")] = None,
    preset: Preset = None,
    setting: OtherSettings = None,
) -> None:
    """Serve OpenAI's chat completions below /v1, and every graph to LangGraph's clients.

    Clients send METHOD/MODEL as the model, and settings of the run in `metadata`. These options limit what they may ask
    for. Threads are lost when the server stops. Exit codes: 0 stopped, 2 wrong usage.
    """
    console = Console(stderr=True)
    bounds = {"max_budget": max_budget, "max_concurrent": max_concurrent, "max_body": max_body, "timeout": timeout}
    try:
        from metascale.server import start  # noqa: PLC0415  the extra `serve`

        settings = read_settings(preset_values(preset), {"budget": budget}, setting or [])
        name, simulated_by_default = model_or_simulation(None)
        served = model or [name]
        load_files(console, *(one for text in served for one in names_in(text)), at_once=widest_round(settings))
        launch = start.plan(
            served,
            {name: bound for name, bound in bounds.items() if bound is not None},
            settings,
            place=(host, port),
            base_url=base_url,
            token_file=token_file,
        )
    except (MetaScaleError, ValueError, OSError, ImportError) as error:
        fail(with_extra(error, "serve"), WRONG_USAGE)
    if simulated_by_default and not model:
        console.print(SIMULATION_NOTICE, style="yellow", soft_wrap=True)
    launch.run(f"Serving {', '.join(served)} at {launch.url}/v1")
