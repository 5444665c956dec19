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
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from statistics import fmean, pvariance
from typing import Any, ParamSpec, TypeVar

import numpy as np
from langchain_core.embeddings import Embeddings
from langgraph.store.base import BaseStore, Item
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from metascale.bandits import Arm
from metascale.bandits.estimates import estimate
from metascale.errors import SettingError
from metascale.memory.embeddings import HashedEmbeddings
from metascale.memory.recollection import WORTH_KEEPING, Episode, Numbers, Record, recollect, worth_trying
from metascale.pool.admission import PoolArm
from metascale.pool.beliefs import Beliefs, Kept, key_of
from metascale.records import MetaThought
from metascale.runtime.bridge import either

P = ParamSpec("P")
T = TypeVar("T")

NAMESPACE = ("metascale", "memory")
NAME = re.compile(r"[^.\x00-\x1f]{1,100}")
"""Names of memories. LangGraph's stores allow no dots."""
MOST_EPISODES = 1_000
"""Runs that a memory holds; the oldest are forgotten. They take 2 MB. Older runs would count for a quarter or less."""
MOST_KEPT = 3
"""The most meta-thoughts of a run that are kept as texts. Not tuned."""
TASK_CHARACTERS = 200
"""Characters of a task's text that are kept, for people to recognise it."""
QUANTA = 127
"""Embeddings are kept as whole numbers from -127 to 127: one byte a dimension, cosines exact to about 0.01."""


class Remembered(BaseModel):
    """One run as it is stored."""

    model_config = ConfigDict(extra="forbid")

    at: AwareDatetime = Field(description="When it ended.")
    task: str = Field(description="The beginning of the question.")
    embedder: str = Field(description="What embedded the question; runs of another embedder are not compared.")
    embedding: str = Field(description="The question's embedding, base64 of a signed byte a dimension.")
    records: dict[str, Record] = Field(min_length=1, description="The rewards of the meta-thoughts, by their keys.")
    names: dict[str, str] = Field(description="Readable names of the meta-thoughts, by their keys.")
    winner: str | None = Field(description="The key of the meta-thought whose answer was chosen.")
    kept: list[Kept] = Field(description="Meta-thoughts worth trying on similar tasks.")

    def episode(self) -> Episode:
        """The run as `recollect` reads it.

        Raises:
            ValueError: the embedding is not base64.
        """
        return Episode(_decoded(self.embedding), self.records, tuple(self.kept))


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

    async def recall(self, question: str, *, budget: int, at_most: int = 0) -> Recollection:
        """What earlier runs say before a new one; see `recollect`.

        Args:
            question: of the new run.
            budget: of the new run, in samples, at least 1.
            at_most: the most kept meta-thoughts to return.
        """
        embedding = await self._embedded(question)
        ours = [run.episode() for run in (await self.runs()).values() if run.embedder == self._embedder(embedding)]
        episodes = [episode for episode in ours if len(episode.embedding) == len(embedding)]
        return Recollection(
            recollect(episodes, embedding, budget=budget), worth_trying(episodes, embedding, at_most), len(episodes)
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
            records: the rewards of its meta-thoughts, by `key_of`; a run without any is not remembered.
            names: readable names of the meta-thoughts, by `key_of`.
            winner: the key of the meta-thought whose answer was chosen.
            kept: meta-thoughts that are worth trying on similar tasks.
        """
        if not records:
            return
        embedding = await self._embedded(question)
        run = Remembered(
            at=datetime.now(UTC),
            task=question[:TASK_CHARACTERS],
            embedder=self._embedder(embedding),
            embedding=_encoded(embedding),
            records=dict(records),
            names=dict(names or {}),
            winner=winner,
            kept=list(kept),
        )
        key = key_of_run(question, records, winner)
        await _either(self.store.put, self.store.aput, self.namespace, key, run.model_dump(mode="json"))
        for old in list(await self.runs())[: -self.most]:
            await self.forget(old)

    async def runs(self) -> dict[str, Remembered]:
        """All remembered runs by their key, from old to new. Invalid records are skipped."""
        found = [(item.key, run) for item in await self._items() if (run := _read(item.value)) is not None]
        return dict(sorted(found, key=lambda pair: (pair[1].at, pair[0])))

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


async def _either(
    call: Callable[P, T], acall: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **options: P.kwargs
) -> T:
    """As `either`; `call` runs in a thread for stores without asynchronous methods, such as `SqliteStore`."""
    try:
        return await either(call, acall, *args, **options)
    except NotImplementedError:
        return await asyncio.to_thread(call, *args, **options)


def records_of(pool: Sequence[MetaThought], members: Sequence[PoolArm]) -> tuple[dict[str, Record], dict[str, str]]:
    """The rewards and the readable names of a run's meta-thoughts, both by `key_of`.

    Args:
        pool: the meta-thoughts.
        members: their statistics, in the same order. Arms that only rework other arms' answers are left out.
    """
    records, names = {}, {}
    for thought, member in zip(pool, members, strict=True):
        if member.rewards and member.breeds:
            key = key_of(thought["mindset"], thought["strategy"])
            records[key] = Record(len(member.rewards), fmean(member.rewards), pvariance(member.rewards))
            names[key] = thought["id"] if member.is_fixed else " ".join(thought["strategy"].split())[:80]
    return records, names


def worth_keeping(pool: Sequence[MetaThought], members: Sequence[PoolArm]) -> list[Kept]:
    """The run's own meta-thoughts that beat its average, best first.

    Their means are drawn towards the average arm's. Priors are left out, because beliefs from this memory are no new
    evidence. Fixed arms are left out, because every run has them.
    """
    known = estimate([Arm(member.pulls, member.rewards) for member in members])
    kept = []
    for thought, member, mean in zip(pool, members, known.means.tolist(), strict=True):
        is_eligible = len(member.rewards) >= WORTH_KEEPING and member.breeds and not member.is_fixed
        if is_eligible and mean > known.centre:
            kept.append(Kept(thought["mindset"], thought["strategy"], mean - known.centre, len(member.rewards)))
    return sorted(kept, key=lambda one: -one.advantage)[:MOST_KEPT]


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
