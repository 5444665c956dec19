"""The subjects of `benchmarks.fuzz`: every parser of model output, and the invariants of its results.

A check takes a reply and returns its outcome in a few words. It raises if the parser raises an undocumented error or
returns an impossible value.
"""

from __future__ import annotations

import asyncio
import functools
import json
import math
import os
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args
from unittest.mock import patch

import httpx
from langchain_core.messages import AIMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from pydantic import BaseModel

from metascale import MetaScaleSettings
from metascale.answers import Kind, extract
from metascale.evals.harness.scorers import read_verdict
from metascale.evals.judges.mistakes import MistakeFound
from metascale.evals.report.style import style_difference, style_of
from metascale.foresight.alignment import alignment
from metascale.foresight.prediction import Predicted, foresight_of, prediction_of
from metascale.integrations.tool_calls import CallRules
from metascale.integrations.whole_messages import in_chunks
from metascale.models import MeteredModel
from metascale.models.json_reply import UnreadableReplyError, read_objects, read_reply
from metascale.models.quotation import unquoted
from metascale.nodes.self_discover import Modules, Plan
from metascale.pool.admission import Draft, Drafts, admit
from metascale.pool.methods import catalogue
from metascale.pool.ratings import Ratings, beliefs_from_ratings, usable_ratings
from metascale.rewards.base import Reward
from metascale.rewards.critique import CheckedCritique, CritiqueReward
from metascale.rewards.judge import JudgeReward, JudgeVerdict, Verdicts
from metascale.rewards.pairwise import Comparison, PairwiseReward
from metascale.rewards.panel import PanelReward
from metascale.rewards.reward_model import RewardModelReward
from metascale.rewards.rubric import SCORES, Rubric, RubricError, undefined_scores
from metascale.settings import RewardModelSettings
from metascale.training.stated import read_stated
from tests.scripted import ScriptedModel

Check = Callable[[str], str]

os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"
SETTINGS = MetaScaleSettings.model_validate(
    {"max_retries": 0, "prices": {"judge": {"input": 1, "output": 1}}}  # with a price, a bill is worked out
)
SCHEMAS: list[type[BaseModel]] = [
    *(JudgeVerdict, Verdicts, Comparison, CheckedCritique, Drafts, Ratings, Predicted, Modules, Plan, MistakeFound),
]
METHODS = catalogue()
TASK = "Tom walks 3 miles at a rate of 2 miles an hour. How long does he walk?"
LOOP = asyncio.new_event_loop()


def checkpointed(value: object) -> None:
    """Fail unless a value survives a checkpoint."""
    serde = JsonPlusSerializer()
    assert serde.loads_typed(serde.dumps_typed(value)) == value


def json_reply(text: str) -> str:
    """An object of each schema, plain data, or `UnreadableReplyError`."""
    outcomes = []
    for schema in SCHEMAS:
        try:
            value = read_reply(text, schema)
        except UnreadableReplyError as error:
            outcomes.append("" if "holds no JSON" in str(error) else "refused")
            continue
        checkpointed(value.model_dump())
        if isinstance(value, JudgeVerdict):
            assert 0 <= value.value <= 1
        assert read_reply(value.model_dump_json(), schema) == value
        outcomes.append("read")
    return " ".join(outcomes)


def quotation(text: str) -> str:
    """A verdict quoted from the material is not a reply, in any context."""
    try:
        value = read_reply(text, JudgeVerdict)
    except UnreadableReplyError:
        kept = unquoted([JudgeVerdict(critique="It adds.", score=3)], text)
        return f"kept {len(kept)}"
    assert unquoted([value], f"{text}\n{value.model_dump_json()}") == []
    assert unquoted([value], "") == [value]
    return f"own {len(unquoted([value], text[: len(text) // 2]))}"


def tool_arguments(text: str) -> str:
    """Arguments of a tool call: an object of the schema or `UnreadableReplyError`; and a flaw in words, or none."""
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        return "no JSON"
    given = given if isinstance(given, dict) else {"value": given}
    outcome = []
    for schema in (JudgeVerdict, Drafts, Ratings):
        try:
            read_objects([given], schema)
            outcome.append("read")
        except UnreadableReplyError:
            outcome.append("refused")
    parameters = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "pattern": "^[A-Z]"},
            "people": {"type": "number", "multipleOf": 0.5, "minimum": 0},
            "tags": {"type": "array", "uniqueItems": True, "items": {"type": "string"}},
        },
    }
    tool = {"type": "function", "function": {"name": "city", "description": "A city.", "parameters": parameters}}
    rules = CallRules.of(
        [tool, {"name": "judge", "description": "x", "parameters": JudgeVerdict.model_json_schema()}], "any"
    )
    for name in ("city", "judge", "unknown"):
        flaw = rules.flaw(AIMessage("", tool_calls=[{"name": name, "args": given, "id": "1"}]))
        assert flaw is None or isinstance(flaw, str)
        outcome.append("flawed" if flaw else "fits")
    return " ".join(outcome)


def answers(text: str) -> str:
    """A canonical answer that extracts to itself, or None."""
    outcomes = []
    for kind in get_args(Kind):
        for choices in (4, 26):
            found = extract(text, kind, choices=choices)
            outcomes.append("" if found is None else "found")
            if found is None:
                continue
            assert extract(found, kind, choices=choices) == found
            if kind == "number":
                Fraction(found)
            if kind == "choice":
                assert len(found) == 1
                assert ord(found) - ord("A") < choices
    return " ".join(outcomes)


