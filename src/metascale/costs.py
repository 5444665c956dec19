"""What runs will cost, before they start: requests, tokens and dollars of each model in each of its roles."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from metascale.budget.limits import PULLS_AN_ARM
from metascale.budget.populations import MIXTURE_OF_AGENTS, RECURSIVE_SELF_AGGREGATION
from metascale.budget.rounds import FIRST_ROUND, round_sizes
from metascale.choice.automatic import asks_for_search, by_votes
from metascale.graphs import METHODS
from metascale.models.simulated import OVERCONFIDENCE, SimulatedChatModel
from metascale.rewards import PanelReward, Reward, create_reward
from metascale.rewards.base import RelativeReward
from metascale.rewards.scorer import Scorer
from metascale.settings import MetaScaleSettings, Price, Tariff, price_of

Role = Literal["solver", "judge", "arena's judge", "arena's baseline"]
"""What a model is asked for: answers and meta-thoughts, rewards, verdicts on battles, and the answers to beat."""

ANSWER_TOKENS, LONG_ANSWER_TOKENS = 400, 1_000
"""Tokens of an answer with its reasoning, as instruction-tuned models write them to a word problem, and to an open
request of Arena-Hard. Models that think at length write several times as much."""
CHARS_A_TOKEN = 3
"""Characters of a question that make a token: prose has about 4, formulas and code about 3."""


DRAWN = 0.5
"""Share of a budget that is likely drawn where a search stops on agreement: of 16 samples 46, 62 and 49 % were, on the
recorded answers of three models (`docs/reference/policies.md`)."""
JUDGED = 0.6
"""Share of the first scores that are likely asked for where answers that agree share verdicts: 50 to 80 % of 8 and 16
samples of the offline model, a simulation. Not tuned."""


class Tokens(NamedTuple):
    """Tokens of requests."""

    input: float
    output: float


INSTRUCTIONS: Mapping[str, Tokens] = {
    "sample": Tokens(350, 0),
    "thought": Tokens(1_500, 800),
    "judgement": Tokens(700, 350),
    "verdict": Tokens(300, 400),
}
"""Tokens of a request without its question and answers: the longest of our prompts of a kind, with its JSON schema, and
a reply of the length that it asks for."""
AGGREGATING = {"rsa": RECURSIVE_SELF_AGGREGATION, "mixture_of_agents": MIXTURE_OF_AGENTS}
"""Methods whose requests show earlier answers."""
FREE = Price(input=0.0, output=0.0)


@dataclass(frozen=True)
class Part:
    """The requests to one model in one role.

    Attributes:
        role: what it is asked for.
        models: the model's name; several where any of them may be asked.
        calls: most requests without errors.
        tokens: an estimate of the tokens of all requests.
    """

    role: Role
    models: tuple[str, ...]
    calls: int
    tokens: Tokens

    def times(self, questions: int) -> Part:
        """The same for this many questions."""
        return Part(self.role, self.models, self.calls * questions, Tokens(*(n * questions for n in self.tokens)))

    def share(self, part: float) -> Part:
        """This share of the requests, rounded up."""
        return Part(self.role, self.models, math.ceil(part * self.calls), Tokens(*(part * n for n in self.tokens)))

    def cost(self, prices: Mapping[str, Tariff]) -> float | None:
        """US dollars, with the dearest of several models; None if a price is missing.

        Long prompts may cost more a token, so it is the cost of a request of mean length, times the requests.
        """
        known = [price for model in self.models if (price := price_in(prices, model)) is not None]
        if len(known) < len(self.models):
            return None
        requests = max(1, self.calls)
        return max(price.of(*(tokens / requests for tokens in self.tokens)) for price in known) * requests


def price_in(prices: Mapping[str, Tariff], model: str) -> Tariff | None:
    """A model's price; the offline model and recorded answers are free."""
    return FREE if is_free(model) else price_of(prices, model)


