"""The recorder of a real model: what it keeps, and that it goes on after a kill without repeating anything."""

from __future__ import annotations

import gzip
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.recordings import pack
from benchmarks.recordings.pack import with_p_true, write
from benchmarks.recordings.questions import is_recorded
from benchmarks.recordings.record import Recording, main
from benchmarks.recordings.reduction import reduced
from benchmarks.recordings.rows import Rows, RowsError
from metascale.answers import extract
from metascale.data import read_rows
from metascale.evals.recordings import CERTAINTY, P_TRUE, VERDICT, read_recordings
from metascale.evals.report.logs import read_logs
from metascale.models.probabilities import certainty_of
from tests.bench_process import bench
from tests.openai_server import Fault, OpenAIServer, serving

SHIPPED = Path(__file__).parents[1] / "benchmarks/recordings/gsm8k_qwen15"
ALL = ("--stage", "samples", "p_true", "verdicts", "bare_verdicts", "--repeats", "2")
BUILT_IN_RECORD = Path(__file__).parent / "data/recordings/certainty_gsm8k_qwen15.jsonl.gz"


def record(folder: Path, server: OpenAIServer, *options: str) -> int:
    few = ["--count", "1", "--samples", "2", "--arms", "chain_of_thought", "no_strategy", "--at-once", "3"]
    return main([str(folder), "--base-url", server.url, *few, *options])


def asked(server: OpenAIServer) -> Counter[str]:
    """How often each request was answered; its seed tells it from others with the same messages."""
    return Counter(f"{served.kind} {served.body['seed']}" for served in server.served)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_recording_goes_on_where_it_was_stopped_and_repeats_nothing(tmp_path: Path) -> None:
    def dies(kind: str, number: int, body: dict[str, Any]) -> Fault | None:  # noqa: ARG001
        return Fault(401, '{"error": {"message": "no more"}}') if kind == "judge" and number == 4 else None

    with serving(OpenAIServer(script=dies)) as server:
        assert record(tmp_path, server, *ALL) == 1
        before = sum(len(lines(path)) for path in tmp_path.glob("*.jsonl"))
        assert 4 < before < 24
        with (tmp_path / "verdicts.jsonl").open("ab") as file:
            file.write(b'{"question_id":"gsm8k-test/3","arm":"no_strat')
        server.served.clear()
        assert record(tmp_path, server, *ALL) == 0
        assert len(server.served) == 24 - before
        assert record(tmp_path, server, *ALL) == 0
        assert len(server.served) == 24 - before
        assert set(asked(server).values()) == {1}
    assert {path.stem: len(lines(path)) for path in tmp_path.glob("*.jsonl")} == {
        "samples": 4,
        "p_true": 4,
        "verdicts": 8,
        "bare_verdicts": 8,
    }


def test_requests_that_failed_are_repeated_by_the_same_command(tmp_path: Path) -> None:
    def fails(kind: str, number: int, body: dict[str, Any]) -> Fault | None:  # noqa: ARG001
        return Fault(400, '{"error": {"message": "too long"}}') if kind == "solve" and number == 1 else None

    with serving(OpenAIServer(script=fails)) as server:
        assert record(tmp_path, server) == 1
        assert len(lines(tmp_path / "samples.jsonl")) == 3
        assert record(tmp_path, server) == 0
        assert server.count("solve") == 4


def test_packed_rows_are_read_by_the_replays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(OpenAIServer()) as server:
        assert record(tmp_path, server, *ALL) == 0
    about = json.loads((tmp_path / "about.json").read_text())
    assert {"solve", "judge", "meta_thoughts/no_strategy"} <= about["prompts"].keys()
    recording = Recording(tmp_path)
    write(tmp_path / "samples.jsonl.gz", with_p_true(recording.samples, recording.p_true))
    write(tmp_path / "verdicts.jsonl.gz", recording.verdicts)
    found = read_recordings(tmp_path / "samples.jsonl.gz", tmp_path / "verdicts.jsonl.gz")
    assert {CERTAINTY, "numbers", P_TRUE, VERDICT} <= found.signals.keys()
    assert [found.arms[arm] for arm in found.arm] == ["chain_of_thought"] * 2 + ["no_strategy"] * 2
    about["prompts"]["judge"] = "another"
    (tmp_path / "about.json").write_text(json.dumps(about))
    assert record(tmp_path, server, *ALL) == 1
    assert "prompt judge" in capsys.readouterr().err


def test_a_recording_answers_a_benchmark(tmp_path: Path) -> None:
    with serving(OpenAIServer()) as server:
        assert record(tmp_path, server) == 0
    write(tmp_path / "samples.jsonl.gz", Recording(tmp_path).samples)
    packed = str(tmp_path / "samples.jsonl.gz")
    options = ["--task", "recorded", "--path", packed, "--model", f"recorded:{packed}", "--budget", "1"]
    done = bench(tmp_path, *options, "--method", "direct", "--method", "chain_of_thought")
    assert done.code == 0, done.said
    (gold,) = {row["gold"] for row in read_rows(tmp_path / "samples.jsonl.gz", ("gold",))}
    for answer in read_logs([tmp_path / "logs"]):
        assert answer.score == float(extract(answer.text, "number") == gold)


