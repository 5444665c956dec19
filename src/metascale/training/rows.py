"""Rows for TRL's trainers: prompts (GRPO), prompts with a completion (SFT), pairs of completions (DPO).

All rows are conversational. Besides the keys that a trainer reads, a row holds facts about it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from metascale.foresight import meta_rewards
from metascale.records import Prediction
from metascale.training.prediction_prompt import prediction_prompt
from metascale.training.rollouts import Answer, Measured, Message, Rollout, measured
from metascale.training.selection import Selection
from metascale.training.stated import to_text

Row = dict[str, Any]

MIN_NOTIONS = 0.2
"""Lowest notion score of an expert's prediction, from MASA's released code."""


@dataclass
class Export:
    """Rows, and what was left out of them.

    Attributes:
        rows: one JSON object each.
        prompts: number of prompts with rows.
        removed_prompts: number of prompts without rows, by the first reason.
        removed_completions: number of completions left out of prompts that passed the gates, by reason.
    """

    rows: list[Row] = field(default_factory=list)
    prompts: int = 0
    removed_prompts: Counter[str] = field(default_factory=Counter)
    removed_completions: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Completion:
    """A completion and its rank.

    Attributes:
        text: what the model wrote.
        quality: the rank's key, in [0, 1].
        group: qualities are comparable within a group only.
        known: further columns of its row.
    """

    text: str
    quality: float
    group: int
    known: Row


def export(prompts: Iterable[Rollout], selection: Selection) -> Export:
    """The rows of all prompts in order; each prompt must occur once (see `gathered`)."""
    done = Export()
    for run in prompts:
        found = measured(run.answers, selection.good_reward)
        reason: str | None = selection.gate(run, found)
        if reason is None:
            rows, reason = _ROWS[selection.format](run, found, selection, done.removed_completions)
            done.rows += rows
        if reason is None:
            done.prompts += 1
        else:
            done.removed_prompts[reason] += 1
    return done


def _grpo(
    run: Rollout, found: Measured | None, selection: Selection, removed: Counter[str]
) -> tuple[list[Row], str | None]:
    if selection.what == "predictions" and found is None:
        return [], "not_measured"
    if selection.what == "answers" and not _whole(run, run.answers, selection, removed):
        return [], "no_completion"
    rewards = [answer.reward for answer in run.answers if answer.reward is not None]
    row = {
        **_about(run, found, selection),
        "question": run.question,
        "solution": run.gold,
        "mean_reward": fmean(rewards) if rewards else None,
        "good_lengths": found.good_lengths if found else None,
        "good_answers": [answer.text for answer in found.good] if found else None,
        "bad_answers": [answer.text for answer in found.bad] if found else None,
        "predictions": [{**p, **_meta_rewards(p, run, found)} for p in run.predictions],
    }
    return [row], None


def _sft(
    run: Rollout, found: Measured | None, selection: Selection, removed: Counter[str]
) -> tuple[list[Row], str | None]:
    if selection.what == "predictions":
        return _expert(run, found, selection, removed)
    kept = []
    for answer in _whole(run, run.answers, selection, removed):
        if answer.correct is False:
            removed["wrong"] += 1
        elif answer.correct is None and answer.reward is None:
            removed["unscored"] += 1
        elif selection.min_reward is not None and (answer.reward or 0.0) < selection.min_reward:
            removed["min_reward"] += 1
        else:
            kept.append(answer)
    if not kept:
        return [], "no_completion"
    best = max(kept, key=lambda answer: (answer.correct is True, answer.reward or 0.0))
    return [{**_about(run, found, selection), "completion": _said(best.text), **_of(best)}], None


def _expert(
    run: Rollout, found: Measured | None, selection: Selection, removed: Counter[str]
) -> tuple[list[Row], str | None]:
    """MASA's expert trajectory: the prediction with the best notions, with the measured length and pass rate."""
    if not run.predictions:
        return [], "no_predictions"
    if found is None or found.mean_length is None:
        return [], "not_measured"
    least = MIN_NOTIONS if selection.min_reward is None else selection.min_reward
    scored = [(_meta_rewards(prediction, run, found), prediction) for prediction in run.predictions]
    kept = [(rewards, prediction) for rewards, prediction in scored if rewards["notion_reward"] >= least]
    removed["min_reward"] += len(scored) - len(kept)
    if not kept:
        return [], "no_completion"
    rewards, best = max(kept, key=lambda one: one[0]["notion_reward"])
    expert: Prediction = {**best, "pass_rate": found.pass_rate, "length": round(found.mean_length)}
    row = {"completion": _said(to_text(expert)), "notion_reward": rewards["notion_reward"]}
    return [{**_about(run, found, selection), **row}], None


