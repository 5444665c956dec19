"""What a GGUF file says about itself, and whether it is a chat model.

The format: github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metascale.errors import ModelSetupError

MAGIC = b"GGUF"
OLDEST_VERSION = 2
LONGEST_ARRAY = 4_096
"""Items of an array of numbers that are kept; no list of layers is longer."""
CELL_BYTES = 2
"""Bytes of a number in the cache of keys and values, which llama.cpp keeps in 16 bits by default."""
_STRING, _ARRAY = 8, 9
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Formats of numbers in `struct`, by their type in the file."""
_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$", re.IGNORECASE)


@dataclass(frozen=True)
class ModelFile:
    """A chat model's file.

    Attributes:
        path: the file, or the first one of several.
        bytes: the size of all its parts.
        trained_context: tokens of the longest text it was trained on; 0 if the file does not say.
        bytes_per_token: memory for the keys and values of one token; 0 if the file does not say enough.
    """

    path: Path
    bytes: int
    trained_context: int
    bytes_per_token: int


def read_model_file(path: Path) -> ModelFile:
    """Read the beginning of a GGUF file, and check that it is a chat model.

    Raises:
        ModelSetupError: it is missing, unreadable, no GGUF file, cut short, not the first of its parts, or no chat
            model.
    """
    try:
        if path.is_dir():
            raise ModelSetupError(f"'{path}' is a folder: name a .gguf file in it")
        values = _metadata(path)
        parts = _parts(path)
        size = sum(part.stat().st_size for part in parts)
    except FileNotFoundError as error:
        raise ModelSetupError(f"there is no model file '{error.filename}'") from error
    except OSError as error:
        raise ModelSetupError(f"the model file '{path}' cannot be read: {error.strerror}") from error
    _check_is_chat_model(path, values)
    kind = values["general.architecture"]
    context = values.get(f"{kind}.context_length", 0)
    return ModelFile(path, size, context if isinstance(context, int) else 0, _bytes_per_token(values, str(kind)))


def part_names(file: str) -> list[str]:
    """The names of all parts of a model's file, which names the first of them."""
    found = _PART.search(file)
    if found is None:
        return [file]
    return [f"{file[: found.start()]}-{n:05}-of-{found[2]}{file[-5:]}" for n in range(1, int(found[2]) + 1)]


def _parts(path: Path) -> list[Path]:
    found = _PART.search(path.name)
    parts = [path.with_name(name) for name in part_names(path.name)]
    if found is not None and int(found[1]) != 1:
        raise ModelSetupError(f"'{path}' is one of {len(parts)} parts of a model: name the first, '{parts[0]}'")
    return parts


def _metadata(path: Path) -> dict[str, Any]:
    """The keys and values of a GGUF file, without its long arrays."""
    with path.open("rb") as file:
        begin = file.read(48)
        if begin[:4] != MAGIC:
            is_pointer = begin.startswith(b"version https://git-lfs")
            why = "a pointer of Git LFS: fetch the file itself" if is_pointer else "no GGUF file"
            raise ModelSetupError(f"'{path}' is {why}")
        try:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Reader(data, path).metadata()
        except (struct.error, UnicodeDecodeError, KeyError) as error:
            raise ModelSetupError(f"the model file '{path}' is cut short or damaged: fetch it again") from error


class _Reader:
    """Reads a file's values one after the other."""

    def __init__(self, data: mmap.mmap, path: Path) -> None:
        """Begin behind the magic number."""
        self._data = data
        self._path = path
        self._at = len(MAGIC)

    def metadata(self) -> dict[str, Any]:
        version = self._number("I")
        if version < OLDEST_VERSION or version & 0xFFFF == 0:
            why = "is for big-endian machines" if version & 0xFFFF == 0 else "has an old format, GGUF 1"
            raise ModelSetupError(f"the model file '{self._path}' {why}")
        _, count = self._number("Q"), self._number("Q")
        values = {}
        for _ in range(count):
            name = self._text()
            values[name] = self._value(self._number("I"))
        return values

    def _number(self, form: str) -> Any:
        (value,) = struct.unpack_from(f"<{form}", self._data, self._at)
        self._at += struct.calcsize(f"<{form}")
        return value

    def _text(self) -> str:
        length = self._number("Q")
        if length > len(self._data) - self._at:
            raise struct.error
        self._at += length
        return self._data[self._at - length : self._at].decode()

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._text()
        if kind != _ARRAY:
            return self._number(_NUMBERS[kind])
        item, count = self._number("I"), self._number("Q")
        if item == _STRING:
            for _ in range(count):
                self._skip(self._number("Q"))
            return None
        width = struct.calcsize(f"<{_NUMBERS[item]}")
        if count > LONGEST_ARRAY:
            self._skip(count * width)
            return None
        return [self._number(_NUMBERS[item]) for _ in range(count)]

    def _skip(self, length: int) -> None:
        self._at += length
        if self._at > len(self._data):
            raise struct.error


def _check_is_chat_model(path: Path, values: Mapping[str, Any]) -> None:
    kind, purpose = values.get("general.architecture"), values.get("general.type", "model")
    if kind is None:
        raise ModelSetupError(f"'{path}' is no chat model: the file names no architecture")
    if kind == "clip" or purpose == "mmproj":
        raise ModelSetupError(f"'{path}' only reads images for a chat model: name the model's own file")
    if purpose != "model":
        raise ModelSetupError(f"'{path}' is no model but of the type {purpose!r}")
    if "tokenizer.chat_template" not in values:
        raise ModelSetupError(
            f"'{path}' is no chat model: it has no chat template (embedding and base models have none)"
        )


def _bytes_per_token(values: Mapping[str, Any], kind: str) -> int:
    def number(name: str) -> Any:
        return values.get(f"{kind}.{name}")

    layers, heads, width = number("block_count"), number("attention.head_count"), number("embedding_length")
    if not isinstance(layers, int) or not isinstance(width, int) or not isinstance(heads, int | list) or not heads:
        return 0
    most_heads = max(heads) if isinstance(heads, list) else heads
    default = width // max(1, most_heads)
    kept = number("attention.head_count_kv") or heads
    pairs = sum(kept[:layers]) if isinstance(kept, list) else kept * layers
    lengths = (number("attention.key_length") or default) + (number("attention.value_length") or default)
    return int(pairs * lengths * CELL_BYTES)
