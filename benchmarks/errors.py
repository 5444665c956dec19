"""What a person reads when something is wrong: every situation, its exit code and its one line.

    python -m benchmarks.errors [--write docs/reference/errors.md]

Each situation is a command that is run for real, in a process of its own. `tests/test_error_lines.py` runs the same
situations in one process.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metascale.data import gsm8k
from tests.openai_server import Fault, OpenAIServer, serving

QUESTION = "What is 3 * 4 + 5?"
KNOWN = gsm8k()[0]["question"]
SIMULATED = ("--model", "simulated", "--budget", "2")
SERVER = ("--model", "openai:m", "--base-url", "{url}", "--budget", "2", "--set", "max_retries=0")
ON_THREAD = ("--db", "runs.sqlite", "--thread", "t")
SHOWN_URL = "http://localhost:8000/v1"
OTHERS_VARIABLES = ("METASCALE_", "OPENAI_", "LANGSMITH_")
NAME = "metascale: "
BEGINNING, END = "<!-- begin errors -->\n", "<!-- end errors -->\n"


@dataclass(frozen=True)
class Situation:
    """Something that goes wrong.

    Attributes:
        what: in words, as the table shows it.
        command: the words after `metascale`; `{url}` is a server, `{closed}` a port on which nobody listens, `{taken}`
            one that is in use.
        says: a part of the line.
        code: the exit code.
        fault: what the server answers instead of a completion.
        before: commands that are run first, in the same folder.
        files: files to write first, by name.
        environment: further variables.
        stdin: standard input.
    """

    what: str
    command: tuple[str, ...]
    says: str
    code: int = 2
    fault: Fault | None = None
    before: tuple[tuple[str, ...], ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    stdin: bytes = b""


def solve(*options: str) -> tuple[str, ...]:
    """A `metascale solve` of the usual question."""
    return ("solve", QUESTION, *options)


def refused(status: int, message: str, code: str | None = None) -> Fault:
    """A server's refusal in OpenAI's format."""
    return Fault(status, json.dumps({"error": {"message": message, "code": code}}))


USAGE = [
    Situation("no question", ("solve",), "there is no question"),
    Situation("an empty question", ("solve", " ", *SIMULATED), "the question is empty"),
    Situation("a question that is not UTF-8", ("solve", "-", *SIMULATED), "not valid UTF-8", stdin=b"\xff\xfe\x00"),
    Situation("a question of 200 kB", ("solve", "-", *SIMULATED), "max_question_chars", stdin=b"why " * 50_000),
    Situation("a misspelt command", ("slove", QUESTION), "slove"),
    Situation("a misspelt option", solve("--buget", "4"), "--buget"),
    Situation("a word where a number belongs", solve("--budget", "many"), "--budget"),
    Situation("a required option is missing", ("export", "runs.sqlite"), "--out"),
    Situation("a budget of 0", solve(*SIMULATED[:2], "--budget", "0"), "budget"),
    Situation("a misspelt policy", solve(*SIMULATED, "--policy", "ucbb"), "did you mean 'ucb'?"),
    Situation("a misspelt reward", solve(*SIMULATED, "--reward", "jugde"), "did you mean 'judge'?"),
    Situation("a misspelt method", solve(*SIMULATED, "--method", "best_of"), "did you mean 'best_of_n'?"),
    Situation("a misspelt preset", solve(*SIMULATED, "--preset", "papr"), "did you mean 'paper'?"),
    Situation("a misspelt setting", solve(*SIMULATED, "--set", "evolv_every=1"), "did you mean 'evolve_every'?"),
    Situation("a setting without a value", solve(*SIMULATED, "--set", "budget"), "--set takes NAME=VALUE"),
    Situation("a setting out of its range", solve(*SIMULATED, "--set", "temperature=9"), "temperature"),
    Situation("a rubric file that is not there", solve(*SIMULATED, "--set", "rubric=@none.md"), "cannot be read"),
    Situation("a reward model that is not named", solve(*SIMULATED, "--reward", "reward_model"), "reward_model"),
    Situation("a verifier that is not named", solve(*SIMULATED, "--reward", "verifier"), "verifier"),
    Situation(
        "a verifier that cannot be imported",
        solve(*SIMULATED, "--reward", "verifier", "--set", "verifier=nowhere:check"),
        "nowhere",
    ),
    Situation(
        "a judge for a method that scores nothing",
        solve(*SIMULATED, "--method", "direct", "--judge-model", "simulated"),
        "takes no --judge-model",
    ),
    Situation(
        "a prediction by a method that makes none",
        solve(*SIMULATED, "--method", "best_of_n", "--foresee"),
        "--foresee needs the method 'metascale'",
    ),
    Situation("a review without a terminal", solve(*SIMULATED, "--review-pool"), "needs a terminal"),
    Situation("a picture in a folder that is not there", solve(*SIMULATED, "--svg", "no/x.svg"), "does not exist"),
    Situation("a graph that is not there", ("graph", "metascal"), "did you mean 'metascale'?"),
]
MODELS = [
    Situation("a misspelt model", solve("--model", "simulatde"), "did you mean 'simulated'?"),
    Situation("a model without its provider", solve("--model", "llama3.1"), "did you mean 'openai:llama3.1'?"),
    Situation("a misspelt provider", solve("--model", "opnai:gpt-4o"), "did you mean 'openai:gpt-4o'?"),
    Situation("an unknown provider", solve("--model", "zzz:x"), "unknown provider 'zzz'"),
    Situation("a provider whose package is missing", solve("--model", "anthropic:c"), "pip install"),
    Situation("a misspelt METASCALE_MODEL", solve(), "simulatde", environment={"METASCALE_MODEL": "simulatde"}),
    Situation("no key", solve("--model", "openai:gpt-4o"), "set OPENAI_API_KEY"),
    Situation("a base URL for another provider", solve(*SIMULATED, "--base-url", SHOWN_URL), "a base URL goes with"),
    Situation("a base URL without http", solve("--model", "openai:m", "--base-url", "localhost:9"), "http", 1),
    Situation(
        "a server that is down",
        solve("--model", "openai:m", "--base-url", "http://127.0.0.1:{closed}/v1", "--set", "max_retries=0"),
        "Connection",
        1,
    ),
    Situation("a wrong key", solve(*SERVER), "401", 1, refused(401, "Incorrect API key provided")),
    Situation(
        "a quota that is used up",
        solve(*SERVER),
        "quota",
        1,
        refused(429, "You exceeded your current quota", "insufficient_quota"),
    ),
    Situation("a model that the server does not have", solve(*SERVER), "404", 1, refused(404, "model 'm' not found")),
    Situation("a server that is overloaded", solve(*SERVER), "503", 1, refused(503, "overloaded")),
    Situation("a server that fails", solve(*SERVER), "try again later", 1, Fault(500, "internal error")),
    Situation(
        "a prompt that is too long",
        solve(*SERVER),
        "shorten the conversation",
        1,
        refused(400, "context length is 512"),
    ),
    Situation(
        "a page instead of a reply", solve(*SERVER), "base URL", 1, Fault(200, "<html><title>Welcome</title></html>")
    ),
    Situation("a connection that breaks", solve(*SERVER), "try again later", 1, Fault(breaks="reset")),
    Situation("nothing but empty answers", solve(*SERVER), "empty", 1, Fault(text="")),
    Situation("an account without the right", solve(*SERVER), "403", 1, refused(403, "no access to this model")),
    Situation(
        "a judge that is not there",
        solve(*SERVER, "--judge-model", "openai:"),
        "names no model",
        environment={"OPENAI_API_KEY": "x"},
    ),
]
RUNS = [
    Situation("a database without a thread", solve(*SIMULATED, "--db", "runs.sqlite"), "go together"),
    Situation("a database in no folder", solve(*SIMULATED, "--db", "no/x", "--thread", "t"), "unable to open"),
    Situation(
        "a database that is none",
        solve(*SIMULATED, *ON_THREAD),
        "not a database",
        files={"runs.sqlite": "This is a text, and it is long enough to be no database. " * 20},
    ),
    Situation(
        "a PostgreSQL server that is down",
        solve(*SIMULATED, "--db", "postgresql://me:secret@127.0.0.1:{closed}/runs", "--thread", "t"),
        "cannot be used",
    ),
    Situation("a thread without a run", ("solve", *ON_THREAD), "holds no run"),
    Situation("more samples without a run", solve(*SIMULATED, *ON_THREAD, "--more", "4"), "no finished run"),
    Situation("more samples without a database", solve(*SIMULATED, "--more", "4"), "--more"),
    Situation("a run that waits for its review", solve(*SIMULATED, *ON_THREAD, "--review-pool"), "--pool FILE", 3),
    Situation(
        "a run with other settings",
        ("solve", *ON_THREAD, "--budget", "9"),
        "budget was 2 and is now 9",
        before=(solve(*SIMULATED, *ON_THREAD, "--review-pool"),),
    ),
    Situation(
        "another question on a run that has not ended",
        ("solve", "Another?", *ON_THREAD),
        "has not finished another question",
        before=(solve(*SIMULATED, *ON_THREAD, "--review-pool"),),
    ),
    Situation("a review that is not there", solve(*SIMULATED, "--pool", "none.json"), "cannot be read"),
    Situation(
        "a review of an unknown meta-thought",
        solve(*SIMULATED, "--pool", "edits.json"),
        "there is no meta-thought 'm99'",
        files={"edits.json": '{"drop": ["m99"]}'},
    ),
    Situation("a memory for another method", solve(*SIMULATED, "--method", "direct", "--memory", "m"), "memory"),
    Situation("a memory that is not there", ("memory", "show", "none.sqlite"), "none.sqlite"),
    Situation("an export of nothing", ("export", "none.sqlite", "--out", "x", "--format", "grpo"), "none.sqlite"),
    Situation(
        "an export over a file",
        ("export", "runs.sqlite", "--out", "rows.jsonl", "--format", "grpo"),
        "already exists",
        files={"rows.jsonl": "x"},
    ),
]
OTHERS = [
    Situation("a benchmark without a model", ("bench",), "a benchmark needs a model"),
    Situation("a benchmark of an unknown task", ("bench", *SIMULATED[:2], "--task", "gsm9k"), "gsm9k"),
    Situation(
        "a benchmark that nobody agreed to",
        ("bench", *SIMULATED[:2], "--limit", "1", "--method", "direct"),
        "--yes starts without asking",
    ),
    Situation(
        "logs where a file is",
        ("bench", *SIMULATED[:2], "--limit", "1", "--method", "direct", "--log-dir", "logs", "--yes"),
        "logs",
        files={"logs": "x"},
    ),
    Situation("a report of nothing", ("report", "nowhere"), "nowhere"),
    Situation("a trial on pairs that are not there", ("bench", "judge", *SIMULATED[:2], "--pairs", "none"), "none"),
    Situation("a replay of nothing", ("bench", "replay", "none.jsonl"), "none.jsonl"),
    Situation("a server for all without a token", ("serve", "--host", "0.0.0.0"), "needs a token"),
    Situation("a port that is taken", ("serve", "--port", "{taken}"), "cannot listen on"),
    Situation("an empty token", ("serve", "--token-file", "token"), "is empty", files={"token": "\n"}),
    Situation(
        "two served models of one name",
        ("serve", "--model", "simulated", "--model", "simulated"),
        "the same name",
    ),
]
SITUATIONS = [*USAGE, *MODELS, *RUNS, *OTHERS]


@dataclass(frozen=True)
class Place:
    """Where a situation happens: the ports and the address that its command names.

    Attributes:
        url: the server's.
        closed: a port on which nobody listens.
        taken: a port that is in use.
    """

    url: str
    closed: str
    taken: str

    def fill(self, words: Sequence[str]) -> list[str]:
        """The words with these addresses."""
        known = {"url": self.url, "closed": self.closed, "taken": self.taken}
        return [_replaced(word, {f"{{{name}}}": value for name, value in known.items()}) for word in words]

    def shown(self, line: str) -> str:
        """A line with the addresses that the table shows, the same in every run."""
        folder = str(Path.cwd())
        known = {f"{folder}/": "", self.url: SHOWN_URL, self.closed: "8000", self.taken: "8123"}
        return _replaced(line, known)


def _replaced(text: str, known: Mapping[str, str]) -> str:
    for old, new in known.items():
        text = text.replace(old, new)
    return text


@contextlib.contextmanager
def happening(situation: Situation) -> Iterator[Place]:
    """Set the scene for a situation in the current folder: its files, its server and its ports."""
    for name, text in situation.files.items():
        Path(name).write_text(text, encoding="utf-8")
    with contextlib.ExitStack() as stack:
        taken, closed = (stack.enter_context(socket.socket()) for _ in range(2))
        for port in (taken, closed):
            port.bind(("127.0.0.1", 0))
        taken.listen()
        url = SHOWN_URL
        if "{url}" in situation.command:
            fault = situation.fault
            url = stack.enter_context(serving(OpenAIServer(script=lambda *_: fault))).url
        yield Place(url, *(str(port.getsockname()[1]) for port in (closed, taken)))


def run(situation: Situation) -> tuple[int, str]:
    """The exit code and what standard error says, in a process of its own."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(OTHERS_VARIABLES)}
    variables |= situation.environment
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), happening(situation) as place:
        done: Any = None
        for command in (*situation.before, situation.command):
            words = [sys.executable, "-m", "metascale.cli", *place.fill(command)]
            done = subprocess.run(words, input=situation.stdin, capture_output=True, env=variables, check=False)
        return done.returncode, place.shown(done.stderr.decode())


