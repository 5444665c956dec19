"""The paper's benchmarks as Inspect tasks, from local files or from the Hugging Face hub.

The paper's main table uses 64 random questions of each: `subset=64`.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample, hf_dataset
from inspect_ai.model import ChatMessage, ChatMessageSystem, ChatMessageUser
from pydantic import BaseModel, model_validator

from metascale import data, prompts
from metascale.answers import Kind
from metascale.evals.harness.arena import arena as arena_scorer
from metascale.evals.harness.finals import final_answers
from metascale.evals.harness.scorers import final_answer, record_key, recorded_answer
from metascale.models.recorded import OTHER_NAMES


@task
def gsm8k(path: str | None = None, hub: bool = False, subset: int | None = None, seed: int = 0) -> Task:
    """GSM8K (Cobbe et al. 2021): word problems with a number as their answer.

    Args:
        path: a JSONL file with `question_id`, `question` and `gold`; None for the shipped test set.
        hub: read `openai/gsm8k` from the Hugging Face hub instead.
        subset: number of questions to draw at random (64 in the paper); None for all.
        seed: seed of the draw.

    Raises:
        GoldError: a gold answer is no number that can be read.
    """
    if hub:
        samples = _identified(hf_dataset("openai/gsm8k", "test", name="main", sample_fields=_gsm8k_of_hub), "gsm8k-hub")
    else:
        rows = data.read_rows(Path(path), ("question_id", "question", "gold")) if path else data.gsm8k()
        samples = [
            Sample(id=row["question_id"], input=_asked(row["question"], "task_number"), target=str(row["gold"]))
            for row in rows
        ]
    return Task(dataset=_drawn(_readable(samples, "number"), subset, seed), scorer=final_answer("number"))


@task
def mmlu_pro(path: str | None = None, hub: bool = False, subset: int | None = None, seed: int = 0) -> Task:
    """MMLU-Pro (Wang et al. 2024): questions with up to ten options.

    Args:
        path: a JSONL file with `question_id`, `question`, `options` and `answer`; None for the shipped sample.
        hub: read `TIGER-Lab/MMLU-Pro` from the Hugging Face hub instead.
        subset: number of questions to draw at random (64 in the paper); None for all.
        seed: seed of the draw.

    Raises:
        GoldError: a gold answer is none of the options.
    """
    if hub:
        samples = _identified(hf_dataset("TIGER-Lab/MMLU-Pro", "test", sample_fields=_mmlu_pro_sample), "mmlu-pro-hub")
    else:
        needed = ("question_id", "question", "options", "answer")
        samples = [_mmlu_pro_sample(row) for row in (data.read_rows(Path(path), needed) if path else data.mmlu_pro())]
    return Task(dataset=_drawn(_readable(samples, "choice"), subset, seed), scorer=final_answer("choice"))


@task
def arena_hard(
    path: str | None = None,
    hub: bool = False,
    subset: int | None = None,
    seed: int = 0,
    baseline: str | None = None,
    baseline_model: str | None = None,
    judge_model: str | None = None,
) -> Task:
    """Arena-Hard (Li et al. 2024): open requests, judged in pairs against a baseline's answers.

    Args:
        path: a JSONL file with `question_id` and `prompt`; None for the shipped sample.
        hub: read `lmarena-ai/arena-hard-auto-v0.1` from the Hugging Face hub instead.
        subset: number of requests to draw at random (64 in the paper); None for all.
        seed: seed of the draw.
        baseline: a JSONL file with `question_id` and `output`, the baseline's answers.
        baseline_model: an Inspect model that answers questions without a baseline; by default the evaluated one.
        judge_model: an Inspect model; by default the one in the role `grader`, or the evaluated one.
    """
    if hub:
        read = hf_dataset("lmarena-ai/arena-hard-auto-v0.1", "train", sample_fields=_arena_sample)
        samples = _identified(read, "arena-hard-hub")
    else:
        rows = data.read_rows(Path(path), ("question_id", "prompt")) if path else data.arena_hard()
        samples = [_arena_sample(row) for row in rows]
    scored = arena_scorer(baseline=baseline_answers(baseline), baseline_model=baseline_model, judge_model=judge_model)
    return Task(dataset=_drawn(samples, subset, seed), scorer=scored)


def baseline_answers(path: str | None) -> dict[str, str]:
    """The baseline's answers by question id, from a JSONL file with `question_id` and `output`; none without a file."""
    rows = data.read_rows(Path(path), ("question_id", "output")) if path else []
    return {str(row["question_id"]): row["output"] for row in rows}


