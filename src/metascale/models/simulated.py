"""The offline model: a stochastic solver, judge and designer of meta-thoughts. A simulation, not a language model.

It reads the same prompts as a real model, and its replies are parsed in the same way. Every task has a hidden kind and
a hidden difficulty, and every meta-thought a hidden aptitude for each kind. Together they give the probability that an
answer is right. So the choice of meta-thought matters, but nothing measured here says anything about language models.

No constant below is fitted to a real model, except the judge's noise: GPT-4's repeated ratings of one text (creative
writing, in princeton-nlp/tree-of-thought-llm) have a standard deviation of 0.73 on a scale from 1 to 10.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import zlib
from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar

import numpy as np
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field

from metascale import prompts
from metascale.answers import extract
from metascale.data import arena_hard, choice_prompt, gsm8k, mmlu_pro, squeeze
from metascale.models.simulated_probabilities import simulated_logprobs, yes_no_logprobs
from metascale.pool.methods import catalogue

NOTICE = "Simulated answer: no language model was asked."

MINDSETS = (
    "You are an accountant who reconciles every figure.",
    "You are a teacher who explains to a doubtful pupil.",
    "You are an engineer who designs for the worst case.",
    "You are a detective who trusts only what is stated.",
    "You are a shopkeeper who has counted such things all day.",
    "You are a proof reader who looks for the slip.",
    "You are a planner who lays everything on a timeline.",
    "You are a physicist who checks the units first.",
)
STRATEGIES = (
    "List every quantity that is given and what is asked, before computing.",
    "Write one equation for what is asked and solve it.",
    "Work backwards from what is asked to what is given.",
    "Build a small table, one row for each step in time.",
    "Estimate the size of the answer first and compare at the end.",
    "Solve a smaller case, then scale it up.",
    "Track the unit of every number through each step.",
    "Solve it in two independent ways and reconcile them.",
    "Separate what repeats from what happens once.",
    "Restate each sentence as an operation, in order.",
    "Name the tempting mistake, and show why it is one.",
    "Put the numbers back into the story and see whether it holds.",
)
NOTIONS = {
    "table": 3,
    "quantity": 0,
    "equation": 1,
    "working backwards": 2,
    "estimate of the size": 4,
    "smaller case": 5,
    "unit of every number": 6,
    "independent way": 7,
    "order of operations": 9,
    "tempting mistake": 10,
}
"""The strategy that each notion belongs to, as an index into `STRATEGIES`."""
OVERCONFIDENCE = {"simulated": 0.0, "simulated-overconfident": 0.9}
"""The names of the offline model, each with its `overconfidence`."""
KEPT = 0.9
"""Share of right answers that refining keeps, and of the most frequent answers that aggregating keeps; the others are
solved again."""
KINDS = 5
"""Hidden kinds of task."""
SELF_DISCOVER = ("self_discover_select", "self_discover_adapt", "self_discover_compose")
JUDGES = ("judge", "judge_examiner", "judge_sceptic")
"""The wordings of the request for a score."""
COMPARISONS = ("pairwise", "pairwise_sceptic")
"""The wordings of the request for the better of two answers."""
P_TRUE = ("p_true", "p_true_judge")
"""The questions whether an answer is correct: at the end of its own conversation, and in a fresh one."""
PROMPT_NAMES = (
    *("compose", "compose_more", "abstract", "synthesize"),
    *("evolve", "evolve_diagnose", "evolve_contrast", "evolve_compose"),
    *(*JUDGES, "judge_list", "check_critique", *COMPARISONS, "arena_judge"),
    *("find_mistake", "grade_reason", "improve_rubric", "p_true_judge"),
    *SELF_DISCOVER,
    *("rate_methods", "foresee"),
)

_THOUGHT = "{}\n\nDo the work, then state your final answer clearly at the end."
"""A meta-thought as its hidden aptitudes are drawn from it, whatever the prompt for real models says around it."""
WAY = "Way of thinking: "
NO_WAY = "The numbers of the task are combined."
_SOLUTION = re.compile(rf"^({re.escape(NOTICE)}.*)\n((?:.*\n)+?)(#### .*)$", re.MULTILINE)
_CRITIQUES = (
    "One quantity is used twice.",
    "The last step answers another question than the one asked.",
    "A unit changes on the way and is not converted.",
    "The set-up is clear and each step follows.",
    "The result is stated, but one step before it is not shown.",
    "The order of two operations is swapped.",
)


def _hash(*parts: object) -> int:
    return zlib.crc32("\x00".join(str(part) for part in parts).encode())


@cache
def _answers() -> dict[str, str]:
    numbers = {squeeze(item["question"]): item["gold"].replace(",", "") for item in gsm8k()}
    choices = {squeeze(choice_prompt(item["question"], item["options"])): item["answer"] for item in mmlu_pro()}
    return numbers | choices


@cache
def _solutions() -> dict[str, str]:
    """The worked solutions of GSM8K by question, without the notes of its calculator and without the final answer."""
    return {
        squeeze(item["question"]): re.sub(r"<<.*?>>", "", item["solution"]).rpartition("\n#### ")[0] for item in gsm8k()
    }


def knows(question: str) -> bool:
    """Whether the offline model has an answer to a question."""
    return squeeze(question) in _answers() or squeeze(question) in _open_questions()


@cache
def _open_questions() -> frozenset[str]:
    return frozenset(squeeze(item["prompt"]) for item in arena_hard())


@cache
def _aptitudes() -> dict[str, tuple[float, ...]]:
    rng = np.random.default_rng(20250317)
    return {part: tuple(rng.normal(0.0, 0.9, KINDS)) for part in MINDSETS + STRATEGIES}


def _parts_of(text: str) -> list[str]:
    return [part for part in _aptitudes() if part in text]


def aptitude(thought: str, question: str) -> float:
    """How well a meta-thought fits a task, in logits; 0 is a plain answer without one."""
    kind = _hash("kind", question) % KINDS
    if not thought.strip():
        return 0.0
    parts = _parts_of(thought)
    own = np.random.default_rng(_hash("own", thought, kind)).normal(0.0, 0.25)
    if not parts:
        return 0.15 + float(own)
    fits = sorted((_aptitudes()[part][kind] for part in parts), reverse=True)
    return float(np.mean(fits[:2])) + 0.1 + float(own)


def chance(thought: str, question: str) -> float:
    """Probability that one sample under this meta-thought is right, in (0, 1)."""
    difficulty = np.random.default_rng(_hash("difficulty", question)).normal(-0.3, 1.3)
    return 1.0 / (1.0 + math.exp(difficulty - aptitude(thought, question)))


def plain_chance(question: str) -> float:
    """Mean probability, in (0, 1), that a sample under one of the two fixed arms is right."""
    plain = [prompts.BUILT_IN_META_THOUGHTS[name] for name in ("no_strategy", "chain_of_thought")]
    thoughts = [_THOUGHT.format(f"{m}\n\nWork in this way: {s}".strip()) if m or s else "" for m, s in plain]
    return float(np.mean([chance(thought, question) for thought in thoughts]))


class SimulatedChatModel(BaseChatModel):
    """A chat model that works offline and plays every part of METASCALE, by simulation.

    It answers the questions of GSM8K and MMLU-Pro that ship with the package, because it has their gold answers. To a
    prompt of Arena-Hard it replies with a simulated quality, which is all that its judge reads. To anything else it
    says that it cannot answer. The same seed and the same messages give the same reply; without a seed each reply is
    drawn afresh.

    Attributes:
        seed: makes replies repeatable.
        n: replies to one request.
        overconfidence: bias of the predicted pass rate, in [-1, 1]: 0 predicts the true rate with some noise, 1 always
            predicts success, -1 always failure.
        latency: mean seconds that an asynchronous request takes, so that a person can watch a search.
    """

    in_process: ClassVar[bool] = True
    seed: int | None = None
    n: int | None = None
    overconfidence: float = Field(default=0.0, ge=-1, le=1)
    latency: float = Field(default=0.0, ge=0)

    @property
    def _llm_type(self) -> str:
        return "simulated"

    async def _agenerate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        if self.latency:
            await asyncio.sleep(self.latency * np.random.default_rng().uniform(0.5, 1.5))
        return await super()._agenerate(messages, *args, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,  # noqa: ARG002
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002
        *,
        logprobs: bool = False,
        top_logprobs: int = 0,
        **kwargs: Any,  # noqa: ARG002
    ) -> ChatResult:
        system = "\n\n".join(message.text for message in messages if message.type == "system")
        turns = [str(message.text) for message in messages if message.type == "human"] or [""]
        kind = kind_of_request(system, turns[-1])
        attempts: list[str] = []
        if kind in {"solve", "p_true"}:
            parts = [prompts.apart(turn) for turn in turns]
            said_and_shown = [prompts.attempts_in(said) for said, _ in parts]
            turns, attempts = [said for said, _ in said_and_shown], said_and_shown[-1][1]
            thoughts = [_THOUGHT.format(thought) for _, thought in parts if thought]
            system = "\n\n".join([*filter(None, [system]), *thoughts[-1:]])
        asked = turns[-1]
        place = None if self.seed is None else [self.seed, *self._content(system, asked)]
        replies: list[str] = []
        told: list[dict[str, Any]] = []
        for number in range(self.n or 1):
            rng = np.random.default_rng(place if place is None or number == 0 else [*place, number])
            replies.append(self._say(system, turns, messages, rng, attempts))
            told.append({"finish_reason": "stop"})
            if logprobs and kind in P_TRUE:
                chances = yes_no_logprobs(replies[-1], _chance_of_yes(turns, messages), top_logprobs)
                told[-1]["logprobs"] = chances
            elif logprobs:
                is_right = _is_right(replies[-1], turns)
                told[-1]["logprobs"] = simulated_logprobs(replies[-1], top_logprobs, rng, is_right=is_right)
        read = (sum(len(message.text) for message in messages) + 3) // 4
        written = sum((len(text) + 3) // 4 for text in replies)
        usage: Any = {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}
        said = [
            AIMessage(text, usage_metadata=usage, response_metadata=about)
            for text, about in zip(replies, told, strict=True)
        ]
        return ChatResult(generations=[ChatGeneration(message=message) for message in said])

    def _say(
        self,
        system: str,
        turns: list[str],
        messages: list[BaseMessage],
        rng: np.random.Generator,
        attempts: list[str],
    ) -> str:
        """One reply."""
        asked = turns[-1]
        material = dict(prompts.fenced(asked))
        return {
            "solve": lambda: _answer(prompts.without_task(system), turns, messages, rng, attempts),
            "judge": lambda: json.dumps(_judge(material, rng, is_bare=prompts.load("bare_verdict") in system)),
            "judge_list": lambda: _judge_list(material, rng),
            "check_critique": lambda: _check(material, rng),
            "pairwise": lambda: _prefer(material, rng),
            "improve_rubric": lambda: _reword(material),
            "p_true": lambda: _yes_or_no(turns, messages, rng),
            "p_true_judge": lambda: _yes_or_no(turns, messages, rng),
            "find_mistake": lambda: _find_mistake(material, rng),
            "grade_reason": lambda: json.dumps({"analysis": "Simulated grade.", "right": bool(rng.random() < 0.5)}),
            "arena_judge": lambda: _compare(material, rng),
            "compose": lambda: _design(system, [], rng),
            "compose_more": lambda: _design("1 meta-thoughts", [], rng),
            "abstract": lambda: _design(system, [], rng),
            "synthesize": lambda: _synthesize(material),
            "evolve": lambda: _design(system, _parts_of(asked), rng),
            "evolve_diagnose": lambda: _design(system, _parts_of(asked), rng),
            "evolve_contrast": lambda: _design(system, _parts_of(asked), rng),
            "evolve_compose": lambda: _design(system, [], rng),
            "self_discover_select": lambda: json.dumps({"modules": _some_modules(rng)}),
            "self_discover_adapt": lambda: json.dumps({"modules": _some_modules(rng)}),
            "rate_methods": lambda: _rate(material, rng),
            "foresee": lambda: _foresee(material, rng, self.overconfidence),
            "self_discover_compose": lambda: json.dumps({"plan": "\n".join(_some_moves(rng))}),
        }[kind_of_request(system, asked)]()

    @staticmethod
    def _content(system: str, asked: str) -> list[int]:
        """Hashes of the texts that the reply depends on, without the random tags of the fences."""
        return [zlib.crc32(re.sub(r"\b[0-9a-f]{16}\b", "", _bare(text)).encode()) for text in (system, asked)]


@cache
def _opening(name: str) -> str:
    return prompts.load(name).partition(".")[0]


def kind_of_request(system: str, asked: str = "") -> str:
    """The name of the prompt that a request was made from: one of `PROMPT_NAMES`, `"p_true"` or `"solve"`.

    All wordings of the judge's prompt count as `"judge"`, all wordings of the comparison as `"pairwise"`.

    Args:
        system: the system message.
        asked: the last message of the user, which is the prompt itself where a conversation goes on with it.
    """
    if asked == prompts.load("p_true"):
        return "p_true"
    name = next((name for name in PROMPT_NAMES if system.startswith(_opening(name))), "solve")
    return "judge" if name in JUDGES else "pairwise" if name in COMPARISONS else name


def _is_right(reply: str, asked: Sequence[str]) -> bool | None:
    """Whether a reply gives the right answer to one of the user's questions; None if none of them has a known one."""
    gold = next((known for turn in reversed(asked) if (known := _answers().get(squeeze(turn)))), None)
    return None if gold is None else extract(reply) == gold


