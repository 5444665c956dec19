"""The ledger: what a run may still spend. No graph and no model takes part."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metascale import MetaScaleSettings
from metascale.budget.ledger import MIN_SYNTHESISED, STEPS_TO_CONCLUDE, TARGET_LOOKS, Costs
from metascale.budget.limits import may_compose
from metascale.pool.arms import SYNTHESIS
from metascale.records import Foresight
from metascale.usage import Usage
from tests.ledgers import JUDGED, POOL, candidate, ledger, spent


def test_the_budget_counts_samples_and_ends_the_run() -> None:
    assert ledger(0, budget=8).samples_left() == 8
    assert (ledger(7, budget=8).samples_left(), ledger(7, budget=8).stop_reason) == (1, None)
    assert (ledger(8, budget=8).samples_left(), ledger(8, budget=8).stop_reason) == (0, "budget")
    assert ledger(8, budget=8).grant_wanted == "budget"


@given(st.integers(0, 12), st.integers(1, 40), st.integers(0, 2), st.integers(1, 16))
def test_a_limit_of_calls_pays_for_every_sample_with_its_judgement(
    samples: int, max_calls: int, judgements: int, budget: int
) -> None:
    costs = Costs(lambda new, _: judgements * new)
    book = ledger(samples, costs, usage=spent(samples, samples * (1 + judgements)), budget=budget, max_calls=max_calls)
    left = book.samples_left()
    calls_left = max_calls - book.usage["calls"]
    assert 0 <= left <= max(0, budget - samples)
    assert left * (1 + judgements) <= max(0, calls_left)
    assert left == max(0, budget - samples) or (left + 1) * (1 + judgements) > calls_left
    assert book.stop_reason is not None or left > 0


def test_a_grant_raises_the_budget_and_nothing_else() -> None:
    book = ledger(8, budget=8, max_calls=16)
    assert book.grant_wanted is None, "a grant cannot buy calls"
    granted = replace(ledger(8, budget=8), granted=4)
    assert (granted.limits.budget, granted.samples_left(), granted.stop_reason) == (12, 4, None)


@pytest.mark.parametrize(
    ("settings", "usage", "reason"),
    [
        ({"max_tokens_total": 100}, spent(2, input_tokens=60, output_tokens=40), "max_tokens_total"),
        ({"max_seconds": 5.0}, spent(2, seconds=5.0), "max_seconds"),
        ({"max_calls": 4}, spent(2), "max_calls"),
        ({"budget": 2}, spent(2), "budget"),
    ],
)
def test_every_limit_names_itself(settings: dict[str, Any], usage: Usage, reason: str) -> None:
    assert ledger(2, usage=usage, **settings).stop_reason == reason


def test_failures_in_a_row_end_a_run() -> None:
    failed = [candidate(number, None, status="failed", text="", error="down") for number in range(3)]
    book = replace(ledger(0, max_failures=3), candidates=failed)
    assert book.stop_reason == "failures"
    assert replace(book, candidates=[*failed, candidate(3)]).stop_reason is None


def test_a_target_ends_a_run_once_second_looks_confirm_it() -> None:
    def reason(costs: Costs, *looks: float | None) -> str | None:
        book = ledger(1, costs, target_reward=0.9)
        return replace(book, candidates=[candidate(0, 0.95, looks=looks)]).stop_reason

    assert reason(Costs(lambda new, _: new)) == "target_reward", "a reward that cannot look again is taken at its word"
    assert reason(JUDGED) is None
    assert reason(JUDGED, *[0.95] * TARGET_LOOKS) == "target_reward"
    assert reason(JUDGED, *[0.5] * TARGET_LOOKS) is None


def test_second_looks_are_bounded_by_the_setting_the_calls_and_their_failures() -> None:
    assert ledger(8, budget=8).looks_left == 4, "half of the budget"
    assert ledger(8, budget=8, confirm=3).looks_left == 3
    assert ledger(8, budget=8, confirm=0).looks_left == 0
    assert ledger(8, budget=8, confirm=9, max_calls=18).looks_left == 2
    assert ledger(8, Costs(lambda new, _: new, look=2), budget=8, confirm=9, max_calls=19).looks_left == 1
    assert ledger(8, Costs(lambda new, _: new), budget=8).looks_left == 0
    looked = [candidate(0, looks=(0.5, 0.5)), *(candidate(number) for number in range(1, 8))]
    assert replace(ledger(8, budget=8), candidates=looked).looks_left == 2
    failing = [candidate(0, looks=(None,) * 3), *(candidate(number) for number in range(1, 8))]
    assert replace(ledger(8, budget=32, max_failures=3), candidates=failing).looks_left == 0


def test_exhausted_tokens_and_time_forbid_looks_and_a_synthesis() -> None:
    for settings, usage in (
        ({"max_tokens_total": 10}, spent(8, input_tokens=10)),
        ({"max_seconds": 1.0}, spent(8, seconds=1.0)),
    ):
        book = ledger(8, usage=usage, budget=9, synthesize=True, **settings)
        assert (book.looks_left, book.synthesis_due) == (0, False)


def test_the_last_sample_is_kept_for_the_synthesis_and_is_no_evidence() -> None:
    book = ledger(7, budget=8, synthesize=True)
    assert (book.samples_left(), book.stop_reason, book.synthesis_due) == (0, "budget", True)
    written = replace(
        book,
        usage=spent(8),
        pool=[*POOL, {**POOL[0], "id": SYNTHESIS}],
        candidates=[*book.candidates, candidate(7, 1.0, meta_thought=SYNTHESIS)],
    )
    assert (written.stop_reason, written.synthesis_due) == ("budget", False)
    assert replace(written, settings=MetaScaleSettings(budget=12, synthesize=True, target_reward=0.9)).stop_reason == (
        "budget"
    )
    few = ledger(MIN_SYNTHESISED - 1, budget=MIN_SYNTHESISED, synthesize=True)
    assert not few.synthesis_due


def test_a_reopened_run_may_be_synthesised_again() -> None:
    book = ledger(8, budget=12, synthesize=True)
    book = replace(book, candidates=[*book.candidates[:7], candidate(7, meta_thought=SYNTHESIS)])
    assert book.stop_reason == "budget"
    assert replace(book, reopened_at=8).stop_reason is None


def test_calls_are_kept_for_second_looks_and_for_the_synthesis() -> None:
    plain = ledger(8, Costs(lambda new, _: new), budget=64, max_calls=40).samples_left()
    with_synthesis = ledger(8, Costs(lambda new, _: new), budget=64, max_calls=40, synthesize=True).samples_left()
    assert (plain, with_synthesis) == (12, 11)
    assert ledger(8, budget=64, max_calls=40).samples_left() <= plain


def test_a_prediction_lowers_the_budget_once_answers_confirm_it() -> None:
    easy: Foresight = {
        "predictions": [],
        "pass_rate": 0.9,
        "spread": 0.0,
        "length": 10,
        "notions": [],
        "outlook": "easy",
    }
    book = replace(ledger(4, budget=16), foresight=easy)
    assert book.stop_reason is None, "rewards of .3 confirm nothing"
    good = [candidate(number, 0.95) for number in range(4)]
    assert replace(book, candidates=good).stop_reason == "foreseen"
    hopeless: Foresight = {**easy, "pass_rate": 0.05, "outlook": "hopeless"}
    assert replace(ledger(8, budget=16), foresight=hopeless).stop_reason == "hopeless"
    assert replace(ledger(8, budget=16), foresight=hopeless, granted=1).limits.budget == 17


def test_evolution_must_be_paid_for_with_a_round_after_it() -> None:
    settings: dict[str, Any] = {"budget": 16, "evolution": "always", "evolve_every": 1}
    assert ledger(8, **settings).evolution_due
    assert not replace(ledger(8, **settings), evolved_at=2).evolution_due
    assert not ledger(8, **settings, max_calls=18).evolution_due, "one call breeds, and no two are left for a sample"
    assert not ledger(16, **settings).evolution_due


def test_few_remaining_steps_end_a_run_and_leave_no_time_for_looks() -> None:
    assert ledger(8, budget=16).stop_reason is None
    short = replace(ledger(8, budget=16), remaining_steps=STEPS_TO_CONCLUDE)
    assert (short.stop_reason, short.may_improve_the_choice) == ("step_limit", False)
    assert replace(short, remaining_steps=STEPS_TO_CONCLUDE + 1).may_improve_the_choice
    unscored = replace(ledger(2), candidates=[candidate(number, None) for number in range(2)])
    assert not unscored.may_improve_the_choice


@pytest.mark.parametrize(
    ("limits", "usage", "may"),
    [
        ({}, spent(0, 50, input_tokens=10**6), True),
        ({"max_calls": 40}, spent(0, 9), True),
        ({"max_calls": 40}, spent(0, 10), False),
        ({"max_tokens_total": 1_000}, spent(0, 1, input_tokens=400, output_tokens=99), True),
        ({"max_tokens_total": 1_000}, spent(0, 1, input_tokens=400, output_tokens=100), False),
    ],
)
def test_the_pool_leaves_most_of_the_limits_to_the_search(limits: dict[str, int], usage: Usage, *, may: bool) -> None:
    assert may_compose(MetaScaleSettings(**limits), usage) is may  # type: ignore[arg-type]
