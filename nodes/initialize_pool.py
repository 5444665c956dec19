"""Phase 1: the pool of meta-thoughts for this task (paper, section 3)."""

from __future__ import annotations

from metascale.budget.rounds import is_composed_beside
from metascale.nodes.compose import filled
from metascale.nodes.fresh_run import fresh_run, tell_pool
from metascale.nodes.remember import recall
from metascale.nodes.run import PREPARATION, Run, Update
from metascale.pool.admission import admit
from metascale.pool.arms import FIXED_ARMS, fixed_arm
from metascale.pool.beliefs import Beliefs, believed_at_start
from metascale.question import check_question, task_of
from metascale.state import State
from metascale.usage import add_usage, no_usage, working_since


async def initialize_pool(state: State, run: Run) -> Update:
    """Start a fresh run, or continue the one that `foresee` started: fill the pool.

    The pool holds the fixed arms, meta-thoughts that the model composes for the task, and meta-thoughts behind similar
    worked examples. The strategy memory adds those that did well on similar tasks. The reasoning methods that the model
    rates best take at most half of the free places. A hint at the foreseen notions takes the last place. Memory and
    ratings also set the priors.

    If the budget only covers the two fixed arms, no others are composed. If the model gives too few, it is asked for
    the others one by one. Then built-in strategies fill the pool, and a note says so. Where the first round can do with
    the fixed arms, `compose` adds the others beside it.

    Raises:
        QuestionError: the conversation does not end with a question, or is too long.
        SettingError: a setting asks people, but there is no checkpointer.
    """
    settings = run.settings
    started = run.start_work(state if settings.foresee else None, share=PREPARATION)
    run.check_resumable()
    check_question(state["messages"], settings.max_question_chars)
    pool = [fixed_arm(name) for name in FIXED_ARMS]
    if is_composed_beside(settings, pool):
        pool = believed_at_start(pool, Beliefs(), Beliefs(), advantage=settings.head_start)
        notes, usage = list[str](), no_usage()
    else:
        remembered, kept, notes = await recall(task_of(state["messages"]), run)
        at_most = settings.pool_size - len(pool)
        pool += admit(pool, kept, at_most=at_most, threshold=settings.duplicate_similarity)
        pool, problems, usage = await filled(pool, remembered, state, run, no_usage())
        notes += problems
    usage = add_usage(usage, working_since(started))
    if not settings.foresee:
        return fresh_run(pool, usage, notes)
    tell_pool(pool, usage)
    return {"pool": pool, "usage": usage, "notes": notes}