def _answer(
    thought: str,
    asked: Sequence[str],
    messages: Sequence[BaseMessage],
    rng: np.random.Generator,
    attempts: Sequence[str],
) -> str:
    """A new answer to the question, a refined version of the previous answer, or the most frequent of some attempts."""
    if attempts and rng.random() < KEPT:
        return _synthesize({f"answer_{number}": text for number, text in enumerate(attempts)})
    if len(asked) < 2 or not asked[-1].startswith(prompts.load("refine").partition("\n")[0]):
        return _solve(thought, asked[-1], rng)
    before = next(message.text for message in reversed(messages) if message.type == "ai")
    is_right = extract(before) == _answers().get(squeeze(asked[-2]))
    return before if is_right and rng.random() < KEPT else _solve(thought, asked[-2], rng)


def _solve(thought: str, question: str, rng: np.random.Generator) -> str:
    key = squeeze(question)
    if key in _open_questions():
        quality = float(np.clip(chance(thought, key) + rng.normal(0.0, 0.15), 0.0, 1.0))
        return f"{NOTICE}\nSimulated quality: {quality:.2f}"
    gold = _answers().get(key)
    if gold is None:
        return f"{NOTICE} It has the key to the questions that ship with metascale, and this is none of them."
    is_right = rng.random() < chance(thought, key)
    if gold.isalpha():
        others = [letter for letter in "ABCDEFGHIJ"[: question.count("\n")] if letter != gold]
        return f"{NOTICE}\nThe answer is ({gold if is_right else others[int(rng.integers(len(others)))]})."
    if is_right:
        value = gold
    else:
        number = float(gold)
        slips = [number + 1, number * 2, number - 2, number / 2, number * 10]
        first = _hash("slip", key) % len(slips)
        slip = slips[first] if rng.random() < 0.4 else slips[int(rng.integers(len(slips)))]
        value = f"{slip:g}" if f"{slip:g}" != gold else f"{number + 3:g}"
    parts = _parts_of(thought)
    way = f"{WAY}{' '.join(parts)}" if parts else NO_WAY
    return f"{NOTICE}\n{way}\n{_worked(key, gold, value)}\n#### {value}"


