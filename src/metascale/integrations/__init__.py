"""METASCALE inside other systems: as a node, a tool, a chat model, and a middleware for LangChain's agents.

`MetaScaleMiddleware` needs `langchain`, which is imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metascale.integrations.chat_model import ChatMetaScale
from metascale.integrations.node import as_node
from metascale.integrations.tool import as_tool

if TYPE_CHECKING:
    from metascale.integrations.middleware import MetaScaleMiddleware

__all__ = ["ChatMetaScale", "MetaScaleMiddleware", "as_node", "as_tool"]


def __getattr__(name: str) -> Any:
    if name == "MetaScaleMiddleware":
        from metascale.integrations.middleware import MetaScaleMiddleware  # noqa: PLC0415

        return MetaScaleMiddleware
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
