"""Settings of the requests to models: retries, timeouts, concurrency, seeds and prices."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from metascale.settings.fields import Frozen, on
from metascale.settings.prices import Price


class TrafficSettings(Frozen):
    """How requests are sent to models, and what they cost."""

    max_retries: int = Field(
        default=2,
        ge=0,
        le=20,
        description="Retries of a request after a transient failure (429, 5xx, connection lost, timeout). Models with "
        "a retry setting of their own, as model instances have, keep that instead.",
        json_schema_extra=on("generate", "score"),
    )
    call_timeout: float | None = Field(
        default=600.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds that one request may take before it is cancelled, which counts as a transient failure; "
        "null for no timeout. (600 as in OpenAI's client; a model file on this machine has none unless one is set.)",
        json_schema_extra=on("generate", "score"),
    )
    max_in_flight: int = Field(
        default=256,
        ge=1,
        le=100_000,
        description="Requests to one server that the process may have in flight, over all graphs; fewer while the "
        "server replies 429. Set where the graph is built.",
        json_schema_extra=on("generate", "score"),
    )
    stragglers: Literal["hedge", "wait"] = Field(
        default="wait",
        description="What to do with a request that takes far longer than others of its kind in the same run: wait for "
        "it ('wait'), or send it once more and use the first reply ('hedge'), which the notes "
        "and the bill show. At most one request in ten is sent twice.",
        json_schema_extra=on("generate", "score"),
    )
    seed: int | None = Field(
        default=None,
        ge=0,
        lt=2**32,
        description="Makes a run repeatable: the policy's choices always, the samples if the model takes a seed. "
        "Null: policies use 0 and models draw freely.",
        json_schema_extra=on("select_arm", "generate"),
    )
    prices: dict[str, Price] = Field(
        default_factory=dict,
        description="Prices by model name, with or without its provider (`gpt-4o-mini`, `openai:gpt-4o-mini`), for "
        "`cost_usd`. They override the list prices of the provider, which come with `genai-prices`. A model on a "
        "server of your own has no other price, and `cost_usd` is null where a price is unknown.",
        json_schema_extra=on("finalize"),
    )
