"""Phase 2, second half: one answer under one meta-thought."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.config import get_config, get_stream_writer

from metascale import prompts
from metascale.budget.ending_early import floor_of
from metascale.errors import ModelCallError
from metascale.events import Sampled
from metascale.models import MeteredModel
from metascale.models.flaws import Outcome, flaw_of, outcome
from metascale.models.probabilities import certainty_of, tokens_of
from metascale.nodes.config_keys import READ
from metascale.nodes.run import Run, Update
from metascale.pool.refinement import refined_answer
from metascale.records import Candidate, MetaThought, Refined
from metascale.settings import MetaScaleSettings
from metascale.state import Sampling, State
from metascale.usage import Usage, add_usage, working_since


async def generate(state: Sampling, run: Run) -> Update:
    """Draw one sample. A failed request becomes a failed candidate with its error, and costs no budget."""
    started = run.start_work({"usage": _read("usage"), "granted_usd": _read("granted_usd")})
    reads = state.get("reads")
    attempts = _texts(reads, _read("candidates")) if reads else []
    messages = _asked(state["meta_thought"], state["refined"], _conversation(state), attempts)
    floor = floor_of(_read("candidates")) if run.settings.end_early else None
    candidate, usage = await draw(state, messages, run, floor)
    usage = add_usage(usage, working_since(started))
    get_stream_writer()(Sampled(event="sampled", candidate=candidate, usage=usage))
    return {"candidates": [candidate], "usage": usage}


def _conversation(state: Sampling) -> list[AnyMessage]:
    """The conversation. It is read from the graph's state, so that no checkpoint holds a copy for each sample."""
    if "messages" in state:
        return state["messages"]
    return cast("list[AnyMessage]", _read("messages"))


def _read(channel: str) -> Any:
    """What a channel of the graph's state holds."""
    return get_config()["configurable"][READ](channel)


def asked_of(candidate: Candidate, state: State) -> list[AnyMessage]:
    """The request that a sample answered, message by message as it was sent."""
    thoughts = {thought["id"]: thought for thought in state["pool"]}
    refined = None
    if candidate["refines"] is not None:
        refined = refined_answer(candidate["refines"], thoughts, {c["id"]: c for c in state["candidates"]})
    attempts = _texts(candidate.get("reads", ()), state["candidates"])
    return _asked(thoughts[candidate["meta_thought"]], refined, state["messages"], attempts)


def _texts(ids: Sequence[int], candidates: Sequence[Candidate]) -> list[str]:
    """The answers with some ids, in the order of the ids."""
    texts = {candidate["id"]: candidate["text"] for candidate in candidates}
    return [texts[number] for number in ids]


def _asked(
    thought: MetaThought, refined: Refined | None, conversation: Sequence[AnyMessage], attempts: Sequence[str]
) -> list[AnyMessage]:
    """The request: to answer the question under a meta-thought, after earlier attempts if any, or to refine an answer.

    The same arguments give the same messages, so that a server finds them in its cache when it is asked about the
    answer.
    """
    if refined is None:
        return under(thought, _after(attempts, conversation))
    critique = refined["critique"] or "There may be a mistake in it."
    tag = prompts.tag_for(refined["text"], critique)
    remark = prompts.fence("remark", critique, tag)
    return [
        *under(refined["meta_thought"], conversation),
        AIMessage(refined["text"]),
        HumanMessage(prompts.render("refine", remark=remark, tag=tag)),
    ]


async def draw(
    state: Sampling, messages: Sequence[AnyMessage], run: Run, floor: float | None = None
) -> tuple[Candidate, Usage]:
    """Draw one sample in reply to `messages`; returns it with its bill.

    It is ended early once the model is less sure of it than `floor`, as `MeteredModel.chat` has it. If the foreseen
    length cuts the answer off, or the server refuses that limit, the sample is drawn again without it.
    """
    settings = run.settings
    unlimited = solver = run.solver_of(state.get("model", ""))
    limit = state.get("limit")
    if limit is not None:
        solver = unlimited.capped_at(limit)
    candidate, usage, is_limited = await _attempt(state, messages, solver, settings, floor)
    if solver is unlimited or not is_limited:
        return candidate, usage
    again, bill, _ = await _attempt(state, messages, unlimited, settings, floor, "unlimited")
    best = candidate if again["status"] == "failed" else again
    return {**best, "unlimited": True}, {**add_usage(usage, bill), "samples": int(best["status"] != "failed")}


async def _attempt(
    state: Sampling,
    messages: Sequence[AnyMessage],
    solver: MeteredModel,
    settings: MetaScaleSettings,
    floor: float | None,
    *place: str,
) -> tuple[Candidate, Usage, bool]:
    """One attempt at the sample: the candidate, its bill, and whether the length limit may be at fault."""
    try:
        reply = await solver.chat(messages, settings, place=["sample", state["id"], *place], floor=floor)
    except ModelCallError as failure:
        failed = _candidate(state, solver, ("failed", "", str(failure)), failure.usage)
        return failed, failure.usage, failure.rejected
    usage: Usage = {**reply.usage, "samples": 1}
    candidate = _candidate(state, solver, outcome(reply.message), usage)
    if solver.tells_probabilities:
        tokens = tokens_of(reply.message)
        candidate["certainty"] = certainty_of([t.logprob for t in tokens], [t.text for t in tokens])
    flaw = flaw_of(reply.message)
    return candidate, usage, flaw is not None and flaw.at_limit


def under(thought: MetaThought, messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """The conversation with a meta-thought at the end of the user's last turn; unchanged for an empty meta-thought.

    What samples have in common comes first, so that a server reads it once.
    """
    if not thought["mindset"] and not thought["strategy"]:
        return list(messages)
    return _with(prompts.render("solve", mindset=thought["mindset"], strategy=thought["strategy"]), messages)


def _after(attempts: Sequence[str], messages: Sequence[AnyMessage]) -> Sequence[AnyMessage]:
    """The conversation with earlier attempts at the end of the user's last turn."""
    if not attempts:
        return messages
    tag = prompts.tag_for(*attempts)
    fenced = [prompts.fence(f"attempt_{number}", text, tag) for number, text in enumerate(attempts, 1)]
    return _with(prompts.render("aggregate", attempts="\n\n".join(fenced), tag=tag), messages)


def _with(text: str, messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """The conversation with a further paragraph of the user."""
    at = next((at for at in reversed(range(len(messages))) if messages[at].type == "human"), None)
    if at is None:
        return [*messages, HumanMessage(text)]
    return [*messages[:at], _continued(messages[at], text), *messages[at + 1 :]]


def _continued(turn: AnyMessage, text: str) -> AnyMessage:
    """A turn with a further paragraph."""
    if isinstance(turn.content, str):
        return turn.model_copy(update={"content": f"{turn.content}\n\n{text}"})
    return turn.model_copy(update={"content": [*turn.content, {"type": "text", "text": text}]})


def _candidate(state: Sampling, solver: MeteredModel, came_back: Outcome, usage: Usage) -> Candidate:
    status, text, error = came_back
    candidate: Candidate = {
        "id": state["id"],
        "round": state["round"],
        "meta_thought": state["meta_thought"]["id"],
        "model": solver.label,
        "refines": state["refined"]["id"] if state["refined"] else None,
        "status": status,
        "text": text,
        "error": error,
        "reward": None,
        "critique": None,
        "wording": "",
        "memo": None,
        "looks": [],
        "extracted": None,
        "input_tokens": usage["input_tokens"],
        "output_tokens": usage["output_tokens"],
    }
    if reads := state.get("reads"):
        candidate["reads"] = reads
    return candidate