def is_free(model: str) -> bool:
    """Whether a model, named as for Inspect or on the command line, is the offline model or a record."""
    return model in OVERCONFIDENCE or model.startswith(("metascale/", "recorded:"))


def cost(parts: Iterable[Part], prices: Mapping[str, Tariff]) -> float | None:
    """US dollars of all requests; None if a price is missing."""
    costs = [part.cost(prices) for part in parts]
    known = [dollars for dollars in costs if dollars is not None]
    return sum(known) if len(known) == len(costs) else None


def unpriced(parts: Iterable[Part], prices: Mapping[str, Tariff]) -> list[str]:
    """The models without a price, each with its roles."""
    roles: dict[str, list[str]] = {}
    for part in parts:
        for model in part.models:
            if price_in(prices, model) is None:
                roles.setdefault(model, []).append(part.role)
    return [f"{model} ({', '.join(dict.fromkeys(known))})" for model, known in roles.items()]


def merged(parts: Iterable[Part]) -> list[Part]:
    """One part for each role and model, in order of appearance."""
    found: dict[tuple[Role, tuple[str, ...]], Part] = {}
    for part in parts:
        key = (part.role, part.models)
        old = found.get(key, Part(*key, 0, Tokens(0, 0)))
        tokens = Tokens(*(a + b for a, b in zip(old.tokens, part.tokens, strict=True)))
        found[key] = Part(*key, old.calls + part.calls, tokens)
    return list(found.values())


def dearest_of(models: Sequence[str], prices: Mapping[str, Price]) -> str:
    """The model with the highest price for as many prompt tokens as reply tokens; one without a price, if any.

    Args:
        models: names of models, at least one.
        prices: the setting `prices`.
    """

    def cost(model: str) -> float:
        price = price_of(prices, model)
        return price.of(1_000, 1_000) if price else math.inf

    return max(models, key=cost)


def parts_of_one(
    method: str,
    settings: MetaScaleSettings,
    *,
    solver: str = "",
    judge: str = "",
    question: float = 0.0,
    answer: float = ANSWER_TOKENS,
) -> list[Part]:
    """Most model requests of one question without errors.

    Args:
        method: the method's name.
        settings: its settings.
        solver: the model that answers.
        judge: the model that scores answers.
        question: the question's tokens.
        answer: an answer's tokens.
    """
    chosen = METHODS[method]
    budget = 1 if chosen.one_pass else settings.budget
    shown = answer * (2 if settings.reward == "pairwise" else 1)
    read = answer * AGGREGATING[method].answers_read(budget) / budget if method in AGGREGATING else 0.0
    parts = [
        Part("solver", (solver,), budget, _tokens("sample", budget, question + read, answer)),
        Part("solver", (solver,), thoughts := _thoughts(method, settings), _tokens("thought", thoughts, question)),
    ]
    if chosen.judged:
        parts += [
            Part("judge", models, calls, _tokens("judgement", calls, question + shown))
            for models, calls in _judgements(settings, judge)
        ]
    return [part for part in merged(parts) if part.calls]


def likely_parts_of_one(
    method: str,
    settings: MetaScaleSettings,
    *,
    solver: str = "",
    judge: str = "",
    question: float = 0.0,
    answer: float = ANSWER_TOKENS,
) -> list[Part]:
    """The model requests that one question likely takes: `parts_of_one` without what few runs need.

    By default answers are compared by votes. A search that stops on agreement draws `DRAWN` of its budget. Answers that
    agree share verdicts, second looks are rare, and gated evolution breeds nothing.
    """
    if method == "metascale" and settings.reward == "auto" and not asks_for_search(settings):
        settings = by_votes(settings)
    changes: dict[str, object] = {"confirm": 0}
    if method == "metascale" and settings.stop_on_agreement is not None and settings.budget > FIRST_ROUND:
        changes["budget"] = max(FIRST_ROUND, math.ceil(DRAWN * settings.budget))
    if settings.evolution == "gated":
        changes["evolution"] = "off"
    parts = parts_of_one(
        method, settings.model_copy(update=changes), solver=solver, judge=judge, question=question, answer=answer
    )
    shares = Scorer(create_reward(settings, SimulatedChatModel())).shares_verdicts
    if not shares or settings.confirm == 0 or settings.final_choice == "best":
        return parts
    return [part.share(JUDGED) if part.role == "judge" else part for part in parts]


