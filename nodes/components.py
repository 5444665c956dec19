"""What the nodes of one graph share, and how a coroutine becomes a node."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langgraph.runtime import get_runtime

from metascale.bandits import UCB, Policy, RoundRobin, Softmax
from metascale.bridge import run_sync
from metascale.budget import affordable, evolution_due, stop_reason
from metascale.models import MeteredModel
from metascale.pool import arm_statistics
from metascale.rewards import JudgeReward, Reward
from metascale.settings import MetaScaleSettings
from metascale.state import State, StopReason

Update = dict[str, Any]
Node = Callable[[Any, "Components"], Coroutine[Any, Any, Update]]


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
    """

    model: BaseChatModel
    reward: Reward | None
    policy: Policy | None
    retriever: BaseRetriever | None
    defaults: MetaScaleSettings
    fixed: MetaScaleSettings = field(default_factory=MetaScaleSettings)
    thinker: MeteredModel = field(init=False)
    _solvers: dict[tuple[float | None, int | None], MeteredModel] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Prepare what every run uses."""
        self.thinker = MeteredModel(self.model)
        self.judge: Reward = self.reward if self.reward is not None else JudgeReward(self.thinker)
        self.solver(self.defaults)

    def settings(self) -> MetaScaleSettings:
        """The settings of the current run: the defaults, overlaid by the run's context if that is of our kind."""
        context = get_runtime(MetaScaleSettings).context
        chosen = self.defaults.overlaid_by(context) if isinstance(context, MetaScaleSettings) else self.defaults
        return chosen.overlaid_by(self.fixed)

    def samples_left(self, state: State) -> int:
        """Samples that the limits still pay for."""
        scored = sum(candidate["reward"] is not None for candidate in state["candidates"])
        return affordable(self.settings(), state["usage"], lambda new: self.judge.calls(new, scored))

    def stop_reason(self, state: State) -> StopReason | None:
        """Why no further round may begin, or None."""
        return stop_reason(
            self.settings(),
            state["usage"],
            state["candidates"],
            samples_left=self.samples_left(state),
            remaining_steps=state["remaining_steps"],
        )

    def evolution_due(self, state: State) -> bool:
        """Whether the pool evolves before the next round."""
        return evolution_due(
            self.settings(),
            arm_statistics(state["pool"], state["candidates"]),
            rounds=state["round"],
            evolved_at=state["evolved_at"],
            samples_left=self.samples_left(state),
        )

    def solver(self, settings: MetaScaleSettings) -> MeteredModel:
        """The model as samples are drawn from it."""
        key = (settings.temperature, settings.max_tokens)
        if key not in self._solvers:
            self._solvers[key] = MeteredModel(
                self.model, sampling=True, temperature=settings.temperature, max_tokens=settings.max_tokens
            )
        return self._solvers[key]

    def chosen_policy(self, settings: MetaScaleSettings) -> Policy:
        """The policy that plans rounds."""
        if self.policy is not None:
            return self.policy
        if settings.policy == "softmax":
            return Softmax(settings.softmax_temperature)
        if settings.policy == "round_robin":
            return RoundRobin()
        return UCB(settings.beta)


def as_node(node: Node, components: Components) -> RunnableLambda[Any, Update]:
    """A LangGraph node that serves `invoke` and `ainvoke` with one coroutine."""

    def call(state: Any) -> Update:
        return run_sync(lambda: node(state, components))

    async def acall(state: Any) -> Update:
        return await node(state, components)

    afunc: Callable[[Any], Awaitable[Update]] = acall
    return RunnableLambda(call, afunc=afunc, name=node.__name__)
