"""A pool of one fixed arm, for the baselines."""

from __future__ import annotations

import time

from metascale.nodes.fresh_run import fresh_run
from metascale.nodes.run import Node, Run, Update
from metascale.pool.arms import fixed_arm
from metascale.question import check_question
from metascale.state import State
from metascale.usage import working_since


def set_arm(name: str) -> Node:
    """The node that starts a run on one fixed arm, `chain_of_thought` or `no_strategy`.

    The node raises `QuestionError` if the conversation does not end with a question, or is too long.
    """

    async def set_arm(state: State, run: Run) -> Update:
        started = time.time()
        check_question(state["messages"], run.settings.max_question_chars)
        return fresh_run([fixed_arm(name)], working_since(started))

    return set_arm
