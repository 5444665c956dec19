"""What the nodes of one graph share, and how a coroutine becomes a node."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langgraph.config import get_config
from langgraph.runtime import Runtime, get_runtime
from langgraph.store.base import BaseStore
from langgraph.types import Overwrite
from pydantic import BaseModel
from typing_extensions import TypedDict

from metascale.bandits import Policy, create_policy
from metascale.budget.ledger import UNCOUNTED_STEPS, Costs, Ledger
from metascale.choice.automatic import decided_beforehand, is_decided, left_unjudged, settled
from metascale.errors import ModelCallError, SettingError
from metascale.memory.embeddings import HashedEmbeddings
from metascale.memory.store import StrategyMemory
from metascale.models import MeteredModel, Reading, Sampler, ask
from metascale.models.embedders import MeteredEmbedder, embedder_of, metered
from metascale.models.kept import current_keeper
from metascale.models.lineup import label_of
from metascale.models.scope import RunScope, inside
from metascale.models.tracing import about
from metascale.nodes.config_keys import CHECKPOINTER
from metascale.pool.methods import ReasoningMethod, catalogue
from metascale.records import Candidate
from metascale.rewards import Reward, create_reward, models_of
from metascale.rewards.scorer import Scorer
from metascale.runtime.bridge import run_sync
from metascale.runtime.deadline import end_in
from metascale.settings import BUILDERS_SETTINGS, MetaScaleSettings
from metascale.settings.prices import Tariff
from metascale.state import State, check_continuable
from metascale.usage import Usage, add_usage, charged, no_usage, of_node

PREPARATION = 0.5
"""Share of the remaining seconds that a node may take to predict, compose or breed: a request that hangs there must
leave time for answers. Not tuned."""
SCOPE = "__metascale_scope"
"""The config key of a run's `RunScope`. LangGraph stores no key that starts with two underscores."""

Update = dict[str, Any]
Schema = TypeVar("Schema", bound=BaseModel)


class Spent(TypedDict):
    """The part of the state that says what was spent."""

    usage: Usage
    granted_usd: float


