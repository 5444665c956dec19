"""Keys that can be found again wherever they leak, and servers that quote them."""

from __future__ import annotations

import json
from typing import Any

from tests.openai_server import Fault

SOLVER, JUDGE, MEMBER, REWARDER, PASSWORD = (f"canary{n}Qx7{n}zR4vW9{n}kP2" for n in "12345")
"""Keys of no provider's shape: only code that knows their values can hide them."""
CANARIES = (SOLVER, JUDGE, MEMBER, REWARDER, PASSWORD)


def tell(*keys: str) -> Any:
    """A server that fails every other request and quotes the keys, as it got them and with their middles masked."""
    said = " ".join(f"{key}; Bearer {key}; {key[:8]}********{key[-4:]}" for key in keys)
    errors = [
        Fault(413, json.dumps({"error": {"message": f"Incorrect API key provided: {said}"}})),
        Fault(400, f"<html>{'x' * 280} Authorization: {said}</html>"),
        Fault(413, json.dumps({"detail": {"headers": {"authorization": f"Bearer {keys[0]}"}}})),
    ]
    return lambda _, number, __: errors[number // 2 % 3] if number % 2 else None


def found_in(text: str | bytes) -> list[str]:
    """The canaries that a text holds, whole or ten characters of them."""
    flat = text.decode("latin-1") if isinstance(text, bytes) else text
    flat = flat.lower()
    return [key for key in CANARIES if any(key[i : i + 10].lower() in flat for i in range(len(key) - 9))]
