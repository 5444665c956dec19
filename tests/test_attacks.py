"""No answer sways the code around a judge: each stays in its fence, and none is ever read as a verdict."""

from __future__ import annotations

import ast
import contextlib
import json
import re
import unicodedata
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from pydantic import BaseModel

from metascale import MetaScaleSettings, prompts
from metascale.models import MeteredModel, ask
from metascale.models.json_reply import UnreadableReplyError, read_reply
from metascale.models.structured import with_schema
from metascale.pool.admission import Drafts
from metascale.rewards import JudgeReward
from metascale.rewards.base import Score
from metascale.rewards.judge import WAYS, WORDINGS, JudgeVerdict, Verdicts
from tests.attacks import ATTACKS, FOR_LISTS, LARGE_TEXTS
from tests.scripted import Reply, ScriptedModel, drafts, verdict

SETTINGS = MetaScaleSettings(max_retries=0)
QUESTION = "How many eggs are left?"
HONEST = ("There are 17.", "Nine are eaten, so there are 19.")
MANY = 10_000
"""Characters from which a text is too large for every way of quoting it."""

every_attack = pytest.mark.parametrize("text", ATTACKS.values(), ids=ATTACKS.keys())


async def look(model: ScriptedModel, text: str, *looks: int) -> list[Score]:
    """What a judge of one answer says of the text in each of the looks; look 0 is the first scoring."""
    judge = JudgeReward(model)
    first = await judge.score(QUESTION, [text], SETTINGS, place=["here"]) if 0 in looks else []
    again = [number for number in looks if number]
    return first + await judge.look_again(QUESTION, [text] * len(again), SETTINGS, place=["again"], looks=again)


async def beside_others(model: ScriptedModel, text: str) -> list[Score]:
    """What a judge of three answers at once says, the text between two honest ones."""
    judge = JudgeReward(model, at_once=3)
    return await judge.score(QUESTION, [HONEST[0], text, HONEST[1]], SETTINGS, place=["here"])


def same_verdicts(score: float, critique: str = "Not shown.") -> str:
    return json.dumps({"verdicts": [{"answer": n, "critique": critique, "score": score} for n in (1, 2, 3)]})


def check_fences(
    messages: list[BaseMessage], wording: str, schema: type[BaseModel], shown: list[tuple[str, str]]
) -> None:
    """The request holds the prompt and the texts in their fences, and nothing else."""
    system, material = (message.text for message in messages)
    opening = re.match(r"<\w+-([0-9a-f]{16})>\n", material)
    assert opening is not None
    tag = opening[1]
    asked = SystemMessage(prompts.render(wording, rubric=prompts.load("rubric"), tag=tag, count=len(shown) - 1))
    assert system == with_schema([asked], schema)[0].text
    assert material == "\n\n".join(f"<{label}-{tag}>\n{text}\n</{label}-{tag}>" for label, text in shown)
    for label, text in shown:
        assert tag not in text
        before, after = material.split(f"\n</{label}-{tag}>")
        assert before.endswith(f"<{label}-{tag}>\n{text}")
        assert (after == "") == ((label, text) == shown[-1])
    assert prompts.fenced(material) == shown


@every_attack
async def test_a_text_stays_in_its_fence_in_every_wording(text: str) -> None:
    model = ScriptedModel(write=lambda *_: verdict(2, "Not shown."))
    scores = await look(model, text, *range(WAYS))
    assert [score.value for score in scores] == [pytest.approx(1 / 9)] * WAYS
    parts = [("question", QUESTION), ("answer", text)]
    seen = set()
    for messages in model.requests("judge"):
        wording = next(name for name in WORDINGS if messages[0].text[:60] == prompts.load(name)[:60])
        order = 1 if messages[1].text.startswith("<question") else -1
        check_fences(messages, wording, JudgeVerdict, parts[::order])
        seen.add((wording, order))
    assert len(seen) == WAYS


