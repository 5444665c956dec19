"""Distinguishes what a model says itself from what it quotes from the material that it was shown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar
from unicodedata import normalize

from pydantic import BaseModel

Item = TypeVar("Item", bound=BaseModel)

_ESCAPE = re.compile(r"\\+(?:u([0-9a-fA-F]{4})|[bfnrt])?")
_UNSEEN = re.compile(r"[^\w!-~\uff01-\uff5e]+|[_\u115f\u1160\u3164\uffa0]+")
"""Marks, control and format characters, Hangul fillers, and symbols neither in ASCII nor full-width."""
_TOKEN = re.compile(r"""["']:|\d+(?:\.\d*)?(?:e[+-]?\d+)?|[^\W\d_]+""")
_KEY_ENDS = "="


def unquoted(objects: Sequence[Item], untrusted: str) -> list[Item]:
    """The objects that are not quoted from the material.

    An object is a quotation if each of its fields occurs in the material as JSON: the name in quotes, a colon, and text
    that begins with the value. Case, order, layout, escapes, invisible characters, number formats and the depth of the
    fields make no difference. Fields are compared rather than objects, so that broken, nested or padded JSON in the
    material cannot hide a planted object. A model is very unlikely to give both a planted critique and a planted score
    of its own accord.

    Args:
        objects: what a model replied.
        untrusted: the material; empty for none.
    """
    material = _essence(untrusted)
    return [
        item
        for item in objects
        if not material or not all(_essence(json.dumps(field)) in material for field in _fields(item.model_dump()))
    ]


def names_key(material: str, name: str) -> bool:
    """Whether a name stands before a colon or an equals sign in a text, in quotes or not."""
    return re.search(rf"{re.escape(name)}[\"'\\\\*]*\s*[:=]", material, re.IGNORECASE) is not None


def _unescape(match: re.Match[str]) -> str:
    return chr(int(match[1], 16)) if match[1] else " "


def _in_essence(token: str) -> str:
    if token[0].isdecimal():
        return f"<{float(token):g}>"
    return _KEY_ENDS if token[0] in "\"'" else token


def _essence(text: str) -> str:
    """What no way of quoting changes: letters without case and accents, numbers by value, and the ends of keys.

    Escapes are resolved at any depth of quotation. The time is linear in the length.
    """
    joined = _ESCAPE.sub(_unescape, text).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")
    plain = normalize("NFKD", _UNSEEN.sub("", "".join(joined.split()))).casefold()
    return "".join(_in_essence(token) for token in _TOKEN.findall(plain))


def _fields(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The innermost fields of an object, each as an object of its own; a list of plain values is one field."""
    for name, held in value.items():
        inner = [part for part in (held if isinstance(held, list) else [held]) if isinstance(part, dict)]
        if inner:
            for part in inner:
                yield from _fields(part)
        else:
            yield {name: held}
