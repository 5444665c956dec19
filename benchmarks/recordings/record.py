"""Records a model behind any OpenAI-compatible server that gives token probabilities.

    python -m benchmarks.recordings.record OUT --base-url http://localhost:8090/v1 --model NAME --weights FILE.gguf \
        --count 60 --stage samples p_true verdicts --at-once 96

Every row is appended to a JSONL file in the folder OUT as soon as it is there. The same command goes on where it was
stopped, and repeats nothing. The stages that are named follow each other sample by sample, so that the server still has
a conversation in its cache when it is asked about its answer.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.recordings.about import OtherRecordingError, sha256_of, with_run, write
from benchmarks.recordings.questions import RULE, chosen
from benchmarks.recordings.rows import Rows, RowsError
from benchmarks.recordings.stages import Recorder, composed, is_composed
from metascale.data import Question
from metascale.errors import MetaScaleError, ModelCallError
from metascale.models import resolve_model
from metascale.models.scope import RunScope, inside
from metascale.pool.arms import BUILT_IN_ARMS, built_in_arm
from metascale.records import MetaThought
from metascale.settings import MetaScaleSettings

STAGES = ("compose", "samples", "p_true", "verdicts", "bare_verdicts")
TEMPERATURE = 0.7
MAX_TOKENS = 512
SEED = 0
A_REQUEST = 7_200.0
"""Seconds that a request may wait for its turn at a slow server with many of them."""
EVERY = 50
"""Samples between two lines of progress."""


@dataclass
class Recording:
    """The files of a recording.

    Samples under meta-thoughts that the model composed for the question are in a file of their own.
    """

    folder: Path
    samples: Rows = field(init=False)
    composed: Rows = field(init=False)
    p_true: Rows = field(init=False)
    verdicts: Rows = field(init=False)
    bare_verdicts: Rows = field(init=False)
    meta_thoughts: Rows = field(init=False)

    def __post_init__(self) -> None:
        """Open the files that are there.

        Raises:
            RowsError: a file cannot be read.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        sample = ("question_id", "arm", "sample")
        self.samples = Rows(self.folder / "samples.jsonl", sample)
        self.composed = Rows(self.folder / "composed.jsonl", sample)
        self.p_true = Rows(self.folder / "p_true.jsonl", sample)
        self.verdicts = Rows(self.folder / "verdicts.jsonl", (*sample, "repeat"))
        self.bare_verdicts = Rows(self.folder / "bare_verdicts.jsonl", (*sample, "repeat"))
        self.meta_thoughts = Rows(self.folder / "meta_thoughts.jsonl", ("question_id",))