def test_characters_that_some_readers_take_for_a_new_line_do_not_end_a_row(tmp_path: Path) -> None:
    for _ in range(2):
        rows = Rows(tmp_path / "rows.jsonl", ("name",))
        rows.add({"name": "one", "text": "a\u2028b\u2029c\u0085d\x0ce"})
    assert [row["text"] for row in Rows(tmp_path / "rows.jsonl", ("name",))] == ["a\u2028b\u2029c\u0085d\x0ce"]


def test_the_model_composes_the_arms_of_each_question(tmp_path: Path) -> None:
    with serving(OpenAIServer()) as server:
        for _ in range(2):
            assert record(tmp_path, server, "--stage", "compose", "samples", "--samples", "1") == 0
        assert server.count("solve") == 6
    (row,) = lines(tmp_path / "meta_thoughts.jsonl")
    texts = {thought["id"]: thought["strategy"] for thought in row["meta_thoughts"]}
    prompts = {served.body["messages"][-1]["content"] for served in server.served if served.kind == "solve"}
    assert len(texts) == len(prompts) == 6
    assert all(any(text in prompt for prompt in prompts) for text in texts.values())
    samples = lines(tmp_path / "composed.jsonl")
    assert {sample["arm"] for sample in samples} == texts.keys()
    assert {sample["origin"] for sample in samples} == {"self_composed"}
    assert not (tmp_path / "samples.jsonl").exists()


def test_a_packed_recording_goes_on_once_it_is_unpacked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, packed = tmp_path / "folder", tmp_path / "packed"
    both = [("--stage", "samples", "p_true"), ("--stage", "compose", "samples", "p_true", "--samples", "1")]
    with serving(OpenAIServer()) as server:
        assert [record(folder, server, *options) for options in both] == [0, 0]
        assert pack.main([str(folder), str(packed)]) == 0
        assert {path.name.split(".")[0] for path in packed.glob("*.gz")} == {"samples", "composed", "meta_thoughts"}
        assert read_recordings(packed / "composed.jsonl.gz").composed.all()
        assert not read_recordings(packed / "samples.jsonl.gz").composed.any()
        noted = (packed / "about.json").read_bytes()
        served = len(server.served)
        capsys.readouterr()
        assert record(packed, server, *both[0]) == 1
        assert "samples.jsonl.gz is compressed: gunzip" in capsys.readouterr().err
        assert (packed / "about.json").read_bytes() == noted
        for path in packed.glob("*.gz"):
            path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        assert [record(packed, server, *options) for options in both] == [0, 0]
        assert len(server.served) == served
    assert pack.main([str(tmp_path / "nothing"), str(tmp_path / "out")]) == 1
    assert "about.json" in capsys.readouterr().err


@pytest.mark.parametrize("about", ["{", "[]", "null", '"text"', '{"runs": []}', '{"prompts": [], "runs": []}', "é"])
def test_nothing_is_added_to_a_folder_of_another_form(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], about: str
) -> None:
    (tmp_path / "about.json").write_text(about, encoding="latin-1")
    with serving(OpenAIServer()) as server:
        assert record(tmp_path, server) == 1
        assert not server.served
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "about.json" in said
    assert "record to a new folder" in said
    assert [path.name for path in tmp_path.iterdir()] == ["about.json"]


def test_nothing_is_added_to_the_shipped_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(SHIPPED, tmp_path / "shipped")
    with serving(OpenAIServer()) as server:
        assert record(tmp_path / "shipped", server) == 1
    assert "about.json is not from this recorder" in capsys.readouterr().err


@pytest.mark.parametrize("line", ["{", "[1]", '{"other": 1}', '{"name": [1]}', "é"])
def test_rows_of_another_form_are_refused_and_kept(tmp_path: Path, line: str) -> None:
    path = tmp_path / "rows.jsonl"
    before = f'{{"name": "one"}}\n{line}\n{{"name": "cut of'.encode("latin-1")
    path.write_bytes(before)
    with pytest.raises(RowsError, match=r"rows.jsonl, line 2: not a JSON object with the keys name$"):
        Rows(path, ("name",))
    assert path.read_bytes() == before


def test_the_questions_of_the_first_recording_obey_the_rule() -> None:
    recorded = {row["question_id"] for row in read_rows(BUILT_IN_RECORD, ("question_id",))}
    assert len(recorded) == 48
    assert all(map(is_recorded, recorded))
    assert not is_recorded("gsm8k-test/0")


@given(st.lists(st.text(st.sampled_from(" \t\n\r12x.é٣"), min_size=1, max_size=5), min_size=1, max_size=12))
def test_reduced_tokens_are_as_certain_as_whole_ones(pieces: list[str]) -> None:
    logprobs = [-0.1 * 2**n for n in range(len(pieces))]
    assert certainty_of(logprobs, [reduced(piece) for piece in pieces]) == certainty_of(logprobs, pieces)