def part_of_thoughts(model: str, calls: int, *, question: float) -> Part:
    """Requests for meta-thoughts."""
    return Part("solver", (model,), calls, _tokens("thought", calls, question))


def part_of_battles(judge: str, *, question: float) -> Part:
    """The requests that judge one answer on Arena-Hard: two games."""
    return Part("arena's judge", (judge,), 2, _tokens("verdict", 2, question + 2 * LONG_ANSWER_TOKENS))


def part_of_baseline(model: str, *, question: float) -> Part:
    """The request for the baseline's answer to one question."""
    return Part("arena's baseline", (model,), 1, Tokens(question, LONG_ANSWER_TOKENS))


def question_tokens(texts: Sequence[str]) -> float:
    """The mean length of questions, in tokens."""
    return sum(map(len, texts)) / CHARS_A_TOKEN / max(1, len(texts))


def _tokens(kind: str, calls: int, read: float, written: float = 0.0) -> Tokens:
    given, asked = INSTRUCTIONS[kind]
    return Tokens(calls * (given + read), calls * (asked + written))


def _thoughts(method: str, settings: MetaScaleSettings) -> int:
    """Most requests of one question for meta-thoughts, plans, ratings and predictions."""
    if method == "self_discover_best_of_n":
        return 3
    if method == "mrp":
        return 1
    if method != "metascale":
        return 0
    foreseen = settings.predictions if settings.foresee else 0
    if settings.policy == "single":
        return foreseen
    composed = int(settings.budget > 2 and settings.pool_size > 2)
    return int(settings.seed_methods > 0) + foreseen + composed + _evolutions(settings)


def _judgements(settings: MetaScaleSettings, judge: str) -> list[tuple[tuple[str, ...], int]]:
    """Most requests of the reward by model: first scores of each round, and all allowed second looks."""
    reward = create_reward(settings, SimulatedChatModel())
    looks = settings.budget // 2 if settings.confirm is None else settings.confirm
    looked = looks * (Scorer(reward).calls_per_look or 0)
    if isinstance(reward, PanelReward):
        names = [member.model or judge for member in settings.panel] or [judge] * len(reward.members)
        first = [((name,), _first(m.reward, settings)) for name, m in zip(names, reward.members, strict=True)]
        return [*first, (tuple(dict.fromkeys(names)), looked)]
    asked = judge if settings.reward_model is None or settings.reward != "reward_model" else settings.reward_model.model
    return [((asked,), _first(reward, settings) + looked)]


def _first(reward: Reward | RelativeReward, settings: MetaScaleSettings) -> int:
    sizes = round_sizes(settings)
    return sum(reward.calls(size, sum(sizes[:number])) for number, size in enumerate(sizes))


def _evolutions(settings: MetaScaleSettings) -> int:
    """How often a run evolves without errors; an upper bound where evolution is gated or the pool fills up."""
    if settings.evolution == "off" or settings.evolve_every == 0:
        return 0
    budget_an_arm = PULLS_AN_ARM if settings.evolution == "gated" else 0
    arms, pulled, rounds, evolved_at, count = settings.pool_size, 0, 0, 0, 0
    for size in round_sizes(settings):
        pulled, rounds = pulled + size, rounds + 1
        is_time = rounds - evolved_at >= settings.evolve_every and arms <= pulled < settings.budget
        if is_time and settings.budget >= budget_an_arm * min(arms, settings.max_pool):
            arms, evolved_at, count = arms + settings.children, rounds, count + 1
    return count
