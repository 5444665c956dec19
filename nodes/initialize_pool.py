"""Phase 1: the pool of meta-thoughts for this task (paper, section 3)."""

from __future__ import annotations

from metascale.budget.rounds import is_composed_beside
from metascale.nodes.compose import whole_pool
from metascale.nodes.fresh_run import fresh_run, tell_pool
from metascale.nodes.run import PREPARATION, Run, Update
from metascale.pool.arms import FIXED_ARMS, fixed_arm
from metascale.pool.beliefs import Beliefs, believed_at_start
from metascale.question import check_question
from metascale.state import State
from metascale.usage import add_usage, no_usage, working_since

LOCAL_JUDGE = (
    "the model judges its own answers; a small one does so badly: another judge helps (--judge-model NAME), "
    "or --reward agreement where answers can be compared"
)


async def initialize_pool(state: State, run: Run) -> Update:
    """Start a fresh run, or continue the one that `foresee` started: fill the pool.

    The pool holds the fixed arms, meta-thoughts that the model composes for the task, and meta-thoughts behind similar
    worked examples. The strategy memory adds those that did well on similar tasks. The reasoning methods that the model
    rates best take at most half of the free places. A hint at the foreseen notions takes the last place. Memory and
    ratings also set the priors.

    The fixed arms are the whole pool under the policy `"single"`, as for answers that are compared by votes. If the
    budget only covers them, no others are composed. If the model gives too few, it is asked for the others one by one.
    Then built-in strategies fill the pool, and a note says so. Where the first round can do with the fixed arms,
    `compose` adds the others beside it.

    Raises:
        QuestionError: the conversation does not end with a question, or is too long.
        SettingError: a setting asks people, but there is no checkpointer.
    """
    settings = run.settings
    started = run.start_work(state if settings.foresee else None, share=PREPARATION)
    run.check_resumable()
    run.check_store()
    check_question(state["messages"], settings.max_question_chars)
    pool = [fixed_arm(name) for name in FIXED_ARMS]
    if settings.policy == "single" or is_composed_beside(settings, pool):
        pool = believed_at_start(pool, Beliefs(), Beliefs(), advantage=settings.head_start, models=run.parts.labels)
        notes, usage = list[str](), no_usage()
    else:
        pool, notes, usage = await whole_pool(pool, state, run, no_usage())
    if run.has_own_local_judge and not run.is_automatic:
        notes = [LOCAL_JUDGE, *notes]
    usage = add_usage(usage, working_since(started))
    if not settings.foresee:
        return fresh_run(pool, usage, notes)
    tell_pool(pool, usage)
    return {"pool": pool, "usage": usage, "notes": notes}
