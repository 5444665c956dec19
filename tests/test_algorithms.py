"""The pure parts: policies, pool, bill, reducers, choice."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metascale import Candidate, MetaScaleSettings, MetaThought
from metascale.bandits import UCB, Arm, Policy, RoundRobin, Softmax, ucb_scores
from metascale.bandits.softmax import largest_remainder
from metascale.budget.limits import (
    PULLS_AN_ARM,
    affordable,
    evolution_due,
    failures_in_a_row,
    has_reached,
    stop_reason,
)
from metascale.budget.stopping import expected_progress, gain_of_more
from metascale.choice.ranking import choose, ranking, rivals
from metascale.evolution import by_ucb
from metascale.pool.admission import Draft, PoolArm, admit, arm_statistics, interleave, similarity
from metascale.runtime.seeds import derive_seed
from metascale.state import merge_by_id
from metascale.usage import MOST_TOKENS, Usage, add_usage, is_believable, no_usage, working_since
from tests.ledgers import candidate as whole

REWARDS = st.floats(0, 1)


def arm(rewards: list[float], missing: int) -> Arm:
    return Arm(len(rewards) + missing, tuple(rewards))


ARMS = st.lists(st.builds(arm, st.lists(REWARDS, max_size=6), st.integers(0, 2)), min_size=1, max_size=12)
POLICIES: list[Policy] = [UCB(0.3), UCB(0.0), Softmax(0.1), RoundRobin()]


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("policy", POLICIES)
@given(arms=ARMS, size=st.integers(1, 20))
def test_a_round_has_its_size_and_begins_with_unpulled_arms(policy: Policy, arms: list[Arm], size: int) -> None:
    plan = policy.plan(arms, size, rng(), left=size)
    assert len(plan) == size
    fresh = [i for i, arm in enumerate(arms) if arm.pulls == 0]
    assert plan[: len(fresh)] == fresh[:size]
    assert all(0 <= index < len(arms) for index in plan)
    assert plan == policy.plan(arms, size, rng(), left=size)


def test_ucb_is_the_papers_formula() -> None:
    arms = [Arm(4, (0.5, 0.5, 0.2, 0.8)), Arm(1, (0.9,)), Arm(0)]
    scores = ucb_scores(arms, 0.7)
    assert scores[0] == pytest.approx(0.5 + 0.7 * math.sqrt(math.log(5) / 4))
    assert scores[1] == pytest.approx(0.9 + 0.7 * math.sqrt(math.log(5) / 1))
    assert scores[2] == math.inf


def test_ucb_spreads_a_round_over_close_arms_and_exploits_a_clear_winner() -> None:
    close = [Arm(2, (0.5, 0.5)), Arm(2, (0.5, 0.5)), Arm(2, (0.5, 0.5))]
    assert sorted(UCB(0.3).plan(close, 6, rng(), left=6)) == [0, 0, 1, 1, 2, 2]
    clear = [Arm(2, (0.1, 0.1)), Arm(2, (0.9, 0.9))]
    assert UCB(0.1).plan(clear, 4, rng(), left=4) == [1, 1, 1, 1]


def test_ucb_ties_are_broken_by_the_seed_alone() -> None:
    arms = [Arm(1, (0.5,))] * 5
    plans = {UCB(0.3).plan(arms, 1, np.random.default_rng(seed), left=1)[0] for seed in range(60)}
    assert plans == set(range(5))


def test_an_unscored_arm_counts_as_average_not_as_zero() -> None:
    arms = [Arm(1, (0.2,)), Arm(1), Arm(1, (0.4,))]
    assert ucb_scores(arms, 0.0).tolist() == pytest.approx([0.2, 0.3, 0.4])


def test_softmax_shares_a_round_by_mean_reward() -> None:
    arms = [Arm(1, (0.5,)), Arm(1, (0.5 + 0.1 * math.log(3),))]
    assert sorted(Softmax(0.1).plan(arms, 8, rng(), left=8)) == [0, 0, 1, 1, 1, 1, 1, 1]


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=12), st.integers(0, 40))
def test_largest_remainder_loses_nothing(weights: list[float], size: int) -> None:
    shares = np.array(weights) / sum(weights)
    counts = largest_remainder(shares, size, rng())
    assert counts.sum() == size
    assert (np.abs(counts - shares * size) < 1 + 1e-9).all()


def test_eight_equal_arms_and_a_round_of_seven() -> None:
    starved = {int(np.argmin(largest_remainder(np.full(8, 1 / 8), 7, np.random.default_rng(s)))) for s in range(80)}
    assert starved == set(range(8))


def test_parents_are_the_scored_arms_of_highest_ucb() -> None:
    arms = [PoolArm(3, (0.4, 0.4, 0.4)), PoolArm(2), PoolArm(9, (0.5,) * 9), PoolArm(1, (0.45,))]
    assert by_ucb(arms, 0.3) == [3, 0, 2]
    assert by_ucb(arms, 0.0) == [2, 3, 0]


def thought(name: str, generation: int = 0, text: str = "") -> MetaThought:
    return {
        "id": name,
        "mindset": text or name,
        "strategy": text,
        "origin": "self_composed",
        "parents": [],
        "generation": generation,
    }


def draft(text: str) -> tuple[Draft, Any]:
    return Draft(mindset=f"You are {text}.", strategy=f"Do it as {text} would."), "evolved"


def test_admission_drops_duplicates_and_keeps_lineage() -> None:
    pool = [thought("m1", 2), thought("m2", 0)]
    wanted = [draft("a tailor"), draft("A  tailor"), draft("an umpire"), draft("the last mohican")]
    children = admit(pool, wanted, at_most=2, threshold=0.8, parents=pool)
    assert [(c["id"], c["mindset"]) for c in children] == [("m3", "You are a tailor."), ("m4", "You are an umpire.")]
    assert all(c["parents"] == ["m1", "m2"] and c["generation"] == 3 for c in children)
    assert admit(pool, wanted[:1], at_most=0, threshold=0.8) == []


def test_one_strategy_under_several_names_enters_the_first_pool_once() -> None:
    texts = [
        ("You are Beatrice.", "Start with the smaller ones."),
        ("You are Marcell.", "Start with the smaller ones."),
    ]
    drafts: Any = [(Draft(mindset=mindset, strategy=strategy), "self_composed") for mindset, strategy in texts]
    assert [new["mindset"] for new in admit([], drafts, at_most=2, threshold=0.8)] == ["You are Beatrice."]
    assert len(admit([], drafts, at_most=2, threshold=0.8, operator="combine")) == 2, "a child may change its mindset"


@given(st.text(max_size=60), st.text(max_size=60))
def test_similarity_is_a_similarity(one: str, other: str) -> None:
    assert 0 <= similarity(one, other) == similarity(other, one) <= 1
    assert similarity(one, one) == 1


def test_sources_take_turns() -> None:
    a, b, c = draft("a"), draft("b"), draft("c")
    assert interleave([a, b], [c]) == [a, c, b]
    assert interleave([], [c]) == [c]


RECORDS = st.lists(
    st.fixed_dictionaries({"id": st.integers(0, 5)}, optional={"a": st.integers(), "b": st.integers()}), max_size=4
)


@given(RECORDS, st.lists(RECORDS, max_size=6), st.integers(0, 6))
def test_the_reducer_is_batching_invariant(start: list[Any], writes: list[list[Any]], cut: int) -> None:
    base = merge_by_id([], [start])
    at_once = merge_by_id(base, writes)
    assert merge_by_id(merge_by_id(base, writes[:cut]), writes[cut:]) == at_once


def test_a_record_with_a_known_id_updates_that_ones_fields() -> None:
    there = [{"id": 1, "a": 1, "b": 1}, {"id": 2}]
    assert merge_by_id(there, [[{"id": 1, "b": 2}]]) == [{"id": 1, "a": 1, "b": 2}, {"id": 2}]


def spent(seconds: float, until: float, **counts: int) -> Usage:
    return {**no_usage(), **counts, "seconds": seconds, "until": until}  # type: ignore[typeddict-item]


def test_overlapping_work_counts_once() -> None:
    total = no_usage()
    for part in (spent(10, 10), spent(10, 12), spent(1, 5), spent(2, 100)):
        total = add_usage(total, part)
    assert total["seconds"] == pytest.approx(14)


@pytest.mark.parametrize("tokens", [0, MOST_TOKENS])
def test_token_counts_are_believed_only_within_bounds(tokens: int) -> None:
    assert is_believable(tokens)
    assert not any(map(is_believable, (-1, MOST_TOKENS + 1, 2.0, "7", None)))


def test_a_span_of_work_lasts_from_its_beginning_to_now() -> None:
    before = time.time()
    span = working_since(before - 5)
    assert span["until"] - span["seconds"] == pytest.approx(before - 5, abs=1e-3)
    assert before <= span["until"] <= time.time()
    assert working_since(before + 60)["seconds"] == 0
    assert {**span, "seconds": 0.0, "until": 0.0} == no_usage()


def test_an_unknown_price_makes_the_cost_unknown() -> None:
    known = no_usage() | {"cost_usd": 0.5}
    assert add_usage(known, known)["cost_usd"] == 1.0
    assert add_usage(add_usage(known, no_usage() | {"cost_usd": None}), known)["cost_usd"] is None


def candidate(number: int, reward: float | None, status: Any = "ok", arm: str = "m1") -> Candidate:
    text = "" if status in {"failed", "empty"} else f"text {number}"
    return whole(number, reward, round=1, status=status, meta_thought=arm, text=text)


def test_ranking_prefers_whole_answers_then_reward_then_the_earlier() -> None:
    candidates = [
        candidate(0, None, "failed"),
        candidate(1, None, "refused"),
        candidate(2, None, "truncated"),
        candidate(3, None),
        candidate(4, 0.0),
        candidate(5, 0.7, "truncated"),
        candidate(6, 0.7, arm="m2"),
        candidate(7, 0.7, arm="m3"),
        candidate(8, 0.0, "empty"),
    ]
    assert [c["id"] for c in ranking(candidates)] == [6, 7, 4, 3, 5, 2]
    assert [r["candidate"] for r in rivals(ranking(candidates))] == [7, 4]


def test_among_equal_rewards_the_meta_thought_of_the_better_record_wins() -> None:
    lucky, steady = candidate(0, 0.9, arm="m1"), candidate(2, 0.9, arm="m2")
    rest = [candidate(1, 0.2, arm="m1"), candidate(3, 0.8, arm="m2"), candidate(4, None, arm="m2")]
    assert [c["id"] for c in ranking([lucky, rest[0], steady, *rest[1:]])][:2] == [2, 0]
    agreed: Any = [{**c, "extracted": "7"} for c in (lucky, candidate(5, 0.1, arm="m3"))]
    assert ranking([*agreed, steady, *rest])[0]["id"] == 0


def test_a_refusal_is_an_answer_only_where_there_is_nothing_else() -> None:
    liked, disliked, empty = candidate(0, 1.0, "refused"), candidate(1, 0.1, "refused"), candidate(2, 0.0, "empty")
    assert [c["id"] for c in ranking([liked, disliked, empty])] == [0, 1]
    assert [c["id"] for c in ranking([liked, candidate(3, None)])] == [3]
    for rule in ("support", "best"):
        drawn: Any = [{**c, "wording": "", "looks": []} for c in (liked, candidate(3, 0.0), candidate(4, None))]
        choice = choose(drawn, MetaScaleSettings(final_choice=rule))
        assert [c["id"] for c in choice.ranked] == [3, 4]


def test_limits_in_order() -> None:
    settings = MetaScaleSettings(budget=4, max_calls=20, max_failures=2, max_tokens_total=100, max_seconds=5)

    def why(usage: Any, *candidates: Candidate, steps: int = 99) -> str | None:
        return stop_reason(
            settings,
            no_usage() | usage,
            [],
            candidates,
            samples_left=affordable(settings, no_usage() | usage, lambda new: new),
            remaining_steps=steps,
        )

    assert why({}) is None
    assert why({"samples": 4, "calls": 20}) == "budget"
    assert why({"calls": 18}) is None
    assert why({"calls": 19}) == "max_calls"
    assert why({"input_tokens": 60, "output_tokens": 40}) == "max_tokens_total"
    assert why({"seconds": 5.0}) == "max_seconds"
    failed = candidate(0, None, "failed")
    assert why({}, failed, candidate(1, 1.0), failed) is None
    assert why({}, candidate(1, 1.0), failed, failed) == "failures"
    assert why({}, steps=4) == "step_limit"
    assert failures_in_a_row([failed, failed]) == 2


def judged(reward: float | None, *looks: float | None) -> Candidate:
    return {**candidate(0, reward), "looks": [{"value": value, "wording": ""} for value in looks]}


@pytest.mark.parametrize(
    ("answer", "looks", "is_reached"),
    [
        (judged(None), 0, False),
        (judged(0.8), 0, True),
        (judged(0.79), 0, False),
        (judged(0.9), 2, False),
        (judged(0.9, 0.9), 2, False),
        (judged(0.9, 0.75, 0.8), 2, True),
        (judged(0.9, 0.7, 0.79), 2, False),
        (judged(0.7, 1.0, 1.0), 2, False),
        (judged(0.8, None, 0.8), 2, True),
        (judged(0.9, None, None), 2, False),
    ],
)
def test_a_target_is_reached_by_the_first_score_and_by_the_mean_after_looks(
    answer: Candidate, looks: int, *, is_reached: bool
) -> None:
    assert has_reached(answer, 0.8, looks) is is_reached


def test_early_ends() -> None:
    pool = [thought("m1"), thought("m2")]

    def why(
        candidates: list[Candidate], *, kept: int = 0, looks: int = 0, steps: int = 5, **changes: Any
    ) -> str | None:
        return stop_reason(
            MetaScaleSettings.model_validate({"budget": 100, **changes}),
            no_usage() | {"samples": len(candidates)},
            pool,
            candidates,
            samples_left=100 - len(candidates),
            kept=kept,
            target_looks=looks,
            remaining_steps=steps,
        )

    assert why([candidate(0, 0.8)], target_reward=0.8) == "target_reward"
    assert why([judged(0.8)], target_reward=0.8, looks=1) is None
    assert why([candidate(0, 0.7)], target_reward=0.8) is None
    assert why([candidate(0, 0.8)], budget=2, kept=1) == "budget"
    assert why([candidate(0, 0.8)], budget=2) is None
    assert why([], steps=4) == "step_limit"
    agreeing = [{**candidate(i, 0.5, arm=f"m{i % 2 + 1}"), "extracted": "4"} for i in range(4)]
    assert why(agreeing) == why(agreeing, stop_on_agreement=0.95) == "agreement"
    assert why(agreeing, stop_on_agreement=None) is None
    assert why(agreeing[:2], stop_on_agreement=0.6) is None
    assert why(agreeing[::2], stop_on_agreement=0.6) is None
    level = [candidate(i, 0.5, arm=f"m{i % 2 + 1}") for i in range(12)]
    assert why(level, min_progress=0.005) == "no_progress"
    varied = [candidate(i, 0.4 + 0.1 * (i % 3), arm=f"m{i % 2 + 1}") for i in range(12)]
    known = expected_progress(arm_statistics(pool, varied))
    assert why(varied, min_progress=known) is None
    assert why(varied, min_progress=1.01 * known) == "no_progress"


def test_samples_agree_only_across_ways_of_thinking_and_only_in_whole_answers() -> None:
    def said(number: int, arm: str, answer: str | None, status: Any = "ok") -> Candidate:
        return {**candidate(number, 0.5, status, arm), "extracted": answer}

    def gain(candidates: list[Candidate], *, several: bool = True, **changes: Any) -> float:
        return gain_of_more(candidates, 12, MetaScaleSettings.model_validate(changes), several_arms=several)

    apart = [said(0, "m1", "4"), said(1, "m2", "4"), said(2, "m1", "4"), said(3, "m2", "5")]
    agreed = [*apart[:3], said(3, "m2", "4")]
    assert 0 < gain(agreed) < gain(apart) < math.inf
    assert gain([*apart, said(6, "m2", "5", "truncated")]) == pytest.approx(gain(apart))
    assert gain([*apart, said(4, "m1", None), said(5, "m2", None)]) > 0
    assert gain([said(i, "m1", "4") for i in range(4)]) == math.inf
    assert gain([said(i, "m1", "4") for i in range(4)], several=False) < math.inf
    assert gain([said(i, f"m{i}", None) for i in range(4)]) == math.inf


def test_calls_bound_the_round() -> None:
    settings = MetaScaleSettings(budget=10, max_calls=9)
    assert affordable(settings, no_usage(), lambda new: new) == 4
    assert affordable(settings, no_usage(), lambda _: 0) == 9
    assert affordable(settings, no_usage() | {"samples": 8}, lambda new: new) == 2
    assert affordable(settings, no_usage() | {"samples": 12}, lambda new: new) == 0


def test_evolution_waits_for_every_arm_and_for_a_reward() -> None:
    settings = MetaScaleSettings(evolve_every=2)

    def due(members: list[PoolArm], **changes: int) -> bool:
        return evolution_due(settings, members, **{"rounds": 4, "evolved_at": 2, "samples_left": 1, **changes})

    pulled = [PoolArm(1, (0.5,)), PoolArm(1)]
    assert due(pulled)
    assert not due([*pulled, PoolArm(0)])
    assert not due([PoolArm(1), PoolArm(1)])
    assert not due(pulled, rounds=3)
    assert not due(pulled, samples_left=0)


def test_evolution_waits_for_room_and_where_it_is_gated_for_its_worth() -> None:
    def due(members: list[PoolArm], *, rounds: int = 1, left: int = 99, **changes: Any) -> bool:
        chosen = MetaScaleSettings.model_validate({"evolve_every": 1, "budget": 100, **changes})
        return evolution_due(chosen, members, rounds=rounds, evolved_at=0, samples_left=left)

    pulled = [PoolArm(1, (0.5,)), PoolArm(1, (0.4,))]
    assert due(pulled)
    assert not due(pulled, evolution="off")
    assert not due(pulled, evolve_every=0)
    assert not due(pulled, max_pool=2)
    assert due(pulled, max_pool=3)
    assert due(pulled, budget=2 * PULLS_AN_ARM)
    assert not due(pulled, budget=2 * PULLS_AN_ARM - 1)
    assert due(pulled, budget=2 * PULLS_AN_ARM - 1, evolution="always")
    assert due([*pulled, PoolArm(1, (0.1,), retired=True)], budget=2 * PULLS_AN_ARM)
    parents = [PoolArm(8, (0.9, 0.88, 0.92, 0.9, 0.9, 0.91, 0.89, 0.9))] * 2
    failed = [PoolArm(4, (0.1, 0.12, 0.1, 0.11), parents=(0,), operator="combine")] * 6
    assert not due([*parents, *failed])
    assert due([*parents, *failed], evolution="always")


def test_seeds_differ_by_place_and_repeat() -> None:
    assert derive_seed(None, "sample", 1) is None
    seeds = [derive_seed(1, kind, i) for kind in ("sample", "judge") for i in range(50)]
    assert len(set(seeds)) == 100
    assert derive_seed(1, "sample", 3) == seeds[3]
    assert derive_seed(2, "sample", 3) != seeds[3]