@dataclass
class Work:
    """What is to be recorded.

    Attributes:
        recorder: asks the model.
        into: the files.
        questions: the questions.
        stages: names of `STAGES`.
        arms: names of built-in meta-thoughts; none where the model composes them.
        samples: samples of each arm.
        repeats: verdicts on each sample.
        failures: what went wrong.
    """

    recorder: Recorder
    into: Recording
    questions: Sequence[Question]
    stages: Sequence[str]
    arms: Sequence[str]
    samples: int
    repeats: int
    failures: list[str] = field(default_factory=list)
    done: int = 0

    async def run(self, at_once: int) -> None:
        """Do all of it, with at most `at_once` requests in flight.

        Raises:
            MetaScaleError: no request can succeed.
        """
        with inside(RunScope()):
            if "compose" in self.stages:
                await self._side_by_side((self._compose(question) for question in self.questions), at_once)
            await self._side_by_side(self._samples(), at_once)

    async def _compose(self, question: Question) -> None:
        if self.into.meta_thoughts.get(question["question_id"]) is None:
            self.into.meta_thoughts.add(await self.recorder.compose(question))

    async def _record(self, question: Question, thought: MetaThought, number: int) -> None:
        """All that is missing of one sample."""
        place = question["question_id"], thought["id"], number
        recorder, into = self.recorder, self.into
        samples = into.composed if is_composed(thought) else into.samples
        sample = samples.get(*place)
        if sample is None:
            if "samples" not in self.stages:
                return
            sample = samples.add(await recorder.sample(question, thought, number))
        if not sample["text"]:
            return
        if "p_true" in self.stages and "yes" not in sample and into.p_true.get(*place) is None:
            into.p_true.add(await recorder.p_true(question, thought, sample))
        for look in range(self.repeats):
            if "verdicts" in self.stages and into.verdicts.get(*place, look) is None:
                into.verdicts.add(await recorder.verdict(question, sample, look))
            if "bare_verdicts" in self.stages and into.bare_verdicts.get(*place, look) is None:
                into.bare_verdicts.add(await recorder.bare_verdict(question, sample, look))

    def _samples(self) -> Iterator[Coroutine[Any, Any, None]]:
        for question in self.questions:
            thoughts = [built_in_arm(name) for name in self.arms]
            if "compose" in self.stages:
                row = self.into.meta_thoughts.get(question["question_id"])
                thoughts = composed(row) if row is not None else []
            for thought in thoughts:
                for number in range(self.samples):
                    yield self._record(question, thought, number)

    async def _side_by_side(self, pieces: Iterator[Coroutine[Any, Any, None]], at_once: int) -> None:
        async def worker() -> None:
            for piece in pieces:
                try:
                    await piece
                except ModelCallError as error:
                    if error.fatal:
                        raise
                    self.failures.append(str(error))
                self.done += 1
                if self.done % EVERY == 0:
                    print(f"{self.done:,} done, {len(self.failures):,} of them failed", flush=True)

        await asyncio.gather(*(worker() for _ in range(at_once)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Record; the exit code is 1 if a request failed, and the same command then repeats it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the folder of the recording")
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--model", default="model", help="the model's name at the server")
    parser.add_argument("--model-licence", default="not stated")
    parser.add_argument("--weights", type=Path, help="the file that the server serves; its SHA-256 is noted")
    parser.add_argument("--questions", type=Path, help=f"JSONL like GSM8K's; a row counts if {RULE}")
    parser.add_argument("--questions-licence", default="MIT")
    parser.add_argument("--count", type=int, default=60, help="how many questions")
    parser.add_argument("--stage", nargs="+", choices=STAGES, default=["samples"], dest="stages")
    parser.add_argument("--arms", nargs="+", choices=BUILT_IN_ARMS, default=BUILT_IN_ARMS)
    parser.add_argument("--samples", type=int, default=4, help="samples of each arm")
    parser.add_argument("--repeats", type=int, default=1, help="verdicts on each sample, the second looks included")
    parser.add_argument("--at-once", type=int, default=32, help="requests in flight")
    given = parser.parse_args(arguments)
    made_with = {
        "model": given.model,
        "model_licence": given.model_licence,
        "weights": given.weights and {"file": given.weights.name, "sha256": sha256_of(given.weights)},
        "questions": given.questions.name if given.questions else "the test set of GSM8K in the package",
        "questions_licence": given.questions_licence,
        "rule": RULE,
        "temperature": TEMPERATURE,
        "max_tokens": MAX_TOKENS,
        "seed": SEED,
    }
    how = {name: getattr(given, name) for name in ("count", "samples", "repeats", "at_once")}
    arms = [] if "compose" in given.stages else list(given.arms)
    settings = MetaScaleSettings(
        temperature=TEMPERATURE,
        max_tokens=MAX_TOKENS,
        seed=SEED,
        call_timeout=A_REQUEST,
        max_in_flight=given.at_once,
    )
    noted = given.out / "about.json"
    try:
        about = with_run(noted, made_with, how, given.stages, arms)
        work = Work(
            recorder=Recorder(resolve_model(f"openai:{given.model}", base_url=given.base_url), settings),
            into=Recording(given.out),
            questions=chosen(given.questions, given.count),
            stages=given.stages,
            arms=arms,
            samples=given.samples,
            repeats=given.repeats,
        )
        write(noted, about)
        asyncio.run(work.run(given.at_once))
    except (MetaScaleError, OtherRecordingError, RowsError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{work.done:,} done, {len(work.failures):,} of them failed", flush=True)
    for problem in sorted(set(work.failures)):
        print(problem, file=sys.stderr)
    return 1 if work.failures else 0


if __name__ == "__main__":
    sys.exit(main())
