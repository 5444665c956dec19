"""The reward `"auto"`: votes where final answers can be compared, the search by a judge elsewhere."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from metascale import MetaScaleSettings, create_metascale
from metascale.batches import batch
from metascale.choice.automatic import are_compared, asks_for_search, settled
from metascale.cli.session import Session
from metascale.graphs import METHODS
from metascale.interrupts import grant
from metascale.models import MeteredModel
from metascale.nodes.compose import OWN_JUDGE
from metascale.nodes.initialize_pool import LOCAL_JUDGE
from metascale.records import Candidate
from metascale.result import troubles
from metascale.rewards import CertaintyReward
from metascale.rewards.judge import JudgeReward
from metascale.runtime.databases import SERIALIZER
from metascale.settings import RewardName
from tests.conftest import ServerFactory, ask, chat_model
from tests.ledgers import candidate
from tests.scripted import PEOPLE, ScriptedModel, drafts, verdict

UNCOUNTED = "the server reported no token usage"
ALL = MetaScaleSettings(budget=8, stop_on_agreement=None, seed=1)
THREAD: Any = {"configurable": {"thread_id": "t"}}


def numbers(kind: str, number: int, messages: Any) -> str:  # noqa: ARG001
    """Answers to a question with a final answer."""
    return f"The answer is {number % 3}." if kind == "solve" else drafts(*PEOPLE)


def letters(kind: str, number: int, messages: Any) -> str:  # noqa: ARG001
    """Answers to an open task."""
    if kind == "judge":
        return verdict(1 + number % 9)
    return f"This is letter {'abcdefghijklmnop'[number]} to a friend." if kind == "solve" else drafts(*PEOPLE)


def solve(model: ScriptedModel, settings: MetaScaleSettings = ALL, **parts: Any) -> dict[str, Any]:
    return create_metascale(model, settings=settings, **parts).invoke(ask())


def kinds(model: ScriptedModel) -> dict[str, int]:
    return {kind: len(model.requests(kind)) for kind in ("compose", "solve", "judge")}


def test_votes_decide_where_final_answers_can_be_compared() -> None:
    model = ScriptedModel(write=numbers)
    result = solve(model)["result"]
    assert kinds(model) == {"compose": 0, "solve": 8, "judge": 0}
    assert all("step by step" in messages[-1].text for messages in model.requests("solve"))
    assert result["answer"] in {"The answer is 0.", "The answer is 1."}
    assert 0 < result["confidence"] < 1
    assert troubles(result["notes"]) == [UNCOUNTED]


def test_an_open_task_is_searched_by_a_judge_after_the_first_round() -> None:
    model = ScriptedModel(write=letters)
    out = solve(model)
    assert kinds(model) == {"compose": 1, "solve": 8, "judge": 8}
    assert out["result"]["usage"]["by_node"].keys() == {"generate", "compose", "score"}
    assert troubles(out["result"]["notes"]) == [OWN_JUDGE, UNCOUNTED]


class LocalModel(ScriptedModel):
    """A model that runs on this machine."""

    is_local: ClassVar[bool] = True


@pytest.mark.parametrize(
    ("model", "reward", "notes"),
    [
        (LocalModel, "judge", [LOCAL_JUDGE, UNCOUNTED]),
        (LocalModel, "agreement", [UNCOUNTED]),
        (LocalModel, "auto", [OWN_JUDGE, UNCOUNTED]),
        (ScriptedModel, "judge", [UNCOUNTED]),
    ],
)
def test_a_note_says_that_a_local_model_judges_itself(
    model: type[ScriptedModel], reward: RewardName, notes: list[str]
) -> None:
    out = solve(model(write=letters), ALL.model_copy(update={"reward": reward}))
    assert troubles(out["result"]["notes"]) == notes


def test_no_note_where_another_model_judges() -> None:
    other = JudgeReward(ScriptedModel(write=letters, name="another"))
    out = solve(LocalModel(write=letters, name="own"), reward=other)
    assert LOCAL_JUDGE not in out["result"]["notes"]


@pytest.mark.parametrize("budget", [1, 2, 3, 5])
def test_small_budgets_are_kept_exactly(budget: int) -> None:
    for write in (numbers, letters):
        model = ScriptedModel(write=write)
        settings = MetaScaleSettings(budget=budget, stop_on_agreement=None)
        assert solve(model, settings)["result"]["usage"]["samples"] == budget == kinds(model)["solve"]


@pytest.mark.parametrize("most", range(1, 12))
def test_requests_for_verdicts_are_kept_until_the_answers_decide(most: int) -> None:
    for write in (numbers, letters):
        model = ScriptedModel(write=write)
        result = solve(model, ALL.overlaid_by(MetaScaleSettings(max_calls=most)))["result"]
        assert result["usage"]["calls"] == sum(kinds(model).values()) <= most


@pytest.mark.parametrize(
    "asked",
    [{"pool_size": 4}, {"policy": "round_robin"}, {"evolution": "always"}, {"rubric": "Be short."}, {"confirm": 2}],
)
def test_settings_of_the_search_ask_for_it(asked: dict[str, Any]) -> None:
    model = ScriptedModel(write=lambda kind, *rest: verdict(5) if kind == "judge" else numbers(kind, *rest))
    solve(model, ALL.overlaid_by(MetaScaleSettings(**asked)))
    assert kinds(model)["compose"] == 1
    assert kinds(model)["judge"] > 0


@pytest.mark.parametrize(
    "set_too", [{"budget": 3}, {"temperature": 0.5}, {"memory": "mine"}, {"answer_kind": "number"}]
)
def test_settings_of_samples_limits_and_memory_do_not(set_too: dict[str, Any]) -> None:
    assert not asks_for_search(MetaScaleSettings(**set_too))


def test_a_reward_that_is_given_is_used() -> None:
    model = ScriptedModel(write=numbers)
    result = solve(model, reward=CertaintyReward())["result"]
    assert kinds(model) == {"compose": 1, "solve": 8, "judge": 0}
    assert "8 answers are not scored: no token probabilities are known" in result["notes"]


def test_other_methods_judge() -> None:
    model = ScriptedModel(write=lambda kind, *rest: verdict(5) if kind == "judge" else numbers(kind, *rest))
    METHODS["best_of_n"].create(model, settings=ALL).invoke(ask())
    assert kinds(model)["judge"] > 0


def drawn(*texts: str, number: int = 1) -> list[Candidate]:
    return [candidate(0, text=text, round=number) for text in texts]


def test_the_first_round_decides_for_good() -> None:
    first = drawn("The answer is 1.", "I cannot say.")
    later = drawn("A rose.", "A tulip.", "Two daisies.", number=2)
    assert settled(ALL, [*first, *later]).reward == "agreement"
    assert settled(ALL, [*later, *first]).reward == "judge"


@pytest.mark.parametrize(
    ("answers", "compared"),
    [
        ([], True),
        (["It is 4.", "It is 5.", "It is 6."], True),
        (["(C)", "(A)", "(B)"], True),
        (["Photosynthesis", "Photosynthesis", "Respiration"], True),
        (["Milo", "Luna", "Tiger"], False),
        (["Eat well, feel well!", "Bread is life!", "Eat well."], False),
        (["Roses are red,\nViolets are blue,\nSugar is sweet,\nAnd so are you."] * 2, False),
        (["It is 4.", "I do not know.", "Nobody knows."], False),
    ],
)
def test_what_can_be_compared(answers: list[str], compared: bool) -> None:  # noqa: FBT001
    assert are_compared(drawn(*answers), ALL) is compared


def test_votes_can_be_left_equal() -> None:
    assert settled(ALL, []).weigh_votes
    assert not settled(ALL.overlaid_by(MetaScaleSettings(weigh_votes=False)), []).weigh_votes


@pytest.mark.parametrize("probabilities", [0, "ignored", "refused"])
def test_servers_without_token_probabilities_are_no_news(start_server: ServerFactory, probabilities: int | str) -> None:
    server = start_server(probabilities=probabilities)
    result = create_metascale(chat_model(server), settings=ALL).invoke(ask())["result"]
    assert troubles(result["notes"]) == []
    assert ("weighed by certainty" in result["notes"][-1]) == (probabilities == 0)
    assert len(server.served) == 8
    assert result["usage"]["calls"] == server.requests.total()


def test_the_papers_preset_judges_in_rounds_of_four() -> None:
    settings = MetaScaleSettings.paper()
    assert (settings.reward, settings.batch_size) == ("judge", 4)


def test_a_grant_pays_for_the_meta_thoughts_that_the_budget_was_too_small_for() -> None:
    model = ScriptedModel(write=letters)
    graph = create_metascale(model, settings=MetaScaleSettings(budget=4), checkpointer=InMemorySaver(serde=SERIALIZER))
    graph.invoke(ask(), THREAD)
    assert kinds(model)["compose"] == 0
    graph.invoke(grant(2), THREAD)
    assert kinds(model)["compose"] == 1
    assert kinds(model)["solve"] == 6


def test_open_questions_of_a_batch_get_meta_thoughts_with_their_first_grant() -> None:
    model = ScriptedModel(write=letters)
    rows = batch(["Write a letter.", "Write a note."], model, budget_total=16, memory=False)
    assert sum(row["samples"] for row in rows) == 16
    assert kinds(model)["compose"] > 0


@pytest.mark.parametrize(
    "texts", [[f"This is letter {name} to a friend." for name in "abcd"], ["Milo", "Luna", "Tim", "Bo"]]
)
def test_a_sample_that_had_no_rival_is_judged_once_a_grant_gives_it_some(texts: list[str]) -> None:
    model = ScriptedModel(write=lambda kind, number, _: texts[number] if kind == "solve" else verdict(5))
    settings = MetaScaleSettings(budget=1, max_calls=20)
    graph = create_metascale(model, settings=settings, checkpointer=InMemorySaver(serde=SERIALIZER))
    graph.invoke(ask(), THREAD)
    assert kinds(model)["judge"] == 0
    result = graph.invoke(grant(3), THREAD)["result"]
    drawn = graph.get_state(THREAD).values["candidates"]
    assert len(drawn) == 4
    assert len({c["reward"] for c in drawn}) == 1
    assert all(c["critique"] for c in drawn)
    assert not any("not scored" in note for note in result["notes"])


def test_no_pool_is_composed_that_no_sample_can_be_drawn_from() -> None:
    model = ScriptedModel(write=letters)
    result = solve(model, ALL.overlaid_by(MetaScaleSettings(max_calls=10)))["result"]
    assert kinds(model) == {"compose": 0, "solve": 5, "judge": 5}
    assert result["stop_reason"] == "max_calls"


async def test_an_interrupted_run_with_a_judge_of_its_own_is_as_sure_as_one_that_ends() -> None:
    model = ScriptedModel(write=lambda kind, *rest: verdict(5) if kind == "judge" else numbers(kind, *rest))
    reward = JudgeReward(MeteredModel(model))
    session = Session(
        create_metascale(model, reward=reward, settings=ALL, checkpointer=InMemorySaver()), ALL, "t", reward=reward
    )
    ended = await session.solve("Why?", lambda _: None)
    stopped = session._ended(ended.state, interrupted=True).result
    assert stopped["confidence"] == ended.result["confidence"]
    assert stopped["notes"][-1] == ended.result["notes"][-1]


def test_a_verdict_is_asked_for_only_where_a_request_is_left_after_failures() -> None:
    def first_fails(kind: str, number: int, messages: Any) -> Any:
        return ValueError("no luck") if kind == "solve" and number == 0 else letters(kind, number, messages)

    model = ScriptedModel(write=first_fails)
    result = solve(model, ALL.overlaid_by(MetaScaleSettings(max_calls=2)))["result"]
    assert kinds(model) == {"compose": 0, "solve": 2, "judge": 0}
    assert result["usage"]["calls"] == 2


def truncated_then_open(kind: str, number: int, messages: Any) -> Any:
    if kind == "solve" and number < 4:
        return AIMessage(f"The answer is {number}.", response_metadata={"finish_reason": "length"})
    return letters(kind, number, messages)


@pytest.mark.parametrize("most", [None, *range(4, 20)])
def test_answers_that_were_cut_off_before_a_judge_decided_get_verdicts_with_the_first_open_ones(
    most: int | None,
) -> None:
    model = ScriptedModel(write=truncated_then_open)
    settings = MetaScaleSettings(budget=6, batch_size=1, stop_on_agreement=None, max_calls=most)
    graph = create_metascale(model, settings=settings, checkpointer=InMemorySaver())
    result = graph.invoke(ask(), THREAD)["result"]
    drawn = graph.get_state(THREAD).values["candidates"]
    assert len({bool(c["wording"]) for c in drawn}) == 1, "all rewards have one scale"
    assert all(c["error"] == "the answer was cut off at the token limit" for c in drawn if c["status"] == "truncated")
    assert most is None or result["usage"]["calls"] <= most


@pytest.mark.parametrize("budget", [1, 2])
@pytest.mark.parametrize("reward", ["auto", "judge"])
def test_a_fork_with_a_larger_budget_composes_before_its_first_round(budget: int, reward: str) -> None:
    model = ScriptedModel(write=letters)
    settings = MetaScaleSettings.model_validate({"budget": budget, "reward": reward})
    graph = create_metascale(model, settings=settings, checkpointer=InMemorySaver(serde=SERIALIZER))
    graph.invoke(ask(), THREAD)
    assert kinds(model)["compose"] == 0
    end = next(snapshot for snapshot in graph.get_state_history(THREAD) if snapshot.next == ("finalize",))
    updates = graph.stream(None, end.config, context=MetaScaleSettings(budget=8), stream_mode="updates")
    nodes = [node for update in updates for node in update]
    assert nodes[:3] == ["finalize", "compose", "select_arm"]
    assert kinds(model) == {"compose": 1, "solve": 8, "judge": 8}


@pytest.mark.parametrize("budget", [1, 2])
@pytest.mark.parametrize("reward", ["auto", "judge"])
def test_a_grant_pays_for_meta_thoughts_whatever_the_budget_was(budget: int, reward: str) -> None:
    model = ScriptedModel(write=letters)
    settings = MetaScaleSettings.model_validate({"budget": budget, "reward": reward})
    graph = create_metascale(model, settings=settings, checkpointer=InMemorySaver(serde=SERIALIZER))
    graph.invoke(ask(), THREAD)
    graph.invoke(grant(6), THREAD)
    pool = graph.get_state(THREAD).values["pool"]
    assert len([t for t in pool if t["origin"] == "self_composed"]) == 6
    assert kinds(model)["solve"] == budget + 6


def test_a_grant_adds_nothing_to_a_pool_that_a_person_reviewed() -> None:
    model = ScriptedModel(write=letters)
    settings = MetaScaleSettings(budget=3, review_pool=True)
    graph = create_metascale(model, settings=settings, checkpointer=InMemorySaver(serde=SERIALIZER))
    graph.invoke(ask(), THREAD)
    graph.invoke(Command(resume={"drop": ["m1"]}), THREAD)
    graph.invoke(grant(6), THREAD)
    assert kinds(model)["compose"] == 1


def test_the_answers_to_an_earlier_question_decide_nothing() -> None:
    def by_question(kind: str, number: int, messages: Any) -> Any:
        return (numbers if "How many?" in messages[-1].text else letters)(kind, number, messages)

    model = ScriptedModel(write=by_question)
    settings = MetaScaleSettings(budget=4)
    graph = create_metascale(model, settings=settings, checkpointer=InMemorySaver(serde=SERIALIZER))
    graph.invoke(ask("Write a letter."), THREAD)
    assert kinds(model) == {"compose": 0, "solve": 4, "judge": 4}
    graph.invoke(ask("How many?"), THREAD)
    assert kinds(model) == {"compose": 0, "solve": 8, "judge": 4}


def test_a_form_full_of_defaults_asks_for_no_search() -> None:
    form = MetaScaleSettings().model_dump()
    assert not asks_for_search(MetaScaleSettings.model_validate(form))
    assert asks_for_search(MetaScaleSettings.model_validate(form | {"evolution": "off"}))
    assert asks_for_search(MetaScaleSettings(policy="upper_tail"))


@pytest.mark.parametrize("sends_null", [True, False])
def test_a_form_that_sends_every_setting_changes_only_what_somebody_filled_in(sends_null: bool) -> None:  # noqa: FBT001
    form = MetaScaleSettings().model_dump(mode="json", exclude_none=not sends_null) | {"budget": 6}
    model, plain = ScriptedModel(write=numbers), ScriptedModel(write=numbers)
    out = create_metascale(model, settings=ALL).invoke(ask(), context=form)
    same = create_metascale(plain, settings=ALL).invoke(ask(), context={"budget": 6})
    assert kinds(model) == kinds(plain) == {"compose": 0, "solve": 6, "judge": 0}
    assert out["result"]["confidence"] == same["result"]["confidence"]
