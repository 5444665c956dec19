"""What a run is made of: plain records of JSON values. Nothing here knows of LangGraph."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

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
    "failures",
    "step_limit",
    "interrupted",
]


class Belief(TypedDict):
    """What is believed of a meta-thought before it is tried; see `metascale.bandits.Prior`."""

    advantage: float
    """By how much its mean reward is believed to lie above the average arm's, in [-1, 1]."""
    weight: float
    """How many rewards that belief counts for, above 0."""


class Rating(TypedDict):
    """What the model thinks of a reasoning method for the task (Meta-Reasoning Prompting)."""

    method: str
    """Its name in the catalogue."""
    rating: int
    """From 1 to 7."""
    reason: str
    """Why, in the model's words."""


class Prediction(TypedDict):
    """What the model foresees of its own answers to a task (MASA, arXiv 2510.03259)."""

    analysis: NotRequired[str]
    """Why; absent where nobody recorded it."""
    pass_rate: float
    """The share of them that will be right, in [0, 1]."""
    length: int
    """Of a good one, in tokens, at least 1."""
    notions: list[str]
    """What a good one needs and the task does not name, each notion once."""


class Foresight(TypedDict):
    """What several predictions say together."""

    predictions: list[Prediction]
    """At least one."""
    pass_rate: float
    """Their mean, in [0, 1]."""
    spread: float
    """The standard deviation of their pass rates, in [0, 0.5]."""
    length: int
    """Their median, in tokens."""
    notions: list[str]
    """Those that recur, the most frequent first."""
    outlook: Outlook
    """What follows for the budget; `open` where the predictions are not sure."""


class Alignment(TypedDict):
    """How well predictions fitted what came."""

    measure: Literal["consistency", "accuracy"]
    """`accuracy` where gold answers say which answers are good; `consistency` where the run's own agreement and rewards
    do."""
    pass_rate: float
    """The observed share of good answers, in [0, 1]."""
    difficulty: float
    """`0.01 ** |predicted - observed pass rate|`, in [0.01, 1]."""
    length: float
    """1 where the predicted length lies between the shortest and the longest good answer's, else 0."""
    notions: float
    """The share of predicted notions that more good answers than bad ones use, in [0, 1]."""
    mean: float
    """Of the three."""


class ForesightReport(TypedDict):
    """What was foreseen, and what became of it."""

    foresight: Foresight
    alignment: Alignment | None
    """Null where nothing tells good answers from bad ones."""


class MetaThought(TypedDict):
    """A way of thinking about the task (paper, section 3): one arm of the bandit."""

    id: str
    """Unique in the run: `no_strategy`, `chain_of_thought`, or `m1`, `m2`, … in order of birth."""
    mindset: str
    """Who thinks: perspective, expertise, role. May be empty."""
    strategy: str
    """How a solution is formed under that mindset. May be empty."""
    origin: Origin
    """Where it came from."""
    parents: list[str]
    """Ids of the meta-thoughts that it was bred from; empty unless evolved, and where nothing was inherited."""
    generation: int
    """0 for the first pool, else one more than the highest of its parents, and 1 without any."""
    operator: NotRequired[OperatorName]
    """What bred it; absent unless evolved."""
    prior: NotRequired[Belief]
    """What is believed of it from elsewhere; absent where nothing is."""
    retired: NotRequired[bool]
    """Whether it made room for another and is never pulled again; absent means no. Its samples still count."""


class Look(TypedDict):
    """One more judgement of an answer."""

    value: float | None
    """In [0, 1]; null where the judge failed."""
    wording: str
    """How the judge was asked."""


class Candidate(TypedDict):
    """One sample: an answer under one meta-thought, or the failure to get one."""

    id: int
    """Number of the sample in the run, from 0."""
    round: int
    """Round that planned it, from 1."""
    meta_thought: str
    """Id of the meta-thought that it was sampled under."""
    refines: int | None
    """Id of the sample that it refines; null for a new answer."""
    status: Status
    """`truncated`, `refused` and `empty` are answers with a flaw; `failed` is no answer at all."""
    text: str
    """The answer; empty if there is none."""
    error: str | None
    """Why the sample failed, is flawed or could not be scored, in one line."""
    reward: float | None
    """Reward in [0, 1]; null while or if nobody could score it."""
    critique: str | None
    """What the judge said before scoring."""
    wording: str
    """How the reward was asked for its score; empty where it says nothing of that."""
    memo: Any
    """What a relative reward remembers of the answer, as JSON; null with all others."""
    looks: list[Look]
    """Judgements after the first, which is `reward`."""
    extracted: str | None
    """The final answer in canonical form; null where none is marked."""
    input_tokens: int
    output_tokens: int
    """Of the answer itself; a request that it was drawn again for stands in the bill alone."""
    unlimited: NotRequired[bool]
    """Whether it was drawn again because the foreseen length was too short; absent means no."""


class Pull(TypedDict):
    """A planned sample."""

    id: int
    meta_thought: str
    refines: int | None


class Finalist(TypedDict):
    """An answer that was looked at again before the choice."""

    candidate: int
    meta_thought: str
    reward: float
    """Its first score."""
    looks: list[float]
    """Its fresh scores."""
    estimate: float
    """Its quality on the reward's scale, by all scores together, drawn towards the mean of all answers as far as the
    scores are noisy."""
    support: int
    """Samples with the same final answer, or the same text where final answers are not marked, itself included."""


class Rival(TypedDict):
    """The best answer of a meta-thought that did not win."""

    candidate: int
    meta_thought: str
    reward: float | None


class Bill(TypedDict):
    """`Usage` as results report it."""

    samples: int
    calls: int
    input_tokens: int
    output_tokens: int
    seconds: float
    cost_usd: float | None


class Result(TypedDict):
    """What a run found, and why it stopped."""

    answer: str
    """The text of the winning sample."""
    reward: float | None
    """Its reward in [0, 1]; null if nothing could be scored."""
    meta_thought: MetaThought
    """What it was sampled under."""
    candidate: int
    """The id of the winning sample."""
    stop_reason: StopReason
    usage: Bill
    rivals: list[Rival]
    """At most three, best first."""
    finalists: list[Finalist]
    """The answers that were judged again, best first; empty where the choice was made by single scores."""
    confidence: float | None
    """How sure the choice is: the probability that no other answer is better, by the scores and their noise; a lower
    bound, and null where nothing was judged again."""
    regret: float
    """What all samples lost against always pulling the arm of the highest mean, in hindsight, in units of reward."""
    progress: list[float | None]
    """After each round, by how much one more sample was expected to raise the highest reward; null while too little
    was known."""
    foresight: ForesightReport | None
    """Null where nothing was foreseen."""
    notes: list[str]
    """What went wrong or was replaced on the way, one line each."""


class Refined(TypedDict):
    """The answer that a sample refines."""

    id: int
    meta_thought: MetaThought
    text: str
    critique: str | None