@dataclass
class Components:
    """The parts of a graph, shared by all of its runs.

    Attributes:
        models: answer questions, at least one, each with a label of its own. The first one also designs meta-thoughts
            and judges; where it cannot be asked any more, the next one does.
        defaults: the settings of a run without a context.
        fixed: settings that the method prescribes; they override those of a run.
        reward: scores answers; None for the reward that the settings name.
        policy: chooses arms; None for the policy that the settings name.
        retriever: finds similar worked examples.
        embeddings: embed questions for the strategy memory; None for hashed words.
        sampler: wraps the model for each sample; None for the model itself.
        may_vote: whether the reward `"auto"` may stand for votes; elsewhere it is a judge.
    """

    models: Sequence[BaseChatModel]
    _: KW_ONLY
    defaults: MetaScaleSettings
    fixed: MetaScaleSettings = field(default_factory=MetaScaleSettings)
    reward: Reward | None = None
    policy: Policy | None = None
    retriever: BaseRetriever | None = None
    embeddings: Embeddings | None = None
    sampler: Sampler | None = None
    may_vote: bool = False
    thinkers: dict[str, MeteredModel] = field(init=False)
    methods: dict[str, ReasoningMethod] = field(init=False)
    _scorers: dict[tuple[str, str], Scorer] = field(init=False, default_factory=dict)
    _solvers: dict[tuple[str, float | None, int | None, bool, bool], MeteredModel] = field(
        init=False, default_factory=dict
    )
    _foreseers: dict[tuple[str, float | None], MeteredModel] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Build what every run uses, so that a setting that cannot work fails when the graph is built."""
        self.thinkers = {label_of(model): MeteredModel(model) for model in self.models}
        for label in self.labels:
            self.solver(self.defaults, label)
        self.scorer(self.defaults, self.labels[0])
        folder = self.defaults.methods_dir
        self.methods = catalogue(Path(folder) if folder is not None else None)

    @property
    def labels(self) -> list[str]:
        """The names of the models that candidates and bills show, in the order of the models."""
        return list(self.thinkers)

    def run(self, candidates: Sequence[Candidate], granted: int) -> Run:
        """The current run with its settings: the defaults, overlaid by the run's context, then by the fixed ones.

        Outside a run, as when somebody edits a thread's state, there is no context. A context of another type, such as
        a parent graph's, is ignored, and so are the defaults in a form that sends every setting.

        Args:
            candidates: the samples so far, by which the reward `"auto"` is decided.
            granted: samples granted on top of the budget.

        Raises:
            SettingError: the context changes one of `BUILDERS_SETTINGS`, which belong to the graph.
        """
        runtime: Runtime[MetaScaleSettings] | None = get_runtime(MetaScaleSettings)
        context = runtime.context if runtime else None
        given = context.without_form() if isinstance(context, MetaScaleSettings) else MetaScaleSettings()
        chosen = self.defaults.overlaid_by(given)
        for name in BUILDERS_SETTINGS:
            if getattr(chosen, name) != getattr(self.defaults, name):
                raise SettingError(
                    f"the setting {name!r} belongs to the graph, so a run cannot change it; pass it to create_metascale"
                )
        settings = chosen.overlaid_by(self.fixed)
        settings = decided_beforehand(settings, may_vote=self._may_vote(settings))
        is_automatic = settings.reward == "auto"
        settings = settled(settings, candidates, granted=granted, several_models=len(self.models) > 1)
        scorer = self.scorer(settings, self.labels[0])
        return Run(self, scorer.settings_for(settings), runtime, is_automatic=is_automatic)

    def _may_vote(self, settings: MetaScaleSettings) -> bool:
        """Whether no part of the graph asks for the search by a judge.

        A memory of several models does: agreement on one question says nothing about which model is good at others.
        """
        is_plain = self.reward is None and self.policy is None and self.retriever is None
        is_router = settings.memory is not None and len(self.models) > 1
        return self.may_vote and is_plain and not is_router

    def scorer(self, settings: MetaScaleSettings, judge: str) -> Scorer:
        """The scorer for the given reward, or for the one that the settings name with `judge` as its model."""
        key = ("given", "") if self.reward is not None else (settings.reward, judge)
        if key not in self._scorers:
            made = self.reward or create_reward(settings, self.thinkers[judge], is_sampler=len(self.models) == 1)
            self._scorers[key] = Scorer(made)
        return self._scorers[key]

    def solver(self, settings: MetaScaleSettings, label: str, *, if_told: bool = False) -> MeteredModel:
        """The model with this label, set up to draw samples; see `MeteredModel` for `if_told`."""
        reads = self.reads_certainty(settings)
        key = (label, self._temperature(settings, label), settings.max_tokens, reads, if_told)
        if key not in self._solvers:
            self._solvers[key] = MeteredModel(
                self.models[self.labels.index(label)],
                sampling=True,
                temperature=key[1],
                max_tokens=settings.max_tokens,
                sampler=self.sampler,
                probabilities=0 if reads else None,
                if_told=if_told,
            )
        return self._solvers[key]

    def reads_certainty(self, settings: MetaScaleSettings) -> bool:
        """Whether something reads how sure a model is of its answers, so that samples come with it."""
        return settings.end_early or settings.weigh_votes or self.scorer(settings, self.labels[0]).reads_certainty

    def foreseer(self, settings: MetaScaleSettings, label: str) -> MeteredModel:
        """The model, set up to predict its own answers: at the temperature of samples, so that predictions vary too."""
        key = (label, self._temperature(settings, label))
        if key not in self._foreseers:
            self._foreseers[key] = self.thinkers[label].sampling_at(key[1])
        return self._foreseers[key]

    def _temperature(self, settings: MetaScaleSettings, label: str) -> float | None:
        """The temperature of samples: the one that is set, else the one that the model was made with, else the default.

        None leaves the model's own.
        """
        model = self.models[self.labels.index(label)]
        is_set = "temperature" in settings.model_fields_set
        is_own = "temperature" in model.model_fields_set and getattr(model, "temperature", None) is not None
        return None if is_own and not is_set else settings.temperature


@dataclass(frozen=True)
class Run:
    """One run of a graph as a node sees it: the parts of the graph, and the settings, resolved once.

    Attributes:
        parts: the parts of the graph.
        settings: the settings of this run.
        runtime: LangGraph's runtime; None outside a run.
        is_automatic: whether the answers of the first round decide between votes and the search by a judge.
    """

    parts: Components
    settings: MetaScaleSettings
    runtime: Runtime[MetaScaleSettings] | None
    is_automatic: bool = False

    def with_granted(self, samples: int) -> Run:
        """The same run with these samples in its budget."""
        return replace(self, settings=self.settings.model_copy(update={"budget": self.settings.budget + samples}))

    @property
    def models(self) -> list[str]:
        """The labels of the models that can be asked; all of them where none can."""
        out = self.scope.left_out
        return [label for label in self.parts.labels if label not in out] or self.parts.labels

    @property
    def thinker(self) -> MeteredModel:
        """The first of these models, set up to design meta-thoughts."""
        return self.parts.thinkers[self.models[0]]

    async def think(
        self, messages: Sequence[BaseMessage], schema: type[Schema], *, place: Sequence[int | str], untrusted: str
    ) -> Reading[Schema]:
        """As `ask` of the `thinker`; if that model is left out meanwhile, of the next one.

        Raises:
            ModelCallError: as for `ask`.
        """
        spent, thinker = no_usage(), self.thinker
        while True:
            try:
                reading = await ask(thinker, messages, schema, self.settings, place=place, untrusted=untrusted)
            except ModelCallError as error:
                spent, failed, thinker = add_usage(spent, error.usage), thinker, self.thinker
                if thinker is failed:
                    error.usage = spent
                    raise
            else:
                return replace(reading, usage=add_usage(spent, reading.usage))

    @property
    def has_own_local_judge(self) -> bool:
        """Whether one of the models judges its own answers, and is a file on this machine, so likely a small one."""
        judges = models_of(self.scorer.reward)
        return any(getattr(judge.model, "is_local", False) and judge.name in self.parts.labels for judge in judges)

    @property
    def solvers(self) -> list[MeteredModel]:
        """These models, set up to draw samples."""
        return [self.solver_of(label) for label in self.models]

    @property
    def tariffs(self) -> dict[str, Tariff]:
        """The prices of all models of the run, by label; empty where one has none."""
        found = {label: self.solver_of(label).tariff(self.settings) for label in self.parts.labels}
        known = {label: tariff for label, tariff in found.items() if tariff is not None}
        return known if len(known) == len(found) else {}

    def solver_of(self, label: str) -> MeteredModel:
        """The model with this label, set up to draw samples; the first one where no model has it."""
        known = label if label in self.parts.labels else self.models[0]
        return self.parts.solver(self.settings, known, if_told=self.is_automatic and not self.settings.end_early)

    @property
    def foreseer(self) -> MeteredModel:
        """The first of these models, set up to predict its own answers."""
        return self.parts.foreseer(self.settings, self.models[0])

    @property
    def scorer(self) -> Scorer:
        """The reward, ready to score answers."""
        return self.parts.scorer(self.settings, self.models[0])

    @property
    def policy(self) -> Policy:
        """The policy that plans rounds; under `"single"` the default one chooses among several models."""
        if self.parts.policy is not None:
            return self.parts.policy
        is_single = self.settings.policy == "single" and len(self.parts.labels) > 1
        return create_policy(MetaScaleSettings() if is_single else self.settings)

    @cached_property
    def rated_methods(self) -> dict[str, ReasoningMethod]:
        """The reasoning methods that this run rates, by name."""
        methods = self.parts.methods
        own = methods.keys() - catalogue().keys()
        is_all = self.settings.rated_methods == "all"
        return {name: method for name, method in methods.items() if is_all or method.mrp or name in own}

    @property
    def memory(self) -> StrategyMemory | None:
        """The strategy memory; None if the settings name none.

        Raises:
            SettingError: the setting `memory` names a memory, but the graph has no store.
        """
        if self.settings.memory is None:
            return None
        store = self.check_store()
        assert store is not None  # noqa: S101
        return StrategyMemory(store, self.settings.memory, self.parts.embeddings or HashedEmbeddings())

    def check_store(self) -> BaseStore | None:
        """The graph's store.

        Raises:
            SettingError: the setting `memory` names a memory, but there is none.
        """
        store = self.runtime.store if self.runtime else None
        if store is None and self.settings.memory is not None:
            raise SettingError("the setting 'memory' needs a store: create_metascale(..., store=...)")
        return store

    @property
    def embedders(self) -> list[MeteredEmbedder]:
        """The embedders that this run pays for."""
        of_memory = metered(self.parts.embeddings) if self.settings.memory is not None else None
        of_retriever = embedder_of(self.parts.retriever) if self.settings.retriever_k > 0 else None
        return [embedder for embedder in (of_memory, of_retriever) if embedder is not None]

    def paid_embedding(self, text: str) -> Usage:
        """Pay for embedding a text for the strategy memory; returns the bill.

        Raises:
            OutOfMoneyError: the run's money is spent.
        """
        embedder = metered(self.parts.embeddings)
        return embedder.pay(text, self.settings) if embedder is not None else no_usage()

    def ledger(self, state: State) -> Ledger:
        """The ledger: what the run has spent, and what it may still spend.

        Until the answers decide between votes and a judge, requests for verdicts are kept back if the limits allow it.
        """
        scorer = self.scorer
        if self.is_automatic and not is_decided(state["candidates"]):
            judge = self.parts.scorer(self.settings.model_copy(update={"reward": "judge"}), self.models[0])
            judged = self._ledger(state, _costs(judge, len(left_unjudged(state["candidates"]))))
            if judged.samples_left():
                return judged
        return self._ledger(state, _costs(scorer, len(self.left_unjudged(state)), scorer.calls_per_look))

    def left_unjudged(self, state: State) -> list[Candidate]:
        """The answers that were drawn before a judge decided, and that it judges with the next round."""
        is_judged = self.is_automatic and self.settings.reward == "judge"
        return left_unjudged(state["candidates"]) if is_judged else []

    def _ledger(self, state: State, costs: Costs) -> Ledger:
        return Ledger(
            settings=self.settings,
            costs=costs,
            usage=state["usage"],
            pool=state["pool"],
            candidates=state["candidates"],
            foresight=state.get("foresight"),
            rounds=state["round"],
            evolved_at=state["evolved_at"],
            granted=state["granted"],
            granted_usd=state.get("granted_usd", 0.0),
            reopened_at=state.get("reopened_at", 0),
            refusal=state.get("refusal", ""),
            left_out=state.get("left_out", {}),
            remaining_steps=state["remaining_steps"] if self.runtime else UNCOUNTED_STEPS,
            is_exact=self.scorer.is_exact,
        )

    @property
    def scope(self) -> RunScope:
        """What the requests of this run share in this process."""
        held = get_config().get("configurable", {}).get(SCOPE) if self.runtime else None
        return held if isinstance(held, RunScope) else RunScope()

    def start_work(self, state: Spent | None, *, share: float = 1.0) -> float:
        """Set the deadline of the node's requests, from `max_seconds`, and the money for them, from `max_cost_usd`.

        Args:
            state: what the run has spent before this node; None if the node begins the run.
            share: share of the remaining seconds that the node may take, in (0, 1].

        Returns:
            The time now, in seconds since the epoch.

        Raises:
            SettingError: money is limited, but a model has no price. It is raised before the run's first request.
        """
        usage, granted = (state["usage"] or no_usage(), state["granted_usd"]) if state else (no_usage(), 0.0)
        limit, money = self.settings.max_seconds, self.settings.max_cost_usd
        if limit is not None:
            end_in(share * max(0.0, limit - usage["seconds"]))
        purse = self.scope.purse
        purse.open(None if money is None else money + granted, charged(usage))
        if purse.is_limited and not usage["calls"]:
            check_prices(self.settings, (*self.solvers, *models_of(self.scorer.reward), *self.embedders))
        return time.time()

    def check_resumable(self) -> None:
        """Check that a run that asks people can be resumed with their answers.

        Raises:
            SettingError: neither the graph nor a parent graph has a checkpointer.
        """
        wanted = [name for name in ("review_pool", "ask_for_budget") if getattr(self.settings, name)]
        if wanted and not get_config()["configurable"].get(CHECKPOINTER):
            raise SettingError(
                f"the setting {wanted[0]!r} needs a checkpointer: create_metascale(..., checkpointer=...)"
            )


def _costs(scorer: Scorer, waiting: int, look: int | None = None) -> Costs:
    """What a reward costs, with its verdicts on the answers that wait for one."""
    return Costs(lambda new, earlier: scorer.calls(new + waiting, earlier), look)


def check_parts(settings: object = None, *, reward: object = None, policy: object = None) -> None:
    """Check that what somebody passed as parts of a graph is what its name says; None is always right.

    Raises:
        SettingError: settings are no `MetaScaleSettings`, or a name stands where an object belongs.
    """
    if settings is not None and not isinstance(settings, MetaScaleSettings):
        raise SettingError(f"settings take MetaScaleSettings(...), and {settings!r} is none")
    for name, part, method in (("reward", reward, "score"), ("policy", policy, "plan")):
        if part is not None and not callable(getattr(part, method, None)):
            raise SettingError(
                f"{name}={part!r} is no object with a method {method!r}; "
                f"a name goes into the settings: settings=MetaScaleSettings({name}={part!r})"
            )


def check_prices(settings: MetaScaleSettings, models: Iterable[MeteredModel | MeteredEmbedder]) -> None:
    """Check that every model has a price, so that a limit of money can hold.

    Raises:
        SettingError: one has none.
    """
    for model in models:
        if model.tariff(settings) is None:
            raise SettingError(
                f"max_cost_usd is set, but no price of the model {model.name!r} is known; set it: "
                f'prices={{"{model.name}": {{"input": 0.15, "output": 0.6}}}}, in US dollars per million tokens'
            )


def _with_findings(update: Update, scope: RunScope) -> Update:
    """A node's update with what its requests found out: notes, and why no further request can succeed."""
    found: Update = {"notes": scope.take_notes(), "refusal": scope.refusal, "left_out": scope.take_left_out()}
    for key, value in found.items():
        before = update.get(key)
        if value and isinstance(before, Overwrite):
            update = {**update, key: Overwrite(before.value | value if key == "left_out" else before.value + value)}
        elif value:
            update = {**update, key: [*(before or []), *value] if key == "notes" else value}
    return update


