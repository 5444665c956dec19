"""A chat model that answers from a file of recorded answers of real models; it never invents an answer."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, Strict, model_validator

from metascale import prompts
from metascale.data import read_models, squeeze
from metascale.errors import MetaScaleError
from metascale.models.probabilities import ROUNDING
from metascale.models.simulated import kind_of_request
from metascale.models.simulated_probabilities import yes_no_logprobs

FIXED_ARMS = {
    "no_strategy": ("no_strategy", "direct", "standard"),
    "chain_of_thought": ("chain_of_thought", "zero_shot_cot", "cot"),
}
"""Names that recordings use for the two fixed arms."""

NEVER_CERTAIN = 1e-4
"""The least and, from 1, the greatest probability: recordings round them."""
_MARK = re.compile(r"Recorded strategy `([^`]+)`")
OTHER_NAMES = {"arm": "strategy", "text": "output_text"}
"""What the files that `metascale bench replay` reads call the same."""
Logprob = Annotated[float, Strict(), Field(le=ROUNDING)]
"""A log-probability in nats."""
Name = Annotated[str, Field(coerce_numbers_to_str=True)]
"""A text for which a number will do."""


class RecordedSample(BaseModel):
    """What all readers take from a recorded sample, so that they accept the same rows."""

    model_config = ConfigDict(allow_inf_nan=False)

    sample: int | None = None
    logprobs: list[Logprob] | None = None
    pieces: list[Annotated[str, Strict()]] | None = None
    yes: float | None = Field(None, ge=0, le=1)
    tokens: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _each_piece_has_a_logprob(self) -> Self:
        pieces, logprobs = self.pieces, self.logprobs
        if pieces is not None and logprobs is not None and len(pieces) != len(logprobs):
            raise ValueError(f"'pieces' and 'logprobs' differ in length: {len(pieces)} and {len(logprobs)}")
        return self


@dataclass(frozen=True)
class _Answer:
    text: str
    tokens: Sequence[tuple[str, float]] | None = None
    yes: float | None = None
    usage: UsageMetadata | None = None
    finish: str = "stop"


class _Row(RecordedSample):
    """A line of the file."""

    question: str
    strategy: Name
    output_text: Name
    prompt_tokens: int | None = Field(None, ge=0)
    finish: str | None = None

    @property
    def answer(self) -> _Answer:
        """What the model serves."""
        return _Answer(self.output_text, self._tokens(), self.yes, self._usage(), self.finish or "stop")

    def _tokens(self) -> list[tuple[str, float]] | None:
        """The answer's tokens with their log-probabilities; the tokens are empty where they are not recorded."""
        if self.logprobs is None:
            return None
        pieces = [""] * len(self.logprobs) if self.pieces is None else self.pieces
        return list(zip(pieces, self.logprobs, strict=True))

    def _usage(self) -> UsageMetadata | None:
        """The tokens of the request and the answer; None where they are not recorded."""
        read, written = self.prompt_tokens, self.tokens
        if read is None or written is None:
            return None
        return UsageMetadata(input_tokens=read, output_tokens=written, total_tokens=read + written)


class RecordError(MetaScaleError):
    """The record holds nothing of the requested kind."""


class RecordDryError(RecordError):
    """All recorded answers of the requested kind have been served."""


