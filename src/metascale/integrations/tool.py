"""A graph as a tool, for agents that decide themselves when to use it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from langchain_core.messages import HumanMessage
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from langgraph.errors import GraphBubbleUp
from pydantic import BaseModel, Field

from metascale import prompts
from metascale.errors import describe
from metascale.graphs import Graph


class Asked(BaseModel):
    """The arguments of the tool."""

    question: str = Field(description=prompts.load("tool_question"))


def as_tool(graph: Graph, name: str = "think_hard", description: str | None = None) -> BaseTool:
    """A tool that answers a question with the graph: the answer is its content, the `Result` its artifact.

    A run that fails becomes a tool message with the status `"error"`, which the agent can read.

    Args:
        graph: compiled without a checkpointer of its own.
        name: the tool's name.
        description: when models should call it; by default the shipped prompt.
    """

    def answered(out: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        return out["result"]["answer"], out["result"]

    def call(question: str) -> tuple[str, dict[str, Any]]:
        with _errors_for_the_agent():
            return answered(graph.invoke({"messages": [HumanMessage(question)]}))

    async def acall(question: str) -> tuple[str, dict[str, Any]]:
        with _errors_for_the_agent():
            return answered(await graph.ainvoke({"messages": [HumanMessage(question)]}))

    return StructuredTool.from_function(
        call,
        acall,
        name=name,
        description=description or prompts.load("tool_description"),
        args_schema=Asked,
        response_format="content_and_artifact",
        handle_tool_error=True,
    )


@contextmanager
def _errors_for_the_agent() -> Iterator[None]:
    """Report any error to the agent in one line; interrupts are not errors and pass."""
    try:
        yield
    except GraphBubbleUp:
        raise
    except Exception as error:
        raise ToolException(describe(error)) from error
