"""A graph as a node of a parent with a different state. A parent with a message state adds the graph itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableLambda

from metascale.errors import QuestionError
from metascale.graphs import Graph


def as_node(
    graph: Graph,
    *,
    question: str | Callable[[Any], Any] = "question",
    answer: str = "answer",
    result: str | None = None,
) -> RunnableLambda[Any, dict[str, Any]]:
    """A node that asks the graph the question in the parent's state and writes the answer back.

    The parent's checkpointer, interrupts, streaming and time travel work inside the graph.

    Args:
        graph: compiled without a checkpointer of its own.
        question: the key of the question in the parent's state, or a function from the state to the question (a text or
            messages).
        answer: the key for the text of the answer.
        result: the key for the whole `Result`; None to leave it out.

    Raises:
        QuestionError: at run time, if the state holds no question.
    """

    def asked(state: Any) -> dict[str, Any]:
        found = question(state) if callable(question) else _value(state, question)
        return {"messages": [HumanMessage(found)] if isinstance(found, str) else found}

    def told(out: dict[str, Any]) -> dict[str, Any]:
        update = {answer: out["result"]["answer"]}
        return update if result is None else {**update, result: out["result"]}

    def call(state: Any) -> dict[str, Any]:
        return told(graph.invoke(asked(state)))

    async def acall(state: Any) -> dict[str, Any]:
        return told(await graph.ainvoke(asked(state)))

    return RunnableLambda(call, afunc=acall, name=graph.get_name())


def _value(state: Any, key: str) -> Any:
    value = state.get(key) if isinstance(state, Mapping) else getattr(state, key, None)
    if value is None:
        raise QuestionError(f"there is no question: the state has no {key!r}")
    return value
