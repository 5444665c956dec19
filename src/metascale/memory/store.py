"""Strategy memory: the record of meta-thoughts, kept in a LangGraph store for later runs.

No paper describes it in this form. SMART (arXiv 2410.16128) trains a model to choose the right strategy at once. Here
the choice is learned from the rewards of earlier runs on similar tasks, without training.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from statistics import fmean, pvariance
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from langchain_core.embeddings import Embeddings
from langgraph.store.base import BaseStore, Item
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from metascale.bandits import Arm
from metascale.bandits.estimates import estimate
from metascale.errors import SettingError
from metascale.memory.embeddings import HashedEmbeddings
from metascale.memory.levels import nearest_kind
from metascale.memory.recollection import WORTH_KEEPING, Episode, Numbers, Record, recollect, worth_trying
from metascale.pool.admission import PoolArm
from metascale.pool.beliefs import Beliefs, Kept, key_of
from metascale.pool.pairs import pairs_of
from metascale.records import Candidate, MetaThought
from metascale.runtime.bridge import either

P = ParamSpec("P")
T = TypeVar("T")

NAMESPACE = ("metascale", "memory")
NAME = re.compile(r"[^.\x00-\x1f]{1,100}")
"""Names of memories. LangGraph's stores allow no dots."""
MOST_EPISODES = 10_000
"""Runs that a memory holds; the oldest are forgotten. They take about 20 MB."""
MOST_KEPT = 3
"""The most meta-thoughts of a run that are kept as texts. Not tuned."""
TASK_CHARACTERS = 200
"""Characters of a task's text that are kept, for people to recognise it."""
VERDICT_COUNTS = 4
"""Samples that a user's verdict counts for. Not tuned: as rewards of one run are correlated, it is worth about two."""
QUANTA = 127
"""Embeddings are kept as whole numbers from -127 to 127: one byte a dimension, cosines exact to about 0.01."""


class Remembered(BaseModel):
    """One run as it is stored."""

    model_config = ConfigDict(extra="forbid")

    at: AwareDatetime = Field(description="When it ended.")
    task: str = Field(description="The beginning of the question.")
    embedder: str = Field(description="What embedded the question; runs of another embedder are not compared.")
    embedding: str = Field(description="The question's embedding, base64 of a signed byte a dimension.")
    records: dict[str, Record] = Field(description="The rewards of the arms, by their names (`ArmKey`).")
    names: dict[str, str] = Field(description="Readable names of the arms, by their names.")
    winner: str | None = Field(description="The name of the arm whose answer was chosen.")
    kept: list[Kept] = Field(description="Meta-thoughts worth trying on similar tasks.")
    kind: str = Field(default="", description="The kind of task: the key of the first run of this kind.")
    verdict: float | None = Field(default=None, ge=0, le=1, description="The user's score of the answer; null without.")

    def episode(self) -> Episode:
        """The run as `recollect` reads it. The user's verdict replaces what the winner's samples were rewarded.

        Raises:
            ValueError: the embedding is not base64.
        """
        records = self.records
        if self.verdict is not None and self.winner is not None:
            records = {**records, self.winner: Record(VERDICT_COUNTS, self.verdict, 0.0)}
        return Episode(_decoded(self.embedding), records, tuple(self.kept), self.kind)


@dataclass(frozen=True)
class Recollection:
    """What a memory returns before a run.

    Attributes:
        beliefs: priors of meta-thoughts.
        kept: meta-thoughts with high rewards on similar tasks, best first.
        similar: the number of remembered runs that were compared.
    """

    beliefs: Beliefs
    kept: Sequence[Kept] = ()
    similar: int = 0