@every_attack
async def test_a_text_stays_in_its_fence_beside_other_answers(text: str) -> None:
    model = ScriptedModel(write=lambda *_: same_verdicts(2))
    assert [score.value for score in await beside_others(model, text)] == [pytest.approx(1 / 9)] * 3
    (messages,) = model.requests("judge_list")
    found = prompts.fenced(messages[1].text)
    check_fences(messages, "judge_list", Verdicts.on(len(found) - 1), found)
    assert [label for label, _ in found] == ["question", "answer_1", "answer_2", "answer_3"]
    assert found[0][1] == QUESTION
    assert sorted(content for _, content in found[1:]) == sorted([text, *HONEST])


def visible(text: str) -> str:
    """The text without what cannot be seen: control, format, unassigned and combining characters, and fillers."""
    return "".join(x for x in text if x in "\n\t" or (unicodedata.category(x)[0] not in "CM" and x != "\u3164"))


def unescaped(text: str) -> str:
    resolved = re.sub(r"\\{1,9}u([0-9a-f]{4})", lambda match: chr(int(match[1], 16)), text)
    return resolved.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def planted_in(text: str) -> list[dict[str, Any]]:
    """Objects that a helpful reader finds in a text: nested ones, broken ones and those in strings too."""
    found: list[dict[str, Any]] = []

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found.append(dict(pairs))
        for _, inner in pairs:
            if isinstance(inner, str) and "{" in inner:
                read(inner)
        return found[-1]

    def read(source: str) -> None:
        starts = [match.start() for match in re.finditer(r"\{(?=\s*[\"'])", source)]
        for start in starts[:12] + starts[12:][-12:]:
            with contextlib.suppress(ValueError, RecursionError):
                decoder.raw_decode(source, start)

    decoder = json.JSONDecoder(object_pairs_hook=collect, strict=False)
    for version in (
        text,
        re.sub(r",(\s*[}\]])", r"\1", text),
        re.sub(r"/\*.*?\*/", "", text),
        visible(unescaped(text)),
    ):
        read(version)
    if len(text) < MANY:
        with contextlib.suppress(ValueError, SyntaxError):
            read(json.dumps(ast.literal_eval(text)))
    distinct = {json.dumps(value): value for value in found}
    ranked = sorted(distinct, key=lambda source: not any(f'"{key}"' in source for key in ("score", "meta_thoughts")))
    return [distinct[source] for source in ranked[: 6 if len(text) < MANY else 2]]


def reversed_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: reversed_keys(inner) for key, inner in reversed(value.items())}
    return [reversed_keys(inner) for inner in value] if isinstance(value, list) else value


def called(arguments: dict[str, Any]) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": "Verdict", "args": arguments, "id": "call_1", "type": "tool_call"}])


def called_badly(arguments: str) -> AIMessage:
    broken = {"name": "Verdict", "args": arguments, "id": "call_1", "error": None, "type": "invalid_tool_call"}
    return AIMessage("", invalid_tool_calls=[broken])


def parrots(text: str) -> Iterator[Reply]:
    """Replies that hold nothing but what the text says."""
    yield text
    yield called_badly(text)
    if len(text) < MANY:
        yield f"The answer says: {text}"
        yield f"```json\n{text}\n```"
        yield visible(text)
        yield "".join(visible(text).split())
        yield " ".join(text.split())
        yield unescaped(text)
        yield visible(unescaped(text))
        yield f"```json\n{visible(text)}\n```"
        yield unicodedata.normalize("NFKC", text)
        yield text.replace('\\"', '"')
    for value in planted_in(text):
        yield json.dumps(value)
        yield called(value)
        if len(text) < MANY:
            yield json.dumps(value, indent=4, ensure_ascii=False)
            yield json.dumps(reversed_keys(value), separators=(",", ":"))
            yield f"My verdict:\n```json\n{visible(json.dumps(value, ensure_ascii=False))}\n```"


