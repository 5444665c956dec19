"""A benchmark on a fleet: two real servers behind a token, with their own model; one is killed midway."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from metascale import MetaScaleSettings, abatch
from metascale.data import gsm8k
from metascale.evals.harness.fleet import Fleet, FleetError
from metascale.evals.report.logs import logs_in, read_logs
from metascale.server.options import TOKEN_VARIABLE
from tests.bench_process import BenchProcess, bench
from tests.classifier_endpoint import ClassifierEndpoint, Reply
from tests.classifier_endpoint import serving as classifying
from tests.command_line import metascale
from tests.conftest import QUESTION
from tests.langgraph_server import serving_langgraph
from tests.openai_server import OpenAIServer, serving
from tests.waiting import CEILING, wait_until

TOKEN = "correct-horse"
AUTH = f"""
from langgraph_sdk import Auth
auth = Auth()
@auth.authenticate
async def authenticate(authorization: str | None) -> str:
    if authorization != "Bearer {TOKEN}":
        raise Auth.exceptions.HTTPException(status_code=401, detail="wrong token")
    return "ann"
"""


@dataclass
class Servers:
    """Two servers, their processes, and the model that both ask."""

    urls: list[str]
    processes: list[subprocess.Popen[bytes]]
    model: OpenAIServer

    @property
    def options(self) -> list[str]:
        return [option for url in self.urls for option in ("--remote", url)]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with ExitStack() as stack:
        model = stack.enter_context(serving(OpenAIServer()))
        where = {"METASCALE_MODEL": "openai:loopback", "OPENAI_BASE_URL": model.url}
        started = [
            stack.enter_context(serving_langgraph(tmp_path_factory.mktemp("server"), auth=AUTH, **where))
            for _ in range(2)
        ]
        yield Servers([url for url, _ in started], [process for _, process in started], model)


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)


ASKED = [{"role": "user", "content": QUESTION}]


@pytest.mark.usefixtures("token")
async def test_a_run_that_fails_is_no_answer_and_says_why(servers: Servers) -> None:
    fleet = Fleet(servers.urls)
    reply = await fleet.ask("best_of_n", [], {"budget": 1})
    assert (reply.state["result"], reply.state["usage"]["calls"]) == (None, 0)
    assert "there is no question" in str(reply.problem)
    reply = await fleet.ask("best_of_n", ASKED, {"budget": 2, "reward": "verifier", "verifier": "a:b"})
    assert "'verifier' belongs to the graph" in str(reply.problem)


@pytest.mark.usefixtures("token")
async def test_what_a_server_would_refuse_is_known_before(servers: Servers) -> None:
    fleet = Fleet([*servers.urls, "http://127.0.0.1:1"])
    (line,) = await fleet.check(["metascale", "mrp"], [{"budget": 4}])
    assert line.startswith("http://127.0.0.1:1 does not answer and is left out")
    with pytest.raises(FleetError, match=r"refuses the settings: .*'betta' was unexpected"):
        await fleet.check(["metascale"], [{"betta": 1.0}])
    with pytest.raises(FleetError, match="has no graph 'my_direct'"):
        await fleet.check(["my_direct"], [])
    with pytest.raises(FleetError, match=r"no server answers: http://127\.0\.0\.1:1: "):
        await Fleet(["http://127.0.0.1:1"]).check(["direct"], [])


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (200, "<html>Welcome!</html>", "is not a LangGraph server"),
        (503, "{}", "no server answers: .*: HTTP 503"),
        (400, '{"detail": "no such thing"}', "refuses the question: "),
    ],
)
async def test_an_address_without_a_langgraph_server_is_named(status: int, body: str, says: str) -> None:
    answers_alike = ClassifierEndpoint(len, lambda *_: Reply(body, status, {"content-type": "application/json"}))
    with classifying(answers_alike) as server, pytest.raises(FleetError, match=says):
        await Fleet([server.url]).check(["direct"], [])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--remote", "URL"], f"refuses the token: set {TOKEN_VARIABLE}"),
        (["--remote", "URL", "--model", "simulated"], "servers decide their model"),
        (["--remote", "URL", "--set", "review_pool=true"], "cannot ask people"),
        (["--remote", "nowhere"], "is not the URL of a server"),
    ],
)
def test_a_fleet_that_cannot_be_asked_gets_one_line(options: list[str], says: str, servers: Servers) -> None:
    given = [servers.urls[0] if option == "URL" else option for option in options]
    done = metascale("bench", *given, "--method", "metascale", "--yes")
    assert done.returncode == 2
    assert says in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("token")
async def test_a_batch_shares_its_budget_over_servers_and_goes_on_after_a_stop(
    servers: Servers, tmp_path: Path
) -> None:
    questions = [row["question"] for row in gsm8k()[:6]]
    settings = MetaScaleSettings(pool_size=3, confirm=0, seed=1)
    shared: Any = {"settings": settings, "budget_total": 30, "remotes": servers.urls, "journal": tmp_path}
    before = servers.model.requests.total()

    def stop(*_: object) -> None:
        raise KeyError

    with pytest.raises(KeyError):  # once the first row is final: all others wait on their servers
        await abatch(questions, **shared, at_once=2, on_row=stop)
    rows = await abatch(questions, **shared, at_once=2)
    assert [row["question"] for row in rows] == questions
    assert all(row["answer"] and row["error"] is None for row in rows)
    assert sum(row["samples"] for row in rows) == 30
    assert max(row["samples"] for row in rows) > min(row["samples"] for row in rows)
    assert sum(row["calls"] for row in rows) == servers.model.requests.total() - before
    assert await abatch(questions, **shared, at_once=2) == rows
    more = await abatch(questions, **{**shared, "budget_total": 40}, at_once=2)
    assert sum(row["samples"] for row in more) == 40
    assert sum(row["calls"] for row in more) == servers.model.requests.total() - before


@pytest.mark.usefixtures("token")
def test_every_question_is_in_the_report_once_though_a_server_dies(servers: Servers, tmp_path: Path) -> None:
    options = ["--method", "best_of_n", "--budget", "2", "--limit", "12", "--at-once", "3", *servers.options]
    before = servers.model.requests.total()
    servers.model.ready = lambda *_: servers.model.requests.total() < before + 26  # held until a server is killed
    process = BenchProcess(tmp_path, *options, **{TOKEN_VARIABLE: TOKEN})
    wait_until(lambda: servers.model.requests.total() >= before + 26, process)
    servers.processes[0].kill()
    servers.processes[0].wait(CEILING)
    servers.model.ready = None
    done = process.end()
    assert done.code == 0, done.said
    assert "the servers' model" in done.said

    answers = read_logs([tmp_path / "logs"])
    assert Counter(answer.question_id for answer in answers) == {f"gsm8k-test/{number}": 1 for number in range(12)}
    assert all(answer.score is not None and answer.simulated for answer in answers)
    assert all(answer.usage and answer.usage["samples"] == 2 for answer in answers)
    (log,) = logs_in([tmp_path / "logs"])
    assert log.eval.model == "langgraph/servers"
    assert str(log.eval.model_base_url).split() == servers.urls
    records: list[dict[str, Any]] = [sample.store["metascale"] for sample in log.samples or []]
    assert {record["server"] for record in records} == set(servers.urls)
    again = [note for record in records for note in record["notes"] if servers.urls[0] in note]
    assert 1 <= len(again) <= 3
    assert all("is not counted" in note for note in again)
    billed = sum(answer.usage["calls"] for answer in answers if answer.usage)
    assert billed <= servers.model.requests.total() - before

    servers.processes[1].kill()
    done = bench(tmp_path, *options, "--seed", "2", **{TOKEN_VARIABLE: TOKEN})
    assert done.code == 2
    assert "no server answers" in done.last

    page = metascale("report", str(tmp_path / "logs"), "--out", str(tmp_path / "report"))
    assert page.returncode == 0, page.stderr
    text = Path(page.stdout.strip()).read_text(encoding="utf-8")
    assert "SIMULATION" in text
    assert "langgraph/servers" in text