@dataclass(frozen=True)
class StrategyMemory:
    """A named memory in a store.

    Every run is a record of its own, so that processes can write at the same time without losses. Priors are computed
    when the memory is read.

    Attributes:
        store: any LangGraph store, set up. It needs no index: similarities are computed here.
        name: of the user, project or other owner of the memory; without dots.
        embeddings: of questions; hashed words by default.
        most: the most runs to hold, at least 1.
    """

    store: BaseStore
    name: str = "default"
    embeddings: Embeddings = HashedEmbeddings()  # noqa: RUF009  it has no state
    most: int = MOST_EPISODES

    def __post_init__(self) -> None:
        """Check the name.

        Raises:
            SettingError: it is not a valid name.
        """
        if not NAME.fullmatch(self.name):
            raise SettingError(f"a memory's name is 1 to 100 characters without a dot, not {self.name!r}")

    @property
    def namespace(self) -> tuple[str, ...]:
        """Its namespace in the store."""
        return (*NAMESPACE, self.name)

    async def recall(
        self, question: str, *, budget: int, at_most: int = 0, models: Collection[str] = ()
    ) -> Recollection:
        """What earlier runs say before a new one; see `recollect`.

        Args:
            question: of the new run.
            budget: of the new run, in samples, at least 1.
            at_most: the most kept meta-thoughts to return.
            models: of the new run. Meta-thoughts that other models did well with count less, and a model that was known
                under other parameters begins at what they showed.
        """
        embedding = await self._embedded(question)
        episodes = [episode for _, episode in await self._comparable(embedding) if episode.records]
        return Recollection(
            recollect(episodes, embedding, budget=budget, models=models),
            worth_trying(episodes, embedding, at_most, models),
            len(episodes),
        )

    async def remember(
        self,
        question: str,
        records: Mapping[str, Record],
        *,
        names: Mapping[str, str] | None = None,
        winner: str | None = None,
        kept: Sequence[Kept] = (),
    ) -> None:
        """Remember a run, and forget the oldest ones beyond `most`.

        Remembering the same run again changes nothing.

        Args:
            question: of the run.
            records: the rewards of its arms, by their names (`ArmKey`). There may be none if there is a winner, whose
                answer may get a verdict later (`feedback`).
            names: readable names of the arms, by their names.
            winner: the name of the arm whose answer was chosen.
            kept: meta-thoughts that are worth trying on similar tasks.
        """
        if not records and winner is None:
            return
        embedding = await self._embedded(question)
        key = key_of_run(question, records, winner)
        earlier = [(other, episode) for other, episode in await self._comparable(embedding) if other != key]
        cosines = np.array([episode.embedding for _, episode in earlier]).reshape(-1, len(embedding)) @ embedding
        nearest = nearest_kind(cosines)
        run = Remembered(
            at=datetime.now(UTC),
            task=question[:TASK_CHARACTERS],
            embedder=self._embedder(embedding),
            embedding=_encoded(embedding),
            records=dict(records),
            names=dict(names or {}),
            winner=winner,
            kept=list(kept),
            kind=key if nearest is None else earlier[nearest][1].kind,
        )
        await _either(self.store.put, self.store.aput, self.namespace, key, run.model_dump(mode="json"))
        for old in list(await self.runs())[: -self.most]:
            await self.forget(old)

    async def feedback(self, run: str, score: float) -> str:
        """Take the user's own verdict on the answer of a remembered run. A later verdict replaces an earlier one.

        Args:
            run: its key, or the beginning of it: `memory_run` of the result, or as `metascale memory show` prints it.
            score: in [0, 1]; 1 is right.

        Returns:
            The whole key.

        Raises:
            SettingError: the score is out of its range, no run or several begin with this key, or the run has no
                answer.
        """
        if not 0 <= score <= 1:
            raise SettingError(f"a verdict is a score from 0 to 1, not {score}")
        runs = await self.runs()
        matching = [key for key in runs if key.startswith(run)]
        if len(matching) != 1 or not run:
            raise SettingError(f"{run!r} must match one remembered run, and matches {len(matching)}")
        key = matching[0]
        if runs[key].winner is None:
            raise SettingError(f"the run {key[:8]} has no answer")
        changed = runs[key].model_copy(update={"verdict": float(score)})
        await _either(self.store.put, self.store.aput, self.namespace, key, changed.model_dump(mode="json"))
        return key

    async def runs(self) -> dict[str, Remembered]:
        """All remembered runs by their key, from old to new. Invalid records are skipped."""
        return {key: run for key, run, _ in await self._read()}

    async def _comparable(self, embedding: Numbers) -> list[tuple[str, Episode]]:
        """The runs with embeddings of the same kind, by their keys, from old to new."""
        ours = self._embedder(embedding)
        return [
            (key, episode)
            for key, run, episode in await self._read()
            if run.embedder == ours and len(episode.embedding) == len(embedding)
        ]

    async def _read(self) -> list[tuple[str, Remembered, Episode]]:
        """All valid runs, from old to new. What was read before and has not changed is not parsed again."""
        known = _READ.setdefault(self.store, {})
        before, found = known.get(self.namespace, {}), {}
        for item in await self._items():
            parsed = before.get(item.key)
            if parsed is None or parsed[0] != item.updated_at:
                run = _read(item.value)
                parsed = (item.updated_at, run, run.episode()) if run is not None else None
            if parsed is not None:
                found[item.key] = parsed
        known[self.namespace] = found
        runs = [(key, run, episode) for key, (_, run, episode) in found.items()]
        return sorted(runs, key=lambda one: (one[1].at, one[0]))

    async def forget(self, key: str | None = None) -> int:
        """Forget one run, or all.

        Returns:
            The number of forgotten runs.
        """
        keys = [item.key for item in await self._items() if key in {None, item.key}]
        for one in keys:
            await _either(self.store.delete, self.store.adelete, self.namespace, one)
        return len(keys)

    async def _items(self) -> Iterable[Item]:
        return await _either(self.store.search, self.store.asearch, self.namespace, limit=10 * self.most)

    async def _embedded(self, question: str) -> Numbers:
        vector = await either(self.embeddings.embed_query, self.embeddings.aembed_query, question)
        embedding = np.array(vector, dtype=np.float64)
        return embedding / (float(np.linalg.norm(embedding)) or 1.0)

    def _embedder(self, embedding: Numbers) -> str:
        return f"{type(self.embeddings).__name__}/{len(embedding)}"


