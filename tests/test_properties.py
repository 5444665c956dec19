"""Properties: reducers, bills, budgets, settings, statistics, and whole runs under random settings."""

from __future__ import annotations

import contextlib
import copy
import json
import math
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast, get_args, get_origin

import pytest
from annotated_types import Ge, Gt, Le, Lt
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.sqlite import SqliteSaver
from pydantic import ValidationError

from metascale import MetaScaleSettings, create_metascale
from metascale.answers import Kind, extract
from metascale.budget.limits import affordable
from metascale.errors import NoAnswerError
from metascale.evals.statistics import mcnemar, mean_interval, paired_bootstrap, wilson
from metascale.models import MeteredModel
from metascale.rewards.agreement import AgreementReward
from metascale.rewards.base import Reward
from metascale.rewards.critique import CritiqueReward
from metascale.rewards.judge import JudgeReward
from metascale.rewards.pairwise import PairwiseReward
from metascale.rewards.panel import PanelReward
from metascale.settings import ENVIRONMENT_VARIABLE, PolicyName, Price
from metascale.state import add_notes, merge_by_id
from metascale.stats.reliability import expected_calibration, reliability
from metascale.usage import PartBill, Usage, add_usage, charged, no_usage
from tests.conftest import ask
from tests.scripted import PEOPLE, ScriptedModel, drafts, sensible, verdict

few = settings(max_examples=60, deadline=None)

# --- reducers ------------------------------------------------------------------------------------------------------

RECORD = st.fixed_dictionaries({"id": st.integers(0, 5)}, optional={"a": st.integers(), "b": st.text(max_size=3)})
WRITES = st.lists(st.lists(RECORD, max_size=4), max_size=8)


def in_pieces(items: Sequence[Any], random: random.Random) -> list[list[Any]]:
    """The same items in the same order, in a random number of pieces."""
    pieces: list[list[Any]] = [[]]
    for item in items:
        if random.random() < 0.4:
            pieces.append([])
        pieces[-1].append(item)
    return pieces


@few
@given(WRITES, st.randoms(use_true_random=False))
def test_records_are_merged_alike_however_their_writes_are_split(
    writes: list[list[Any]], random: random.Random
) -> None:
    at_once = merge_by_id([], writes)
    assert [record["id"] for record in at_once] == list(dict.fromkeys(r["id"] for write in writes for r in write))
    in_steps: list[Any] = []
    for batch in in_pieces(writes, random):
        in_steps = merge_by_id(in_steps, batch)
    assert in_steps == at_once
    flat = [record for write in writes for record in write]
    assert merge_by_id([], in_pieces(flat, random)) == at_once
    assert merge_by_id(at_once, [at_once]) == at_once, "what is there already changes nothing"


@few
@given(WRITES, WRITES)
def test_merging_changes_none_of_its_arguments(start: list[list[Any]], writes: list[list[Any]]) -> None:
    base = merge_by_id([], start)
    before = copy.deepcopy((base, writes))
    merge_by_id(base, writes)
    assert (base, writes) == before


@few
@given(WRITES, st.integers(1, 4), st.randoms(use_true_random=False))
def test_a_channel_of_increments_holds_what_the_reducer_says(
    writes: list[list[Any]], frequency: int, random: random.Random
) -> None:
    channel = DeltaChannel(merge_by_id, snapshot_frequency=frequency).from_checkpoint([])
    for superstep in in_pieces(writes, random):
        channel.update(superstep)
    assert channel.get() == merge_by_id([], writes)


NOTES = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=5)


@few
@given(NOTES, NOTES, NOTES)
def test_notes_are_kept_once_in_order_however_they_are_grouped(
    one: list[str], two: list[str], three: list[str]
) -> None:
    together = add_notes(add_notes(one, two), three)
    assert together == add_notes(one, add_notes(two, three)) == list(dict.fromkeys([*one, *two, *three]))
    assert add_notes(together, one) == together


# --- the bill ------------------------------------------------------------------------------------------------------

COUNTS = st.integers(0, 10**9)


def bill(counts: tuple[int, int, int], times: tuple[int, int], cost: float | None) -> Usage:
    (samples, calls, tokens), (start, seconds) = counts, times
    return Usage(
        samples=samples,
        calls=calls,
        input_tokens=tokens,
        output_tokens=2 * tokens,
        seconds=float(seconds),
        cost_usd=cost,
        charged_usd=cost or 0.25,
        by_node={
            "generate": PartBill(calls=calls, input_tokens=tokens, output_tokens=2 * tokens, cost_usd=cost),
        },
        until=float(start + seconds),
    )


