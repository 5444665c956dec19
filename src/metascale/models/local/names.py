"""Names of local models: `gguf:FILE` and `hf:OWNER/REPO/FILE`, with options as in `gguf:FILE?context=8192&slots=2`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import PurePath
from urllib.parse import parse_qsl

from metascale.errors import ModelSetupError, UnknownNameError

PROVIDERS = ("gguf", "hf")
MOST = 2**22
"""The highest value of an option."""


@dataclass(frozen=True)
class Options:
    """What a name asks of the server; None leaves the choice to us.

    Attributes:
        context: tokens that one request and its reply may have together.
        slots: requests that are answered at once.
        threads: processor threads.
    """

    context: int | None = None
    slots: int | None = None
    threads: int | None = None


@dataclass(frozen=True)
class LocalName:
    """A local model's name, taken apart.

    Attributes:
        provider: one of `PROVIDERS`.
        file: a path, or `OWNER/REPO/FILE`.
        options: what follows the question mark.
    """

    provider: str
    file: str
    options: Options

    @classmethod
    def parse(cls, name: str) -> LocalName:
        """Take a name apart.

        Raises:
            ModelSetupError: it names no file, or an option is not a number in range.
            UnknownNameError: there is no such option.
        """
        provider, _, rest = name.partition(":")
        file, _, query = rest.partition("?")
        if not file:
            raise ModelSetupError(f"{name!r} names no file: {provider}:FILE.gguf")
        return cls(provider, file, _options(query, name))


def is_local(name: str) -> bool:
    """Whether a name is that of a local model."""
    return name.partition(":")[0] in PROVIDERS


def count_files(names: Iterable[str]) -> int:
    """How many model files some models' names name; several with other options name one file."""
    return len({name.partition("?")[0] for name in names if is_local(name)})


def name_of_file(name: str) -> str:
    """The name by which results show a local model: its file's, without folder, options and ending."""
    file = PurePath(name.partition(":")[2].partition("?")[0]).name
    return re.sub(r"(-\d{5}-of-\d{5})?(\.gguf)?$", "", file, count=1, flags=re.IGNORECASE) or file


def _options(query: str, name: str) -> Options:
    try:
        given = parse_qsl(query, strict_parsing=True, keep_blank_values=True) if query else []
    except ValueError as error:
        raise ModelSetupError(f"the options in {name!r} are not NAME=NUMBER&NAME=NUMBER") from error
    known = [field.name for field in fields(Options)]
    values = {}
    for option, text in given:
        if option not in known:
            raise UnknownNameError("option of a model file", option, known)
        if not re.fullmatch(r"[0-9]{1,7}", text) or not 1 <= int(text) <= MOST:
            raise ModelSetupError(f"the option {option} of a model file is a number from 1 to {MOST:,}, not {text!r}")
        values[option] = int(text)
    return Options(**values)
