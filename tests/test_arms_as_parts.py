"""Arms as pairs of a model and a meta-thought: what one pair teaches about the others, and when a trial pays."""

from __future__ import annotations

import numpy as np
import pytest

from metascale.bandits.routing import Pace, knowledge_gradient
from metascale.memory.embeddings import HashedEmbeddings
from metascale.memory.levels import Evidence, levels, nearest_kind
from metascale.memory.recollection import Episode, Record, recollect
from metascale.pool.beliefs import key_of
from metascale.pool.parts import NEW, ArmKey, likeness
from metascale.stats.shrinkage import Joint

TASK = np.array(HashedEmbeddings().embed_query("What is 12 + 7 * 3 - 4?"))
MODELS = {"strong": 0.25, "fair": 0.0, "weak": -0.25}
THOUGHTS = {f"t{number}": 0.04 * (number - 3.5) for number in range(8)}


def test_an_arms_name_can_be_read_back() -> None:
    for arm in (ArmKey("abc"), ArmKey("abc", "openai:o4-mini?effort=low"), ArmKey(NEW, "m@2")):
        assert ArmKey.of(str(arm)) == arm
    assert str(ArmKey("abc")) == "abc"


def test_pairs_with_a_common_part_are_alike() -> None:
    alike = likeness([ArmKey("a", "m"), ArmKey("b", "m"), ArmKey("a", "n"), ArmKey("b", "n")])
    assert alike[0, 0] == pytest.approx(1)
    assert alike[0, 1] > alike[0, 2] > alike[0, 3] == 0


def test_24_pairs_are_learned_in_16_pulls() -> None:
    rng = np.random.default_rng(0)
    arms = [ArmKey(thought, model) for model in MODELS for thought in THOUGHTS]
    true = np.array([0.5 + MODELS[arm.model] + THOUGHTS[arm.thought] for arm in arms])
    correlations = []
    for _ in range(20):
        pulled = rng.permutation(len(arms))[:16]
        rewards = true[pulled] + 0.05 * rng.standard_normal(16)
        evidence = Evidence(arms, np.zeros(1, int), np.zeros(16, int), pulled, np.ones(16), rewards, np.zeros(16))
        known = levels(evidence, np.ones(1), np.zeros(1)).here
        untried = np.setdiff1d(np.arange(len(arms)), pulled)
        correlations.append(np.corrcoef(known.means[untried], true[untried])[0, 1])
    assert np.mean(correlations) > 0.9


def test_a_new_arm_begins_at_what_is_known_of_its_parts() -> None:
    idea = key_of("", "idea")
    records = {str(ArmKey("a", "strong")): Record(1, 0.9, 0.0), str(ArmKey(idea, "weak")): Record(1, 0.2, 0.0)}
    beliefs = recollect([Episode(TASK, records)] * 20, TASK, budget=10_000)
    known_model, known_thought = beliefs.about("", "never seen", "strong"), beliefs.about("", "idea", "never seen")
    other_model, nothing = beliefs.about("", "never seen", "weak"), beliefs.about("", "never seen", "never seen")
    assert known_model is not None
    assert known_thought is not None
    assert other_model is not None
    assert nothing is not None
    assert known_model.advantage > nothing.advantage > other_model.advantage
    assert known_thought.advantage < nothing.advantage


def test_a_new_effort_begins_at_what_is_known_of_the_model() -> None:
    records = {str(ArmKey("a", "b?effort=low")): Record(1, 0.9, 0.0), str(ArmKey("a", "weak")): Record(1, 0.2, 0.0)}
    lineup = ["b?effort=high", "weak?effort=high", "other"]
    beliefs = recollect([Episode(TASK, records)] * 20, TASK, budget=10_000, models=lineup)
    strong, weak, unknown = (beliefs.about("", "a", model) for model in lineup)
    known = beliefs.about("", "a", "b?effort=low")
    assert known is not None
    assert strong is not None
    assert weak is not None
    assert unknown is not None
    assert known.advantage > strong.advantage > unknown.advantage > weak.advantage


def test_an_arm_that_is_asked_on_hard_kinds_does_not_look_weak() -> None:
    """Arm 0 gets 0.6 where arm 1 gets 0.3, and only arm 1 is asked on the easy kind, where it gets 0.9."""
    kinds, runs = np.array([0] * 20 + [1] * 20), np.arange(40)
    pulled = np.array([0, 1] * 10 + [1] * 20)
    rewards = np.array([0.6, 0.3] * 10 + [0.9] * 20)
    evidence = Evidence([ArmKey("0"), ArmKey("1")], kinds, runs, pulled, np.ones(40), rewards, np.zeros(40))
    known = levels(evidence, np.zeros(40), np.ones(40)).everywhere
    assert rewards[pulled == 1].mean() > rewards[pulled == 0].mean()
    assert known.means[0] > known.means[1]


def test_the_kind_of_a_new_task_is_that_of_the_nearest_one() -> None:
    assert nearest_kind(np.array([0.2, 0.9, 0.7])) == 1
    assert nearest_kind(np.array([0.2, 0.3])) is None
    assert nearest_kind(np.zeros(0)) is None


def test_a_trial_pays_where_it_may_change_the_choice() -> None:
    known = Joint(np.array([0.6, 0.55, 0.55]), np.diag([0.001, 0.04, 0.001]))
    gains = knowledge_gradient(known, 0.1, 50)
    assert gains.argmax() == 1
    assert gains[2] < 0.1 * gains[1]
    assert np.allclose(knowledge_gradient(known, 0.1, 100), 2 * gains)
    perfect = Joint(np.array([1.0, 0.9]), np.diag([0.0, 0.04]))
    assert not knowledge_gradient(perfect, 0.1, 50).any()


def test_a_pace_keeps_its_limit_and_spends_it() -> None:
    rng, pace, spent = np.random.default_rng(0), Pace(60.0, 200), 0.0
    for _ in range(200):
        values = np.array([0.5, 0.5 + rng.random() * 0.5])
        arm = pace.choose(values, np.array([0.1, 1.0]))
        spent += (0.1, 1.0)[arm]
        pace.spend((0.1, 1.0)[arm])
    assert 50 < spent <= 61


def test_without_need_a_pace_changes_nothing() -> None:
    pace = Pace(1_000.0, 10)
    for _ in range(10):
        assert pace.choose(np.array([0.5, 0.6]), np.array([0.1, 1.0])) == 1
        pace.spend(1.0)