BILL = st.builds(
    bill,
    st.tuples(COUNTS, COUNTS, COUNTS),
    st.tuples(st.integers(1, 60), st.integers(0, 20)),
    st.none() | st.sampled_from([cents / 64 for cents in (0, 1, 7, 64, 2**14 + 1, 2**20)]),
)


def total(bills: Sequence[Usage]) -> Usage:
    spent = no_usage()
    for bill in bills:
        spent = add_usage(spent, bill)
    return spent


@few
@given(st.lists(BILL, max_size=6))
def test_a_bill_adds_up(bills: list[Usage]) -> None:
    spent = total(bills)
    for name in ("samples", "calls", "input_tokens", "output_tokens"):
        assert spent[name] == sum(bill[name] for bill in bills)  # type: ignore[literal-required]
    costs = [bill["cost_usd"] for bill in bills]
    assert spent["cost_usd"] == (None if None in costs else sum(cost for cost in costs if cost is not None))
    assert spent.get("charged_usd") == sum(charged(bill) for bill in bills)
    if bills:
        node = spent.get("by_node", {})["generate"]
        assert [node[name] for name in ("calls", "input_tokens", "output_tokens", "cost_usd")] == [
            spent[name] for name in ("calls", "input_tokens", "output_tokens", "cost_usd")
        ]
    assert add_usage(spent, no_usage()) == spent
    assert spent["seconds"] <= sum(bill["seconds"] for bill in bills)


@few
@given(st.lists(BILL, max_size=6))
def test_seconds_are_those_in_which_anything_was_at_work(bills: list[Usage]) -> None:
    bills = sorted(bills, key=lambda bill: bill["until"] - bill["seconds"])
    at_work = {s for bill in bills for s in range(int(bill["until"] - bill["seconds"]), int(bill["until"]))}
    assert total(bills)["seconds"] == len(at_work)


@few
@given(BILL, BILL, BILL)
def test_counts_and_costs_do_not_depend_on_how_bills_are_grouped(one: Usage, two: Usage, three: Usage) -> None:
    left, right = add_usage(add_usage(one, two), three), add_usage(one, add_usage(two, three))
    assert {**left, "seconds": 0} == {**right, "seconds": 0}


@pytest.mark.parametrize("tokens", [-5, 10**30, 10**400], ids=["negative", "unstorable", "no float"])
def test_a_number_of_tokens_that_cannot_be_is_not_billed(tmp_path: Path, tokens: int) -> None:
    def write(kind: str, number: int, messages: list[BaseMessage]) -> Any:
        said = sensible(kind, number, messages)
        billed = UsageMetadata(input_tokens=tokens, output_tokens=1, total_tokens=tokens + 1)
        return AIMessage(str(said), usage_metadata=billed if kind == "solve" and number == 0 else None)

    chosen = MetaScaleSettings(budget=2, prices={"scripted": Price(input=1.0, output=1.0)})
    with SqliteSaver.from_conn_string(str(tmp_path / "runs.sqlite")) as saver:
        graph = create_metascale(ScriptedModel(write=write), settings=chosen, checkpointer=saver)
        usage = graph.invoke(ask(), {"configurable": {"thread_id": "1"}})["result"]["usage"]
    assert (usage["samples"], usage["input_tokens"], usage["output_tokens"], usage["cost_usd"]) == (2, 0, 0, None)


# --- what calls pay for --------------------------------------------------------------------------------------------


def silent() -> MeteredModel:
    return MeteredModel(ScriptedModel(write=lambda *_: ""))


JUDGES: dict[str, Reward] = {
    "judge": JudgeReward(silent()),
    "three at once": JudgeReward(silent(), at_once=3),
    "critique": CritiqueReward(silent()),
    "pairwise": PairwiseReward(silent()),
    "panel": PanelReward.of_wordings(silent()),
    "agreement": AgreementReward(),
}


