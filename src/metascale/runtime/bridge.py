"""One asynchronous implementation for synchronous and asynchronous callers.

Every node is written once, as a coroutine. `graph.ainvoke` awaits it. `graph.invoke` runs it through `run_sync`, in
which `invoke` calls the synchronous methods of models and retrievers in threads. So a synchronous caller needs no event
loop, may run inside one (a notebook), and never shares an asynchronous HTTP client between two loops.

A thread cannot be cancelled. When its result is not wanted any more, it is left behind; it stops neither the run nor
the interpreter from ending.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any, ParamSpec, TypeVar, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGeneration
from langchain_core.runnables import Runnable, RunnableConfig, ensure_config

from metascale.runtime.interruption import Work

T = TypeVar("T")
P = ParamSpec("P")
In = TypeVar("In")
Out = TypeVar("Out")

FINGERPRINT = "system_fingerprint"
"""The key of a server's fingerprint in the metadata of replies."""
MAX_THREADS = 128
"""Parallel requests of one node on the synchronous path. Threads start only when needed."""

_threads: ContextVar[asyncio.Semaphore | None] = ContextVar("metascale_threads", default=None)
"""Limits the threads of a synchronous run; None where the graph is awaited."""


def run_sync(make: Callable[[], Coroutine[Any, Any, T]], work: Work | None = None) -> T:
    """The result of the coroutine that `make` makes, for a caller that cannot await.

    Args:
        make: makes the coroutine.
        work: what it is a part of, and is cancelled with.
    """

    async def held() -> T:
        with (work or Work()).holding():
            return await make()

    def run() -> T:
        _threads.set(asyncio.Semaphore(MAX_THREADS))
        with asyncio.Runner() as runner:
            runner.get_loop().set_default_executor(ThreadPoolExecutor(MAX_THREADS))
            return runner.run(held())

    context = copy_context()
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return context.run(run)
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(context.run, run).result()


def is_awaited() -> bool:
    """Whether requests are awaited: the graph itself was called asynchronously."""
    return _threads.get() is None


@contextlib.contextmanager
def in_threads() -> Iterator[None]:
    """Let requests in this context go through the synchronous twins, as where the graph was called synchronously."""
    token = _threads.set(_threads.get() or asyncio.Semaphore(MAX_THREADS))
    try:
        yield
    finally:
        _threads.reset(token)


async def invoke(runnable: Runnable[In, Out], value: In, config: RunnableConfig | None = None, **options: Any) -> Out:
    """Invoke a model or retriever: asynchronously, or in a thread where the graph itself was called synchronously."""
    return await either(runnable.invoke, runnable.ainvoke, value, config, **options)


async def generate(
    model: BaseChatModel, messages: Sequence[BaseMessage], config: RunnableConfig, **options: Any
) -> list[BaseMessage]:
    """All replies of a model to one request; `invoke` returns only the first.

    Each holds the server's fingerprint, if the server gives one; LangChain keeps it only with a single reply.
    """
    merged = ensure_config(config)
    about: dict[str, Any] = {name: merged.get(name) for name in ("callbacks", "tags", "metadata")}
    result = await either(model.generate, model.agenerate, [list(messages)], **about, **options)
    messages = [reply.message for reply in result.generations[0] if isinstance(reply, ChatGeneration)]
    fingerprint = (result.llm_output or {}).get(FINGERPRINT)
    for message in messages if fingerprint is not None else ():
        message.response_metadata.setdefault(FINGERPRINT, fingerprint)
    return messages


async def either(
    call: Callable[P, T], acall: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **options: P.kwargs
) -> T:
    """Await `acall`, or run its synchronous twin `call` in a thread where the graph itself was called synchronously."""
    threads = _threads.get()
    if threads is None:
        return await acall(*args, **options)
    async with threads:
        return await _in_thread(partial(call, *args, **options))


async def _in_thread(call: Callable[[], T]) -> T:
    """The result of `call`, which runs in a thread; the thread is left behind if this is cancelled."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def hand_over(value: T | None, error: BaseException | None) -> None:
        if result.done():
            return
        if error is not None:
            result.set_exception(error)
        else:
            result.set_result(cast("T", value))

    def run() -> None:
        try:
            outcome: tuple[T | None, BaseException | None] = (call(), None)
        except StopIteration as error:  # a future takes none
            outcome = (None, RuntimeError(f"{type(error).__name__} was raised"))
        except BaseException as error:  # noqa: BLE001  it is raised where the result is awaited
            outcome = (None, error)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(hand_over, *outcome)

    threading.Thread(target=copy_context().run, args=(run,), daemon=True).start()
    return await result