def _dpo(
    run: Rollout, found: Measured | None, selection: Selection, removed: Counter[str]
) -> tuple[list[Row], str | None]:
    if selection.what == "predictions" and not run.predictions:
        return [], "no_predictions"
    if selection.what == "predictions" and (found is None or found.good_lengths is None):
        return [], "not_measured"
    rows = [
        {
            **_about(run, found, selection),
            "chosen": _said(better.text),
            "rejected": _said(worse.text),
            "margin": round(better.quality - worse.quality, 6),
            **{f"chosen_{key}": value for key, value in better.known.items()},
            **{f"rejected_{key}": value for key, value in worse.known.items()},
        }
        for better, worse in _pairs(_ranked(run, found, selection, removed), selection.margin)
    ]
    return rows, None if rows else "no_pair"


def _pairs(completions: Sequence[_Completion], margin: float) -> list[tuple[_Completion, _Completion]]:
    """The best with the worst, the second best with the second worst, and so on; each completion once."""
    groups: dict[int, list[_Completion]] = {}
    for completion in completions:
        groups.setdefault(completion.group, []).append(completion)
    pairs = []
    for group in groups.values():
        ranked = sorted(group, key=lambda one: (one.quality, one.known.get("reward") or 0.0), reverse=True)
        couples = zip(ranked[: len(ranked) // 2], reversed(ranked), strict=False)
        pairs += [(a, b) for a, b in couples if a.quality - b.quality >= margin and a.text != b.text]
    return pairs


def _ranked(run: Rollout, found: Measured | None, selection: Selection, removed: Counter[str]) -> list[_Completion]:
    """Candidates for pairs: answers, ranked by correctness or else by reward; or predictions, by meta-reward."""
    if selection.what == "predictions":
        scored = [(_meta_rewards(prediction, run, found), prediction) for prediction in run.predictions]
        return [_Completion(to_text(p), rewards["meta_reward"], 0, rewards) for rewards, p in scored]
    whole = _whole(run, run.answers, selection, removed)
    if found is not None and found.by == "gold":
        return [_Completion(a.text, float(a.correct is True), 0, _of(a)) for a in whole]
    removed["unscored"] += sum(answer.reward is None for answer in whole)
    return [_Completion(a.text, a.reward, a.run, _of(a)) for a in whole if a.reward is not None]


_ROWS = {"grpo": _grpo, "sft": _sft, "dpo": _dpo}


def _whole(run: Rollout, answers: Iterable[Answer], selection: Selection, removed: Counter[str]) -> list[Answer]:
    """The answers without a flaw."""
    flaws = [(answer, selection.flaw(answer, run)) for answer in answers]
    removed.update(flaw for _, flaw in flaws if flaw is not None)
    return [answer for answer, flaw in flaws if flaw is None]


def _about(run: Rollout, found: Measured | None, selection: Selection) -> Row:
    """The columns of every row."""
    return {
        "prompt": list(run.prompt) if selection.what == "answers" else prediction_prompt(run.prompt),
        "model": run.model,
        "measured_by": found.by if found else None,
        "pass_rate": found.pass_rate if found else None,
    }


def _of(answer: Answer) -> Row:
    return {"reward": answer.reward, "shared": answer.shared, "correct": answer.correct, "tokens": answer.length}


def _said(text: str) -> list[Message]:
    return [{"role": "assistant", "content": text}]


def _meta_rewards(prediction: Prediction, run: Rollout, found: Measured | None) -> dict[str, Any]:
    """The three meta-rewards of a prediction and their mean; null where their inputs were not measured."""
    lengths = found.good_lengths if found else None
    three = {
        "difficulty_reward": meta_rewards.difficulty(prediction["pass_rate"], found.pass_rate) if found else None,
        "length_reward": meta_rewards.length(prediction["length"], lengths) if lengths is not None else None,
        "notion_reward": meta_rewards.notions(
            prediction["notions"], run.question, [a.text for a in found.good], [a.text for a in found.bad]
        )
        if found
        else None,
    }
    known = [reward for reward in three.values() if reward is not None]
    return {**three, "meta_reward": fmean(known) if len(known) == len(three) else None}
