"""Adds the tokens to recorded samples whose file holds only their log-probabilities.

    python -m benchmarks.pieces RECORDINGS.jsonl.gz TOKENIZER OUT.jsonl.gz [--verdicts FILE] [--summary]

The texts are split with the tokenizer of the model that wrote them: a Hugging Face `tokenizer.json`, or a GGUF file of
one of Qwen's models. A text that is split into another number of tokens than were recorded keeps its log-probabilities
without tokens. `--summary` writes final answers and certainty instead of texts and lists. That is how
`tests/data/recordings/certainty_gsm8k_qwen15.jsonl.gz` was made. It needs `pip install tokenizers gguf`.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from metascale.answers import extract
from metascale.data import read_rows
from metascale.models.probabilities import certainty_of

Split = Callable[[str], Sequence[str]]
QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
"""What Qwen's tokenizers never join."""


def with_pieces(row: Mapping[str, Any], split: Split) -> dict[str, Any]:
    """The row with its `pieces`, if there are as many as log-probabilities."""
    pieces = list(split(row["text"]))
    return {**row, "pieces": pieces} if len(pieces) == len(row["logprobs"]) else dict(row)


def summarised(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with the final answer instead of the text, and certainty instead of the tokens."""
    certainty = certainty_of([min(0.0, value) for value in row["logprobs"]], row.get("pieces") or ())
    kept = {key: value for key, value in row.items() if key not in {"text", "logprobs", "pieces", "finish", "gold"}}
    kept |= {"gold": extract(row["gold"], "number"), "answer": extract(row["text"], "number")}
    kept["certainty"] = certainty and {
        key: value if key == "tokens" else round(float(str(value)), 4) for key, value in certainty.items()
    }
    return kept


def splitter(path: Path) -> Split:
    """How a tokenizer splits a text."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers  # type: ignore[import-not-found]  # noqa: PLC0415

    if path.suffix == ".json":
        tokenizer = Tokenizer.from_file(str(path))
    else:
        from gguf import GGUFReader  # type: ignore[import-not-found]  # noqa: PLC0415

        fields = GGUFReader(path).fields
        tokens, merges = (
            [bytes(field.parts[place]).decode() for place in field.data]
            for field in (fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.merges"])
        )
        vocabulary = {token: number for number, token in enumerate(tokens)}
        tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[tuple(merge.split(" ")) for merge in merges]))
        apart = pre_tokenizers.Split(Regex(QWEN), behavior="isolated")
        in_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([apart, in_bytes])

    def split(text: str) -> list[str]:
        return [text[start:end] for start, end in tokenizer.encode(text, add_special_tokens=False).offsets]

    return split


def judged(rows: Sequence[Mapping[str, Any]], verdicts: Path | None) -> Iterator[dict[str, Any]]:
    """The rows with the `verdicts` on them."""
    found: defaultdict[tuple[Any, ...], list[tuple[int, int]]] = defaultdict(list)
    for verdict in read_rows(verdicts, ("question_id", "arm", "score")) if verdicts else ():
        if verdict["score"] is not None:
            place = verdict["question_id"], verdict["arm"], verdict["sample"]
            found[place].append((verdict["score"], verdict["tokens"]))
    for row in rows:
        own = found.get((row["question_id"], row["arm"], row["sample"]), [])
        more = {"verdicts": [score for score, _ in own], "verdict_tokens": sum(tokens for _, tokens in own)}
        yield {**row, **more} if own else dict(row)


def main() -> None:
    """Write the file with tokens, and say how many texts were split as recorded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", type=Path)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--verdicts", type=Path)
    parser.add_argument("--summary", action="store_true")
    options = parser.parse_args()
    split = splitter(options.tokenizer)
    rows = [with_pieces(row, split) for row in read_rows(options.recordings, ("question_id", "text", "logprobs"))]
    done = [summarised(row) if options.summary else row for row in judged(rows, options.verdicts)]
    lines = "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in done)
    with gzip.GzipFile(options.out, "wb", mtime=0) as file:
        file.write(lines.encode())
    print(f"{sum('pieces' in row for row in rows):,} of {len(rows):,} texts are split into the tokens recorded")


if __name__ == "__main__":
    main()