def table(lines: Sequence[tuple[Situation, int, str]]) -> str:
    """The table of a page: situations, exit codes and lines."""
    rows = [f"| {one.what} | {code} | {cell(line_of(said))} |" for one, code, said in lines]
    return "\n".join(["| situation | exit code | what it says |", "|---|---|---|", *rows]) + "\n"


def line_of(said: str) -> str:
    """The one line in which the error is said, among notices, tables of costs and questions that came before it.

    Raises:
        ValueError: there is none, or there are several.
    """
    (line,) = (part for part in said.splitlines() if part.startswith(NAME))
    return line.removeprefix(NAME)


def cell(line: str) -> str:
    """A line as a cell of the table."""
    return line.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def main() -> None:
    """Run every situation, print the table, and on request write it into a page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, metavar="PAGE", help="also write the table into this page")
    page = parser.parse_args().write
    page = page and page.resolve()
    lines = [(one, *run(one)) for one in SITUATIONS]
    print(table(lines))
    wrong = [one.what for one, code, said in lines if code != one.code or one.says not in line_of(said)]
    print(f"{len(lines)} situations; not as expected: {', '.join(wrong) or 'none'}")
    if page:
        before, _, rest = page.read_text(encoding="utf-8").partition(BEGINNING)
        after = rest.partition(END)[2]
        page.write_text(f"{before}{BEGINNING}\n{table(lines)}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
