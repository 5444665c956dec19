"""A reward model's chat template, and how untrusted text is put into it safely."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from jinja2 import TemplateError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from metascale.errors import ModelCallError, ModelSetupError, describe

Conversation = list[dict[str, str]]

_CONTROL = (
    r"<[|\uff5c][^<>]{0,80}[|\uff5c]>",
    r"\[/?INST\]",
    r"<</?SYS>>",
    r"</?(?:s|bos|eos|pad|unk|mask|cls|sep|start_of_turn|end_of_turn|extra_id_\d{1,4})>",
    r"\[(?:CLS|SEP|PAD|UNK|MASK)\]",
)
"""Patterns of the control tokens of common model families: Llama 2 and 3, Qwen, Gemma, Mistral, DeepSeek, Nemotron,
BERT and T5."""
_USUAL = re.compile("|".join(_CONTROL), re.IGNORECASE)
_TOKEN_NAME = re.compile(r"[a-z]+_token")
_PROBE = ("Is this the question?", "This is the answer.")


def defuse(text: str, special: Iterable[str] = ()) -> str:
    """The text with a space after the first character of each string that a tokenizer could take for a control token.

    Args:
        text: untrusted.
        special: the tokenizer's own special tokens, if known; common ones always count.

    Returns:
        The text. Lone surrogates, which no server accepts, become question marks; nothing else changes.
    """
    own = [re.escape(token) for token in sorted(special) if token.strip() and not _USUAL.match(token)]
    opening = re.compile(f"(?={'|'.join([*_CONTROL, *own])})(.)", re.IGNORECASE | re.DOTALL)
    return opening.sub(r"\1 ", text.encode(errors="replace").decode())


def conversation(question: str, answer: str, special: Iterable[str] = ()) -> Conversation:
    """The two chat messages that a reward model reads, both defused; see `defuse`."""
    return [
        {"role": "user", "content": defuse(question, special)},
        {"role": "assistant", "content": defuse(answer, special)},
    ]


class ChatTemplate:
    """A chat template from a file, rendered in a sandbox that is set up as in transformers.

    Attributes:
        source: the template, in Jinja.
        tokens: the values of `bos_token`, `eos_token` and so on, by name; empty if unknown.
        special: the known special tokens of the tokenizer; they are defused in questions and answers.
    """

    def __init__(self, path: str) -> None:
        """Read a template.

        Args:
            path: a Jinja file, or a tokenizer_config.json. Anything missing is taken from a `chat_template.jinja` or
                `tokenizer_config.json` in the same folder, as in a checkpoint.

        Raises:
            ModelSetupError: the file cannot be read or holds no template, or the template cannot be used.
        """
        self.path = Path(path)
        config = _tokenizer_config(self.path)
        self.tokens = {
            name: text for name, value in config.items() if _TOKEN_NAME.fullmatch(name) and (text := _token(value))
        }
        self.special = _special_tokens(config, self.tokens)
        self.source = self._read_source(config)
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.globals["raise_exception"] = _refuse
        try:
            tree = environment.parse(self.source)
            self._template = environment.from_string(self.source)
            shown = self.render(*_PROBE)
        except (TemplateError, ModelCallError) as error:
            raise ModelSetupError(f"the chat template {self.path} cannot be used: {describe(error)}") from error
        if not all(text in shown for text in _PROBE):
            raise ModelSetupError(f"the chat template {self.path} leaves out the question or the answer")
        if not config and any(name.name == "bos_token" for name in tree.find_all(nodes.Name)):
            raise ModelSetupError(
                f"the chat template {self.path} needs bos_token; put the model's tokenizer_config.json beside it"
            )

    def render(self, question: str, answer: str) -> str:
        """The text that the model reads; question and answer are defused.

        Raises:
            ModelCallError: the template fails on them.
        """
        try:
            return self._template.render(
                messages=conversation(question, answer, self.special),
                add_generation_prompt=False,
                tools=None,
                documents=None,
                **self.tokens,
            )
        except Exception as error:
            raise ModelCallError(f"the chat template failed: {describe(error)}") from error

    def without_bos(self, text: str) -> str:
        """A rendered text without the leading `bos_token`, for servers that add it themselves."""
        return text.removeprefix(self.tokens.get("bos_token", ""))

    def _read_source(self, config: dict[str, Any]) -> str:
        if self.path.suffix != ".json":
            return _read(self.path)
        held = config.get("chat_template")
        if isinstance(held, list):
            held = next((e["template"] for e in held if isinstance(e, dict) and e.get("name") == "default"), None)
        if isinstance(held, str):
            return held
        beside = self.path.with_name("chat_template.jinja")
        if not beside.is_file():
            raise ModelSetupError(f"{self.path} holds no chat template, and there is no {beside.name} beside it")
        return _read(beside)


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelSetupError(f"the chat template {path} cannot be read: {describe(error)}") from error


def _tokenizer_config(path: Path) -> dict[str, Any]:
    """The tokenizer's configuration: the file itself, or the one next to a Jinja file; empty if there is none."""
    if path.suffix != ".json":
        path = path.with_name("tokenizer_config.json")
        if not path.is_file():
            return {}
    try:
        config = json.loads(_read(path))
    except ValueError as error:
        raise ModelSetupError(f"{path} is not JSON: {describe(error)}") from error
    if not isinstance(config, dict):
        raise ModelSetupError(f"{path} is no tokenizer configuration")
    return config


def _token(value: Any) -> str | None:
    """A token as a tokenizer configuration writes it: as text, or as an object with its content."""
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) else None


def _special_tokens(config: dict[str, Any], tokens: dict[str, str]) -> frozenset[str]:
    added = config.get("added_tokens_decoder")
    entries = added.values() if isinstance(added, dict) else ()
    more = config.get("additional_special_tokens")
    found = [_token(entry) for entry in entries if isinstance(entry, dict) and entry.get("special")]
    found += [_token(entry) for entry in more] if isinstance(more, list) else []
    return frozenset([token for token in found if token] + list(tokens.values()))
