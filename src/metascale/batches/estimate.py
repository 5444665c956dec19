"""What a batch will cost at most and likely, before its first request."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metascale.batches.limits import GRANT, SharedLimits, opening_budget
from metascale.costs import (
    ANSWER_TOKENS,
    Part,
    cost,
    likely_parts_of_one,
    part_of_thoughts,
    parts_of_one,
    price_in,
    question_tokens,
    unpriced,
)
from metascale.models import MeteredModel
from metascale.settings import MetaScaleSettings, Tariff

LARGEST = 4_096
"""Samples of a question that an estimate reckons with, however much money there is."""


@dataclass(frozen=True)
class PricedModels:
    """The models of a batch and their prices.

    Attributes:
        solver: the name of the model that answers, the dearest if several do.
        judge: the name of the model that scores.
        prices: what the models cost, by name, beside the setting `prices`; those that are missing are unknown.
    """

    solver: str
    judge: str
    prices: Mapping[str, Tariff]

    @classmethod
    def of(
        cls, solvers: Sequence[MeteredModel], judges: Iterable[MeteredModel], settings: MetaScaleSettings
    ) -> PricedModels:
        """The models as runs ask them: of several that answer the dearest; without a judge the first one scores."""
        asked = [*solvers, *judges]
        known = {model.name: price for model in asked if (price := model.tariff(settings)) is not None}
        prices = {**settings.prices, **known}

        def of_a_token(model: MeteredModel) -> float:
            price = price_in(prices, model.name)
            return math.inf if price is None else price.of(1, 1)

        judge = asked[len(solvers)] if len(asked) > len(solvers) else solvers[0]
        return cls(max(solvers, key=of_a_token).name, judge.name, prices)


@dataclass(frozen=True)
class Estimate:
    """What a batch will cost.

    Attributes:
        likely: the requests that it likely takes, with their tokens.
        likely_usd: what they cost, in US dollars; None if a price is unknown.
        most_calls: the most requests without errors; None without a limit.
        most_usd: the most US dollars: the limit, if there is one, or else an estimate for `most_calls`. None if a price
            is unknown or nothing is limited.
        unpriced: the models whose price is unknown, each with its roles.
    """

    likely: Sequence[Part]
    likely_usd: float | None
    most_calls: int | None
    most_usd: float | None
    unpriced: Sequence[str]


def estimate(
    questions: Sequence[str], settings: MetaScaleSettings, limits: SharedLimits, method: str, models: PricedModels
) -> Estimate:
    """What it costs to answer questions.

    Args:
        questions: their texts, at least one.
        settings: of every run.
        limits: of all of them together.
        method: the method's name.
        models: what is asked.
    """
    count, length = len(questions), question_tokens(questions)
    alike: dict[str, Any] = {"solver": models.solver, "judge": models.judge, "question": length}

    def likely(budget: int) -> list[Part]:
        changes: dict[str, Any] = {"budget": budget}
        if limits.is_shared:
            changes["stop_on_agreement"] = None
        of_one = likely_parts_of_one(method, settings.model_copy(update=changes), **alike)
        return [part.times(count) for part in of_one]

    def is_too_much(budget: int) -> bool:
        parts = likely(budget)
        usd = cost(parts, models.prices)
        calls, money = limits.max_calls, limits.max_cost_usd
        return (calls is not None and _calls(parts) > calls) or (None not in (usd, money) and usd > money)  # type: ignore[operator]

    budget = _budget(settings, limits, count)
    parts = likely(max(1, bisect_left(range(1, budget + 1), True, key=is_too_much)))
    calls: list[int | None] = [limits.max_calls, settings.max_calls and settings.max_calls * count]
    money: list[float | None] = [limits.max_cost_usd, settings.max_cost_usd and settings.max_cost_usd * count]
    if limits.samples is not None or not limits.is_shared:
        each = math.ceil(limits.samples / count) if limits.samples is not None else budget
        answer = float(settings.max_tokens or ANSWER_TOKENS)
        of_one = parts_of_one(method, settings.model_copy(update={"budget": each}), answer=answer, **alike)
        most = [part.times(count) for part in of_one]
        if limits.samples is not None:
            most.append(part_of_thoughts(models.solver, _evolutions(settings, limits, count), question=length))
        calls.append(_calls(most))
        money.append(cost(most, models.prices))
    return Estimate(
        likely=parts,
        likely_usd=cost(parts, models.prices),
        most_calls=min((limit for limit in calls if limit is not None), default=None),
        most_usd=min((limit for limit in money if limit is not None), default=None),
        unpriced=unpriced(parts, models.prices),
    )


def _calls(parts: Iterable[Part]) -> int:
    return sum(part.calls for part in parts)


def _budget(settings: MetaScaleSettings, limits: SharedLimits, questions: int) -> int:
    """The average number of samples a question may get under the limits."""
    if not limits.is_shared:
        return settings.budget
    if limits.samples is not None:
        return limits.samples // questions
    is_paid = limits.max_calls is not None or limits.max_cost_usd is not None
    return LARGEST if is_paid else opening_budget(settings, limits, questions)


def _evolutions(settings: MetaScaleSettings, limits: SharedLimits, questions: int) -> int:
    """Most evolutions of all runs that share samples: each needs rounds of its own, which few runs may have."""
    if settings.evolution == "off" or settings.evolve_every == 0 or limits.samples is None:
        return 0
    shared = limits.samples - questions * opening_budget(settings, limits, questions)
    return shared // (GRANT * settings.evolve_every)
