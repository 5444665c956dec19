"""What the nodes of one graph share, and how a coroutine becomes a node."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langgraph.config import get_config
from langgraph.runtime import Runtime, get_runtime

from metascale.bandits import Policy, create_policy
from metascale.budget.allowance import allowance
from metascale.budget.limits import affordable, evolution_due, reached, stop_reason, tokens_of
from metascale.choice.ranking import field_of
from metascale.choice.second_look import reserve
from metascale.errors import SettingError
from metascale.memory.embeddings import HashedEmbeddings
from metascale.memory.store import StrategyMemory
from metascale.models import MeteredModel, Sampler
from metascale.pool.admission import arm_statistics
from metascale.pool.arms import SYNTHESIS
from metascale.pool.methods import ReasoningMethod, catalogue
from metascale.records import StopReason
from metascale.rewards import Rejudging, Reward, create_reward
from metascale.runtime.bridge import run_sync
from metascale.runtime.deadline import end_in
from metascale.settings import MetaScaleSettings
from metascale.state import State, check_continuable

TARGET_LOOKS = 2
"""Second looks by which a reached target is confirmed. Ours."""
BUILDERS_SETTINGS = ("panel", "reward_model", "verifier", "methods_dir", "max_in_flight")
"""Settings that load code, read files, name servers or concern all runs. A run's context, which anybody may send,
cannot set them."""
PREPARATION = 0.5
"""Share of the seconds left that foreseeing, composing or breeding may take. Ours: a request that hangs there must
leave time for answers."""
MIN_SYNTHESISED = 2
"""Answers that a synthesis needs at the least."""
_CHECKPOINTER = "__pregel_checkpointer"
"""Where LangGraph keeps a task's checkpointer; it has no public way to ask."""

_STEPS_OF_NO_RUN = 10_000
"""Supersteps that are left where no run counts them: any number that ends no search."""

Update = dict[str, Any]
Node = Callable[[Any, "Components"], Coroutine[Any, Any, Update]]


def current_run() -> Runtime[MetaScaleSettings] | None:
    """The run under way; None where somebody edits a thread's state (`update_state`), which follows edges without."""
    return get_runtime(MetaScaleSettings)


