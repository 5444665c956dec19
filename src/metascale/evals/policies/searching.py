"""Replays the search on recorded samples of a real model: which arm is pulled next, and which answer is given.

All of it is real: samples, token probabilities and the model's own verdicts. Methods are compared at equal numbers of
model requests with self-consistency under chain of thought, on the same questions. A judged sample costs two requests.
Policies plan rounds of the default sizes, chain of thought has its head start, and the answer is chosen as in a
run, but without second looks. Nothing is composed or evolved: the arms are the recorded ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metascale.bandits import Arm, Policy, Prior
from metascale.budget.rounds import FIRST_ROUND
from metascale.choice.ranking import choose
from metascale.evals.policies.choosing import Draws, Weigh, balanced, equally, right_by_question, surest_by, weighed_by
from metascale.evals.policies.entrants import bandits
from metascale.evals.recordings import CERTAINTY, P_TRUE, VERDICT, Indices, Numbers, Recordings, verdict_reward
from metascale.evals.statistics import Interval, is_tie, paired_bootstrap
from metascale.pool.beliefs import WEIGHT
from metascale.records import Candidate
from metascale.rewards import AgreementReward, CertaintyReward
from metascale.rewards.scorer import settings_of_votes
from metascale.settings import MetaScaleSettings

Mask = NDArray[np.bool_]
SELF_CONSISTENCY = "chain of thought, majority"
MIXED = "all arms, majority"
CISC = "chain of thought, votes by certainty"
MIXED_CISC = "all arms, votes by certainty"
BEST_OF_N = "chain of thought, best by verdict"
"""What is compared with self-consistency beside the search."""
VOTES = "votes"
"""Stands for the reward where none is asked."""


@dataclass(frozen=True)
class Method:
    """How often one method is right at one number of requests.

    Attributes:
        name: of the way of voting, or of the policy.
        reward: that the policy learns from; `VOTES` without a policy.
        calls: model requests for one question, at most.
        samples: samples that these pay for.
        questions: questions with enough samples, also for self-consistency at as many requests.
        right: share of questions answered rightly, the mean over repeats.
        difference: to self-consistency under chain of thought.
        interval: the difference's 95 % bootstrap interval over questions.
        tie: whether the interval contains 0.
    """

    name: str
    reward: str
    calls: int
    samples: int
    questions: int
    right: float
    difference: float
    interval: Interval
    tie: bool


@dataclass(frozen=True)
class RecordedReward:
    """A reward whose values follow from recordings.

    Attributes:
        values: of some samples beside each other, in [0, 1]; None where there is none.
        calls: requests for one sample.
        known: which samples it can value, shape (n,).
        settings: of the final choice.
    """

    values: Callable[[Sequence[int]], list[float | None]]
    calls: int
    known: Mask
    settings: MetaScaleSettings


def recorded_rewards(recordings: Recordings) -> dict[str, RecordedReward]:
    """The rewards that the recordings allow, by their name in the settings."""
    plain = MetaScaleSettings()
    votes = settings_of_votes(plain)
    everything = np.ones(len(recordings.right), dtype=np.bool_)
    signals = recordings.signals
    found = {"agreement": RecordedReward(partial(_agreement, recordings), 0, everything, plain)}
    if CERTAINTY in signals:
        sure = signals[CERTAINTY]
        values = partial(_certainty, recordings, sure)
        found["certainty"] = RecordedReward(values, 0, ~np.isnan(sure), votes)
    if P_TRUE in signals:
        known = ~np.isnan(signals[P_TRUE])
        found["p_true"] = RecordedReward(partial(_each, signals[P_TRUE], _probability), 1, known, votes)
    if VERDICT in signals:
        known = ~np.isnan(signals[VERDICT])
        found["judge"] = RecordedReward(partial(_each, signals[VERDICT], verdict_reward), 1, known, plain)
    return found


def replay_search(
    recordings: Recordings,
    chain_of_thought: str,
    *,
    calls: Sequence[int] = (2, 4, 8, 16),
    policies: Sequence[str] = (),
    draws: int = 200,
    repeats: int = 2,
    seed: int = 0,
    processes: int = 1,
) -> list[Method]:
    """Compare ways of voting, and all policies with every recorded reward, with self-consistency at as many requests.

    Args:
        recordings: the samples.
        chain_of_thought: the name of that arm.
        calls: numbers of requests.
        policies: names of policies; empty for all.
        draws: random draws of each question for votes.
        repeats: searches of each question, with samples in another order.
        seed: of draws, orders and policies.
        processes: parallel processes; they do not change the result.

    Raises:
        UnknownNameError: there is no such policy.
    """
    entrants, sizes = bandits(policies), sorted(set(calls))
    cot = recordings.arms.index(chain_of_thought)
    plan = Draws(sizes, draws, seed)
    alone = recordings.arm == cot
    base = {size: right_by_question(recordings, alone, size, equally, plan) for size in sizes}
    found = [
        _method(
            *(name, VOTES, size),
            price=price,
            right=right_by_question(recordings, among, size // price, weigh, plan),
            base=base,
        )
        for name, among, weigh, price in _ways(recordings, alone)
        for size in sizes
        if size >= price
    ]
    prices = {name: 1 + reward.calls for name, reward in recorded_rewards(recordings).items()}
    jobs = [
        _Job(name, policy, reward, size)
        for reward, price in prices.items()
        for name, policy in entrants.items()
        for size in sizes
        if size >= price
    ]
    work = partial(_searched, recordings, cot, repeats, seed)
    if processes == 1:
        rights = list(map(work, jobs))
    else:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            rights = list(pool.map(work, jobs, chunksize=len(sizes)))
    found += [
        _method(job.name, job.reward, job.calls, price=prices[job.reward], right=right, base=base)
        for job, right in zip(jobs, rights, strict=True)
    ]
    return [one for one in found if one is not None]


class _Job(NamedTuple):
    """A policy with a reward at a number of requests."""

    name: str
    policy: Policy
    reward: str
    calls: int


def _ways(recordings: Recordings, alone: Mask) -> Iterator[tuple[str, Mask, Weigh, int]]:
    """Ways of voting: name, samples, weights, and requests for a sample."""
    mixed = balanced(recordings, np.ones_like(alone))
    yield SELF_CONSISTENCY, alone, equally, 1
    yield MIXED, mixed, equally, 1
    if CERTAINTY in recordings.signals:
        sure = recordings.signals[CERTAINTY]
        known = ~np.isnan(sure)
        yield CISC, alone & known, partial(weighed_by, sure), 1
        yield MIXED_CISC, balanced(recordings, known), partial(weighed_by, sure), 1
    if VERDICT in recordings.signals:
        verdicts = recordings.signals[VERDICT]
        yield BEST_OF_N, alone & ~np.isnan(verdicts), partial(surest_by, verdicts), 2


def _method(
    name: str, reward: str, calls: int, *, price: int, right: Numbers, base: Mapping[int, Numbers]
) -> Method | None:
    """The result of a method whose samples cost `price` requests each; None without questions to compare on."""
    both = ~np.isnan(right) & ~np.isnan(base[calls])
    if not both.any():
        return None
    own, other = right[both], base[calls][both]
    interval = paired_bootstrap(own, other, seed=0)
    difference = float((own - other).mean())
    return Method(
        name=name,
        reward=reward,
        calls=calls,
        samples=calls // price,
        questions=int(both.sum()),
        right=float(own.mean()),
        difference=difference,
        interval=interval,
        tie=is_tie(interval),
    )


def _searched(recordings: Recordings, cot: int, repeats: int, seed: int, job: _Job) -> Numbers:
    """The share of right searches of each question, shape (questions,); NaN where too few samples are recorded."""
    reward = recorded_rewards(recordings)[job.reward]
    samples = job.calls // (1 + reward.calls)
    right = np.full(len(recordings.questions), math.nan)
    priors = [
        Prior(MetaScaleSettings().head_start if arm == cot else 0.0, WEIGHT) for arm in range(len(recordings.arms))
    ]
    for question in range(len(recordings.questions)):
        own = np.flatnonzero(reward.known & (recordings.question == question))
        arms = [own[recordings.arm[own] == arm] for arm in range(len(recordings.arms))]
        if len(own) < samples or not len(arms[cot]):
            continue
        hits = 0
        for repeat in range(repeats):
            rng = np.random.default_rng([seed, question, repeat])
            drawn = search(job.policy, [rng.permutation(arm) for arm in arms], priors, reward, samples, rng=rng)
            hits += bool(recordings.right[_given(recordings, drawn, reward)])
        right[question] = hits / repeats
    return right


def search(
    policy: Policy,
    arms: Sequence[Indices],
    priors: Sequence[Prior | None],
    reward: RecordedReward,
    samples: int,
    *,
    rng: np.random.Generator,
) -> list[int]:
    """The samples that a policy draws, in rounds; arms without further samples are hidden from it.

    Args:
        policy: any.
        arms: the samples of each arm, in the order of drawing.
        priors: of the arms.
        reward: values the samples.
        samples: how many to draw, at most as many as there are.
        rng: of the policy.
    """
    seen: list[list[int]] = [[] for _ in arms]
    drawn: list[int] = []
    while len(drawn) < samples:
        values = dict(zip(drawn, reward.values(drawn), strict=True)) if drawn else {}
        filled = [arm for arm, own in enumerate(arms) if len(seen[arm]) < len(own)]
        known = [
            Arm(
                pulls=len(seen[arm]),
                rewards=tuple(value for sample in seen[arm] if (value := values[sample]) is not None),
                prior=priors[arm],
            )
            for arm in filled
        ]
        left = samples - len(drawn)
        for place in policy.plan(known, min(max(FIRST_ROUND, len(drawn)), left), rng, left=left):
            arm = filled[place]
            if len(seen[arm]) < len(arms[arm]):
                seen[arm].append(int(arms[arm][len(seen[arm])]))
                drawn.append(seen[arm][-1])
    return drawn


def _given(recordings: Recordings, drawn: Sequence[int], reward: RecordedReward) -> int:
    """The sample that a run would give as its answer."""
    values = reward.values(drawn)
    candidates = [_candidate(recordings, number, sample, values[number]) for number, sample in enumerate(drawn)]
    return drawn[choose(candidates, reward.settings).ranked[0]["id"]]


def _candidate(recordings: Recordings, number: int, sample: int, value: float | None) -> Candidate:
    final = int(recordings.answer[sample])
    return {
        "id": number,
        "round": 1,
        "meta_thought": recordings.arms[recordings.arm[sample]],
        "refines": None,
        "status": "ok",
        "text": str(sample),
        "error": None,
        "reward": value,
        "critique": None,
        "wording": "",
        "memo": None,
        "looks": [],
        "extracted": None if final < 0 else str(final),
        "input_tokens": 0,
        "output_tokens": 0,
    }


def _agreement(recordings: Recordings, drawn: Sequence[int]) -> list[float | None]:
    finals = [int(recordings.answer[sample]) for sample in drawn]
    return AgreementReward().values([None if final < 0 else final for final in finals])


def _certainty(recordings: Recordings, sure: Numbers, drawn: Sequence[int]) -> list[float | None]:
    memos = [{"arm": str(recordings.arm[sample]), "sureness": float(sure[sample])} for sample in drawn]
    return CertaintyReward().values(memos)


def _each(signal: Numbers, value: Callable[[float], float], drawn: Sequence[int]) -> list[float | None]:
    return [value(float(signal[sample])) for sample in drawn]


def _probability(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))
