"""`metascale serve` under load: OpenAI's client against the same graph in this process, in turns on one model.

The model is a loopback server with a fixed latency, and the critical path of a search here is three calls deep: the
meta-thoughts, a round of answers, their judgements. Overhead is a request's time beyond that path; with more requests
than cores it is mostly waiting for them.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager

import httpx
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI

from metascale import MetaScaleSettings, create_metascale
from metascale.data import gsm8k

DEPTH = 3
SETTINGS = {"evolution": "off", "confirm": 0}

Ask = Callable[[str], Awaitable[int]]
"""Asks a question, and returns the number of samples behind the answer."""


@contextmanager
def fake_model(latency: float) -> Iterator[str]:
    """The URL of the loopback server."""
    command = [sys.executable, "-m", "tests.openai_server", "--latency", str(latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as started:
        try:
            assert started.stdout is not None
            yield f"{started.stdout.readline().strip()}/v1"
        finally:
            started.terminate()


@contextmanager
def metascale_serve(model_url: str, budget: int) -> Iterator[str]:
    """The URL of `metascale serve`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    options = ["--port", port, "--model", "openai:loopback", "--base-url", model_url, "--budget", str(budget)]
    options += [f"--set=batch_size={budget}", *(f"--set={name}={value}" for name, value in SETTINGS.items())]
    command = [sys.executable, "-m", "metascale.cli", "serve", *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as started:
        try:
            url = f"http://127.0.0.1:{port}"
            while started.poll() is None:
                try:
                    httpx.get(f"{url}/ok").raise_for_status()
                    break
                except httpx.TransportError:
                    time.sleep(0.2)
            yield f"{url}/v1"
        finally:
            started.terminate()


async def seconds(ask: Ask, requests: int, budget: int) -> list[float]:
    """Times of a number of simultaneous requests; every one must use the whole budget."""
    questions = [item["question"] for item in gsm8k()]

    async def one(number: int) -> float:
        begin = time.perf_counter()
        samples = await ask(questions[number % len(questions)])
        assert samples == budget
        return time.perf_counter() - begin

    return await asyncio.gather(*(one(number) for number in range(requests)))


async def measure(server: str, model_url: str, options: argparse.Namespace) -> dict[str, list[list[float]]]:
    """Overheads in seconds, one list per repeat, by client."""
    limits = httpx.Limits(max_connections=options.requests)
    connections = httpx.AsyncClient(limits=limits, timeout=600)
    client = AsyncOpenAI(base_url=server, api_key="none", max_retries=0, http_client=connections)
    graph = create_metascale(
        ChatOpenAI(model="loopback", base_url=model_url, api_key="none", max_retries=0),
        settings=MetaScaleSettings.model_validate({**SETTINGS, "budget": options.budget, "batch_size": options.budget}),
    )

    async def served(question: str) -> int:
        reply = await client.chat.completions.create(
            model="metascale/loopback", messages=[{"role": "user", "content": question}]
        )
        return int((reply.model_extra or {})["metascale"]["samples"])

    async def in_process(question: str) -> int:
        out = await graph.ainvoke({"messages": [{"role": "user", "content": question}]})
        return int(out["result"]["usage"]["samples"])

    path = DEPTH * options.latency
    overheads: dict[str, list[list[float]]] = {}
    async with client:
        for repeat in range(options.repeats + 1):
            for who, ask in (("served", served), ("in process", in_process)):
                for width in (1, options.requests):
                    taken = await seconds(ask, width if repeat else 1, options.budget)
                    if repeat:
                        overheads.setdefault(f"{who}, {width} at a time", []).append([one - path for one in taken])
    return overheads


def main() -> None:
    """Print p50 and p99 of the overheads, and their spread over the repeats."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=200, help="at a time")
    parser.add_argument("--latency", type=float, default=1.0, help="seconds a call")
    parser.add_argument(
        "--budget", type=int, default=4, help="samples a request, in one round; from 3 on, fewer need no meta-thoughts"
    )
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    busy = os.getloadavg()[0]
    with ExitStack() as stack:
        model_url = stack.enter_context(fake_model(options.latency))
        server = stack.enter_context(metascale_serve(model_url, options.budget))
        overheads = asyncio.run(measure(server, model_url, options))
    print(
        f"critical path {DEPTH} x {options.latency:g} s, {options.budget} samples a request; {os.cpu_count()} cores, "
        f"load before {busy:.1f} and after {os.getloadavg()[0]:.1f}; overheads in seconds, none lost"
    )
    for who, repeats in overheads.items():
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            figures = [sorted(one)[min(len(one) - 1, int(share * len(one)))] for one in repeats]
            print(f"{who:28} {name} {statistics.median(figures):7.3f}  ({min(figures):.3f} to {max(figures):.3f})")


if __name__ == "__main__":
    main()