@dataclass
class Components:
    """The parts that a graph is made of.

    Attributes:
        model: answers, and designs meta-thoughts.
        reward: scores answers; the model itself as a judge if none is given.
        policy: chooses arms; the one that the settings name if none is given.
        retriever: finds similar worked examples.
        defaults: the settings of runs that bring none of their own.
        fixed: settings that the method prescribes, whatever a run brings.
        embeddings: embed questions for the strategy memory.
        sampler: what answers are drawn through; the model itself if none is given.
    """

    model: BaseChatModel
    reward: Reward | None
    policy: Policy | None
    retriever: BaseRetriever | None
    defaults: MetaScaleSettings
    fixed: MetaScaleSettings = field(default_factory=MetaScaleSettings)
    embeddings: Embeddings = field(default_factory=HashedEmbeddings)
    sampler: Sampler | None = None
    thinker: MeteredModel = field(init=False)
    _rewards: dict[str, Reward] = field(init=False, default_factory=dict)
    _methods: dict[str, ReasoningMethod] = field(init=False, default_factory=dict)
    _solvers: dict[tuple[float | None, int | None], MeteredModel] = field(init=False, default_factory=dict)
    _foreseers: dict[float | None, MeteredModel] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Prepare what every run uses."""
        self.thinker = MeteredModel(self.model)
        self.solver(self.defaults)
        self._reward_named(self.defaults)
        folder = self.defaults.methods_dir
        self._methods = catalogue(Path(folder) if folder is not None else None)

    def settings(self) -> MetaScaleSettings:
        """The settings of the current run: the defaults, overlaid by the run's context if that is of our kind.

        Where there is no run, the defaults are all there is.

        Raises:
            SettingError: the run would say what code is loaded or which servers are asked, which is for whoever builds
                the graph.
        """
        run = current_run()
        context = run.context if run else None
        chosen = self.defaults.overlaid_by(context) if isinstance(context, MetaScaleSettings) else self.defaults
        for name in BUILDERS_SETTINGS:
            if getattr(chosen, name) != getattr(self.defaults, name):
                raise SettingError(f"the setting {name!r} belongs to the graph and cannot be changed by a run")
        return chosen.overlaid_by(self.fixed)

    def start_work(self, spent: float, *, share: float = 1.0) -> float:
        """The time now, in seconds since the epoch; the node's requests end when `max_seconds` are over.

        Args:
            spent: seconds at work that the run has behind it.
            share: of the seconds that are left, how much the node may take.
        """
        limit = self.settings().max_seconds
        if limit is not None:
            end_in(share * max(0.0, limit - spent))
        return time.time()

    def check_resumable(self) -> None:
        """Make sure that a run that is to ask people can be resumed with their answers.

        Raises:
            SettingError: there is no checkpointer, neither the graph's own nor a parent's.
        """
        settings = self.settings()
        wanted = [name for name in ("review_pool", "ask_for_budget") if getattr(settings, name)]
        if wanted and not get_config()["configurable"].get(_CHECKPOINTER):
            raise SettingError(
                f"the setting {wanted[0]!r} needs a checkpointer: create_metascale(..., checkpointer=...)"
            )

    def limits(self, state: State) -> MetaScaleSettings:
        """The settings of the current run, with the budget that it has by now.

        That is more by what was granted; or else less by what was foreseen, as far as the answers bear that out.
        """
        settings = self.settings()
        if state["granted"]:
            return settings.model_copy(update={"budget": settings.budget + state["granted"]})
        budget = allowance(
            state.get("foresight"),
            [candidate for candidate in state["candidates"] if candidate["meta_thought"] != SYNTHESIS],
            budget=settings.budget,
            samples=state["usage"]["samples"],
            several_arms=len(state["pool"]) > 1,
        )
        return settings if budget == settings.budget else settings.model_copy(update={"budget": budget})

    @property
    def rated_methods(self) -> dict[str, ReasoningMethod]:
        """The reasoning methods that the current run rates, by name."""
        own = self._methods.keys() - catalogue().keys()
        wanted = self.settings().rated_methods
        return {name: one for name, one in self._methods.items() if wanted == "all" or one.mrp or name in own}

    @property
    def memory(self) -> StrategyMemory | None:
        """The strategy memory of the current run; None where it has none.

        Raises:
            SettingError: a memory is named, but the graph has no store.
        """
        name = self.settings().memory
        if name is None:
            return None
        store = get_runtime(MetaScaleSettings).store
        if store is None:
            raise SettingError("the setting 'memory' needs a store: create_metascale(..., store=...)")
        return StrategyMemory(store, name, self.embeddings)

    @property
    def judge(self) -> Reward:
        """What scores the answers of the current run."""
        return self._reward_named(self.settings())

    def _reward_named(self, settings: MetaScaleSettings) -> Reward:
        if self.reward is not None:
            return self.reward
        if settings.reward not in self._rewards:
            self._rewards[settings.reward] = create_reward(settings, self.thinker)
        return self._rewards[settings.reward]

    def samples_left(self, state: State, *, beside: int = 0) -> int:
        """Samples that the limits still pay for in the search, and so many other requests beside them."""
        settings = self.limits(state)
        judge = self._reward_named(settings)
        scored = sum(candidate["reward"] is not None for candidate in state["candidates"])
        return affordable(
            settings,
            state["usage"],
            lambda new: judge.calls(new, scored),
            reserve=beside + self._reserve(state, settings),
            kept=self._kept_for_synthesis(state, settings),
        )

    def stop_reason(self, state: State) -> StopReason | None:
        """Why no further round may begin, or None.

        A synthesis takes the last place in the budget: it ends the search, and is no evidence of how that went.
        """
        settings = self.limits(state)
        reason = stop_reason(
            settings,
            state["usage"],
            [thought for thought in state["pool"] if thought["id"] != SYNTHESIS],
            [candidate for candidate in state["candidates"] if candidate["meta_thought"] != SYNTHESIS],
            samples_left=self.samples_left(state),
            kept=self._kept_for_synthesis(state, settings),
            target_looks=min(TARGET_LOOKS, self._looks_allowed(settings)),
            remaining_steps=state["remaining_steps"] if current_run() else _STEPS_OF_NO_RUN,
        )
        reason = reason or ("budget" if _is_synthesised(state) else None)
        foresight = state.get("foresight")
        if reason == "budget" and foresight is not None and settings.budget < self.settings().budget:
            return "foreseen" if foresight["outlook"] == "easy" else "hopeless"
        return reason

    def is_budget_all_that_ends_it(self, state: State) -> bool:
        """Whether the search would go on if it were granted one more sample."""
        is_spent = self.stop_reason(state) == "budget"
        return is_spent and self.stop_reason({**state, "granted": state["granted"] + 1}) is None

    def looks_left(self, state: State) -> int:
        """Second looks that the settings and limits still pay for; 0 where the reward has no second opinion to give."""
        settings = self.limits(state)
        if not isinstance(self.judge, Rejudging) or _gave_up(state, settings) or _is_exhausted(state, settings):
            return 0
        left = self._looks_allowed(settings) - len(looks_made(state))
        if settings.max_calls is not None:
            left = min(left, (settings.max_calls - state["usage"]["calls"]) // max(1, self.judge.calls_per_look))
        return max(0, left)

    def synthesis_due(self, state: State) -> bool:
        """Whether the finalists are to be made into one more answer now."""
        settings = self.limits(state)
        scored = sum(candidate["reward"] is not None for candidate in state["candidates"])
        is_wanted = self._kept_for_synthesis(state, settings) > 0
        return is_wanted and scored >= MIN_SYNTHESISED and not _is_exhausted(state, settings)

    def _looks_allowed(self, settings: MetaScaleSettings) -> int:
        if not isinstance(self.judge, Rejudging):
            return 0
        return settings.confirm if settings.confirm is not None else settings.budget // 2

    def _reserve(self, state: State, settings: MetaScaleSettings) -> int:
        """Requests that sampling must leave for second looks and the synthesis."""
        if settings.max_calls is None:
            return 0
        synthesis = self._kept_for_synthesis(state, settings) and self._synthesis_calls(state)
        if not isinstance(self.judge, Rejudging) or _gave_up(state, settings):
            return synthesis
        calls_per_look = max(1, self.judge.calls_per_look)
        looks = reserve(
            field_of(state["candidates"], settings.final_choice).contenders,
            settings.final_choice,
            calls=self._looks_allowed(settings),
            spent=len(looks_made(state)),
            max_calls=settings.max_calls // calls_per_look,
        )
        return synthesis + looks * self.judge.calls_per_look

    def _kept_for_synthesis(self, state: State, settings: MetaScaleSettings) -> int:
        """1 while a synthesis is wanted and not written, and the limits pay for it and for something to synthesise."""
        if not settings.synthesize or settings.budget <= MIN_SYNTHESISED or _is_synthesised(state):
            return 0
        if settings.max_calls is None:
            return 1
        missing = max(0, MIN_SYNTHESISED - state["usage"]["samples"])
        calls = self._synthesis_calls(state) + (missing + self.judge.calls(missing) if missing else 0)
        return int(settings.max_calls - state["usage"]["calls"] >= calls)

    def _synthesis_calls(self, state: State) -> int:
        return 1 + self.judge.calls(1, len(state["candidates"]))

    def evolution_due(self, state: State) -> bool:
        """Whether the pool evolves before the next round, which must still be paid for."""
        return evolution_due(
            self.limits(state),
            arm_statistics(state["pool"], state["candidates"]),
            rounds=state["round"],
            evolved_at=state["evolved_at"],
            samples_left=self.samples_left(state, beside=1),
        )

    def solver(self, settings: MetaScaleSettings) -> MeteredModel:
        """The model as samples are drawn from it."""
        key = (settings.temperature, settings.max_tokens)
        if key not in self._solvers:
            self._solvers[key] = MeteredModel(
                self.model,
                sampling=True,
                temperature=settings.temperature,
                max_tokens=settings.max_tokens,
                sampler=self.sampler,
            )
        return self._solvers[key]

    def limited_solver(self, settings: MetaScaleSettings, limit: int | None) -> MeteredModel:
        """The solver, with answers of at most so many tokens; the same, where it has a lower limit or takes none."""
        solver = self.solver(settings)
        return solver if limit is None else solver.capped_at(limit)

    def foreseer(self, settings: MetaScaleSettings) -> MeteredModel:
        """The model as it foresees its own answers: at their temperature, for predictions must differ as they do."""
        if settings.temperature not in self._foreseers:
            self._foreseers[settings.temperature] = self.thinker.sampling_at(settings.temperature)
        return self._foreseers[settings.temperature]

    def chosen_policy(self, settings: MetaScaleSettings) -> Policy:
        """The policy that plans rounds."""
        return self.policy or create_policy(settings)


def looks_made(state: State) -> list[float | None]:
    """The values of all second looks so far; None for those that failed."""
    return [look["value"] for candidate in state["candidates"] for look in candidate["looks"]]


def _gave_up(state: State, settings: MetaScaleSettings) -> bool:
    """Whether so many second looks failed, and at least as many as succeeded, that no more are worth their calls."""
    looks = looks_made(state)
    return looks.count(None) >= max(settings.max_failures, len(looks) / 2)


def _is_exhausted(state: State, settings: MetaScaleSettings) -> bool:
    """Whether tokens or time are used up, so that nobody is asked anything any more."""
    usage = state["usage"]
    return reached(settings.max_tokens_total, tokens_of(usage)) or reached(settings.max_seconds, usage["seconds"])


def _is_synthesised(state: State) -> bool:
    return any(c["meta_thought"] == SYNTHESIS for c in state["candidates"] if c["id"] >= state.get("reopened_at", 0))


def as_node(node: Node, components: Components) -> RunnableLambda[Any, Update]:
    """A LangGraph node that serves `invoke` and `ainvoke` with one coroutine, on any state that it can read."""

    def call(state: Any) -> Update:
        check_continuable(state)
        return run_sync(lambda: node(state, components))

    async def acall(state: Any) -> Update:
        check_continuable(state)
        return await node(state, components)

    afunc: Callable[[Any], Awaitable[Update]] = acall
    return RunnableLambda(call, afunc=afunc, name=node.__name__)