@pytest.mark.parametrize("judge", JUDGES.values(), ids=JUDGES)
@few
@given(
    budget=st.integers(1, 60),
    max_calls=st.none() | st.integers(1, 200),
    spent=st.tuples(st.integers(0, 70), st.integers(0, 220)),
    earlier=st.integers(0, 50),
    kept=st.tuples(st.integers(0, 1), st.integers(0, 20)),
)
def test_what_is_affordable_fits_the_limits_and_one_more_would_not(
    judge: Reward, *, budget: int, max_calls: int | None, spent: tuple[int, int], earlier: int, kept: tuple[int, int]
) -> None:
    (samples, calls), (kept_samples, reserve) = spent, kept

    def cost(new: int) -> int:
        return new + judge.calls(new, earlier)

    def afforded(**changes: Any) -> int:
        limits = MetaScaleSettings.model_validate({"budget": budget, "max_calls": max_calls} | changes)
        usage = no_usage() | {"samples": samples, "calls": calls}
        return affordable(limits, usage, lambda new: judge.calls(new, earlier), reserve=reserve, kept=kept_samples)

    count = afforded()
    left = max(0, budget - kept_samples - samples)
    assert 0 <= count <= left
    if max_calls is None:
        assert count == left
    else:
        assert count == 0 or calls + reserve + cost(count) <= max_calls
        assert count == left or calls + reserve + cost(count + 1) > max_calls
        assert afforded(max_calls=max_calls + 1) >= count
    assert afforded(budget=budget + 1) >= count


# --- whole runs ----------------------------------------------------------------------------------------------------


def model_of(seed: int, *, is_moody: bool) -> ScriptedModel:
    """A model whose scores differ; a moody one's requests fail now and then, and its replies are not all readable."""

    def write(kind: str, number: int, messages: list[BaseMessage]) -> Any:  # noqa: ARG001
        mood = random.Random(f"{seed} {kind} {number}")
        if is_moody and mood.random() < 0.1:
            return ValueError("no luck")
        if is_moody and mood.random() < 0.05:
            return "I would rather not."
        if kind.startswith("judge"):
            return verdict(mood.randint(1, 10))
        if kind == "solve":
            return f"I think so.\n#### {mood.randint(1, 4)}"
        return drafts(*mood.sample(PEOPLE, 3), f"number {number}")

    return ScriptedModel(write=write)


@settings(max_examples=15, deadline=None)
@given(
    model_seed=st.integers(0, 10_000),
    is_moody=st.booleans(),
    limits=st.fixed_dictionaries(
        {
            "budget": st.integers(1, 24),
            "batch_size": st.integers(1, 8),
            "policy": st.sampled_from(get_args(PolicyName)),
            "pool_size": st.integers(2, 6),
            "max_pool": st.integers(2, 8),
            "evolution": st.sampled_from(["gated", "always", "off"]),
            "evolve_every": st.integers(0, 3),
            "operators": st.sampled_from(["all", "combine"]),
            "max_calls": st.none() | st.integers(1, 60),
            "confirm": st.none() | st.integers(0, 12),
            "refine": st.booleans(),
            "seed": st.integers(0, 99),
        }
    ),
)
def test_a_run_keeps_its_limits_and_pulls_no_arm_that_it_retired(
    model_seed: int, *, is_moody: bool, limits: dict[str, Any]
) -> None:
    chosen = MetaScaleSettings.model_validate({**limits, "max_retries": 0, "max_failures": 50})
    model = model_of(model_seed, is_moody=is_moody)
    graph = create_metascale(model, settings=chosen)
    retired: set[str] = set()
    state: Any = {}
    with contextlib.suppress(NoAnswerError):
        for mode, said in cast("Any", graph.stream(ask(), stream_mode=["custom", "values"])):
            if mode == "values":
                state = said
            elif said["event"] == "evolved":
                retired |= set(said["retired"])
            elif said["event"] == "pulled":
                assert not retired & {pull["meta_thought"] for pull in said["pulls"]}
                assert len(said["pulls"]) <= chosen.batch_size
    usage = state["usage"]
    assert [candidate["id"] for candidate in state["candidates"]] == list(range(len(state["candidates"])))
    assert usage["samples"] <= chosen.budget
    assert usage["samples"] == sum(candidate["status"] != "failed" for candidate in state["candidates"])
    assert usage["calls"] == len(model._requests)
    if chosen.max_calls is not None and not is_moody:  # repairs may go beyond it
        assert usage["calls"] <= chosen.max_calls
    active = sum(not thought.get("retired", False) for thought in state["pool"])
    assert active <= max(chosen.max_pool, chosen.pool_size + 3)
    json.dumps(state["candidates"], allow_nan=False)


