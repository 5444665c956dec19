"""Votes weighed by how sure the model was: the weights, self-consistency with them, and support in the final choice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metascale import MetaScaleSettings
from metascale.choice.ranking import choose, field_of, ranking
from metascale.choice.votes import sureness, vote_weights, with_vote_shares
from metascale.graphs import METHODS
from metascale.records import Candidate, Certainty
from tests.conftest import ServerFactory, ask, chat_model
from tests.ledgers import candidate as whole
from tests.openai_server import Probabilities


def certain(numbers: float, tail: float | None = None) -> Certainty:
    return {"tokens": 90, "mean": -1.0, "lowest": -3.0, "tail": numbers if tail is None else tail, "numbers": numbers}


def sample(number: int, answer: str | None, sure: float | None, **other: Any) -> Candidate:
    certainty = None if sure is None else certain(sure)
    made = {"round": 1, "meta_thought": f"m{number}", "extracted": answer, "certainty": certainty}
    return whole(number, **{**made, **other})


SURE = st.floats(-8, 0).map(certain)


@given(st.lists(st.none() | SURE, min_size=1, max_size=40))
def test_weights_are_in_the_order_of_sureness_with_mean_one(certainties: list[Certainty | None]) -> None:
    weights = vote_weights(certainties)
    assert weights.mean() == pytest.approx(1)
    assert (weights > 0).all()
    known = [(sureness(c), w) for c, w in zip(certainties, weights, strict=True) if c is not None]
    for (sure, weight), (surer, more) in zip(sorted(known), sorted(known)[1:], strict=False):
        assert more >= weight - 1e-9 or sure == pytest.approx(surer)


def test_what_is_not_known_counts_as_average_and_nothing_known_as_a_plain_vote() -> None:
    assert vote_weights([None, None, None]).tolist() == [1, 1, 1]
    low, unknown, high = vote_weights([certain(-0.4), None, certain(-0.2)])
    assert low < unknown < high
    assert unknown**2 == pytest.approx(low * high)


def test_a_model_that_is_surer_of_all_its_answers_weighs_them_alike() -> None:
    sure = np.array([-0.2, -0.5, -1.4, -0.3])
    small, large = (vote_weights([certain(scale * s) for s in sure]) for scale in (1, 5))
    assert np.abs(np.log(small / large)).max() < 0.05
    nearly_equal = vote_weights([certain(s / 1000) for s in sure])
    assert np.abs(nearly_equal - 1).max() < 0.01


def test_of_two_answers_the_surer_one_wins_and_a_sure_minority_does_not_outvote_a_large_majority() -> None:
    def winner(*votes: tuple[str | None, float]) -> str | None:
        shares = with_vote_shares([sample(n, a, s) for n, (a, s) in enumerate(votes)], weighted=True)
        assert all(0 < c["reward"] <= 1 for c in shares if c["extracted"] is not None and c["reward"] is not None)
        return max(shares, key=lambda c: c["reward"] or 0)["extracted"]

    assert winner(("7", -0.5), ("5", -0.1)) == "5"
    assert winner(("7", -0.2), ("7", -0.2), ("5", -0.1), ("9", -0.6)) == "7"
    assert winner(("7", -0.6), ("7", -0.6), ("5", -0.1), ("5", -0.1)) == "5"
    assert winner(("7", -0.1), *[("5", -0.2)] * 5) == "5"


def test_equal_votes_are_shares_of_all_answers() -> None:
    votes = [sample(0, "7", -0.1), sample(1, "5", -2.0), sample(2, "5", -2.0), sample(3, None, -0.1)]
    failed = sample(4, None, None, status="failed", text="", reward=None)
    assert [c["reward"] for c in with_vote_shares([*votes, failed])[:3]] == [1 / 4, 2 / 4, 2 / 4]


def test_cisc_is_self_consistency_at_the_same_requests(start_server: ServerFactory) -> None:
    server = start_server()
    settings = MetaScaleSettings(budget=6, seed=3, answer_kind="number", stop_on_agreement=None)
    plain, weighted = (
        METHODS[name].create(chat_model(server), settings=settings).invoke(ask())["result"]
        for name in ("self_consistency", "cisc")
    )
    asked = [bool(served.body.get("logprobs")) for served in server.served]
    assert asked == [False] * 6 + [True] * 6
    assert plain["usage"]["calls"] == weighted["usage"]["calls"] == 6
    assert (plain["reward"] * 6).is_integer()
    assert not (weighted["reward"] * 6).is_integer()


@pytest.mark.parametrize("probabilities", ["refused", "ignored"])
def test_without_probabilities_cisc_counts_votes_and_says_so_once(
    start_server: ServerFactory, probabilities: Probabilities
) -> None:
    graph = METHODS["cisc"].create(
        chat_model(start_server(probabilities=probabilities)),
        settings=MetaScaleSettings(budget=5, batch_size=2, stop_on_agreement=None),
    )
    result = graph.invoke(ask())["result"]
    assert (result["reward"] * 5).is_integer()
    assert sum("prob" in note for note in result["notes"]) == 1


def test_support_is_weighed_in_the_final_choice() -> None:
    unsure = [sample(n, "7", -1.0) for n in range(2)]
    sure = [sample(n, "5", -0.1) for n in range(2, 4)]
    for rule in ("support", "sum"):
        plain, weighted = (
            choose([*unsure, *sure], MetaScaleSettings(final_choice=rule, weigh_votes=on)).ranked[0]["extracted"]
            for on in (False, True)
        )
        assert (plain, weighted) == ("7", "5")
    finalists = choose(
        [{**c, "looks": [{"value": 0.5, "wording": ""}]} for c in [*unsure, *sure]],
        MetaScaleSettings(weigh_votes=True),
    ).finalists
    assert {finalist["support"] for finalist in finalists} == {2}


def test_a_better_reward_outweighs_a_little_sureness_but_not_much_of_it() -> None:
    """On the recorded answers certainty tells right ones from wrong ones better than verdicts do."""
    for certainty, chosen in ((-0.11, "7"), (-1.0, "5")):
        good, sure = sample(0, "7", certainty, reward=0.9), sample(1, "5", -0.1, reward=0.5)
        assert choose([sure, good], MetaScaleSettings(weigh_votes=True)).ranked[0]["extracted"] == chosen


def test_without_rewards_weighed_agreement_decides() -> None:
    votes = [sample(0, "7", -2.0), sample(1, "7", -2.0), sample(2, "5", -0.1), sample(3, "5", -0.1)]
    unscored: list[Candidate] = [{**vote, "reward": None} for vote in votes]
    assert ranking(unscored)[0]["extracted"] == "7"
    assert ranking(unscored, weighted=True)[0]["extracted"] == "5"


def test_texts_that_are_compared_with_nothing_have_plain_votes() -> None:
    field = field_of([sample(0, None, -2.0), sample(1, None, -0.1)], "support", weighted=True)
    assert [contender.weight for contender in field.contenders] == [1, 1]
