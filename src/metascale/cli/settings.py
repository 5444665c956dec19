"""`metascale settings`: every setting with its default."""

from __future__ import annotations

import json
import sys
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.text import Text

from metascale.cli.options import AsJson
from metascale.settings import LimitSettings, MetaScaleSettings, ScoringSettings, SearchSettings, TrafficSettings

SECTIONS: dict[str, type[BaseModel]] = {
    "search": SearchSettings,
    "scoring": ScoringSettings,
    "limits": LimitSettings,
    "traffic": TrafficSettings,
}


def list_settings(as_json: AsJson = False) -> None:
    """List every setting with its default. Set one with --set NAME=VALUE, or in Python with MetaScaleSettings."""
    listed = [setting for section in SECTIONS for setting in settings_in(section)]
    if as_json:
        sys.stdout.write(json.dumps(listed, ensure_ascii=False) + "\n")
        return
    console = Console()
    for section in SECTIONS:
        table = Table(title=section, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
        table.add_column("setting", no_wrap=True)
        table.add_column("default", max_width=12)
        table.add_column("")
        for setting in listed:
            if setting["section"] == section:
                shown = (setting["name"], json.dumps(setting["default"]), setting["description"])
                table.add_row(*map(Text, shown))
        console.print(table)


def settings_in(section: str) -> list[dict[str, Any]]:
    """The settings of a section of `SECTIONS`, each with its name, section, default, description and JSON schema."""
    fields = SECTIONS[section].model_fields
    defaults = MetaScaleSettings().model_dump(mode="json")
    schema = MetaScaleSettings.model_json_schema()["properties"]
    return [
        {
            "name": name,
            "section": section,
            "default": defaults[name],
            "description": field.description or "",
            "schema": {key: value for key, value in schema[name].items() if key not in _TOLD},
        }
        for name, field in fields.items()
    ]


_TOLD = {"title", "description", "default", "langgraph_nodes"}
