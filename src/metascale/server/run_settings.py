"""The settings of a run that a request may change."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from metascale.errors import UnknownNameError, describe
from metascale.server.errors import bad_request
from metascale.server.options import ServerOptions
from metascale.settings import BUILDERS_SETTINGS, MetaScaleSettings, PanelMember, RewardModelSettings

SERVERS_SETTINGS = (*BUILDERS_SETTINGS, "memory", "prices")
"""Settings that load code, read files, name servers, open other users' memories, or set prices."""
UNATTENDED = {"review_pool": False, "ask_for_budget": False}
"""Settings that pause for a person. A chat completion cannot ask one; LangGraph's clients can."""
_OTHERS = (PanelMember, RewardModelSettings, ServerOptions)
NAMES_OF_OTHER_THINGS = {"api_key", *(name for part in _OTHERS for name in part.model_fields)}
"""Names by which a client may try to change what is not its own."""
LIKENESS = 0.7
"""Similarity from which an unknown name counts as a misspelt setting. Ours: `bugdet` has 0.83 to `budget`, and no
usual label (`user_id`, `session`, `trace_id`) reaches it."""
CEILINGS = ("max_calls", "max_tokens_total", "max_seconds", "max_cost_usd")
"""Limits of the server that a request may lower but not raise."""


def run_settings(
    texts: Iterable[tuple[str, str]],
    values: Iterable[tuple[str, Any]],
    server: MetaScaleSettings,
    max_budget: int | None,
) -> MetaScaleSettings:
    """The settings of a request alone.

    Args:
        texts: names and values as text; values are JSON, or else plain text.
        values: names and values.
        server: the server's own settings.
        max_budget: the highest budget; None for no limit.

    Raises:
        ApiError: 400 for a setting that is unknown, invalid, given twice, or reserved for the server.
    """
    chosen: dict[str, Any] = {}
    for name, value in [*((name, _value(text)) for name, text in texts), *values]:
        if name not in MetaScaleSettings.model_fields:
            raise bad_request(str(UnknownNameError("setting", name, MetaScaleSettings.model_fields)), name)
        if name in SERVERS_SETTINGS:
            raise bad_request(f"the setting {name!r} belongs to the server and cannot be changed by a request", name)
        if name in UNATTENDED:
            raise bad_request(f"the setting {name!r} needs a person to ask: use LangGraph's client", name)
        if chosen.setdefault(name, value) != value:
            raise bad_request(f"the setting {name!r} is given twice, as {chosen[name]!r} and as {value!r}", name)
    try:
        settings = MetaScaleSettings.model_validate(chosen)
        whole = server.overlaid_by(settings)
    except ValidationError as error:
        param = ".".join(map(str, error.errors()[0]["loc"])) or None
        raise bad_request(describe(error), param) from error
    if max_budget is not None and whole.budget > max_budget:
        raise bad_request(f"budget: at most {max_budget} here (got {whole.budget})", "budget")
    for name in CEILINGS:
        bound, value = getattr(server, name), getattr(whole, name)
        if bound is not None and (value is None or value > bound):
            raise bad_request(f"{name}: at most {bound} here (got {value})", name)
    return settings


def labels_left_out(metadata: Mapping[str, str]) -> list[tuple[str, str]]:
    """The settings in a request's metadata: all but the labels that clients keep for themselves, such as `user_id`.

    A name is no label if it is like a setting's, or names something of the server's.
    """
    names = (*MetaScaleSettings.model_fields, *NAMES_OF_OTHER_THINGS)
    return [entry for entry in metadata.items() if difflib.get_close_matches(entry[0].lower(), names, 1, LIKENESS)]


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
