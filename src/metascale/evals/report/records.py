"""Records of an evaluation for its report: one for each answer of a method to a question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from metascale.records import Alignment, Bill, MetaThought, Outlook

Plain = bool | int | float | str

BattleVerdict = Literal["A>>B", "A>B", "A=B", "B>A", "B>>A"]
Outcome = Literal["answered", "failed", "unanswered"]


@dataclass(frozen=True)
class SampleRecord:
    """One sample of a run, without its text.

    Attributes:
        id: its number in the run, from 0.
        round: the round that planned it, from 1.
        meta_thought: the id of the meta-thought that it was sampled under.
        status: as in `metascale.records.Candidate`.
        reward: in [0, 1], or None where it was not scored.
        right: whether the task's scorer would call it right; None where that cannot be told from the log.
        extracted: its final answer in canonical form, or None.
        input_tokens: prompt tokens of the sample itself.
        output_tokens: completion tokens of the sample itself.
        shared: whether the reward is that of other samples with the same final answer.
        model: that wrote it; empty in logs of earlier versions.
    """

    id: int
    round: int
    meta_thought: str
    status: str
    reward: float | None
    right: bool | None
    extracted: str | None
    input_tokens: int
    output_tokens: int
    shared: bool = False
    model: str = ""


@dataclass(frozen=True)
class Battle:
    """One pairwise judgement of an Arena-Hard answer (A) against the baseline's (B), in one order.

    Attributes:
        verdict: the judge's, as if the method's answer always stood first; None where it could not be read.
        swapped: whether the baseline's answer was shown first.
        style: the method's answer minus the baseline's, each feature as `(a - b) / (a + b)` (0 where both are 0):
            length in tokens, headers, lists, bold passages.
    """

    verdict: BattleVerdict | None
    swapped: bool
    style: tuple[float, float, float, float]


@dataclass(frozen=True)
class ForesightRecord:
    """What a run predicted of its own answers.

    Attributes:
        pass_rate: in [0, 1].
        outlook: its consequence for the budget.
        accuracy: how well the predictions match the gold answer; None without one.
    """

    pass_rate: float
    outlook: Outlook
    accuracy: Alignment | None


@dataclass(frozen=True)
class Source:
    """How the answers of one log were made.

    Attributes:
        packages: the versions of metascale, Inspect and the task's package.
        started: when the log's evaluation began, as ISO 8601.
        completed: when it ended, or its last answer was scored; empty where neither is known.
        epochs: how often each question was to be asked.
        arguments: the method's arguments and settings that were set; `model` is absent for the evaluation's model, and
            `judge_model` where the model judges itself.
        task_args: the task's arguments that were set, such as `subset` and the seed of its draw.
        model_args: the model's arguments.
        generation: the generation options of the model that were set, such as `temperature`.
        base_url: the address of the model's server, or None.
    """

    packages: Mapping[str, str]
    started: str
    completed: str
    epochs: int
    arguments: Mapping[str, Plain]
    task_args: Mapping[str, Plain]
    model_args: Mapping[str, Plain]
    generation: Mapping[str, Plain]
    base_url: str | None


@dataclass(frozen=True)
class AnswerGiven:
    """One question that one method was to answer once.

    Attributes:
        task: such as `gsm8k`.
        method: such as `best_of_n`, with its `changes` in brackets.
        budget: the sampling budget that was set; 1 for methods that draw one sample.
        model: the name of the model that answered.
        simulated: whether the offline model answered or judged; everything made from the record must then say
            *simulation*.
        question_id: the question, the same for all methods.
        epoch: the repetition of the question, from 1.
        score: 1 right, 0 wrong; for Arena-Hard the share of battles won, in [0, 1]; None where the run failed or has
            not ended.
        usage: what it cost, or None where that is not known.
        reward: the reward of the chosen answer, or None.
        winner: the id of the chosen sample, or None.
        pool: the meta-thoughts of the run, with their parents.
        samples: every sample, in order.
        battles: Arena-Hard's judgements.
        foreseen: what the run predicted of itself, or None.
        full_budget: the name of the same method without foresight, which always has the full budget; None for such a
            method.
        question: the question's text.
        gold: the expected answer; empty without one.
        text: the answer's text; empty where the run failed.
        problem: why the run failed, or None.
        source: how the answer was made; None if that is not known.
        ended: whether the run has ended; False where the question was planned and no log holds an answer or a failure.
        left_out: how many other answers to the same question, under the same settings, are not in the report.
        seed: of the evaluation, or None.
        changes: the method's settings that are not the default and change its answers, as text.
        conditions: what else changes answers and holds for every method of a run, such as the temperature of the
            evaluation, as text.
    """

    task: str
    method: str
    budget: int
    model: str
    simulated: bool
    question_id: str
    epoch: int
    score: float | None
    usage: Bill | None
    reward: float | None
    winner: int | None
    pool: Sequence[MetaThought] = field(default_factory=tuple)
    samples: Sequence[SampleRecord] = field(default_factory=tuple)
    battles: Sequence[Battle] = field(default_factory=tuple)
    foreseen: ForesightRecord | None = None
    full_budget: str | None = None
    question: str = ""
    gold: str = ""
    text: str = ""
    problem: str | None = None
    source: Source | None = None
    ended: bool = True
    left_out: int = 0
    seed: int | None = None
    changes: Mapping[str, str] = field(default_factory=dict)
    conditions: Mapping[str, str] = field(default_factory=dict)

    @property
    def outcome(self) -> Outcome:
        """Whether the run gave an answer that was scored, failed, or has not ended."""
        if not self.ended:
            return "unanswered"
        return "failed" if self.score is None else "answered"
