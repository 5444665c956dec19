"""Reward models in this process, run by transformers."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metascale.errors import ModelCallError, ModelSetupError, describe
from metascale.rewards.chat_template import ChatTemplate, conversation
from metascale.settings import MetaScaleSettings
from metascale.usage import Usage, no_usage

AT_ONCE = 8
"""Answers in one forward pass. It limits the memory that a large round takes."""


@dataclass(frozen=True)
class _Loaded:
    """A checkpoint in memory.

    Attributes:
        torch: the module `torch`.
        model: the model, in evaluation mode and with one label.
        tokenizer: the checkpoint's tokenizer.
        special: its special tokens, as text.
        longest: the most tokens that the model can read.
    """

    torch: Any
    model: Any
    tokenizer: Any
    special: frozenset[str]
    longest: int


class LocalClassifier:
    """A checkpoint for sequence classification with one label, loaded on first use, on a GPU if there is one."""

    def __init__(self, model: str, template: ChatTemplate | None = None) -> None:
        """Check the checkpoint without loading it.

        Args:
            model: a checkpoint's folder, or its name on the Hugging Face hub.
            template: the chat template; by default the checkpoint's own.

        Raises:
            ModelSetupError: transformers or torch is not installed, or the folder holds no reward model.
        """
        if not all(importlib.util.find_spec(name) for name in ("torch", "transformers")):
            raise ModelSetupError("the reward model's api 'local' needs: pip install 'metascale[local]'")
        self.model = model
        self.template = template
        self._lock = threading.Lock()
        self._loaded: _Loaded | None = None
        if Path(model).is_dir():
            _check(_config_in(Path(model)), model)
        elif model.startswith((".", "/", "~")):
            raise ModelSetupError(f"the reward model's folder {model} does not exist")

    def requests(self, new: int) -> int:  # noqa: ARG002
        """No requests: the model runs in this process."""
        return 0

    async def logits(
        self,
        question: str,
        answers: Sequence[str],
        settings: MetaScaleSettings,  # noqa: ARG002
    ) -> tuple[list[float | str], Usage]:
        """The logits of answers, computed in a thread; see `ClassifierServer.logits`.

        An answer that is too long for the model has none. Answers share a forward pass; its padding changes logits by
        no more than rounding.

        Raises:
            ModelSetupError: the checkpoint cannot be loaded, or is no reward model.
            ModelCallError: the model failed.
        """
        return await asyncio.to_thread(self._measure, question, answers), no_usage()

    def _measure(self, question: str, answers: Sequence[str]) -> list[float | str]:
        with self._lock:
            if self._loaded is None:
                self._loaded = _load(self.model, needs_template=self.template is None)
            try:
                return self._measure_with(self._loaded, question, answers)
            except Exception as error:
                raise ModelCallError(f"the reward model failed: {describe(error)}") from error

    def _measure_with(self, loaded: _Loaded, question: str, answers: Sequence[str]) -> list[float | str]:
        tokens = [self._tokens(loaded, question, answer) for answer in answers]
        fitting = [index for index, ids in enumerate(tokens) if len(ids) <= loaded.longest]
        found: list[float | str] = [
            f"the answer is too long for the reward model: {len(ids):,} tokens with the question, where it reads "
            f"{loaded.longest:,}"
            for ids in tokens
        ]
        logits = _forward(loaded, [tokens[index] for index in fitting])
        for index, logit in zip(fitting, logits, strict=True):
            found[index] = logit
        return found

    def _tokens(self, loaded: _Loaded, question: str, answer: str) -> list[int]:
        text = loaded.tokenizer.apply_chat_template(
            conversation(question, answer, loaded.special),
            chat_template=self.template.source if self.template else None,
            tokenize=False,
        )
        return list(loaded.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def _forward(loaded: _Loaded, tokens: Sequence[list[int]]) -> Iterator[float]:
    torch = loaded.torch
    config = loaded.model.config.get_text_config()
    own_padding = config.pad_token_id
    for start in range(0, len(tokens), AT_ONCE):
        group = tokens[start : start + AT_ONCE]
        # The model takes the logit from the last token that is not padding. If the checkpoint names no padding token,
        # one is chosen that occurs in none of the texts.
        used = {token for ids in group for token in ids}
        padding = own_padding if own_padding is not None else next(t for t in range(len(used) + 1) if t not in used)
        longest = max(map(len, group))
        padded = torch.tensor([ids + [padding] * (longest - len(ids)) for ids in group], device=loaded.model.device)
        mask = torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids in group], device=loaded.model.device)
        config.pad_token_id = padding
        try:
            with torch.no_grad():
                logits = loaded.model(input_ids=padded, attention_mask=mask).logits
        finally:
            config.pad_token_id = own_padding
        yield from logits[:, 0].float().tolist()


def _load(name: str, *, needs_template: bool) -> _Loaded:
    try:
        torch, transformers = importlib.import_module("torch"), importlib.import_module("transformers")
        config, _ = transformers.PretrainedConfig.get_config_dict(name)
        _check(config, name)
        tokenizer = transformers.AutoTokenizer.from_pretrained(name)
        model = transformers.AutoModelForSequenceClassification.from_pretrained(name, dtype="auto")
    except ModelSetupError:
        raise
    except Exception as error:
        raise ModelSetupError(f"the reward model {name} cannot be loaded: {describe(error)}") from error
    if needs_template and not tokenizer.chat_template:
        raise ModelSetupError(f"the tokenizer of {name} has no chat template; name a chat_template file")
    added = (token.content for token in tokenizer.added_tokens_decoder.values() if token.special)
    return _Loaded(
        torch,
        model.to("cuda" if torch.cuda.is_available() else "cpu").eval(),
        tokenizer,
        frozenset([*tokenizer.all_special_tokens, *added]),
        min(tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", tokenizer.model_max_length)),
    )


def _config_in(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelSetupError(f"{folder} holds no checkpoint: {describe(error)}") from error
    return config if isinstance(config, dict) else {}


def _check(config: dict[str, Any], name: str) -> None:
    """Check that a checkpoint is for sequence classification with one label; else its head would be random.

    Raises:
        ModelSetupError: the checkpoint is of another kind.
    """
    architectures = config.get("architectures") or ["no architecture"]
    if not all(str(each).endswith("ForSequenceClassification") for each in architectures):
        raise ModelSetupError(f"{name} is no sequence-classification checkpoint: it is {', '.join(architectures)}")
    labels = len(config.get("id2label") or range(config.get("num_labels", 2)))
    if labels != 1:
        raise ModelSetupError(f"{name} is a classifier with {labels} labels; a reward model has one")
