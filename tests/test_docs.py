"""The documentation is right: its Python runs, its commands exist, its tables are complete."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Container, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest

from docs.hooks import all_commands, commands, records, settings_tables
from metascale import Event, MetaScaleSettings, create_metascale
from metascale.cli.options import PRESETS
from metascale.evals.harness.bench import TASKS
from metascale.graphs import METHODS
from metascale.records import StopReason
from metascale.settings import PolicyName, RewardName
from metascale.state import State
from tests.conftest import ServerFactory

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))
EXAMPLE = re.compile(r"^```python\n(.*?)^```(?:\n+```text title=\"Output\"\n(.*?)^```)?", re.DOTALL | re.MULTILINE)
SHELL = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)
COMMANDS = dict(all_commands())
VALUES: dict[str, Container[str]] = {
    "--method": METHODS,
    "--policy": get_args(PolicyName),
    "--preset": PRESETS,
    "--reward": get_args(RewardName),
    "--set": MetaScaleSettings.model_fields,
    "--task": TASKS,
}


def text_of(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", [page for page in PAGES if EXAMPLE.search(text_of(page))])
def test_examples_run_in_order_and_print_what_the_page_says(
    page: str,
    start_server: ServerFactory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_BASE_URL", start_server().url)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    names: dict[str, Any] = {"__name__": "docs"}
    for source, output in EXAMPLE.findall(text_of(page)):
        exec(compile(source, page, "exec"), names)
        printed = capsys.readouterr().out
        assert printed == output or not output


def test_each_way_in_runs_a_search(
    start_server: ServerFactory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = start_server()
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    names: dict[str, Any] = {"__name__": "docs"}
    answers = {
        "as_node(": lambda: names["builder"].compile().invoke({"task": "What is 3 * 4 + 5?"})["solution"],
        "as_tool(": lambda: names["out"]["messages"][-1].text,
        "MetaScaleMiddleware(": lambda: names["reply"].text,
        "ChatMetaScale(": lambda: names["answer"],
    }
    for source, _ in EXAMPLE.findall(text_of("howto/embed.md")):
        before = server.count("solve")
        exec(source, names)
        for way in [way for way in answers if way in source]:
            assert "Simulated answer" in answers.pop(way)()
            assert server.count("solve") >= before + 4
    assert answers == {}
    assert capsys.readouterr().out


def shell_lines() -> Iterator[tuple[str, list[str]]]:
    for page in PAGES:
        for block in SHELL.findall(text_of(page)):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                while words and re.match(r"[A-Z_]+=", words[0]):
                    words.pop(0)
                if words:
                    yield page, words


def is_made(words: list[str]) -> bool:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in words)


def is_installed(words: list[str]) -> bool:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {extra for word in words for extra in re.findall(r"metascale\[([\w,-]+)\]", word)}
    named = {name for extras in wanted for name in extras.split(",")}
    return named <= project["optional-dependencies"].keys()


def is_inspected(words: list[str]) -> bool:
    ours = [word.removeprefix("metascale/") for word in words if word.startswith("metascale/")]
    return bool(ours) and all(name in TASKS or name in METHODS for name in ours)


def is_understood(words: list[str]) -> bool:
    path = "metascale"
    while words and f"{path} {words[0]}" in COMMANDS:
        path = f"{path} {words.pop(0)}"
    options = {name for one in COMMANDS[path].params for name in one.opts}
    if not {word.partition("=")[0] for word in words if word.startswith("--")} <= options:
        return False
    pairs = [(option, value.partition("=")[0]) for option, value in pairwise(words)]
    return all(value in VALUES[option] for option, value in pairs if option in VALUES)


def is_served(words: list[str]) -> bool:
    body = json.loads(words[words.index("-d") + 1])
    return words[0] == "localhost:8123/v1/chat/completions" and body.keys() == {"model", "metadata", "messages"}


CHECKS: dict[str, Any] = {
    "metascale": is_understood,
    "curl": is_served,
    "make": is_made,
    "pip": is_installed,
    "inspect": is_inspected,
    "python3": lambda words: words == ["-m", "venv", ".venv"],
}


def test_commands_exist_with_their_options_and_values() -> None:
    shown = list(shell_lines())
    assert len(shown) > 30
    for page, (program, *rest) in shown:
        assert CHECKS[program.rpartition("/")[2]](rest), f"{page}: {program} {' '.join(rest)}"


def test_a_command_that_does_not_exist_is_found_out() -> None:
    assert is_understood(["solve", "--budget", "4", "?"])
    for wrong in ("solve --buget 4", "solve --set buget=4", "solve --reward jury", "bench judge --task gsm8k"):
        assert not is_understood(wrong.split())
    assert not is_made(["toast"])
    assert not is_installed(["install", "metascale[toast]"])


def test_the_reference_tells_every_setting_command_and_key() -> None:
    page = text_of("reference/result.md")
    asked = re.findall(r"<!-- records (metascale.state) State -->", page)
    assert set(State.__annotations__) <= set(re.findall(r"^\| `(\w+)`", records(*asked, "State"), re.MULTILINE))
    assert set(MetaScaleSettings.model_fields) == set(re.findall(r"^\| `(\w+)`", settings_tables(), re.MULTILINE))
    events = re.findall(r"<!-- records metascale.events (.*) -->", text_of("reference/events.md"))[0].split()
    assert {kind.__name__ for kind in get_args(Event)} <= set(events)
    told = commands()
    for path, command in COMMANDS.items():
        assert f"## `{path}` " in told
        assert all(option in told for one in command.params for option in one.opts if option.startswith("--"))


def drawn_edges(picture: str) -> set[tuple[str, str | None, str]]:
    """The edges of a drawn graph: source, condition and target. A branch starts at `┬` and continues below it."""
    found: set[tuple[str, str | None, str]] = set()
    branches: dict[int, list[str]] = {}
    for line in picture.splitlines():
        sources: list[str] = []
        label, before = None, "start"
        for part in re.finditer(r"[┬├└]|→|⇉|[^─┬├└→⇉]+", line):
            match part[0].strip():
                case "┬":
                    branches[part.start()], before = sources, "branch"
                case "├" | "└":
                    sources, before = branches[part.start()], "branch"
                case "→" | "⇉":
                    before = "arrow"
                case "":
                    pass
                case text if before == "branch":
                    label = text
                case text if before == "arrow":
                    found |= {(source, label, text) for source in sources}
                    sources, label = [text], None
                case text:
                    sources = text.split(", ")
    return found


def test_the_picture_of_the_graph_has_its_edges_and_conditions() -> None:
    picture = re.findall(r"```text\n(START.*?)```", text_of("explanation/method.md"), re.DOTALL)[0]
    ends = {"__start__": "START", "__end__": "END"}
    edges = {
        (
            ends.get(edge.source, edge.source),
            None if edge.data is None else str(edge.data),
            ends.get(edge.target, edge.target),
        )
        for edge in create_metascale("simulated").get_graph().edges
    }
    assert drawn_edges(picture) == edges - {("select_arm", None, "finalize")}, "the text below it tells of that one"


def test_every_reason_to_stop_is_explained() -> None:
    page = text_of("explanation/budget.md")
    assert all(f"`{reason}`" in page for reason in get_args(StopReason))


def test_every_paper_that_the_code_names_is_among_the_sources() -> None:
    page = text_of("explanation/sources.md")
    files = [file for folder in ("graphs", "nodes", "src") for file in (ROOT / folder).rglob("*.py")]
    named = {paper for file in files for paper in re.findall(r"arXiv (\d{4}\.\d{5})", file.read_text(encoding="utf-8"))}
    assert len(named) > 10
    assert sorted(paper for paper in named if paper not in page) == []
