"""The prompt of a prediction that a model is trained to answer."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import cast

from langchain_core.messages import AnyMessage, HumanMessage, SystemMessage
from langchain_core.messages.utils import convert_to_messages

from metascale import prompts
from metascale.foresight.prediction import Predicted
from metascale.models.structured import with_schema
from metascale.question import question_text
from metascale.training.rollouts import Message


def prediction_prompt(prompt: Sequence[Message]) -> list[Message]:
    """The prompt of the node `foresee` for servers without structured output: the system message holds the schema.

    The fence's tag is a hash of the task, so exporting the same runs again gives the same rows.
    """
    messages = convert_to_messages([dict(message) for message in prompt])
    task = question_text(cast("list[AnyMessage]", messages))
    tag = hashlib.sha256(task.encode()).hexdigest()[:16]
    request = [SystemMessage(prompts.render("foresee", tag=tag)), HumanMessage(prompts.fence("task", task, tag))]
    system, asked = with_schema(request, Predicted)
    return [{"role": "system", "content": system.text}, {"role": "user", "content": asked.text}]
