"""A pool of prescribed arms, for the baselines."""

from __future__ import annotations

import time

from metascale.nodes.fresh_run import fresh_run
from metascale.nodes.run import Node, Run, Update
from metascale.pool.arms import built_in_arm
from metascale.question import check_question
from metascale.state import State
from metascale.usage import working_since


def set_arm(*names: str) -> Node:
    """The node that starts a run on prescribed arms, by their names in `BUILT_IN_ARMS`.

    The node raises `QuestionError` if the conversation does not end with a question, or is too long.
    """

    async def set_arm(state: State, run: Run) -> Update:
        started = time.time()
        check_question(state["messages"], run.settings.max_question_chars)
        return fresh_run([built_in_arm(name) for name in names], working_since(started))

    return set_arm
