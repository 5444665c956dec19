"""One llama.cpp server for each model file and process.

The server is a process of its own, so that no crash, fork or Ctrl-C in one of them hurts the other. It ends when this
process and its forks have ended, however they end, because it waits for the end of a pipe that they hold. A server
that has crashed is started again for the next request.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from metascale.errors import ModelSetupError
from metascale.models.local import child
from metascale.models.local.gguf_file import ModelFile, read_model_file
from metascale.models.local.machine import free_memory, processors
from metascale.models.local.names import Options, name_of_file

CONTEXT = 4_096
"""Tokens of a slot, unless the name says otherwise or the model knows fewer: room for a long question, and a long
answer to judge. Not tuned."""
SLOTS = 4
"""Slots where nobody says how many requests come at once: the default batch size."""
MOST_SLOTS = 16
"""Slots that a large batch gets; further requests wait. Not tuned."""
OVERHEAD = 400 * 2**20
"""Bytes that a server needs beside the weights and the cache of its slots. Ours: 135M and 1.5B parameters need less."""
PROMPT_CACHE = 1_024
"""MiB, at most, for prompts whose slots were given to others."""
PATIENCE = 10.0
"""Seconds for a server to end by itself."""
LAST_MOMENTS = 2.0
"""Seconds in which a server that lost its connections is seen to have ended; it takes milliseconds. Not tuned."""


@dataclass(frozen=True)
class Layout:
    """How a server is set up.

    Attributes:
        context: tokens of each slot.
        slots: requests that are answered at once.
        threads: processor threads.
    """

    context: int
    slots: int
    threads: int


class LocalServer:
    """A running llama.cpp server.

    Attributes:
        path: the model's file.
        place: the file behind symbolic links, by which this process knows the server.
        name: the model's name.
        layout: how it is set up.
        url: its OpenAI-compatible address, on loopback.
        key: the API key that it asks for, drawn at random.
    """

    def __init__(self, place: Path, file: ModelFile, name: str, layout: Layout) -> None:
        """Start a server, and wait until it has loaded the file.

        Raises:
            ModelSetupError: the extra `gguf` is missing, memory is short, or llama.cpp cannot load the file.
        """
        self.path, self.place = file.path.absolute(), place
        self.name, self.layout, self.key = name, layout, secrets.token_urlsafe(24)
        spare = free_memory() - _needed(file, layout)
        self._owner = os.getpid()
        try:
            self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the server
            self._process = subprocess.Popen(  # noqa: S603  our own script
                [sys.executable, "-P", child.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                start_new_session=True,  # Ctrl-C at the terminal is for this process only; on Windows by the flag
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        except OSError as error:
            raise ModelSetupError(f"llama.cpp's process cannot be started: {error.strerror}") from error
        request = {
            **asdict(layout),
            "path": str(self.path),
            "name": name,
            "key": self.key,
            "shortage": _shortage(file, layout) if spare < 0 else "",
            "prompt_cache": max(0, min(PROMPT_CACHE, spare // 2 >> 20)),
        }
        try:
            self.url = self._started(request)
        except BaseException:
            self._process.kill()
            self.end()
            raise

    def _started(self, request: dict[str, Any]) -> str:
        process = self._process
        assert process.stdin is not None  # noqa: S101  both are pipes
        assert process.stdout is not None  # noqa: S101
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
        line = process.stdout.readline()
        said = json.loads(line) if line else {}
        if "url" in said:
            return f"{said['url']}/v1"
        if "refused" in said:
            raise ModelSetupError(said["refused"])
        if "unusable" in said:
            raise ModelSetupError(f"xllamacpp, which runs model files, cannot be loaded here: {said['unusable']}")
        process.wait()
        raise ModelSetupError(f"the model file '{self.path}' {self._why_not_loaded(said.get('failed'))}")

    def _why_not_loaded(self, said: str | None) -> str:
        """What an error says after the file's name, out of llama.cpp's messages."""
        self._log.seek(0)
        log = self._log.read().decode("utf-8", "replace")
        errors = re.findall(r"^[\d.]+ E [^:]*: (.*)$", log, re.MULTILINE)
        reason = next((line for line in errors if "error loading model" in line), errors[0] if errors else said)
        if reason is None:
            return f"cannot be loaded: llama.cpp {_how_it_ended(self._process.returncode)}"
        reason = reason.removeprefix("error loading model: ")
        if "not within the file bounds" in reason:
            return "is cut short: fetch it again"
        return f"cannot be loaded by this version of llama.cpp: {reason}"

    @property
    def trouble(self) -> str | None:
        """Why the server gives no more answers; None while it runs. Forks of this process cannot tell."""
        if os.getpid() != self._owner or self._process.poll() is None:
            return None
        return f"llama.cpp, which ran {self.name}, {_how_it_ended(self._process.returncode)}"

    def last_trouble(self) -> str | None:
        """As `trouble`, after a lost connection: a server that is about to end is waited for."""
        self._wait(LAST_MOMENTS)
        return self.trouble

    def end(self) -> None:
        """Let the server end, unless a fork of this process still uses it."""
        for pipe in (self._process.stdin, self._process.stdout, self._log):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._wait(PATIENCE)

    def _wait(self, seconds: float) -> None:
        if os.getpid() == self._owner:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)


def check_packages() -> None:
    """Check that the packages that run model files are installed.

    Raises:
        ModelSetupError: one is missing.
    """
    if importlib.util.find_spec("xllamacpp") is None or importlib.util.find_spec("psutil") is None:
        raise ModelSetupError("model files need more packages (xllamacpp): pip install 'metascale[gguf]'")


def server_of(path: Path, options: Options, *, at_once: int | None = None, files: int = 1) -> LocalServer:
    """The server of a file in this process, which is started where there is none.

    Args:
        path: the file.
        options: what the model's name asks for; None for what is there, or else for the defaults.
        at_once: requests that will come at once: the slots of a new server, up to `MOST_SLOTS`.
        files: model files that share the processors, because llama.cpp's threads keep each other waiting.

    Raises:
        ModelSetupError: the file or the machine does not allow it, or the file has a server with other options.
    """
    try:
        path = path.expanduser()
        place = path.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelSetupError(f"the model file '{path}' cannot be found: {error}") from error
    with _lock:
        known = _running(place)
        if known is not None:
            _check_same(known, options)
            return known
        file = read_model_file(path)
        return _start(place, file, name_of_file(f"gguf:{path}"), _layout(file, options, at_once, files))


def running(server: LocalServer) -> LocalServer | None:
    """The server that serves a server's file now: itself, or one that was started after it; None where none runs."""
    return _running(server.place)


