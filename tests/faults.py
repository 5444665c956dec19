"""Faults of a model's server, a run under them, and what must still hold of that run."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver

from metascale import MetaScaleSettings
from metascale.data import gsm8k
from metascale.errors import NoAnswerError
from metascale.graphs import METHODS
from metascale.records import Candidate
from metascale.settings import Price
from metascale.state import State, state_of
from tests.openai_server import Fault, OpenAIServer, serving
from tests.waiting import CEILING

Role = Literal["solver", "judge", "evolution"]
ROLES: tuple[Role, ...] = get_args(Role)
RATES = (0.1, 0.3, 1.0)
KINDS: dict[Role, tuple[str, ...]] = {
    "solver": ("solve",),
    "judge": ("judge", "judge_list", "pairwise", "check_critique"),
    "evolution": ("compose", "abstract", "evolve", "evolve_diagnose", "evolve_contrast", "evolve_compose"),
}
"""The kinds of requests in which each role is asked."""
QUESTION = gsm8k()[0]["question"]
PRICE = Price(input=1.0, output=2.0)
TIME_LIMIT = CEILING
"""Seconds that a run may take: more than any needs that is not held up."""
CALL_TIMEOUT = 5.0
"""Seconds that one request may take where some hang: far more than one that does not. Elsewhere nothing is cut short,
however busy the machine is."""


@dataclass(frozen=True)
class FaultKind:
    """One way to fail.

    Attributes:
        name: for tables.
        make: one such fault.
        says: what must be said of it (a regular expression) where it was not overcome; None where nothing can be
            noticed.
        roles: whose replies it can befall.
        is_answered: whether it is a completion, which is paid for.
        hides_cost: whether nobody can know what the request cost.
    """

    name: str
    make: Callable[[random.Random], Fault]
    says: str | None
    roles: tuple[Role, ...] = ROLES
    is_answered: bool = False
    hides_cost: bool = False


def _error(message: str) -> str:
    return json.dumps({"error": {"message": message, "type": "fault", "code": None}})


def _completion_of(text: str | Callable[[str], str], **about: Any) -> Callable[[random.Random], Fault]:
    return lambda _: Fault(text=text, **about)


def _wrong_json(generator: random.Random) -> Fault:
    """Valid JSON of the wrong types, an array, a number, or prose."""
    types = {"critique": ["no text"], "score": {"value": 7}, "meta_thoughts": "think", "winner": 1, "claims": None}
    return Fault(text=generator.choice([json.dumps(types), "[1, 2, 3]", "7", "I would say that it is rather good."]))


def _with_score(score: str) -> Callable[[str], str]:
    """A judge's reply with another score, as it would be written."""
    return lambda text: re.sub(r'"score": \d+', f'"score": {score}', text)


def _turned_round(text: str) -> str:
    """The judgement of a judge that is always wrong: the best gets 1, the worst 10, the winner loses."""
    turned = re.sub(r'"score": (\d+)', lambda found: f'"score": {11 - int(found[1])}', text)
    return re.sub(r'"winner": "([AB])"', lambda found: f'"winner": "{"B" if found[1] == "A" else "A"}"', turned)


_SAME_THOUGHT = {"mindset": "You are the same as ever.", "strategy": "Do what you did the last time, once more."}
_HTML = "<html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>"
_UNREAD = r"could not be read|verdict|holds no JSON object|evolution failed"

