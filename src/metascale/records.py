"""What a run is made of: plain records of JSON values, independent of LangGraph."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from metascale.usage import PartBill

Origin = Literal[
    "fixed",
    "self_composed",
    "retrieved",
    "builtin",
    "method",
    "remembered",
    "foreseen",
    "human",
    "evolved",
    "refinement",
    "synthesis",
]


OperatorName = Literal["combine", "diagnose", "contrast", "compose"]


Status = Literal["ok", "truncated", "refused", "empty", "failed"]


Outlook = Literal["easy", "hopeless", "open"]


StopReason = Literal[
    "budget",
    "target_reward",
    "agreement",
    "no_progress",
    "foreseen",
    "hopeless",
    "max_calls",
    "max_tokens_total",
    "max_seconds",
    "max_cost_usd",
    "failures",
    "step_limit",
    "interrupted",
]


class Belief(TypedDict):
    """The prior of a meta-thought, from before its first pull; see `metascale.bandits.Prior`."""

    advantage: float
    """How far its mean reward is expected to lie above the average arm's, in [-1, 1]."""
    weight: float
    """How many observed rewards the prior counts for, above 0."""


class Rating(TypedDict):
    """The model's rating of a reasoning method for the task (Meta-Reasoning Prompting)."""

    method: str
    """The method's name in the catalogue."""
    rating: int
    """From 1 (harmful) to 7 (ideal)."""
    reason: str
    """The model's reason."""


class Prediction(TypedDict):
    """What the model predicts of its own answers to a task (MASA, arXiv 2510.03259)."""

    analysis: NotRequired[str]
    """The model's reasons; absent if they were not recorded."""
    pass_rate: float
    """The share of right answers, in [0, 1]."""
    length: int
    """The length of a good answer in tokens, at least 1."""
    notions: list[str]
    """Notions that a good answer needs and the task does not name; each once."""


class Foresight(TypedDict):
    """Several predictions, combined."""

    predictions: list[Prediction]
    """At least one."""
    pass_rate: float
    """The mean predicted pass rate, in [0, 1]."""
    spread: float
    """The standard deviation of the predicted pass rates, in [0, 0.5]."""
    length: int
    """The median predicted length, in tokens."""
    notions: list[str]
    """The notions that several predictions name, the most frequent first."""
    outlook: Outlook
    """What follows for the budget; `open` if the predictions disagree or are not clear."""


class Alignment(TypedDict):
    """How well the predictions matched the answers."""

    measure: Literal["consistency", "accuracy"]
    """What tells good answers from bad ones: gold answers (`accuracy`), or the run's own agreement and rewards
    (`consistency`)."""
    pass_rate: float
    """The observed share of good answers, in [0, 1]."""
    difficulty: float
    """`0.01 ** |predicted - observed pass rate|`, in [0.01, 1]."""
    length: float
    """1 if the predicted length lies strictly between the shortest and the longest good answer, else 0."""
    notions: float
    """The share of predicted notions that more good answers use than bad ones, in [0, 1]."""
    mean: float
    """The mean of `difficulty`, `length` and `notions`."""


class ForesightReport(TypedDict):
    """The foresight of a run, and how well it matched the answers."""

    foresight: Foresight
    alignment: Alignment | None
    """Null if good answers cannot be told from bad ones."""


class MetaThought(TypedDict):
    """A way of thinking about the task (paper, section 3): one arm of the bandit."""

    id: str
    """Unique in the run: `no_strategy`, `chain_of_thought` or the name of another special arm; else `m1`, `m2`, … in
    order of birth."""
    mindset: str
    """Who thinks: perspective, expertise, role; may be empty."""
    strategy: str
    """How that mind forms a solution; may be empty."""
    origin: Origin
    """Where it came from."""
    parents: list[str]
    """Ids of the meta-thoughts that it was bred from; empty if it inherited nothing."""
    generation: int
    """0 in the first pool; for a child, one more than the highest generation of its parents, or 1 without parents."""
    operator: NotRequired[OperatorName]
    """The operator that bred it; absent unless evolved."""
    prior: NotRequired[Belief]
    """Its prior, from memory, ratings or the head start; absent without one."""
    priors: NotRequired[dict[str, Belief]]
    """Its priors with each of several models, where a memory tells them apart."""
    retired: NotRequired[bool]
    """Whether it retired to make room: it is never pulled again, but its samples still count. Absent means no."""


class Look(TypedDict):
    """A second look: one more judgement of an answer."""

    value: float | None
    """The score in [0, 1]; null if the judge failed."""
    wording: str
    """The wording of the judge's prompt."""


class Certainty(TypedDict):
    """How sure a model was of its own answer: a summary of the log-probabilities of its tokens.

    All means are in nats a token, at temperature 1, and at most 0: the lower, the less sure. Window and tail are as
    long as `metascale.models.probabilities` says, or as the answer if that is shorter.
    """

    tokens: int
    """Tokens of the answer, at least 1."""
    mean: float
    """The mean of all tokens."""
    lowest: float
    """The mean of the window of consecutive tokens that has the lowest."""
    tail: float
    """The mean of the last tokens."""
    numbers: float
    """The mean of the tokens that hold digits, without the numerals that begin a line, drawn towards `mean`; `mean` if
    there are none or the tokens' texts are unknown."""