def restarted(server: LocalServer) -> LocalServer:
    """The server that serves a server's file now; where none runs, one is started with the same layout.

    Those that wait for a start share its failure.

    Raises:
        ModelSetupError: the file or the machine does not allow it any more.
    """
    place = server.place
    known_failure = _failures.get(place)
    with _lock:
        now = _running(place)
        if now is not None:
            return now
        failure = _failures.get(place)
        if failure is not None and failure is not known_failure:
            raise ModelSetupError(str(failure))
        try:
            return _start(place, read_model_file(server.path), server.name, server.layout)
        except ModelSetupError as error:
            _failures[place] = ModelSetupError(str(error))
            raise


def _running(place: Path) -> LocalServer | None:
    known = _servers.get(place)
    return known if known is not None and known.trouble is None else None


def _start(place: Path, file: ModelFile, name: str, layout: Layout) -> LocalServer:
    """Start a server instead of one that has ended, if any."""
    ended = _servers.get(place)
    if ended is not None:
        ended.end()
    server = _servers[place] = LocalServer(place, file, name, layout)
    return server


def _layout(file: ModelFile, options: Options, at_once: int | None, files: int) -> Layout:
    most = file.trained_context
    if options.context is not None and most and options.context > most:
        raise ModelSetupError(f"'{file.path}' knows texts of at most {most:,} tokens: context={most} is the highest")
    context = options.context or (min(CONTEXT, most) if most else CONTEXT)
    slots = options.slots or min(at_once or SLOTS, MOST_SLOTS)
    return Layout(context, slots, options.threads or max(1, processors() // files))


def _check_same(server: LocalServer, options: Options) -> None:
    running = asdict(server.layout)
    wanted = {name: value for name, value in asdict(options).items() if value not in {None, running[name]}}
    if wanted:
        said = ", ".join(f"{name}={running[name]}, not {value}" for name, value in wanted.items())
        raise ModelSetupError(f"'{server.path}' is already loaded in this process with {said}")


def _needed(file: ModelFile, layout: Layout) -> int:
    return file.bytes + _slots_bytes(file, layout) + OVERHEAD


def _slots_bytes(file: ModelFile, layout: Layout) -> int:
    return file.bytes_per_token * layout.context * layout.slots


def _shortage(file: ModelFile, layout: Layout) -> str:
    need, slots, free = (n / 1e9 for n in (_needed(file, layout), _slots_bytes(file, layout), free_memory()))
    return (
        f"'{file.path}' needs {need:.1f} GB of memory and {free:.1f} GB are free; {slots:.1f} GB are for "
        f"{layout.slots} slots of {layout.context:,} tokens, which ?slots= and ?context= behind the name can lower"
    )


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    name = signal.Signals(-code).name
    return f"was ended by {name}{', as happens where memory runs out' if -code == signal.SIGKILL else ''}"


def _end_all() -> None:
    for server in _servers.values():
        server.end()


def _after_fork() -> None:
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()  # a thread that is not here may have held it


_servers: dict[Path, LocalServer] = {}
_failures: dict[Path, ModelSetupError] = {}
"""By file: why its server could not be started again when that was last tried."""
_lock = threading.Lock()
atexit.register(_end_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