def _worked(key: str, gold: str, value: str) -> str:
    """The worked solution; for a wrong answer with a slip in its last step."""
    steps = _solutions()[key]
    if value == gold:
        return steps
    before, _, after = steps.rpartition(gold)
    return f"{before}{value}{after}" if before else steps


def _bare(text: str) -> str:
    """The text with every simulated solution reduced to its way of thinking and its final answer.

    What the simulation draws does not depend on how it words a solution.
    """
    return _SOLUTION.sub(lambda found: "\n".join([found[1], *(_parts_of(found[2]) or [NO_WAY]), found[3]]), text)


def _synthesize(material: dict[str, str]) -> str:
    """The shown answer whose final answer is the most frequent; the first of several."""
    shown = [text.partition("\n\nCritique: ")[0] for label, text in material.items() if label.startswith("answer_")]
    given = [extract(text) for text in shown]
    chosen = max(range(len(shown)), key=lambda index: (given.count(given[index]), -index))
    return f"{NOTICE} The answers shown were compared.\n{shown[chosen].removeprefix(NOTICE).strip()}"


def _asked(task: str) -> str:
    """The question of a task; in a conversation, the last message of the user."""
    return squeeze(task.rpartition("User: ")[2].partition("\n\nAssistant: ")[0])


def _impression(material: dict[str, str], answer: str, rng: np.random.Generator) -> float:
    """A judge's noisy impression of an answer, on a scale from 1 to 10 but not clipped to it."""
    return _lasting_impression(material, answer) + float(rng.normal(0.0, 0.73))


