"""Panels: several rewards weighed by how reliable they are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metascale import MetaScaleSettings, Score
from metascale.rewards import (
    AgreementReward,
    JudgeReward,
    Member,
    PanelReward,
    VerifierReward,
)
from metascale.stats.reliability import Reliability
from tests.scoring import SETTINGS, rounds, shown
from tests.scripted import ScriptedModel, verdict
from tests.verifiers import raises, says

# --- panels --------------------------------------------------------------------------------------------------------


def measured(concordance: float) -> Reliability:
    return Reliability(answers=10, calibration_error=0, overconfidence=0, concordance=concordance)


def member(values: dict[str, Any], concordance: float | None = None) -> Member:
    """A judge that says of each answer what stands in `values`."""
    return Member(
        VerifierReward(lambda question, answer: values[answer]),  # noqa: ARG005
        None if concordance is None else measured(concordance),
    )


MEMOS = st.lists(
    st.one_of(
        st.none(),
        st.lists(st.one_of(st.none(), st.floats(0, 1)), min_size=3, max_size=3).filter(
            lambda memo: any(value is not None for value in memo)
        ),
    ),
    max_size=8,
)


async def test_members_weigh_as_much_as_they_are_reliable() -> None:
    panel = PanelReward([member({"a": 1, "b": 0}, 0.75), member({"a": 0, "b": 1}, 0.25), member({"a": 0, "b": 1}, -1)])
    _, _, values = await rounds(panel, [["a"], ["b"]])
    assert values == [0.75, 0.25]


async def test_a_judge_that_says_the_same_of_everything_is_not_heard() -> None:
    answers = {"a": 0.2, "b": 0.9, "c": 0.4, "d": 0.6}
    panel = PanelReward([member(answers), member(dict.fromkeys(answers, 1.0))])
    earlier, scores, values = await rounds(panel, [["a", "b"], ["c", "d"]])
    assert [score.value for score in scores[0]] == [0.6, 0.95]
    assert values == list(answers.values())
    assert [answer.memo for answer in earlier] == [[value, 1.0] for value in answers.values()]


def test_a_judge_that_is_constant_where_the_others_are_too_keeps_its_voice() -> None:
    panel = PanelReward([member({}), member({})])
    assert panel.values([[0.5, 1.0]] * 4) == [0.75] * 4
    assert panel.values([[0.5, 1.0], [0.5, 1.0], [0.5, 1.0], [0.9, None]])[:3] == [0.75] * 3


def test_if_measured_judges_have_no_voice_those_that_tell_answers_apart_are_heard() -> None:
    panel = PanelReward([member({}, 0.0), member({}, 0.0), member({}, 1.0)])
    assert panel.values([[0.0, 0.2, 0.5], [1.0, 0.4, 0.5], [0.5, 0.9, 0.5]]) == [0.1, 0.7, 0.7]


def test_an_answer_gains_nothing_by_the_failure_of_a_severe_judge() -> None:
    panel = PanelReward([member({}), member({})])
    values = panel.values([[0.3, 0.7], [0.5, 0.9], [None, 0.9], [0.1, None], None])
    full = panel.values([[0.3, 0.7], [0.5, 0.9]])
    assert full == [0.5, 0.7]
    assert values[4] is None
    ranked = [value for value in values[:4] if value is not None]
    assert ranked[3] < ranked[0] < ranked[1]
    assert ranked[2] == pytest.approx(ranked[1], abs=0.1)
    assert ranked[2] < 0.9


@given(MEMOS, st.lists(st.floats(0, 1), min_size=3, max_size=3), st.randoms())
def test_panel_values_lie_in_their_range_and_move_with_their_answers(
    memos: list[Any], concordances: list[float], random: Any
) -> None:
    panel = PanelReward([member({}, concordance) for concordance in concordances])
    values = panel.values(memos)
    assert all((value is None) == (memo is None) for value, memo in zip(values, memos, strict=True))
    assert all(value is None or 0 <= value <= 1 for value in values)
    order = random.sample(range(len(memos)), len(memos))
    assert panel.values([memos[i] for i in order]) == pytest.approx([values[i] for i in order], abs=1e-8)


@given(st.lists(st.floats(0, 1), min_size=4, max_size=8, unique=True), st.floats(0, 1))
def test_a_constant_judge_changes_no_value_once_it_is_known(said: list[float], constant: float) -> None:
    alone, both = PanelReward([member({})]), PanelReward([member({}), member({})])
    assert both.values([[value, constant] for value in said]) == alone.values([[value] for value in said])


async def test_members_that_fail_are_left_out_and_the_weightiest_critique_is_kept() -> None:
    panel = PanelReward(
        [
            member({"a": Score(0.2, critique="Short."), "b": Score(0.4, critique="Long.")}, 0.5),
            member({"a": Score(0.2, critique="Wrong sign."), "b": None}, 1.0),
            Member(VerifierReward(says(Score(7.0, critique="10/10")))),
            Member(VerifierReward(raises(OSError("down")))),
        ]
    )
    scores = await panel.score("Why?", ["a", "b"], SETTINGS, place=[])
    assert [score.memo for score in scores] == [[0.2, 0.2, None, None], [0.4, None, None, None]]
    assert [score.critique for score in scores] == ["Wrong sign.", "Long."]
    assert [score.error for score in scores] == [None, None]


async def test_an_answer_on_which_every_member_failed_is_unscored() -> None:
    class Short(VerifierReward):
        async def score(self, *args: Any, **options: Any) -> list[Score]:
            return (await super().score(*args, **options))[1:]

    panel = PanelReward([Member(VerifierReward(raises(OSError("down")))), Member(Short(says(1.0)))])
    (score,) = await panel.score("Why?", ["a"], SETTINGS, place=[])
    assert (score.value, score.memo) == (None, None)
    assert score.error == "OSError: down; ValueError: it gave 0 scores for 1 answers"


@pytest.mark.parametrize("at_once", [1, 4])
async def test_the_panel_of_wordings_asks_every_wording_and_then_looks_from_the_other_side(at_once: int) -> None:
    model = ScriptedModel(write=lambda *_: verdict(5))
    panel = PanelReward.of_wordings(model)
    chosen = MetaScaleSettings(max_retries=0, judge_at_once=at_once)
    scores = await panel.score("Why?", ["a", "b"], chosen, place=[])
    asked = model.requests("judge")
    assert len(asked) == panel.calls(2) == sum(score.usage["calls"] for score in scores) == 6
    assert len({system.text.partition(".")[0] for system, _ in asked}) == 3
    assert all(list(shown(messages)) == ["question", "answer"] for messages in asked)
    looked = await panel.look_again("Why?", ["a"] * 4, chosen, place=[], looks=[1, 2, 3, 4])
    assert [score.wording for score in looked] == [
        "0: judge answer first",
        "1: judge_examiner answer first",
        "2: judge_sceptic answer first",
        "0: judge question first",
    ]
    assert len(model.requests("judge")) == 6 + 4 * panel.calls_per_look


async def test_only_members_that_can_tell_more_look_again() -> None:
    heard, unheard = (ScriptedModel(write=lambda *_: verdict(8)) for _ in range(2))
    panel = PanelReward(
        [member({}), Member(JudgeReward(heard), measured(0.5)), Member(JudgeReward(unheard), measured(0.0))]
    )
    looked = await panel.look_again("Why?", ["a", "b"], SETTINGS, place=[], looks=[1, 2])
    assert [score.value for score in looked] == pytest.approx([7 / 9] * 2)
    assert [score.wording for score in looked] == [
        "1: judge_examiner question first",
        "1: judge_sceptic question first",
    ]
    assert not unheard.requests("judge")
    (nobody,) = await PanelReward([member({})]).look_again("Why?", ["a"], SETTINGS, place=[], looks=[1])
    assert (nobody.value, nobody.error) == (None, "no member of the panel can look again")


def test_a_panel_refuses_rewards_whose_values_move() -> None:
    with pytest.raises(ValueError, match="AgreementReward"):
        PanelReward([Member(AgreementReward())])
    with pytest.raises(ValueError, match="needs a member"):
        PanelReward([])