Node = Callable[[Any, Run], Coroutine[Any, Any, Update]]
_UNCHANGED: Update = {"notes": []}
"""The update of a node that changes nothing: LangGraph streams an empty one as None."""


_FIRST = frozenset({"foresee", "initialize_pool"})
"""Nodes before which a run has no pool: one that is there was made in an earlier turn of the conversation."""


def _about(node: Node, state: Mapping[str, Any]) -> AbstractContextManager[None]:
    thought = state.get("meta_thought")
    return about(node.__name__, state.get("round"), thought["id"] if thought else None)


def _billed(update: Update, node: Node) -> Update:
    """The update with its bill as the node's part of the run's, and with what the run forgot when it went back."""
    given = update.get("usage")
    bill = given.value if isinstance(given, Overwrite) else given
    keeper = current_keeper()
    lost = keeper.take_lost() if keeper is not None else no_usage()
    if lost["calls"]:
        bill = add_usage(bill or no_usage(), lost)
    if not bill:
        return update
    billed = of_node(bill, node.__name__)
    return {**update, "usage": Overwrite(billed) if isinstance(given, Overwrite) else billed}


def runnable(node: Node, parts: Components) -> RunnableLambda[Any, Update]:
    """A LangGraph node that runs one coroutine for `invoke` and `ainvoke`; refuses states of earlier versions."""

    def begun(state: Any) -> tuple[Run, RunScope]:
        check_continuable(state)
        past = {} if node.__name__ in _FIRST and state.get("pool") else state
        run = parts.run(past.get("candidates", ()), past.get("granted", 0))
        scope = run.scope
        scope.begin(parts.labels, {} if past.get("result") else past.get("left_out", {}))
        return run, scope

    def call(state: Any) -> Update:
        run, scope = begun(state)
        with inside(scope), _about(node, state):
            update = run_sync(lambda: node(state, run), scope.work)
        return _with_findings(_billed(update, node), scope) or _UNCHANGED

    async def acall(state: Any) -> Update:
        run, scope = begun(state)
        with inside(scope), _about(node, state):
            update = await node(state, run)
        return _with_findings(_billed(update, node), scope) or _UNCHANGED

    afunc: Callable[[Any], Awaitable[Update]] = acall
    return RunnableLambda(call, afunc=afunc, name=node.__name__)
