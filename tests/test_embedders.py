"""Embedders are part of the bill and of the limit in dollars, wherever a run asks one."""

from __future__ import annotations

import math
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore
from langgraph.store.memory import InMemoryStore

from metascale import MetaScaleSettings, SettingError, abatch, create_metascale
from metascale.errors import OutOfMoneyError
from metascale.memory.embeddings import HashedEmbeddings
from metascale.models.embedders import MeteredEmbedder
from metascale.models.metered import CHARS_A_TOKEN
from metascale.models.scope import RunScope, inside
from metascale.settings import Price
from tests.conftest import QUESTION, ServerFactory, ask, chat_model

PRICE, DEAR = Price(input=100.0, output=400.0), Price(input=1_000.0, output=0.0)
"""So high that a few requests cost dollars."""
PRICES = {"loopback": PRICE, "embedder": DEAR}
TOKENS = math.ceil(len(QUESTION) / CHARS_A_TOKEN)


class ServedEmbeddings(Embeddings):
    """An embedder behind a server that charges for it."""

    model = "embedder"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return HashedEmbeddings().embed_documents(texts)

    def embed_query(self, text: str) -> list[float]:
        self.asked.append(text)
        return HashedEmbeddings().embed_query(text)


def settings(**changes: Any) -> MetaScaleSettings:
    drawn = {"budget": 4, "pool_size": 3, "confirm": 0, "seed": 1, "prices": PRICES}
    return MetaScaleSettings.model_validate({**drawn, **changes})


async def test_the_embedder_of_the_memory_is_billed_before_and_after_a_run(start_server: ServerFactory) -> None:
    server, embedder = start_server(), ServedEmbeddings()
    parts: dict[str, Any] = {"store": InMemoryStore(), "embeddings": embedder}
    graph = create_metascale(chat_model(server), settings=settings(memory="ann"), **parts)
    usage = (await graph.ainvoke(ask()))["result"]["usage"]
    assert embedder.asked == [QUESTION] * 2
    of_model = PRICE.of(server.input_tokens, server.output_tokens)
    assert usage["cost_usd"] == pytest.approx(of_model + 2 * DEAR.of(TOKENS, 0))
    assert usage["by_node"]["finalize"] == {
        "calls": 0,
        "input_tokens": TOKENS,
        "output_tokens": 0,
        "cost_usd": DEAR.of(TOKENS, 0),
    }
    assert usage["by_node"]["initialize_pool"]["cost_usd"] > DEAR.of(TOKENS, 0)
    assert sum(part["cost_usd"] for part in usage["by_node"].values()) == pytest.approx(usage["cost_usd"])
    assert sum(part["input_tokens"] for part in usage["by_node"].values()) == usage["input_tokens"]
    assert usage["calls"] == server.requests.total()


async def test_the_embedder_of_a_retriever_is_billed(start_server: ServerFactory) -> None:
    server, embedder = start_server(), ServedEmbeddings()
    retriever = InMemoryVectorStore.from_documents([Document("2 + 2 = 4")], embedder).as_retriever()
    graph = create_metascale(chat_model(server), settings=settings(), retriever=retriever)
    usage = (await graph.ainvoke(ask()))["result"]["usage"]
    assert len(embedder.asked) == 1
    assert usage["cost_usd"] == pytest.approx(PRICE.of(server.input_tokens, server.output_tokens) + DEAR.of(TOKENS, 0))


async def test_an_unknown_price_is_null_and_an_embedder_in_this_process_is_free(start_server: ServerFactory) -> None:
    server = start_server()
    unknown = settings(memory="ann", prices={"loopback": PRICE})
    parts: dict[str, Any] = {"store": InMemoryStore(), "embeddings": ServedEmbeddings()}
    graph = create_metascale(chat_model(server), settings=unknown, **parts)
    usage = (await graph.ainvoke(ask()))["result"]["usage"]
    assert usage["cost_usd"] is None
    assert usage["by_node"]["finalize"]["cost_usd"] is None
    with pytest.raises(SettingError, match="no price of the model 'embedder'"):
        await graph.ainvoke(ask(), context=unknown.overlaid_by(MetaScaleSettings(max_cost_usd=1.0)))
    local = create_metascale(chat_model(server), settings=unknown, store=InMemoryStore())
    assert (await local.ainvoke(ask()))["result"]["usage"]["cost_usd"] > 0


def test_no_embedding_is_paid_for_once_the_money_is_spent() -> None:
    scope, embedder = RunScope(), MeteredEmbedder(ServedEmbeddings())
    scope.purse.open(1.0, 0.95)
    with inside(scope):
        assert embedder.pay(QUESTION, settings())["charged_usd"] == pytest.approx(DEAR.of(TOKENS, 0))
        with pytest.raises(OutOfMoneyError, match="max_cost_usd"):
            embedder.pay(QUESTION, settings())
    assert scope.purse.usd == pytest.approx(0.95 + DEAR.of(TOKENS, 0))


async def test_the_memory_of_a_batch_takes_an_embedder(start_server: ServerFactory) -> None:
    server, embedder = start_server(), ServedEmbeddings()
    rows = await abatch([QUESTION], chat_model(server), settings=settings(), embeddings=embedder, max_cost_usd=3.0)
    assert len(embedder.asked) == 2
    assert rows[0]["cost_usd"] == pytest.approx(
        PRICE.of(server.input_tokens, server.output_tokens) + 2 * DEAR.of(TOKENS, 0)
    )
    priceless = settings(prices={"loopback": PRICE})
    with pytest.raises(SettingError, match="no price of the model 'embedder'"):
        await abatch([QUESTION], chat_model(server), settings=priceless, embeddings=embedder, max_cost_usd=1.0)
    assert (await abatch([QUESTION], chat_model(server), settings=priceless, embeddings=embedder, memory=False))[0][
        "cost_usd"
    ]


def test_hosted_embedders_have_list_prices() -> None:
    openai = pytest.importorskip("langchain_openai")
    hosted = openai.OpenAIEmbeddings(model="text-embedding-3-small", api_key="unused")
    price = MeteredEmbedder(hosted).tariff(MetaScaleSettings())
    assert price is not None
    assert price.of(1_000_000, 0) > 0
    own = openai.OpenAIEmbeddings(model="text-embedding-3-small", api_key="unused", base_url="http://localhost:1/v1")
    assert MeteredEmbedder(own).tariff(MetaScaleSettings()) is None
