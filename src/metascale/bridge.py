"""One asynchronous implementation for both worlds.

Every node is written once, as a coroutine. `graph.ainvoke` awaits it. `graph.invoke` runs it through `run_sync`, in
which `invoke` calls the synchronous side of models and retrievers in threads: so a synchronous user needs no event
loop, may stand inside one (a notebook), and never shares an asynchronous HTTP client between two loops.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from typing import Any, ParamSpec, TypeVar

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGeneration
from langchain_core.runnables import Runnable, RunnableConfig, ensure_config

T = TypeVar("T")
P = ParamSpec("P")
In = TypeVar("In")
Out = TypeVar("Out")

MAX_THREADS = 128
"""Parallel requests of one node on the synchronous path. Threads start only when needed."""

_synchronous: ContextVar[bool] = ContextVar("metascale_synchronous", default=False)


def run_sync(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """The result of the coroutine that `work` makes, for a caller that cannot await."""

    def run() -> T:
        _synchronous.set(True)
        with asyncio.Runner() as runner:
            runner.get_loop().set_default_executor(ThreadPoolExecutor(MAX_THREADS))
            return runner.run(work())

    context = copy_context()
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return context.run(run)
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(context.run, run).result()


async def invoke(runnable: Runnable[In, Out], value: In, config: RunnableConfig | None = None, **options: Any) -> Out:
    """Invoke a model or retriever: asynchronously, or in a thread where the graph itself was called synchronously."""
    return await either(runnable.invoke, runnable.ainvoke, value, config, **options)


async def generate(
    model: BaseChatModel, messages: Sequence[BaseMessage], config: RunnableConfig, **options: Any
) -> list[BaseMessage]:
    """All replies of a model to one request, of which `invoke` returns the first alone."""
    merged = ensure_config(config)
    about: dict[str, Any] = {name: merged.get(name) for name in ("callbacks", "tags", "metadata")}
    result = await either(model.generate, model.agenerate, [list(messages)], **about, **options)
    return [reply.message for reply in result.generations[0] if isinstance(reply, ChatGeneration)]


async def either(
    call: Callable[P, T], acall: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **options: P.kwargs
) -> T:
    """Await `acall`, or run its synchronous twin `call` in a thread where the graph itself was called synchronously."""
    if _synchronous.get():
        return await asyncio.to_thread(call, *args, **options)
    return await acall(*args, **options)
