"""Puts recorded answers and judgements into the form that `metascale bench choice` reads.

    python -m benchmarks.choice_files DATA OUT

DATA is a folder with any of the recorded files below; OUT gets one file of each that is there, and those of the
repository's own recording, `benchmarks/recordings/gsm8k_qwen15`.


- `recordings_gsm8k_qwen15.jsonl.gz`, with `verdicts_gsm8k_qwen15.jsonl.gz`: Qwen2.5-Coder-1.5B on 48 questions of GSM8K
  under eight meta-thoughts, with the certainty of its tokens; its verdicts on 16 of them, P(True) and digits on 15.
- `matrix_renze_gpt35.jsonl`: gpt-35-turbo on eleven exams under four prompts (jhu-concise-cot).
- `judge_llmbar_gpt4_outputs.jsonl`: GPT-4 on the 211 pairs of LLMBar by three prompts in two orders.
- `judge_noise_tot_creative.jsonl`: five ratings of GPT-4 of each of 20 texts to 100 tasks (tree-of-thought-llm). Three
  are the verdicts, and the mean of the other two stands for the quality.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from metascale.answers import extract
from metascale.data import read_rows
from metascale.errors import ModelSetupError
from metascale.evals.recordings import CERTAINTY, DIGIT, P_TRUE, VERDICT, read_recordings

Row = dict[str, Any]
HELD_OUT = 2
WORDINGS = {P_TRUE: "p_true"}
"""What the posterior knows a signal by."""


def gsm8k(data: Path, signal: str | None = None) -> Iterator[Row]:
    """Qwen2.5-Coder-1.5B on GSM8K; see `sampled`."""
    verdicts = data / "verdicts_gsm8k_qwen15.jsonl.gz"
    return sampled(data / "recordings_gsm8k_qwen15.jsonl.gz", verdicts if verdicts.exists() else None, signal)


def sampled(path: Path, verdicts: Path | None, signal: str | None) -> Iterator[Row]:
    """Votes with certainty of a recording; or, of the answers that have a `signal`, its values as verdicts."""
    found, rows = read_recordings(path, verdicts), read_rows(path, ("text", "gold"))
    for number, name in enumerate(found.questions):
        own = [i for i in range(len(found.question)) if found.question[i] == number]
        if signal is not None:
            own = [i for i in own if found.signals[signal][i] == found.signals[signal][i]]
        if not own:
            continue
        row: Row = {
            "question_id": name,
            "answers": [extract(rows[i]["text"], "number") for i in own],
            "gold": rows[own[0]]["gold"],
            "certainty": [round(float(found.signals[CERTAINTY][i]), 4) for i in own],
            "arms": [found.arms[found.arm[i]] for i in own],
        }
        if signal is not None:
            said = [[round(1 / (1 + math.exp(-float(found.signals[signal][i]))), 4)] for i in own]
            row["judges"] = {WORDINGS.get(signal, signal): said}
        yield row


def renze(data: Path) -> Iterator[Row]:
    """Letters of four prompts, ten samples each."""
    for row in read_rows(data / "matrix_renze_gpt35.jsonl", ("question_id", "answers", "gold")):
        pairs = [(name, letter) for name, letters in row["answers"].items() for letter in letters if letter != "?"]
        yield {
            "question_id": row["question_id"],
            "gold": row["gold"],
            "answers": [None if letter == "-" else letter for _, letter in pairs],
            "arms": [name for name, _ in pairs],
        }


def llmbar(data: Path) -> Iterator[Row]:
    """Pairs of texts, judged by three prompts in two orders each."""
    pairs: dict[str, dict[str, list[float]]] = defaultdict(dict)
    labels: dict[str, int] = {}
    for row in read_rows(data / "judge_llmbar_gpt4_outputs.jsonl", ("pair_id", "judge_prompt", "swap", "label")):
        labels[row["pair_id"]] = row["label"]
        name = f"{row['judge_prompt']}, {'second' if row['swap'] else 'first'} order"
        pairs[row["pair_id"]][name] = [float(row["winner"] == str(number)) for number in (1, 2)]
    for pair, said in pairs.items():
        yield {
            "question_id": pair,
            "answers": ["output 1", "output 2"],
            "quality": [float(labels[pair] == number) for number in (1, 2)],
            "judges": {name: [[value] for value in values] for name, values in said.items()},
        }


def creative(data: Path) -> Iterator[Row]:
    """Free texts with repeated ratings."""
    tasks: dict[str, list[list[int]]] = defaultdict(list)
    for row in read_rows(data / "judge_noise_tot_creative.jsonl", ("question_id", "judge_scores")):
        tasks[row["question_id"]].append(row["judge_scores"])
    for name, texts in tasks.items():
        ratings = [[(rating - 1) / 9 for rating in said] for said in texts]
        yield {
            "question_id": name,
            "answers": [f"text {number}" for number in range(len(texts))],
            "quality": [sum(said[-HELD_OUT:]) / HELD_OUT for said in ratings],
            "verdicts": [said[:-HELD_OUT] for said in ratings],
        }


CORPUS = Path(__file__).parent / "recordings" / "gsm8k_qwen15"


def corpus(kind: str | None = None) -> Iterator[Row]:
    """The repository's recording: votes with certainty, or the verdicts of a kind."""
    verdicts = CORPUS / f"{kind}.jsonl.gz" if kind else None
    return sampled(CORPUS / "samples.jsonl.gz", verdicts, VERDICT if kind else None)


WRITERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    "gsm8k_qwen15": gsm8k,
    "gsm8k_qwen15_verdicts": lambda data: gsm8k(data, VERDICT),
    "gsm8k_qwen15_p_true": lambda data: gsm8k(data, P_TRUE),
    "gsm8k_qwen15_digit": lambda data: gsm8k(data, DIGIT),
    "corpus": lambda _: corpus(),
    "corpus_verdicts": lambda _: corpus("verdicts"),
    "corpus_bare_verdicts": lambda _: corpus("bare_verdicts"),
    "renze_gpt35": renze,
    "llmbar_gpt4": llmbar,
    "creative_gpt4": creative,
}


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path, help="Folder with the recorded files.")
    parser.add_argument("out", type=Path, help="Folder for the files in the new form.")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for name, rows in WRITERS.items():
        try:
            lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows(given.data)]
        except ModelSetupError as error:
            print(f"{name}: left out: {error}")
            continue
        (given.out / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
        print(f"{name}: {len(lines)} questions")


if __name__ == "__main__":
    main()
