"""The arms of a run: pairs of a meta-thought and a model, each explained by parts that it shares with others.

A reward is the model's part, the meta-thought's part, and a part of both together (`metascale.pool.parts`), so a pull
of one pair also teaches about others. A pair is offered to the policy once it is worth a first pull, so that 3 models
and 8 meta-thoughts need not be tried 24 times.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from metascale.bandits import Arm, Prior
from metascale.bandits.estimates import TAIL, estimate
from metascale.bandits.routing import price_of_money
from metascale.pool.admission import PoolArm
from metascale.pool.parts import ArmKey, likeness
from metascale.records import Candidate, MetaThought
from metascale.stats.shrinkage import Joint

Numbers = NDArray[np.float64]

TIE = 1e-6
"""The price of the dearest pull where money is not short: just enough to break ties."""
LEAST = 1e-6
"""The least weight of a prior, in rewards; below it is rounding."""


@dataclass(frozen=True)
class Pair:
    """An arm: one meta-thought under one model.

    Attributes:
        thought: the index of the meta-thought in the pool.
        key: the ids of both.
        arm: what its own pulls say, with what was believed before as its prior.
    """

    thought: int
    key: ArmKey
    arm: Arm


def model_of(candidate: Candidate, models: Sequence[str]) -> str:
    """The model of a sample: the run's first one where an earlier version did not say."""
    return candidate.get("model") or models[0]


def offered(
    pool: Sequence[MetaThought],
    members: Sequence[PoolArm],
    candidates: Sequence[Candidate],
    models: Sequence[str],
    *,
    among: tuple[Collection[int], Collection[str]],
    costs: Mapping[str, float] = MappingProxyType({}),
    allowed: float = math.inf,
) -> list[Pair]:
    """The pairs among which the policy chooses, with what their shared parts say; see `worth_offering`.

    Where costs are known, each pair has a price, and none is offered that costs more than is left for each pull, except
    the cheapest ones where all do. Without a limit the price only breaks ties: the cheaper model is asked first.

    Args:
        pool: the meta-thoughts.
        members: their statistics and priors, in the same order.
        candidates: the samples so far.
        models: the labels of the run's models, at least one.
        among: the indices of the meta-thoughts that may be pulled, and the models that may be asked.
        costs: what a pull costs with each model, in US dollars; empty where that is not known.
        allowed: what each pull may cost; infinite without a limit.
    """
    every = pairs_of(pool, members, candidates, models)
    known, noise = posterior_of(every)
    every = taught(every, known, noise)
    thoughts, asked = among
    free = [index for index, pair in enumerate(every) if pair.thought in thoughts and pair.key.model in asked]
    if costs:
        every = priced(every, known, costs, allowed, free)
        most = max(allowed, min(costs[every[index].key.model] for index in free))
        free = [index for index in free if costs[every[index].key.model] <= most]
    within = Joint(known.means[free], known.covariance[np.ix_(free, free)])
    return [every[free[index]] for index in worth_offering([every[index] for index in free], within)]


def priced(
    pairs: Sequence[Pair], known: Joint, costs: Mapping[str, float], allowed: float, free: Sequence[int]
) -> list[Pair]:
    """The pairs with the price of a pull, in units of reward.

    The price of money is that at which the pair with the highest value, `TAIL` standard deviations above its mean,
    costs no more than is allowed (`metascale.bandits.routing`).

    Args:
        pairs: all pairs.
        known: their posterior.
        costs: what a pull costs with each model, in US dollars.
        allowed: what each pull may cost; infinite without a limit.
        free: the indices of the pairs that may be pulled.
    """
    dollars = np.array([costs[pair.key.model] for pair in pairs])
    values = np.full(len(pairs), -np.inf)
    values[free] = (known.means + TAIL * np.sqrt(np.diag(known.covariance)))[free]
    money = price_of_money(values[None], dollars[None], allowed)
    prices = dollars * money + TIE * dollars / max(float(dollars.max()), LEAST)
    return [
        replace(pair, arm=replace(pair.arm, price=price)) for pair, price in zip(pairs, prices.tolist(), strict=True)
    ]


def pairs_of(
    pool: Sequence[MetaThought], members: Sequence[PoolArm], candidates: Sequence[Candidate], models: Sequence[str]
) -> list[Pair]:
    """All pairs with their own statistics, in the pool's order.

    Args:
        pool: the meta-thoughts.
        members: their statistics and priors, in the same order.
        candidates: the samples so far.
        models: the labels of the run's models, at least one.
    """
    pulls: Counter[ArmKey] = Counter()
    rewards: dict[ArmKey, list[float]] = {}
    for candidate in candidates:
        key = ArmKey(candidate["meta_thought"], model_of(candidate, models))
        pulls[key] += 1
        if candidate["reward"] is not None:
            rewards.setdefault(key, []).append(candidate["reward"])
    found = []
    for index, (thought, member) in enumerate(zip(pool, members, strict=True)):
        for model in models:
            key = ArmKey(thought["id"], model)
            said = thought.get("priors", {}).get(model)
            prior = Prior(**said) if said else member.prior
            found.append(Pair(index, key, Arm(pulls[key], tuple(rewards.get(key, ())), prior=prior)))
    return found


