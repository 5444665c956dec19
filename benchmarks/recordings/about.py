"""What a recording was made with: weights, prompts, parameters, versions, licences."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeGuard

from metascale import prompts

PROMPTS = {
    "samples": ("solve",),
    "p_true": ("p_true",),
    "verdicts": ("judge", "judge_examiner", "judge_sceptic", "rubric", "repair"),
    "bare_verdicts": ("judge", "judge_examiner", "judge_sceptic", "rubric", "bare_verdict", "repair"),
    "compose": ("compose", "compose_more", "expert", "expert_examples", "reminder", "repair"),
}
"""What each stage shows to the model."""
PACKAGES = ("metascale", "langgraph", "langchain-core", "langchain-openai")


class OtherRecordingError(ValueError):
    """A folder holds a recording that was made with something else, or by something else."""


def with_run(
    path: Path, made_with: Mapping[str, Any], how: Mapping[str, Any], stages: Sequence[str], arms: Sequence[str]
) -> dict[str, Any]:
    """What the file says, and one more run of the recorder.

    Args:
        path: the file, which need not exist.
        made_with: what must be the same for all rows.
        how: what may differ from run to run.
        stages: the stages of this run.
        arms: the built-in meta-thoughts that it uses.

    Raises:
        OtherRecordingError: earlier rows were made with something else, or the recorder did not write the file.
    """
    about = _read(path) if path.exists() else {**made_with, "prompts": {}, "runs": []}
    texts = _prompts(stages, arms)
    changed = [key for key in made_with if made_with[key] != about.get(key)]
    changed += [f"prompt {name}" for name in texts if about["prompts"].get(name, texts[name]) != texts[name]]
    if changed:
        raise OtherRecordingError(f"{path} was made with other {', '.join(changed)}: record to a new folder")
    about["prompts"] = dict(sorted((about["prompts"] | texts).items()))
    run = {"date": datetime.now(UTC).date().isoformat(), **how, "stages": stages, "arms": arms, "versions": _versions()}
    if run not in about["runs"]:
        about["runs"].append(run)
    return about


def write(path: Path, about: Mapping[str, Any]) -> None:
    """Write the file."""
    path.write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path) -> dict[str, Any]:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OtherRecordingError(f"cannot read {path} ({error}): record to a new folder") from error
    if not _is_ours(about):
        raise OtherRecordingError(f"{path} is not from this recorder (no 'prompts' and 'runs'): record to a new folder")
    return about


def _is_ours(about: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(about, dict) and isinstance(about.get("prompts"), dict) and isinstance(about.get("runs"), list)


def _prompts(stages: Sequence[str], arms: Sequence[str]) -> dict[str, str]:
    """The SHA-256 of the prompts and meta-thoughts of some stages and arms, by name."""
    texts = {name: prompts.load(name) for stage in stages for name in PROMPTS[stage]}
    texts |= {f"meta_thoughts/{name}": "\n".join(prompts.BUILT_IN_META_THOUGHTS[name]) for name in arms}
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
