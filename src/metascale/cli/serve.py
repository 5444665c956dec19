"""`metascale serve`: OpenAI's chat completions and LangGraph's API over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from metascale.cli.options import WRONG_USAGE, OtherSettings, Preset, fail, preset_values, read_settings, with_extra
from metascale.errors import (
    MetaScaleError,
)
from metascale.models.resolve import SIMULATION_NOTICE, model_or_simulation

LOCAL = "127.0.0.1"


def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(help="A model to serve; repeat for more (default: METASCALE_MODEL, else simulated)."),
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="OpenAI-compatible server for openai:NAME models (default: OPENAI_BASE_URL).")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; beyond this machine only with a token.")] = LOCAL,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on; 0 takes any that is free.")] = 8123,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the token that clients must send (default: METASCALE_SERVER_TOKEN).")
    ] = None,
    budget: Annotated[int | None, typer.Option(help="Answers to generate where a request does not say.")] = None,
    max_budget: Annotated[int | None, typer.Option(min=1, help="Highest budget that a request may set.")] = None,
    max_concurrent: Annotated[int | None, typer.Option(min=1, help="Searches at a time; one more gets 429.")] = None,
    max_body: Annotated[int | None, typer.Option(min=1, help="Longest request body, in bytes.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds after which a search is given up.")] = None,
    preset: Preset = None,
    setting: OtherSettings = None,
) -> None:
    """Serve OpenAI's chat completions below /v1, and every graph to LangGraph's clients.

    Clients name METHOD/MODEL as their model, and set a run's settings in `metadata`; what may be asked for, and how
    much of it, is said here. All threads are gone when it stops. Exit codes: 0 stopped, 2 wrong usage.
    """
    console = Console(stderr=True)
    bounds = {"max_budget": max_budget, "max_concurrent": max_concurrent, "max_body": max_body, "timeout": timeout}
    try:
        from metascale.server import start  # noqa: PLC0415  the extra `serve`

        settings = read_settings(preset_values(preset), {"budget": budget}, setting or [])
        name, simulated_by_default = model_or_simulation(None)
        launch = start.plan(
            model or [name],
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
    console.print(f"Serving {', '.join(model or [name])} at {launch.url}/v1", markup=False, soft_wrap=True)
    launch.run()
