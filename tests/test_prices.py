"""List prices: known models are billed without a setting, and nothing is priced by the look of its name."""

from __future__ import annotations

import os
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_openai import AzureChatOpenAI, ChatOpenAI
from pydantic import SecretStr

from metascale import MetaScaleSettings, create_metascale
from metascale.costs import Part, Tokens
from metascale.models import MeteredModel, SimulatedChatModel
from metascale.models.wrapped import unwrapped
from metascale.settings import Price, price_of
from tests.conftest import ServerFactory, ask, chat_model
from tests.scripted import ScriptedModel, sensible

READ, CACHED, WRITTEN = 12_000, 5_000, 3_000
"""Tokens of one run."""
BY_HAND = {
    # dollars per million: prompt, cached prompt, completion; as the providers list them
    ("gpt-4o-mini", "openai"): (7_000 * 0.15 + 5_000 * 0.075 + 3_000 * 0.60) / 1e6,
    ("claude-sonnet-4-5", "anthropic"): (7_000 * 3.00 + 5_000 * 0.30 + 3_000 * 15.00) / 1e6,
    ("gemini-2.5-flash", "google_genai"): (7_000 * 0.30 + 5_000 * 0.03 + 3_000 * 2.50) / 1e6,
    ("models/gemini-2.5-flash", "google_genai"): (7_000 * 0.30 + 5_000 * 0.03 + 3_000 * 2.50) / 1e6,
}


@pytest.mark.parametrize(("model", "provider"), BY_HAND)
def test_the_same_run_costs_what_each_provider_lists(model: str, provider: str) -> None:
    tariff = price_of({}, model, provider)
    assert tariff is not None
    assert tariff.of(READ, WRITTEN, CACHED) == pytest.approx(BY_HAND[model, provider])


def test_a_price_that_depends_on_the_hour_is_one_of_both() -> None:
    tariff, by_day = price_of({}, "deepseek-chat", "deepseek"), (7_000 * 0.27 + 5_000 * 0.07 + 3_000 * 1.10) / 1e6
    assert tariff is not None
    cost = tariff.of(READ, WRITTEN, CACHED)
    assert cost in (pytest.approx(by_day), pytest.approx(by_day / 2))


@pytest.mark.parametrize(
    ("model", "provider", "address"),
    [
        ("llama3.2", "ollama", ""),
        ("gpt-4o-mini", "openai", "http://localhost:8000/v1"),
        ("gpt-4o-mini", "openai", "http://gpu-7.internal/v1"),
        ("gpt-4o-mini", "", ""),
        ("openai-api/local/gpt-4o-mini", "", ""),
        ("gpt-4o-mini", "scripted", ""),
        ("gpt-4o-minimal", "openai", ""),
        ("vllm/gpt-4o-mini", "", ""),
    ],
)
def test_a_model_of_ones_own_has_no_list_price(model: str, provider: str, address: str) -> None:
    assert price_of({}, model, provider, address) is None
    assert price_of({model: Price(input=1, output=2)}, model, provider, address) == Price(input=1, output=2)


def test_the_server_decides_and_a_setting_overrides() -> None:
    by_router = price_of({}, "anthropic/claude-sonnet-4.5", "openai", "https://openrouter.ai/api/v1")
    assert by_router is not None
    assert by_router.of(1_000, 1_000) == pytest.approx(0.018)
    for spelling, *where in (
        ("openai/gpt-4o-mini",),
        ("openai:gpt-4o-mini",),
        ("openai/gpt-4o-mini", "openai", "https://api.openai.com/v1/"),
        ("openrouter/openai/gpt-4o-mini", "openrouter", "https://openrouter.ai/api/v1"),
    ):
        found = price_of({}, spelling, *where)
        assert found is not None
        assert found.of(READ, WRITTEN, CACHED) == pytest.approx(BY_HAND["gpt-4o-mini", "openai"])
    own = Price(input=1, output=1)
    assert price_of({"gpt-4o-mini": own}, "gpt-4o-mini", "openai") is own
    assert price_of({"azure/gpt-4o-mini": own}, "gpt-4o-mini", "openai") is not own