def test_half_an_emoji_spoils_no_answer(tmp_path: Path) -> None:
    """A reply that is cut inside a surrogate pair: what is stored is what was answered, and it can be printed."""

    def cut_off(kind: str, number: int, messages: list[BaseMessage]) -> Any:  # noqa: ARG001
        if kind.startswith("judge"):
            return '{"critique": "Cut \\ud83d off.", "score": 7}'
        return drafts(*PEOPLE) if kind == "compose" else "Yes \ud83d"

    model = ScriptedModel(write=cut_off)
    with SqliteSaver.from_conn_string(str(tmp_path / "runs.sqlite")) as saver:
        graph = create_metascale(model, settings=MetaScaleSettings(budget=2, reward="judge"), checkpointer=saver)
        out = graph.invoke(ask(), {"configurable": {"thread_id": "1"}})
        stored = graph.get_state({"configurable": {"thread_id": "1"}}).values
    assert out["result"]["answer"] == stored["result"]["answer"] == "Yes \ufffd"
    assert stored["candidates"][0]["critique"] == "Cut \ufffd off."
    for request in (message.text for messages in model.requests("judge") for message in messages):
        request.encode()


# --- settings ------------------------------------------------------------------------------------------------------


def values_of(annotation: Any, bounds: Sequence[Any]) -> st.SearchStrategy[Any] | None:
    """Any value that a setting takes; None for settings that are neither numbers nor choices."""
    least = next((b.ge for b in bounds if isinstance(b, Ge)), next((b.gt for b in bounds if isinstance(b, Gt)), None))
    most = next((b.le for b in bounds if isinstance(b, Le)), next((b.lt for b in bounds if isinstance(b, Lt)), None))
    if get_origin(annotation) is Literal:
        return st.sampled_from(get_args(annotation))
    if annotation is bool:
        return st.booleans()
    if annotation is int:
        return st.integers(least, most if most is None or most != 2**32 else most - 1)
    if annotation is float:
        open_ends = {
            "exclude_min": any(isinstance(b, Gt) for b in bounds),
            "exclude_max": any(isinstance(b, Lt) for b in bounds),
        }
        return st.floats(least, most, allow_nan=False, allow_infinity=False, **open_ends)
    inner = [part for part in get_args(annotation) if part is not type(None)]
    if len(inner) == 1 and type(None) in get_args(annotation):
        found = values_of(inner[0], bounds)
        return None if found is None else st.none() | found
    return None


FIELDS = {
    name: values
    for name, field in MetaScaleSettings.model_fields.items()
    if (values := values_of(field.annotation, field.metadata)) is not None
}
PRICES = st.dictionaries(
    st.text(min_size=1, max_size=4),
    st.builds(Price, input=st.floats(0, 1e9), output=st.floats(0, 1e9)),
    max_size=2,
)
SETTINGS = st.fixed_dictionaries({}, optional={**FIELDS, "prices": PRICES}).map(MetaScaleSettings.model_validate)


def test_most_settings_are_drawn() -> None:
    assert len(FIELDS) > 35


@few
@given(SETTINGS)
def test_settings_survive_json_and_the_environment(chosen: MetaScaleSettings) -> None:
    assert MetaScaleSettings.model_validate_json(chosen.model_dump_json()) == chosen
    assert MetaScaleSettings.model_validate(json.loads(json.dumps(chosen.model_dump(mode="json")))) == chosen
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ENVIRONMENT_VARIABLE, chosen.model_dump_json(exclude_unset=True).replace("\0", ""))
        read = MetaScaleSettings.from_environment()
    assert read == chosen
    assert read.model_fields_set == chosen.model_fields_set