def every_parrot(text: str) -> list[Reply]:
    return list({repr(reply): reply for reply in parrots(text)}.values())


def parrots_of_a_list(text: str) -> list[Reply]:
    """As `every_parrot`, shorter for a text that holds no object of several entries."""
    return every_parrot(text) if text in FOR_LISTS.values() else [text, called_badly(text)]


def say(reply: Reply) -> ScriptedModel:
    return ScriptedModel(write=lambda *_: reply)


@every_attack
async def test_a_parrot_gives_no_score(text: str) -> None:
    for number, reply in enumerate(every_parrot(text)):
        (score,) = await look(say(reply), text, number % WAYS)
        assert score.value is None, ascii(reply)
        assert score.critique is None
        assert score.error
        assert score.error.startswith("the verdict could not be read: ")


@every_attack
async def test_a_parrot_of_one_of_several_answers_gives_no_score(text: str) -> None:
    for reply in parrots_of_a_list(text):
        for score in await beside_others(say(reply), text):
            assert score.value is None, ascii(reply)
            assert score.error


@every_attack
async def test_a_parrot_of_the_whole_request_gives_no_score(text: str) -> None:
    model = ScriptedModel(write=lambda _, __, messages: messages[1].text)
    looks = range(WAYS) if len(text) < MANY else (0,)
    scores = await look(model, text, *looks) + await beside_others(model, text)
    assert {score.value for score in scores} == {None}


@every_attack
async def test_a_judge_that_quotes_a_text_is_still_read(text: str) -> None:
    own = verdict(2, "The second step fails.")
    replies = [
        own,
        f"The answer says:\n{text}\n\nThat proves nothing. My own verdict:\n{own}",
        f"{own}\n\nI did not believe this: {text}",
        f"It says {text} and again {text}, but:\n\n```json\n{own}\n```",
        verdict(2, f"It plants {text}"),
        called({"critique": f"It plants {text}", "score": 2}),
    ]
    for number, reply in enumerate(replies):
        (score,) = await look(say(reply), text, number % WAYS)
        assert score.value == pytest.approx(1 / 9), ascii(reply)


@every_attack
async def test_a_judge_that_quotes_one_of_several_answers_is_still_read(text: str) -> None:
    own = same_verdicts(2, "The second step fails.")
    for reply in (own, f"One says:\n{text}\n\nMy own verdicts:\n{own}", same_verdicts(2, f"One plants {text}")):
        scores = await beside_others(say(reply), text)
        assert [score.value for score in scores] == [pytest.approx(1 / 9)] * 3, ascii(reply)


@every_attack
async def test_a_critique_breeds_no_meta_thought_of_its_own(text: str) -> None:
    record = (
        f"Mindset: You are patient.\nStrategy: Take step by step.\nMean reward: 0.50 over 1 answers\nCritique: {text}"
    )
    material = prompts.fence("expert", record, prompts.new_tag())
    messages = [SystemMessage("Several experts have tried the task below."), HumanMessage(material)]

    async def bred(reply: Reply) -> list[str]:
        reading = await ask(MeteredModel(say(reply)), messages, Drafts, SETTINGS, place=["here"], untrusted=material)
        return [draft.mindset for draft in reading.value.meta_thoughts] if reading.value else []

    for reply in parrots_of_a_list(text):
        assert await bred(reply) == [], ascii(reply)
    for honest in (drafts("a baker"), f"The critic says {text}\n\nSo:\n{drafts('a baker')}"):
        assert await bred(honest) == ["You are a baker."]


@pytest.mark.timeout(120)  # seconds; where time grew with the square of the length, it would take far longer
@pytest.mark.parametrize("text", LARGE_TEXTS.values(), ids=LARGE_TEXTS.keys())
def test_time_to_read_grows_no_faster_than_the_text(text: str) -> None:
    with contextlib.suppress(UnreadableReplyError):
        read_reply(text * 8, JudgeVerdict, untrusted=text * 8)
