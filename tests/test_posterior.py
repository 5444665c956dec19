"""The posterior over final answers: what votes, meta-thoughts and verdicts say, and what more of them would gain."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metascale.choice.posterior import CLOSED, OPEN, Posterior, effective_arms, gain_of_votes
from metascale.choice.scores import Contender, Judgement
from metascale.choice.second_look import confidence, next_looks, standing

LETTERS, NUMBERS = "ABCDEFGHIJ", [str(number) for number in range(10, 30)]


def voted(*counts: int, names: Sequence[str] = NUMBERS, arms: Sequence[str] = ()) -> list[Contender]:
    """Final answers with as many votes, without verdicts, each under the same meta-thoughts."""
    return [
        Contender((), count, final=name, arms=tuple(arms[i % len(arms)] for i in range(count)) if arms else ())
        for count, name in zip(counts, names, strict=False)
    ]


def judged(count: int, *values: float, name: str, wording: str = "alone", looks: int = 0) -> Contender:
    scores = [Judgement(value, hash((name, place)), wording, is_first=True) for place, value in enumerate(values)]
    scores += [Judgement(values[0], scores[0].answer, f"look {number}") for number in range(looks)]
    return Contender(tuple(scores), count, final=name)


def known(contenders: Sequence[Contender]) -> Posterior:
    found = standing(contenders).posterior
    assert found is not None
    return found


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.sampled_from([NUMBERS, LETTERS]))
def test_chances_are_in_the_order_of_the_votes_and_leave_room_for_none(counts: list[int], names: Sequence[str]) -> None:
    found = known(voted(*counts, names=names))
    assert 0 < found.chances.sum() < 1
    assert (np.argsort(-found.chances, kind="stable") == np.argsort(-np.array(counts), kind="stable")).all()


def test_even_unanimous_votes_are_sometimes_wrong_and_more_so_in_multiple_choice() -> None:
    sure = {
        names[0]: [confidence(standing(voted(n, names=names))) for n in (1, 4, 16, 64, 1_000)]
        for names in (NUMBERS, LETTERS)
    }
    for chances in sure.values():
        assert chances == sorted(chances)
    assert sure["10"][-1] == pytest.approx(1 / (1 + OPEN.wrong), abs=1e-3)
    assert sure["A"][-1] == pytest.approx(1 / (1 + CLOSED.wrong), abs=1e-3)


def test_a_leader_before_scattered_answers_is_surer_than_its_share() -> None:
    scattered, split = voted(8, 2, 2, 2, 2), voted(8, 8)
    assert confidence(standing(scattered)) > 0.6
    assert confidence(standing(split)) < 0.5


def test_votes_of_several_meta_thoughts_are_worth_more() -> None:
    alone = confidence(standing(voted(8, names=LETTERS, arms=["m1"])))
    four = confidence(standing(voted(8, names=LETTERS, arms=["m1", "m2", "m3", "m4"])))
    assert four > alone + 0.03
    assert effective_arms(voted(8, 4, arms=["m1", "m2"])) == pytest.approx(2)


def test_the_same_judge_again_hardly_moves_the_choice() -> None:
    """A verdict moves the odds; ten more on the same text move them by less than the first."""
    votes = [judged(3, 0.2, name="11"), judged(3, 0.8, name="12")]
    often = [judged(3, 0.2, name="11", looks=10), judged(3, 0.8, name="12", looks=10)]
    many = [judged(3, 0.2, 0.2, 0.2, name="11"), judged(3, 0.8, 0.8, 0.8, name="12")]
    odds = [np.diff(known(found).worth)[0] for found in ([*voted(3, 3)], votes, often, many)]
    assert odds[0] == 0
    assert 0 < odds[1] < odds[2] < odds[1] * 1.8
    assert odds[3] > odds[2]


def test_verdicts_decide_close_votes_but_not_clear_ones() -> None:
    def lead(*rows: tuple[int, float]) -> int:
        return standing([judged(n, *[v] * min(n, 3), name=str(50 + i)) for i, (n, v) in enumerate(rows)]).lead

    assert lead((4, 0.1), (4, 0.9)) == 1
    assert lead((5, 0.1), (4, 0.9)) == 1
    assert lead((14, 0.1), (2, 0.9)) == 0


def test_low_verdicts_on_all_answers_make_less_sure() -> None:
    low, high = ([judged(4, *[v] * 4, name="11"), judged(2, v, v, name="12")] for v in (0.2, 0.9))
    assert confidence(standing(low)) < confidence(standing(voted(4, 2))) < confidence(standing(high))
    unknown = [judged(4, *[0.1] * 4, name="11", wording=""), judged(2, 0.1, 0.1, name="12", wording="")]
    assert confidence(standing(unknown)) == pytest.approx(confidence(standing(voted(4, 2))))


def test_a_final_answer_is_judged_again_only_while_it_is_close() -> None:
    clear = [judged(14, 0.8, name="11"), judged(2, 0.7, name="12")]
    close = [judged(4, 0.9, 0.1, name="11"), judged(4, 0.8, 0.2, name="12")]
    assert next_looks(clear, 8) == []
    assert next_looks(close, 8) != []
    assert next_looks(voted(4, 4), 8) == []


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=6), st.integers(0, 64), st.sampled_from([NUMBERS, LETTERS]))
def test_the_gain_of_votes_is_a_probability_and_grows_with_their_number(
    counts: list[int], left: int, names: Sequence[str]
) -> None:
    found = known(voted(*counts, names=names))
    assert 0 <= gain_of_votes(found, left) <= gain_of_votes(found, left + 16) + 1e-12 <= 1 + 1e-9
    assert gain_of_votes(found, 0) == 0


def test_more_votes_gain_less_the_clearer_the_lead() -> None:
    gains = [gain_of_votes(known(voted(first, 3)), 12) for first in (3, 4, 6, 9, 15)]
    assert gains == sorted(gains, reverse=True)
    assert gains[-1] < 0.01 < gains[0]
    assert gain_of_votes(known(voted(1)), 12) > 0.01


@pytest.mark.parametrize("names", [NUMBERS, LETTERS])
def test_the_gain_of_votes_is_what_an_urn_gives(names: Sequence[str]) -> None:
    """Against draws from the urn that it assumes: how much the chance of the later leader exceeds that of the first."""
    rng = np.random.default_rng(0)
    for counts, left in (((5, 4), 8), ((4, 1), 12), ((6, 3), 32)):
        now = known(voted(*counts, names=names))
        gained = []
        for _ in range(1_500):
            shares = rng.dirichlet([counts[0] + 0.5, counts[1] + 0.5, 1.0])
            drawn = np.array(counts) + rng.multinomial(left, shares)[:2]
            later = known(voted(*(int(n) for n in drawn), names=names)).chances
            gained.append(max(0.0, float(later[1] - later[0])))
        assert gain_of_votes(now, left) == pytest.approx(float(np.mean(gained)), rel=0.8, abs=0.01)


def test_nothing_is_infinite_at_the_edges() -> None:
    for found in (voted(1), voted(1, 1), voted(*[1] * 16), voted(10_000, 1)):
        posterior = known(found)
        assert np.isfinite(posterior.worth).all()
        assert math.isfinite(gain_of_votes(posterior, 10_000))