def rubric(text: str) -> str:
    """A rubric that its own file reproduces, or `RubricError`."""
    missing = undefined_scores(text)
    assert set(missing) <= set(SCORES)
    try:
        found = Rubric.parse(text)
    except RubricError:
        return "refused"
    assert Rubric.parse(found.to_markdown({"made_by": "judge"})) == found
    return f"{found.version > 1} {found.parent is None} {len(missing)}"


def stated(text: str) -> str:
    """A prediction in range, or None."""
    found = read_stated(text)
    if found is None:
        return "none"
    assert found.pass_rate is None or 0 <= found.pass_rate <= 1
    assert found.length is None or 1 <= found.length < math.inf
    return f"{found.pass_rate is None} {found.length is None} {found.notions is None}"


def foresight(text: str) -> str:
    """A foresight in range that a checkpoint holds, and how well it fitted, in range."""
    try:
        said = read_reply(text, Predicted)
    except UnreadableReplyError:
        return "unreadable"
    foreseen = foresight_of([prediction_of(said, TASK)] * 2)
    checkpointed(foreseen)
    assert 0 <= foreseen["pass_rate"] <= 1
    fit = alignment(foreseen, TASK, [(text, 10, True), (TASK, 900, False), ("unit rate", 400, True)], "accuracy")
    assert all(0 <= fit[part] <= 1 for part in ("pass_rate", "difficulty", "length", "notions", "mean"))
    return f"{foreseen['outlook']} {len(foreseen['notions'])}"


def ratings(text: str) -> str:
    """Ratings of methods that there are, from 1 to 7, and beliefs in range."""
    try:
        said = read_reply(text, Ratings)
    except UnreadableReplyError:
        return "unreadable"
    found = usable_ratings(said, METHODS)
    checkpointed(found)
    assert all(rating["method"] in METHODS and 1 <= rating["rating"] <= 7 for rating in found)
    known = beliefs_from_ratings(found, METHODS).known
    assert all(abs(prior.advantage) <= 1 for prior in known.values())
    return f"{len(found)} of {len(METHODS)}"


def drafts(text: str) -> str:
    """Meta-thoughts that a checkpoint holds, no more than asked for, each once."""
    try:
        said = read_reply(text, Drafts)
    except UnreadableReplyError:
        return "unreadable"
    asked: list[tuple[Draft, Any]] = [(draft, "evolved") for draft in said.meta_thoughts]
    admitted = admit([], asked, at_most=3, threshold=0.8)
    checkpointed(admitted)
    assert len({thought["id"] for thought in admitted}) == len(admitted) <= 3
    return f"{len(admitted)} of {min(4, len(asked))}"


def verdict_of_battles(text: str) -> str:
    """A verdict of Arena-Hard or None, and style features in range."""
    style = style_of(text)
    assert all(-1 <= part <= 1 for part in style_difference(style, style_of("# One\n\n- two")))
    return f"{read_verdict(text)} {style.headers > 0} {style.lists > 0} {style.bold > 0}"


def streaming(text: str) -> str:
    """The pieces of a streamed answer are the answer."""
    try:
        message = AIMessage(text)
    except ValueError:
        return "refused"
    pieces = [str(chunk.content) for chunk in in_chunks(message)]
    assert "".join(pieces) == text
    return f"{min(3, len(pieces))}"


def _scored(reward: Reward) -> str:
    scores = LOOP.run_until_complete(reward.score(TASK, ["2 hours", "1.5 hours"], SETTINGS, place=["fuzz"]))
    assert len(scores) == 2
    for score in scores:
        assert score.value is None or 0 <= score.value <= 1
        assert (score.value is None) == (score.error is not None)
        checkpointed([score.value, score.critique, score.memo, score.wording, dict(score.usage)])
    return " ".join("none" if score.value is None else "scored" for score in scores)


def rewards_of_chat_models(text: str) -> str:
    """A judge with its requests and repairs: rewards in [0, 1], or none and the reason."""
    metered = MeteredModel(ScriptedModel(write=lambda *_: text))
    rewards = [
        JudgeReward(metered),
        JudgeReward(metered, at_once=2),
        CritiqueReward(metered),
        PairwiseReward(metered),
        PanelReward.of_wordings(metered),
    ]
    return _scored(rewards[len(text) % len(rewards)])


def reward_servers(text: str) -> str:
    """Any reply of a reward model's server: rewards in [0, 1], or none and the reason."""
    body = text.encode("utf-8", "surrogateescape" if text.isascii() else "replace")
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    outcomes = []
    with patch("metascale.rewards.classifier_server.httpx.AsyncClient", _client(transport)):
        for api in ("vllm_classify", "vllm_pooling", "tei"):
            asked = {"api": api, "model": "judge", "url": "http://localhost:1", "chat_template": _template()}
            outcomes.append(_scored(RewardModelReward(RewardModelSettings.model_validate(asked))))
    return " ".join(outcomes)


@functools.cache
def _template() -> str:
    file = Path(tempfile.mkdtemp()) / "template.jinja"
    file.write_text("{% for message in messages %}{{ message.content }}\n{% endfor %}")
    return str(file)


_Client = httpx.AsyncClient


def _client(transport: httpx.MockTransport) -> Callable[..., httpx.AsyncClient]:
    return lambda **options: _Client(**{**options, "transport": transport})


PARSERS: dict[str, Check] = {
    "JSON replies": json_reply,
    "quotations": quotation,
    "tool arguments": tool_arguments,
    "final answers": answers,
    "rubrics": rubric,
    "stated predictions": stated,
    "foresight": foresight,
    "ratings of methods": ratings,
    "meta-thoughts": drafts,
    "battles and style": verdict_of_battles,
    "streams": streaming,
    "judges": rewards_of_chat_models,
    "reward servers": reward_servers,
}