def test_a_price_of_cached_tokens_applies_to_them_alone() -> None:
    assert Price(input=2, output=8, cached=0.5).of(1_000, 100, 400) == pytest.approx((600 * 2 + 400 * 0.5 + 800) / 1e6)
    assert Price(input=2, output=8).of(1_000, 100, 400) == pytest.approx((1_000 * 2 + 800) / 1e6)


def test_long_prompts_are_priced_one_by_one() -> None:
    part = Part("solver", ("google/gemini-2.5-pro",), 10, Tokens(1_000_000, 10_000))
    assert part.cost({}) == pytest.approx((1_000_000 * 1.25 + 10_000 * 10) / 1e6), "none is longer than 200,000 tokens"
    long = Part("solver", ("google/gemini-2.5-pro",), 1, Tokens(1_000_000, 10_000))
    assert long.cost({}) == pytest.approx((1_000_000 * 2.5 + 10_000 * 15) / 1e6)


KEY: Any = SecretStr("sk-none")
AZURE = "https://x.openai.azure.com"


def own_server() -> ChatOpenAI:
    """A client whose server is named in the environment alone."""
    os.environ["OPENAI_BASE_URL"] = "http://127.0.0.1:9/v1"
    try:
        return ChatOpenAI(model="gpt-4o-mini", api_key=KEY)
    finally:
        del os.environ["OPENAI_BASE_URL"]


@pytest.mark.parametrize(
    ("model", "is_priced"),
    [
        (ChatOpenAI(model="gpt-4o-mini", api_key=KEY), True),
        (ChatOpenAI(model="gpt-4o-mini", api_key=KEY, base_url="https://api.openai.com/v1"), True),
        (ChatOpenAI(model="gpt-4o-mini", api_key=KEY).with_retry(), True),
        (AzureChatOpenAI(model="gpt-4o-mini", api_key=KEY, azure_endpoint=AZURE, api_version="1"), True),
        (own_server(), False),
        (own_server().with_retry(), False),
        (SimulatedChatModel(), False),
    ],
)
def test_clients_are_priced_by_the_server_that_they_ask(model: Any, is_priced: bool) -> None:  # noqa: FBT001
    assert (MeteredModel(unwrapped(model)).tariff(MetaScaleSettings()) is not None) == is_priced


class HostedModel(ScriptedModel):
    """A scripted model that says that it is OpenAI's, and reports cached and written tokens."""

    model_name: str = "gpt-4o-mini"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return {**super()._get_ls_params(stop=stop, **kwargs), "ls_provider": "openai"}


def test_a_known_model_is_billed_without_a_setting_cached_tokens_included() -> None:
    def write(kind: str, number: int, messages: Any) -> Any:
        text = sensible(kind, number, messages)
        usage: Any = {"input_tokens": 1_000, "output_tokens": 100, "total_tokens": 1_100}
        return AIMessage(str(text), usage_metadata={**usage, "input_token_details": {"cache_read": 600}})

    usage = create_metascale(HostedModel(write=write), settings=MetaScaleSettings(budget=4)).invoke(ask())
    bill = usage["result"]["usage"]
    each = (400 * 0.15 + 600 * 0.075 + 100 * 0.60) / 1e6
    assert bill["cost_usd"] == pytest.approx(bill["calls"] * each)


async def test_a_loopback_server_with_a_famous_name_stays_unpriced(start_server: ServerFactory) -> None:
    model = chat_model(start_server()).model_copy(update={"model_name": "gpt-4o-mini"})
    reply = await MeteredModel(model).chat([HumanMessage("Say hello.")], MetaScaleSettings(), place=["sample", 0])
    assert reply.usage["input_tokens"] > 0
    assert reply.usage["cost_usd"] is None