class Candidate(TypedDict):
    """One sample: an answer under one meta-thought, or the failure to get one."""

    id: int
    """The number of the sample in the run, from 0."""
    round: int
    """The round that planned it, from 1."""
    meta_thought: str
    """The id of the meta-thought that it was sampled under."""
    model: NotRequired[str]
    """The name of the model that wrote it; absent in runs of earlier versions, which had one."""
    refines: int | None
    """The id of the sample that it refines; null for a new answer."""
    reads: NotRequired[list[int]]
    """The ids of the samples that its request showed, by methods that write answers from answers; absent without."""
    status: Status
    """`ok`; `truncated`, `refused` or `empty` for a reply with a flaw; `failed` if the request failed."""
    text: str
    """The answer; may be empty."""
    error: str | None
    """Why the sample failed, has a flaw or could not be scored, in one line; else null."""
    reward: float | None
    """The reward in [0, 1]; null if it is not scored yet, or could not be."""
    critique: str | None
    """What the judge wrote before its score; null without one."""
    wording: str
    """The wording of the judge's prompt; empty if the reward has no wordings."""
    memo: Any
    """What a relative reward keeps of the answer, as JSON; null with other rewards."""
    looks: list[Look]
    """The judgements after the first, whose score is `reward`."""
    extracted: str | None
    """The final answer in canonical form; null if none is marked."""
    input_tokens: int
    output_tokens: int
    """Tokens of the request that gave the answer; requests that were discarded are in the bill only."""
    certainty: NotRequired[Certainty | None]
    """How sure the model was of it; null if its server told no token probabilities, absent if none were asked for."""
    shared: NotRequired[bool]
    """Whether `reward` is the mean of the verdicts on other samples with the same final answer, because this one was
    not judged. Absent means no."""
    unlimited: NotRequired[bool]
    """Whether it was drawn again without the length limit that foresight set; absent means no."""


class Pull(TypedDict):
    """A planned sample."""

    id: int
    meta_thought: str
    model: NotRequired[str]
    """The name of the model that is asked; absent for the run's first one."""
    refines: int | None
    reads: NotRequired[list[int]]
    """As in `Candidate`."""


class Finalist(TypedDict):
    """An answer that was re-judged before the choice."""

    candidate: int
    meta_thought: str
    reward: float
    """Its first score, in [0, 1]."""
    looks: list[float]
    """Its further scores, each in [0, 1]."""
    estimate: float
    """Its quality on the reward's scale, estimated from all its scores and shrunk towards the mean of all answers: the
    noisier the scores, the more."""
    support: int
    """Samples with the same final answer, itself included; with the same text if final answers are not marked."""


class Rival(TypedDict):
    """The best answer of a meta-thought, with a model, that did not win."""

    candidate: int
    meta_thought: str
    model: NotRequired[str]
    """As in `Candidate`."""
    reward: float | None


class Bill(TypedDict):
    """The bill of a run; see `Usage` for its keys."""

    samples: int
    calls: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    seconds: float
    cost_usd: float | None
    by_node: dict[str, PartBill]
    by_model: dict[str, PartBill]


class Result(TypedDict):
    """What a run returns: the answer, how it was found, and why the search stopped."""

    answer: str
    """The text of the winning sample."""
    reward: float | None
    """The winner's reward in [0, 1]; null if nothing could be scored."""
    meta_thought: MetaThought
    """The meta-thought that the winner was sampled under."""
    model: NotRequired[str]
    """The name of the model that wrote it; absent in results of earlier versions."""
    candidate: int
    """The id of the winning sample."""
    stop_reason: StopReason
    usage: Bill
    rivals: list[Rival]
    """The best answers of other meta-thoughts or models, best first; at most three."""
    finalists: list[Finalist]
    """The answers that were re-judged, best first; empty if none was."""
    confidence: float | None
    """Where final answers can be compared, the probability that the given one is right; of a free text, the probability
    that no other answer is better. Null only in results of earlier versions."""
    saved: NotRequired[int]
    """Samples of the budget that were not drawn because the final answers agreed; absent in results of earlier
    versions."""
    regret: float
    """What all samples together lost against always pulling the arm with the highest mean, in units of reward."""
    progress: list[float | None]
    """Per round, the expected gain in the highest reward by one more sample; null while too little is known."""
    foresight: ForesightReport | None
    """Null if nothing was foreseen."""
    notes: list[str]
    """What went wrong or was replaced during the run, one line each; the last one says what the confidence rests on."""


class Refined(TypedDict):
    """The answer that a sample refines."""

    id: int
    meta_thought: MetaThought
    text: str
    critique: str | None
