"""The models of a run: several names in one text, and a name of its own for each chat model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import count

from langchain_core.language_models import BaseChatModel

SEPARATOR = re.compile(r",\s*(?=\w+:|simulated\b)")
"""Between names of models in one text. A comma inside the path of a model file is none."""


def names_in(text: str) -> list[str]:
    """The names of models in one text, as in `openai:a,openai:b`; at least one."""
    return SEPARATOR.split(text)


def own_name(model: BaseChatModel) -> str:
    """The name that a server knows a model by."""
    return str(getattr(model, "model_name", None) or getattr(model, "model", None) or model._llm_type)


def label_of(model: BaseChatModel) -> str:
    """The name that candidates and bills show: the field `name` of the chat model, else its own name."""
    return str(model.name or own_name(model))


def labelled(models: Sequence[BaseChatModel]) -> list[BaseChatModel]:
    """The models, each with a label that no other one has: a second `a` becomes `a (2)`, or the next free number."""
    own = [label_of(model) for model in models]
    taken = set(own)
    found = []
    for index, (model, label) in enumerate(zip(models, own, strict=True)):
        if label in own[:index]:
            free = next(name for number in count(2) if (name := f"{label} ({number})") not in taken)
            taken.add(free)
            found.append(model.model_copy(update={"name": free}))
        else:
            found.append(model)
    return found