_READ: WeakKeyDictionary[BaseStore, dict[tuple[str, ...], dict[str, tuple[datetime, Remembered, Episode]]]] = (
    WeakKeyDictionary()
)
"""What was read of each store before, by namespace and key."""


async def _either(
    call: Callable[P, T], acall: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **options: P.kwargs
) -> T:
    """As `either`; `call` runs in a thread for stores without asynchronous methods, such as `SqliteStore`."""
    try:
        return await either(call, acall, *args, **options)
    except NotImplementedError:
        return await asyncio.to_thread(call, *args, **options)


def records_of(
    pool: Sequence[MetaThought], members: Sequence[PoolArm], candidates: Sequence[Candidate]
) -> tuple[dict[str, Record], dict[str, str]]:
    """The rewards and the readable names of a run's arms, both by their names (`ArmKey`).

    Args:
        pool: the meta-thoughts.
        members: their statistics, in the same order. Arms that only rework other arms' answers are left out.
        candidates: the samples.
    """
    records, names = {}, {}
    for pair in pairs_of(pool, members, candidates, _models(candidates)):
        thought, member, rewards = pool[pair.thought], members[pair.thought], pair.arm.rewards
        if rewards and member.breeds:
            key = str(pair.key._replace(thought=key_of(thought["mindset"], thought["strategy"])))
            records[key] = Record(len(rewards), fmean(rewards), pvariance(rewards))
            names[key] = thought["id"] if member.is_fixed else " ".join(thought["strategy"].split())[:80]
    return records, names


def worth_keeping(
    pool: Sequence[MetaThought], members: Sequence[PoolArm], candidates: Sequence[Candidate]
) -> list[Kept]:
    """The run's own meta-thoughts that beat the average under one of its models, best first.

    Their means are drawn towards the average arm's of that model. Priors are left out, because beliefs from this
    memory are no new evidence. Fixed arms are left out, because every run has them. Arguments as for `records_of`.
    """
    models = _models(candidates)
    pairs = pairs_of(pool, members, candidates, models)
    best: dict[int, Kept] = {}
    for model in models:
        own = [pair for pair in pairs if pair.key.model == model]
        known = estimate([Arm(pair.arm.pulls, pair.arm.rewards) for pair in own])
        for pair, mean in zip(own, known.means.tolist(), strict=True):
            member, count, gain = members[pair.thought], len(pair.arm.rewards), mean - known.centre
            is_eligible = count >= WORTH_KEEPING and member.breeds and not member.is_fixed
            before = best.get(pair.thought)
            if is_eligible and gain > (before.advantage if before else 0.0):
                thought = pool[pair.thought]
                best[pair.thought] = Kept(thought["mindset"], thought["strategy"], gain, count, model)
    return sorted(best.values(), key=lambda one: -one.advantage)[:MOST_KEPT]


def _models(candidates: Sequence[Candidate]) -> list[str]:
    """The models of some samples; one without a name where an earlier version drew them."""
    return list(dict.fromkeys(model for c in candidates if (model := c.get("model")))) or [""]


def key_of_run(question: str, records: Mapping[str, Record], winner: str | None) -> str:
    """The key of a run in a memory: the hash of its question, rewards and winner."""
    earned = {key: asdict(record) for key, record in records.items()}
    return hashlib.sha256(json.dumps([question, earned, winner], sort_keys=True).encode()).hexdigest()[:32]


def _read(value: Mapping[str, Any]) -> Remembered | None:
    try:
        run = Remembered.model_validate(value)
        run.episode()
    except ValueError:
        return None
    return run


def _encoded(embedding: Numbers) -> str:
    scale = QUANTA / (float(np.abs(embedding).max(initial=0.0)) or 1.0)
    return base64.b64encode(np.round(embedding * scale).astype(np.int8).tobytes()).decode()


def _decoded(text: str) -> Numbers:
    vector = np.frombuffer(base64.b64decode(text, validate=True), dtype=np.int8).astype(np.float64)
    length = float(np.linalg.norm(vector))
    return vector / length if length else vector