def _lasting_impression(material: dict[str, str], answer: str) -> float:
    """The mean of a judge's impressions of an answer."""
    question = _asked(material.get("question", ""))
    gold, given = _answers().get(question), extract(answer)
    quality = _quality(answer)
    lasting = np.random.default_rng(_hash("impression", question, _bare(answer))).normal(0.0, 1.2)
    middle = 2.0 if gold is None else 7.4 if given == gold else 5.0
    if quality is not None:
        middle = 2.0 + 7.0 * quality
    return float(middle + lasting)


def _judge(material: dict[str, str], rng: np.random.Generator, *, is_bare: bool = False) -> dict[str, Any]:
    score = int(np.clip(round(_impression(material, material.get("answer", ""), rng)), 1, 10))
    if is_bare:
        return {"score": score}
    critique = f"Simulated judgement. {_CRITIQUES[int(rng.integers(len(_CRITIQUES)))]}"
    return {"critique": critique, "score": score}


def _chance_of_yes(turns: Sequence[str], messages: Sequence[BaseMessage]) -> float:
    """The chance of Yes, when asked whether an answer is correct: a fenced one, or the last in the conversation."""
    material = dict(prompts.fenced(turns[-1]))
    if not material:
        answer = next(message.text for message in reversed(messages) if message.type == "ai")
        refined = prompts.load("refine").partition("\n")[0]
        question = next(turn for turn in reversed(turns[:-1]) if not turn.startswith(refined))
        material = {"question": question, "answer": answer}
    return 1 / (1 + math.exp(6.2 - _lasting_impression(material, material["answer"])))