def posterior_of(pairs: Sequence[Pair]) -> tuple[Joint, float]:
    """The pairs' mean rewards as one joint distribution, and the variance of one reward around its pair's mean."""
    scales = estimate([Arm(pair.arm.pulls, pair.arm.rewards) for pair in pairs])
    noise = scales.noise**2
    counts = np.array([len(pair.arm.rewards) for pair in pairs], dtype=np.float64)
    sums = np.array([sum(pair.arm.rewards) for pair in pairs], dtype=np.float64)
    start = Joint(np.full(len(pairs), scales.centre), likeness([pair.key for pair in pairs]) * scales.spread**2)
    return start.given(np.diag(counts / noise), (sums - counts * scales.centre) / noise), noise


def taught(pairs: Sequence[Pair], known: Joint, noise: float) -> list[Pair]:
    """The pairs with what the others teach about each, added to its prior; unchanged where all have one model.

    The posterior without a pair's own rewards is its cavity distribution. Its weight, in rewards, is what it is more
    certain than before any reward.
    """
    if len({pair.key.model for pair in pairs}) == 1:
        return list(pairs)
    counts = np.array([len(pair.arm.rewards) for pair in pairs], dtype=np.float64)
    sums = np.array([sum(pair.arm.rewards) for pair in pairs], dtype=np.float64)
    variances = np.diag(known.covariance)
    precisions = 1 / variances - counts / noise
    means = (known.means / variances - sums / noise) / precisions
    before = estimate([Arm(pair.arm.pulls, pair.arm.rewards) for pair in pairs]).spread ** -2
    weights = np.maximum(0.0, noise * (precisions - before))
    advantages = np.clip(means - known.means.mean(), -1.0, 1.0)
    return [
        replace(pair, arm=replace(pair.arm, prior=_both(pair.arm.prior, advantage, weight)))
        for pair, advantage, weight in zip(pairs, advantages.tolist(), weights.tolist(), strict=True)
    ]


def worth_offering(pairs: Sequence[Pair], known: Joint) -> list[int]:
    """The pairs among which the policy chooses, as indices.

    Those are: pairs with a pull; for each meta-thought without one a pair with the model that is believed best for it,
    in turn where they are alike; for each model without one the pair with the meta-thought that is believed best; and
    untried pairs that may be better than every tried one (`TAIL` standard deviations above their means). Where some
    meta-thought is believed to be better than others, models are compared under it first.

    Args:
        pairs: that may be pulled, at least one.
        known: their posterior.
    """
    chosen = {index for index, pair in enumerate(pairs) if pair.arm.pulls}
    uppers = known.means + TAIL * np.sqrt(np.diag(known.covariance))
    if chosen:
        bar = max(uppers[index] for index in chosen)
        chosen |= set(np.flatnonzero(uppers > bar + 1e-9).tolist())
    offers = Counter(pairs[index].key.model for index in chosen)

    def first_of(rivals: Sequence[int]) -> int:
        def rank(index: int) -> tuple[float, int, float, int]:
            arm, model = pairs[index].arm, pairs[index].key.model
            return -_advantage(arm), offers[model], arm.price, index

        return min(rivals, key=rank)

    is_any_better = len({_advantage(pair.arm) for pair in pairs}) > 1
    for part in ("model", "thought") if is_any_better else ("thought", "model"):
        for name in dict.fromkeys(getattr(pair.key, part) for pair in pairs):
            rivals = [index for index, pair in enumerate(pairs) if getattr(pair.key, part) == name]
            if chosen.isdisjoint(rivals):
                best = first_of(rivals)
                chosen.add(best)
                offers[pairs[best].key.model] += 1
    return sorted(chosen)


def _both(prior: Prior | None, advantage: float, weight: float) -> Prior | None:
    """A prior together with another one of some weight, which may be 0."""
    if weight < LEAST:
        return prior
    if prior is None:
        return Prior(advantage, weight)
    both = prior.weight + weight
    return Prior((prior.weight * prior.advantage + weight * advantage) / both, both)


def _advantage(arm: Arm) -> float:
    return arm.prior.advantage if arm.prior else 0.0