class RecordedChatModel(BaseChatModel):
    """Serves recorded answers, keyed by question and strategy, each once.

    The file has one JSON object a line with `question`, `strategy` (or `arm`) and `output_text` (or `text`), and
    optionally `sample` (the order of several answers), `logprobs` (the log-probabilities of the answer's tokens, in
    nats), `pieces` (as many tokens), `yes` (the probability of "Yes" when the model was asked whether the answer is
    correct), `tokens` and `prompt_tokens` (written and read for the answer), and `finish` (why it ended). Rows without
    a question, such as a canary, are skipped. As a solver the model answers under the strategy
    that the meta-thought names. Asked to compose meta-thoughts, it names the recorded strategies other than the fixed
    arms. It refuses to judge and to evolve, which are not recorded.

    Attributes:
        path: the file.
    """

    in_process: ClassVar[bool] = True
    path: Path
    _answers: dict[tuple[str, str], list[_Answer]] = PrivateAttr(default_factory=dict)
    _strategies: list[str] = PrivateAttr(default_factory=list)
    _served: Counter[tuple[str, str]] = PrivateAttr(default_factory=Counter)
    _dry: Counter[str] = PrivateAttr(default_factory=Counter)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    def model_post_init(self, context: Any, /) -> None:
        """Read the file.

        Raises:
            ModelSetupError: it cannot be read, or a line is no such record.
        """
        super().model_post_init(context)
        samples: dict[tuple[str, str], list[tuple[int, _Answer]]] = defaultdict(list)
        for row in read_models(self.path, _Row, renamed=OTHER_NAMES):
            samples[squeeze(row.question), row.strategy].append((row.sample or 0, row.answer))
        self._answers = {
            key: [answer for _, answer in sorted(found, key=lambda one: (one[0], one[1].text))]
            for key, found in samples.items()
        }
        self._strategies = list(dict.fromkeys(strategy for _, strategy in self._answers))

    @property
    def _llm_type(self) -> str:
        return "recorded"

    @property
    def strategies(self) -> list[str]:
        """The recorded strategies, in order of appearance."""
        return list(self._strategies)

    @property
    def served(self) -> Counter[str]:
        """Answers served so far, by strategy."""
        counts: Counter[str] = Counter()
        for (_, strategy), count in self._served.items():
            counts[strategy] += count
        return counts

    @property
    def dry(self) -> Counter[str]:
        """Requests refused because all answers had been served, by strategy."""
        return Counter(self._dry)

    def begin_again(self) -> Self:
        """The same record with nothing served, for a run that is independent of others."""
        again = self.model_copy()
        again._served, again._dry = Counter(), Counter()
        return again

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
        turns = [message.text for message in messages if message.type == "human"]
        kind = kind_of_request(system, turns[-1] if turns else "")
        about: dict[str, Any] = {}
        if kind == "compose":
            answer = _Answer(self._catalogue())
        elif kind == "solve":
            question, thought = prompts.apart(turns[-1] if turns else "")
            answer = self._serve(squeeze(question), self._strategy(f"{system}\n\n{thought}"))
        elif kind == "p_true":
            said = next(message.text for message in reversed(messages) if message.type == "ai")
            yes = self._yes(squeeze(prompts.apart(turns[-2])[0]), said)
            answer = _Answer("Yes" if yes >= 0.5 else "No")
            about["logprobs"] = yes_no_logprobs(answer.text, yes, top_logprobs)
        else:
            raise RecordError(f"the record {self.path.name} holds answers only; it cannot serve the prompt {kind!r}")
        if logprobs and answer.tokens is not None:
            about["logprobs"] = {"content": [{"token": text, "logprob": value} for text, value in answer.tokens]}
        about["finish_reason"] = answer.finish
        message = AIMessage(answer.text, response_metadata=about, usage_metadata=answer.usage)
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _fixed(self, arm: str) -> str:
        """The recorded strategy of a fixed arm."""
        name = next((name for name in FIXED_ARMS[arm] if name in self._strategies), None)
        if name is None:
            raise RecordError(f"the record {self.path.name} has no strategy for {arm!r}: {', '.join(self._strategies)}")
        return name

    def _strategy(self, system: str) -> str:
        system = prompts.without_task(system)
        named = _MARK.search(system)
        if named:
            return named[1]
        if not system.strip():
            return self._fixed("no_strategy")
        if prompts.BUILT_IN_META_THOUGHTS["chain_of_thought"][1] in system:
            return self._fixed("chain_of_thought")
        raise RecordError(f"the record {self.path.name} has no answers under such a meta-thought")

    def _serve(self, question: str, strategy: str) -> _Answer:
        key = (question, strategy)
        with self._lock:
            answers = self._answers.get(key, [])
            if self._served[key] < len(answers):
                self._served[key] += 1
                return answers[self._served[key] - 1]
            self._dry[strategy] += 1
        if answers:
            raise RecordDryError(
                f"the record has run dry: all {len(answers)} answers of strategy {strategy!r} are served"
            )
        raise RecordDryError(f"the record holds no answer of strategy {strategy!r} to this question")

    def _yes(self, question: str, text: str) -> float:
        """The recorded probability that an answer was called correct."""
        known = (answer for (asked, _), answers in self._answers.items() if asked == question for answer in answers)
        yes = next((a.yes for a in known if a.yes is not None and a.text.strip() == text.strip()), None)
        if yes is None:
            raise RecordError(f"the record {self.path.name} does not hold the probability that this answer is correct")
        return min(max(yes, NEVER_CERTAIN), 1 - NEVER_CERTAIN)

    def _catalogue(self) -> str:
        fixed = {name for names in FIXED_ARMS.values() for name in names}
        drafts = [
            {"mindset": f"{name.replace('_', ' ')}.", "strategy": f"Recorded strategy `{name}`."}
            for name in self._strategies
            if name not in fixed
        ]
        return json.dumps({"meta_thoughts": drafts})