def _yes_or_no(turns: Sequence[str], messages: Sequence[BaseMessage], rng: np.random.Generator) -> str:
    return "Yes" if rng.random() < _chance_of_yes(turns, messages) else "No"


def _prefer(material: dict[str, str], rng: np.random.Generator) -> str:
    first, second = (_impression(material, material.get(name, ""), rng) for name in ("answer_a", "answer_b"))
    winner = "tie" if abs(first - second) < 0.5 else "A" if first > second else "B"
    return json.dumps({"analysis": "Simulated comparison. The two differ in one step.", "winner": winner})


def _reword(material: dict[str, str]) -> str:
    rubric = f"{material.get('rubric', '')}\n\nSimulated rewording: check every step before you score."
    return json.dumps({"diagnosis": "Simulated diagnosis. Steps went unchecked.", "rubric": rubric})


def _check(material: dict[str, str], rng: np.random.Generator) -> str:
    claims = re.findall(r"[^.]+\.", material.get("critique", ""))
    verdicts = rng.choice(["supported", "refuted", "unclear"], len(claims), p=[0.8, 0.1, 0.1])
    return json.dumps(
        {"claims": [{"claim": c.strip(), "verdict": str(v)} for c, v in zip(claims, verdicts, strict=True)]}
    )


def _find_mistake(material: dict[str, str], rng: np.random.Generator) -> str:
    """A guess: the simulation cannot read a chain of thought."""
    numbered = [int(number) for text in material.values() for number in re.findall(r"^(\d+)\. ", text, re.MULTILINE)]
    steps = max(numbered, default=1)
    step = int(rng.integers(1, steps + 1)) if rng.random() < 0.5 else None
    reason = "Simulated reason." if step else ""
    return json.dumps({"analysis": "Simulated check.", "right": step is None, "step": step, "reason": reason})


