"""METASCALE inside other systems: as a node, a tool, a chat model, and middleware for LangChain's agents.

`MetaScaleMiddleware` and `BudgetMiddleware` need `langchain`, and `OpenTelemetryCallback` needs `opentelemetry`; they
are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metascale.integrations.chat_model import ChatMetaScale
from metascale.integrations.node import as_node
from metascale.integrations.tool import as_tool

if TYPE_CHECKING:
    from metascale.integrations.budget_middleware import BudgetMiddleware
    from metascale.integrations.middleware import MetaScaleMiddleware
    from metascale.integrations.telemetry import OpenTelemetryCallback

__all__ = ["BudgetMiddleware", "ChatMetaScale", "MetaScaleMiddleware", "OpenTelemetryCallback", "as_node", "as_tool"]


def __getattr__(name: str) -> Any:
    if name == "MetaScaleMiddleware":
        from metascale.integrations.middleware import MetaScaleMiddleware  # noqa: PLC0415

        return MetaScaleMiddleware
    if name == "BudgetMiddleware":
        from metascale.integrations.budget_middleware import BudgetMiddleware  # noqa: PLC0415

        return BudgetMiddleware
    if name == "OpenTelemetryCallback":
        from metascale.integrations.telemetry import OpenTelemetryCallback  # noqa: PLC0415

        return OpenTelemetryCallback
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