@few
@given(SETTINGS, SETTINGS, SETTINGS)
def test_overlaying_takes_what_is_set_and_groups_as_it_likes(
    one: MetaScaleSettings, two: MetaScaleSettings, three: MetaScaleSettings
) -> None:
    both = one.overlaid_by(two)
    for name in MetaScaleSettings.model_fields:
        assert getattr(both, name) == getattr(two if name in two.model_fields_set else one, name)
    assert both.model_fields_set == one.model_fields_set | two.model_fields_set
    assert both.overlaid_by(three) == one.overlaid_by(two.overlaid_by(three))
    assert one.overlaid_by(MetaScaleSettings()) == one == MetaScaleSettings().overlaid_by(one)


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_limit_or_a_price_that_json_cannot_hold_is_refused(value: float) -> None:
    for given_settings in ({"max_seconds": value}, {"prices": {"m": {"input": value, "output": 0.0}}}):
        with pytest.raises(ValidationError, match="finite"):
            MetaScaleSettings.model_validate(given_settings)


# --- statistics ----------------------------------------------------------------------------------------------------

UNIT = st.floats(0, 1)
MARKED = st.lists(st.tuples(UNIT, st.booleans()), min_size=1, max_size=12)


@few
@given(st.integers(1, 10**6), UNIT, st.floats(0.01, 0.999))
def test_an_interval_of_a_share_holds_it_and_stays_in_range(trials: int, share: float, confidence: float) -> None:
    successes = min(float(trials), share * trials)
    low, high = wilson(successes, trials, confidence)
    assert 0 <= low <= successes / trials <= high <= 1


@few
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=12), st.integers(0, 99))
def test_an_interval_of_a_mean_stays_between_the_extremes(values: list[float], seed: int) -> None:
    low, high = mean_interval(values, seed=seed, resamples=50)
    slack = 1e-9 * max(1.0, *map(abs, values))
    assert min(values) - slack <= low <= high <= max(values) + slack
    same = paired_bootstrap(values, values, seed=seed, resamples=50)
    assert same == (0.0, 0.0)


@few
@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=40))
def test_a_p_value_is_one_and_knows_no_order(pairs: list[tuple[bool, bool]]) -> None:
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    assert 0 <= mcnemar(first, second) == mcnemar(second, first) <= 1


@few
@given(MARKED)
def test_a_judge_is_trusted_within_bounds(marked: list[tuple[float, bool]]) -> None:
    values, right = [value for value, _ in marked], [is_right for _, is_right in marked]
    error, bins = expected_calibration(values, right)
    assert 0 <= error <= 1
    assert sum(held.count for held in bins) == len(values)
    assert 0 <= reliability(values, right).weight <= 1


# --- final answers -------------------------------------------------------------------------------------------------

REPLY = st.lists(
    st.text(max_size=12)
    | st.text(st.characters(categories=["Cs", "Nd", "No", "Zs", "Sm", "Sc"]), max_size=4)
    | st.sampled_from(
        ["#### ", "The answer is ", "\\boxed{", '"answer": "', "A: ", "**", 'final answer """', "is (C).", "\n"]
    )
    | st.from_regex(r"-?\$?[0-9]{1,3}(,[0-9]{3})*(\.[0-9]+)?(/[0-9]+)?( ?%)?", fullmatch=True),
    max_size=6,
).map("".join)


@settings(max_examples=300, deadline=None)
@given(REPLY, st.sampled_from(get_args(Kind)), st.integers(1, 26))
def test_extraction_of_any_text_never_raises_and_is_idempotent(reply: str, kind: Kind, choices: int) -> None:
    answer = extract(reply, kind, choices=choices)
    if answer is not None:
        assert extract(answer, kind, choices=choices) == answer


HOSTILE = {
    "blanks in a statement": "The answer is 5" + " " * 100_000 + "x",
    "blanks before a remark": "#### A" + " " * 100_000 + "or",
    "blanks in quotation marks": 'final answer """x' + " " * 100_000 + "x",
    "marks in one line": "answer: " * 12_000,
    "open boxes": "\\boxed{" * 14_000,
    "an endless sentence": "is " * 33_000,
}


@pytest.mark.parametrize("reply", HOSTILE.values(), ids=HOSTILE)
def test_time_to_find_an_answer_does_not_grow_with_the_square_of_the_reply(reply: str) -> None:
    started = time.process_time()
    for kind in get_args(Kind):
        extract(reply, kind)
    assert time.process_time() - started < 10


def test_what_is_too_long_for_an_answer_is_none_even_where_its_beginning_could_be_one() -> None:
    assert extract(f"The answer is 5{' ' * 3_000}and 7", "number") is None
    assert extract(f"#### 5{' ' * 3_000}or 7", "number") is None
    assert extract(f"The answer is 5. {'That is why. ' * 500}", "number") == "5"