def _judge_list(material: dict[str, str], rng: np.random.Generator) -> str:
    verdicts = [
        {"answer": int(label.removeprefix("answer_")), **_judge({**material, "answer": text}, rng)}
        for label, text in material.items()
        if label.startswith("answer_")
    ]
    return json.dumps({"verdicts": verdicts})


def _quality(answer: str) -> float | None:
    marked = re.search(r"Simulated quality: (\d\.\d\d)", answer)
    return float(marked[1]) if marked else None


def _compare(material: dict[str, str], rng: np.random.Generator) -> str:
    first, second = (_quality(material.get(name, "")) or 0.0 for name in ("answer_a", "answer_b"))
    ahead = first - second + rng.normal(0.0, 0.15)
    verdict = "A>>B" if ahead > 0.35 else "A>B" if ahead > 0.08 else "A=B" if ahead > -0.08 else "B>A"
    return f"Simulated judgement. [[{verdict if ahead > -0.35 else 'B>>A'}]]"


def _rate(material: dict[str, str], rng: np.random.Generator) -> str:
    """Ratings of the package's own methods: their hidden aptitudes for the task plus noise."""
    question = _asked(material.get("task", ""))
    rated = []
    for method in catalogue().values():
        thought = _THOUGHT.format(f"Work in this way: {method.instructions}")
        seen = 4 + 4 * aptitude(thought, question) + rng.normal(0.0, 1.0)
        rating = int(np.clip(round(seen), 1, 7))
        rated.append({"method": method.name, "reason": "Simulated rating.", "rating": rating})
    return json.dumps({"ratings": rated})


def _foresee(material: dict[str, str], rng: np.random.Generator, overconfidence: float) -> str:
    """A prediction: the true chance to be right, noisy and maybe biased, and notions of strategies that seem to fit."""
    question = _asked(material.get("task", ""))
    is_known = question in _answers() or question in _open_questions()
    truth = plain_chance(question) if is_known else 0.0
    bias = overconfidence * (1 - truth if overconfidence > 0 else truth)
    seen = truth + bias + rng.normal(0.0, 0.05)
    kind = _hash("kind", question) % KINDS
    seeming = {name: _aptitudes()[STRATEGIES[at]][kind] + rng.normal(0.0, 0.5) for name, at in NOTIONS.items()}
    best = sorted(NOTIONS, key=lambda name: -seeming[name])[:3]
    return json.dumps(
        {
            "analysis": "Simulated foresight.",
            "pass_rate": round(float(np.clip(seen, 0.0, 1.0)), 2),
            "length": int(rng.integers(25, 60)) + len(_solutions().get(question, "")) // 4,
            "notions": best,
        }
    )


def _some_modules(rng: np.random.Generator) -> list[str]:
    listed = [line.removeprefix("- ") for line in prompts.load("reasoning_modules").splitlines()]
    return [listed[index] for index in sorted(rng.choice(len(listed), 4, replace=False))]


def _some_moves(rng: np.random.Generator) -> list[str]:
    return [
        f"{step}. {STRATEGIES[index]}" for step, index in enumerate(rng.choice(len(STRATEGIES), 3, replace=False), 1)
    ]


def _design(system: str, inherited: Sequence[str], rng: np.random.Generator) -> str:
    wanted = re.search(r"\b(\d+) (?:new )?(?:experts?|meta-thoughts)", system)
    count = int(wanted[1]) if wanted else 2
    mindsets = [part for part in inherited if part in MINDSETS] or list(MINDSETS)
    strategies = [part for part in inherited if part in STRATEGIES]
    drafts = []
    who = rng.permutation(len(mindsets))
    fresh = rng.permutation(len(STRATEGIES))
    for index in range(count):
        moves = [STRATEGIES[fresh[index % len(STRATEGIES)]]]
        if strategies:
            moves = [strategies[int(rng.integers(len(strategies)))], *moves]
        drafts.append({"mindset": mindsets[who[index % len(who)]], "strategy": " ".join(dict.fromkeys(moves))})
    return json.dumps({"meta_thoughts": drafts})