@task
def recorded(path: str, subset: int | None = None, seed: int = 0) -> Task:
    """Questions with recorded real answers, scored by the record, and new answers by its gold ones.

    Args:
        path: a JSONL file with `question_id`, `question`, `output_text` (or `text`), and `correct`, `gold` or both, as
            for `metascale/recorded`. `correct` counts first. With `gold`, other models can be asked the same questions.
        subset: number of questions to draw at random; None for all.
        seed: seed of the draw.

    Raises:
        ModelSetupError: the file cannot be read, or a row has another form.
    """
    rows = data.read_models(Path(path), _RecordedAnswer, renamed=OTHER_NAMES)
    right = {record_key(row.question, row.output_text): row.correct for row in rows if row.correct is not None}
    samples = {
        row.question_id: Sample(
            id=row.question_id, input=row.question, target="" if row.gold is None else str(row.gold)
        )
        for row in rows
    }
    return Task(dataset=_drawn(list(samples.values()), subset, seed), scorer=recorded_answer(right))


class _RecordedAnswer(BaseModel):
    """What scoring needs from a row of a recording."""

    question_id: str | int
    question: str
    output_text: str
    correct: bool | None = None
    gold: str | bool | int | float | None = None

    @model_validator(mode="after")
    def _can_be_scored(self) -> Self:
        if self.correct is None and self.gold is None:
            raise ValueError("neither 'correct' nor 'gold' is given")
        return self


def _asked(question: str, form: str) -> list[ChatMessage]:
    return [ChatMessageSystem(content=prompts.load(form)), ChatMessageUser(content=question)]


def _drawn(samples: Sequence[Sample], subset: int | None, seed: int) -> MemoryDataset:
    if subset is None or subset >= len(samples):
        return MemoryDataset(list(samples))
    chosen = random.Random(seed).sample(range(len(samples)), subset)  # noqa: S311  a draw of questions, not a secret
    return MemoryDataset([samples[index] for index in sorted(chosen)])


def _readable(samples: list[Sample], kind: Kind) -> list[Sample]:
    """The samples, if all their gold answers can be read.

    Raises:
        GoldError: one cannot.
    """
    for sample in samples:
        final_answers(kind, sample.choices, sample.metadata or {}).golds(sample.target, sample.id)
    return samples


def _identified(samples: Iterable[Sample], prefix: str) -> list[Sample]:
    """The samples of the hub with ids that no order, subset or new row of the data changes.

    A question without an id in the data gets the hash of its text, because Inspect would number the drawn ones.
    Ids that repeat are numbered.
    """
    seen: Counter[str] = Counter()
    named = []
    for sample in samples:
        text = sample.input if isinstance(sample.input, str) else sample.input[-1].text
        hashed = hashlib.sha256(text.encode()).hexdigest()[:16]
        name = f"{prefix}/{hashed if sample.id is None else sample.id}"
        seen[name] += 1
        named.append(sample.model_copy(update={"id": f"{name}-{seen[name]}" if seen[name] > 1 else name}))
    return named


def _gsm8k_of_hub(row: dict[str, Any]) -> Sample:
    return Sample(input=_asked(row["question"], "task_number"), target=row["answer"].rpartition("####")[2].strip())


def _mmlu_pro_sample(row: dict[str, Any]) -> Sample:
    asked = _asked(data.choice_prompt(row["question"], row["options"]), "task_choice")
    return Sample(
        id=row.get("question_id"),
        input=asked,
        target=row["answer"],
        metadata={"category": row.get("category"), "choices": len(row["options"])},
    )


def _arena_sample(row: dict[str, Any]) -> Sample:
    text = row["prompt"] if "prompt" in row else row["turns"][0]["content"]
    return Sample(id=row.get("question_id"), input=text, metadata={"cluster": row.get("cluster")})