FAULTS = (
    FaultKind("429", lambda _: Fault(429, _error("Rate limit reached")), "429"),
    FaultKind(
        "429, Retry-After",
        lambda _: Fault(429, _error("Rate limit reached"), headers={"retry-after": "0.05"}),
        "429",
    ),
    FaultKind("500", lambda _: Fault(500, _error("The server had an error")), "500"),
    FaultKind("502, HTML", lambda _: Fault(502, _HTML.format("502 Bad Gateway"), {"content-type": "text/html"}), "502"),
    FaultKind(
        "200, HTML", lambda _: Fault(200, _HTML.format("Please log in"), {"content-type": "text/html"}), "Please log in"
    ),
    FaultKind("reset connection", lambda _: Fault(breaks="reset"), "[Cc]onnection", hides_cost=True),
    FaultKind("half-sent body", lambda _: Fault(breaks="half"), "[Cc]onnection", hides_cost=True),
    FaultKind(
        "no choices",
        lambda _: Fault(200, json.dumps({"id": "1", "object": "chat.completion", "model": "loopback", "choices": []})),
        "no completion",
        hides_cost=True,
    ),
    FaultKind("hang", lambda _: Fault(breaks="hang"), "no reply within|max_seconds", hides_cost=True),
    FaultKind("empty answer", _completion_of(""), f"empty|{_UNREAD}", is_answered=True),
    FaultKind("refusal", _completion_of("", refusal="I can't help with that."), "refused", is_answered=True),
    FaultKind("cut answer", _completion_of(lambda text: text[:40], finish_reason="length"), "cut", is_answered=True),
    FaultKind(
        "truncated JSON",
        _completion_of(lambda text: text[: len(text) // 2]),
        _UNREAD,
        roles=("judge", "evolution"),
        is_answered=True,
    ),
    FaultKind("wrong JSON", _wrong_json, _UNREAD, roles=("judge", "evolution"), is_answered=True),
    *(
        FaultKind(f"score {score}", _completion_of(_with_score(score)), _UNREAD, roles=("judge",), is_answered=True)
        for score in ("NaN", "1000", "-3", '"8/10"')
    ),
    FaultKind("always wrong", _completion_of(_turned_round), None, roles=("judge",), is_answered=True),
    FaultKind("same answer", _completion_of("It is 7.\n#### 7"), None, roles=("solver",), is_answered=True),
    FaultKind(
        "same meta-thought",
        _completion_of(json.dumps({"meta_thoughts": [_SAME_THOUGHT] * 2})),
        "near-duplicates|built-in",
        roles=("evolution",),
        is_answered=True,
    ),
)
BY_NAME = {fault.name: fault for fault in FAULTS}


class Draws:
    """A server's script: the fault in place of a share of a role's replies, drawn by a seed."""

    def __init__(self, fault: FaultKind, role: Role, rate: float, seed: int) -> None:
        self.drawn = 0
        self._fault, self._kinds, self._rate = fault, KINDS[role], rate
        self._generator = random.Random(f"{seed} {fault.name} {role} {rate}")

    def __call__(self, kind: str, number: int, body: Mapping[str, Any]) -> Fault | None:  # noqa: ARG002
        if kind not in self._kinds or self._generator.random() >= self._rate:
            return None
        self.drawn += 1
        return self._fault.make(self._generator)


@dataclass(frozen=True)
class Cell:
    """One fault at one rate in one role's replies, and what is run under it.

    Attributes:
        method: the graph.
        reward: what scores.
        max_seconds: that it may take.
        is_synchronous: whether the graph is invoked without an event loop.
    """

    fault: FaultKind
    role: Role
    rate: float
    seed: int = 0
    method: str = "metascale"
    reward: str = "judge"
    budget: int = 12
    max_seconds: float = TIME_LIMIT
    is_synchronous: bool = False

    def __str__(self) -> str:
        return f"{self.fault.name}, {self.role} {self.rate:.0%}, {self.method}, {self.reward}, seed {self.seed}"


@dataclass(frozen=True)
class Run:
    """How it went.

    Attributes:
        state: in which it ended.
        error: what it raised.
        seconds: wall time.
        faults: drawn.
        server: what it was asked, and what it answered.
    """

    state: State
    error: Exception | None
    seconds: float
    faults: int
    server: OpenAIServer


async def run(cell: Cell) -> Run:
    """Run a cell on a server of its own."""
    settings = MetaScaleSettings(
        budget=cell.budget,
        batch_size=4,
        pool_size=4,
        evolution="always",
        evolve_every=1,
        children=1,
        max_retries=1,
        max_seconds=cell.max_seconds,
        call_timeout=CALL_TIMEOUT if cell.fault is BY_NAME["hang"] and cell.max_seconds > CALL_TIMEOUT else None,
        stragglers="wait",  # a second request that also arrives has tokens that no bill can hold
        reward=cell.reward,  # type: ignore[arg-type]
        seed=cell.seed,
        prices={"loopback": PRICE},
    )
    draws = Draws(cell.fault, cell.role, cell.rate, cell.seed)
    with serving(OpenAIServer(script=draws)) as server:
        model = ChatOpenAI(model="loopback", base_url=server.url, api_key="none", max_retries=0)
        graph = METHODS[cell.method].create(model, settings=settings, checkpointer=InMemorySaver())
        question: Any = {"messages": [{"role": "user", "content": QUESTION}]}
        thread: Any = {"configurable": {"thread_id": "t"}}
        error: Exception | None = None
        started = time.monotonic()
        try:
            if cell.is_synchronous:
                graph.invoke(question, thread)
            else:
                await asyncio.wait_for(graph.ainvoke(question, thread), 2 * CEILING)
        except Exception as raised:  # noqa: BLE001  judged by `broken`
            error = raised
        seconds = time.monotonic() - started
        return Run(state_of(graph.get_state(thread)), error, seconds, draws.drawn, server)


def broken(cell: Cell, found: Run) -> list[str]:
    """What does not hold of a run that must hold, one line each; none if all is well."""
    checks = (_budget, _bill, _finished_samples, _answer, _what_went_wrong)
    return [problem for check in checks for problem in check(cell, found)]


def _budget(cell: Cell, found: Run) -> list[str]:
    """The budget is kept, and spent unless the run says why not."""
    usage, result = found.state["usage"], found.state["result"]
    drawn = sum(c["status"] != "failed" for c in found.state["candidates"])
    problems = []
    if usage["samples"] != drawn:
        problems.append(f"{usage['samples']} samples billed for {drawn} drawn")
    if drawn > cell.budget:
        problems.append(f"{drawn} samples for a budget of {cell.budget}")
    if result is not None and (result["stop_reason"] == "budget") != (drawn == cell.budget):
        problems.append(f"it stopped by {result['stop_reason']} after {drawn} of {cell.budget} samples")
    return problems


def _bill(cell: Cell, found: Run) -> list[str]:
    """Calls are the requests that the server saw, and tokens those of the completions that it sent."""
    usage, server = found.state["usage"], found.server
    counts = {
        "calls": server.requests.total(),
        "input_tokens": server.input_tokens,
        "output_tokens": server.output_tokens,
    }
    problems = [
        f"{name} are {usage[name]} and should be {count}"  # type: ignore[literal-required]
        for name, count in counts.items()
        if usage[name] != count  # type: ignore[literal-required]
    ]
    cost = (server.input_tokens * PRICE.input + server.output_tokens * PRICE.output) / 1e6
    if found.faults and cell.fault.hides_cost and usage["cost_usd"] is not None:
        problems.append(f"the cost is {usage['cost_usd']} and should be unknown")
    if usage["cost_usd"] is not None and abs(usage["cost_usd"] - cost) > 1e-9:
        problems.append(f"the cost is {usage['cost_usd']} and should be {cost}")
    return problems


def _finished_samples(cell: Cell, found: Run) -> list[str]:  # noqa: ARG001
    """Every completion of the solver is a candidate."""
    sent = Counter(served.text.strip() for served in found.server.served if served.kind == "solve")
    kept = Counter(c["text"] for c in found.state["candidates"] if c["status"] in {"ok", "truncated", "empty"})
    refused = Counter({"": sum(c["status"] == "refused" for c in found.state["candidates"])})
    return [] if sent == kept + refused else [f"samples lost or made up: {sent - kept - refused}, {kept - sent}"]


def _answer(cell: Cell, found: Run) -> list[str]:  # noqa: ARG001
    """With a sample that has words there is an answer: one of them, and no refusal unless all are.

    Without any there is an error.
    """
    spoken = [c for c in found.state["candidates"] if c["status"] != "failed" and c["text"]]
    usable = [c for c in spoken if c["status"] != "refused"] or spoken
    result, error = found.state["result"], found.error
    if not usable:
        return [] if isinstance(error, NoAnswerError) and result is None else [f"no answer, and {error!r}"]
    if error is not None or result is None:
        return [f"no answer out of {len(usable)}: {error!r}"]
    is_one = any(result["answer"] == c["text"] for c in usable)
    return [] if is_one else [f"the answer is no usable sample: {result['answer'][:60]!r}"]


def _what_went_wrong(cell: Cell, found: Run) -> list[str]:
    """Where a fault was not overcome, the result, or the error in place of one, names it."""
    candidates, result = found.state["candidates"], found.state["result"]
    told = [*(result["notes"] if result else found.state["notes"]), *([str(found.error)] if found.error else [])]
    silent = [c["id"] for c in candidates if _is_flawed(c, cell) and not c["error"]]
    problems = [f"samples {silent} do not say what is wrong with them"] if silent else []
    if cell.fault.says is None:
        return problems
    is_said = any(re.search(cell.fault.says, line) for line in told)
    if not is_said and (any(_is_flawed(c, cell) for c in candidates) or (cell.rate == 1 and found.faults)):
        problems.append(f"nothing says {cell.fault.says!r}: {told}")
    return problems


def _is_flawed(candidate: Candidate, cell: Cell) -> bool:
    """Whether a fault shows in a candidate."""
    is_unscored = candidate["reward"] is None and METHODS[cell.method].judged
    return candidate["status"] != "ok" or is_unscored
