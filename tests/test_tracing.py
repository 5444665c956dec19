"""Traces say of every request which node sent it, under which arm and in which round; the bill says what nodes cost."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from metascale import MetaScaleSettings, create_metascale
from metascale.integrations import OpenTelemetryCallback
from metascale.settings import Price
from tests.conftest import ServerFactory, ask, chat_model
from tests.openai_server import Fault

SETTINGS = MetaScaleSettings(budget=4, seed=1, confirm=1, max_retries=0, prices={"loopback": Price(input=1, output=2)})


class Seen(BaseCallbackHandler):
    """What a tracer such as LangSmith's is told of each request."""

    def __init__(self) -> None:
        self.requests: list[tuple[list[str], dict[str, Any]]] = []

    def on_chat_model_start(
        self, *_: Any, tags: list[str] | None = None, metadata: dict[str, Any] | None = None, **__: Any
    ) -> None:
        self.requests.append((tags or [], metadata or {}))


async def test_every_request_carries_its_node_arm_and_round(start_server: ServerFactory) -> None:
    server = start_server()
    graph = create_metascale(chat_model(server), settings=SETTINGS)
    for run in (graph.invoke, graph.ainvoke):
        seen, before = Seen(), server.requests.total()
        out: Any = run(ask(), {"callbacks": [seen]})
        result = (out if isinstance(out, dict) else await out)["result"]
        assert len(seen.requests) == server.requests.total() - before
        nodes = [metadata["metascale_node"] for _, metadata in seen.requests]
        assert {"initialize_pool", "generate", "score"} <= set(nodes)
        for tags, metadata in seen.requests:
            assert f"node:{metadata['metascale_node']}" in tags
            if metadata["metascale_node"] == "generate":
                assert metadata["metascale_request"].startswith("sample ")
                assert (metadata["metascale_round"], f"arm:{metadata['metascale_arm']}" in tags) == (1, True)
        bill = result["usage"]
        assert {node: part["calls"] for node, part in bill["by_node"].items()} == {n: nodes.count(n) for n in nodes}
        for key in ("input_tokens", "output_tokens", "cost_usd"):
            assert sum(part[key] for part in bill["by_node"].values()) == pytest.approx(bill[key])


def exported() -> tuple[OpenTelemetryCallback, InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return OpenTelemetryCallback(provider), exporter


async def test_a_span_a_request_has_the_genai_attributes(start_server: ServerFactory) -> None:
    server = start_server()
    callback, exporter = exported()
    await create_metascale(chat_model(server), settings=SETTINGS).ainvoke(ask(), {"callbacks": [callback]})
    spans: Any = exporter.get_finished_spans()
    assert len(spans) == server.requests.total()
    assert {span.name for span in spans} == {"chat loopback"}
    told = [dict(span.attributes) for span in spans]
    assert {about["gen_ai.operation.name"] for about in told} == {"chat"}
    assert {about["gen_ai.provider.name"] for about in told} == {"openai"}
    assert {about["gen_ai.request.model"] for about in told} == {"loopback"}
    assert sum(about["gen_ai.usage.input_tokens"] for about in told) == server.input_tokens
    assert sum(about["gen_ai.usage.output_tokens"] for about in told) == server.output_tokens
    samples = [about for about in told if about["metascale.node"] == "generate"]
    assert len(samples) == 4
    assert all(about["metascale.arm"] and about["metascale.round"] == 1 for about in samples)
    assert all(about["gen_ai.request.temperature"] == 1.0 for about in samples)
    assert all(about["gen_ai.response.finish_reasons"] == ("stop",) for about in told)
    assert not any("#### " in str(value) for about in told for value in about.values()), "no answers in traces"


def test_a_request_that_fails_is_a_span_with_the_error(start_server: ServerFactory) -> None:
    key = "sk-0123456789abcdefghij"
    refused = Fault(500, f'{{"error": {{"message": "no luck with {key}"}}}}')
    server = start_server(script=lambda kind, number, _: refused if kind == "solve" and number == 0 else None)
    callback, exporter = exported()
    create_metascale(chat_model(server, max_retries=0), settings=SETTINGS).invoke(ask(), {"callbacks": [callback]})
    failed: Any = [span for span in exporter.get_finished_spans() if span.status.status_code is StatusCode.ERROR]
    assert len(failed) == 1
    assert failed[0].attributes["error.type"].endswith("Error")
    assert key not in str(failed[0].status.description)
