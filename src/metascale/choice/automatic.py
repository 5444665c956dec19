"""What the reward `"auto"` stands for: votes where final answers can be compared, else the search by a judge. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from metascale.answers import extract, read_number
from metascale.records import Candidate
from metascale.settings import MetaScaleSettings, ScoringSettings, SearchSettings

_OF_VOTES = frozenset({"temperature", "max_tokens", "batch_size", "end_early", "answer_kind", "weigh_votes", "reward"})
"""Settings of the search and of scores that concern votes, too."""
_OF_MEMORY = frozenset({"memory", "memory_seeds"})
_OF_REWARDS = frozenset({"target_reward", "min_progress"})
ASKING_FOR_SEARCH = (
    (SearchSettings.model_fields.keys() | ScoringSettings.model_fields.keys() | _OF_REWARDS) - _OF_VOTES - _OF_MEMORY
)
"""Settings that ask for the search by a judge, whatever the answers are like: those of the pool, the policy, evolution
and verdicts."""


def asks_for_search(settings: MetaScaleSettings) -> bool:
    """Whether a setting of the pool, the policy, evolution or verdicts is set.

    Where a form has set all of them, only those that differ from their defaults count.
    """
    return not ASKING_FOR_SEARCH.isdisjoint(settings.without_form().model_fields_set)


def decided_beforehand(settings: MetaScaleSettings, *, may_vote: bool) -> MetaScaleSettings:
    """The settings with a judge for `"auto"` where no answer can decide otherwise.

    Args:
        settings: the run's settings, with any reward.
        may_vote: whether the parts of the run leave the decision to its answers.
    """
    if settings.reward == "auto" and (not may_vote or asks_for_search(settings)):
        return settings.model_copy(update={"reward": "judge"})
    return settings


def is_decided(candidates: Sequence[Candidate]) -> bool:
    """Whether an answer is there by which the reward `"auto"` is decided."""
    return any(c["status"] == "ok" for c in candidates)


def are_compared(candidates: Sequence[Candidate], settings: MetaScaleSettings) -> bool:
    """Whether final answers can be compared, by the whole answers of the first round that has any.

    At least half of them must mark a number, a letter, or a final answer that another one marks, too: four different
    numbers are votes, four different slogans are not. Later rounds change nothing, so that all rewards of a run have
    one scale. True while there are no answers.
    """
    whole = [c for c in candidates if c["status"] == "ok"]
    first = [c for c in whole if c["round"] == whole[0]["round"]]
    marked = Counter(extract(c["text"], settings.answer_kind) for c in first)
    votes = sum(
        count
        for final, count in marked.items()
        if final is not None and (count > 1 or len(final) == 1 or read_number(final) is not None)
    )
    return 2 * votes >= len(first)


def by_votes(settings: MetaScaleSettings, *, several_models: bool = False) -> MetaScaleSettings:
    """The settings of a run that draws plain chain of thought and weighs its votes by certainty.

    The votes of several models count alike, because how sure one model is says nothing beside how sure another is.

    It composes no meta-thoughts, asks for no verdicts and breeds nothing. On 60 questions of GSM8K, answered by
    Qwen2.5-Coder-1.5B, this beats self-consistency under chain of thought at equal requests by 6.9, 2.9, 1.8 and 3.8
    points with 2, 4, 8 and 16 of them; the last may be chance. Eight other ways of thinking in the same votes cost 5.5,
    2.6, 1.0 and 2.0 points. `metascale bench replay` measures it on `benchmarks/recordings/gsm8k_qwen15`.
    """
    changes: dict[str, object] = {"reward": "agreement", "policy": "single", "evolution": "off"}
    if "weigh_votes" not in settings.model_fields_set and not several_models:
        changes["weigh_votes"] = True
    return settings.model_copy(update=changes)


def settled(
    settings: MetaScaleSettings, candidates: Sequence[Candidate], *, granted: int = 0, several_models: bool = False
) -> MetaScaleSettings:
    """The settings with the reward that `"auto"` stands for in a run that has drawn these samples.

    A judge decides only where the budget gives an answer rivals and `max_calls` pays for a verdict on each answer.
    Once it has given verdicts, it stays.

    Args:
        settings: the run's settings, with any reward.
        candidates: the samples so far.
        granted: samples granted on top of the budget.
        several_models: whether the run has more than one model.
    """
    if settings.reward != "auto":
        return settings
    calls = len(candidates) + len(left_unjudged(candidates))
    may_judge = settings.budget + granted > 1 and (settings.max_calls is None or calls <= settings.max_calls)
    is_judged = any(c["wording"] for c in candidates)
    if asks_for_search(settings) or is_judged or (may_judge and not are_compared(candidates, settings)):
        return settings.model_copy(update={"reward": "judge"})
    return by_votes(settings, several_models=several_models)


def left_unjudged(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The answers without a judge's verdict; before this round, those that were drawn before a judge decided."""
    return [c for c in candidates if c["text"] and c["status"] != "failed" and not c["wording"] and not c.get("shared")]
