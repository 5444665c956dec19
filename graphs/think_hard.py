"""METASCALE with one argument: the graph that LangGraph's server offers as the tool `think_hard` at `/mcp`."""

from __future__ import annotations

import functools
from typing import Annotated, Any

from langchain_core.messages import HumanMessage
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from pydantic import Field
from typing_extensions import TypedDict

from metascale import prompts
from metascale.graphs.metascale import graph as metascale_for_studio
from metascale.settings import ASKING_PEOPLE, MetaScaleSettings

NAME = "think_hard"


class Asked(TypedDict):
    """The argument of the tool."""

    question: Annotated[str, Field(description=prompts.load("tool_question"))]


class Answered(TypedDict):
    """What the tool gives back."""

    answer: str
    confidence: float | None
    stop_reason: str


class Exchange(Asked, Answered):
    """The state: the question and the answer."""


async def think(state: Exchange, runtime: Runtime[MetaScaleSettings]) -> Answered:
    """Answer the question by a search. A tool cannot ask people, so nothing does."""
    settings = (runtime.context or MetaScaleSettings()).model_copy(update=dict.fromkeys(ASKING_PEOPLE, False))
    asked = {"messages": [HumanMessage(state["question"])]}
    result = (await (await metascale_for_studio()).ainvoke(asked, context=settings))["result"]
    return {"answer": result["answer"], "confidence": result["confidence"], "stop_reason": result["stop_reason"]}


@functools.cache
def graph() -> Any:
    """The graph, for LangGraph's server."""
    tool = StateGraph(Exchange, input_schema=Asked, output_schema=Answered, context_schema=MetaScaleSettings)
    tool.add_node("think", think)
    tool.add_edge(START, "think")
    tool.add_edge("think", END)
    return tool.compile(name=NAME)
