"""Mutation testing of the policies, the budget, the bill, the reducers and the second look: do the tests notice?

mutmut (`pip install mutmut`) changes one thing at a time and runs the tests that reach it, without those that use a
server or run a whole search. It works on a copy of the package in a plain layout; another run in the same folder
continues where the last one stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).parents[1]
MUTATED = ["bandits/*.py", "budget/*.py", "state.py", "usage.py", "choice/second_look.py"]
TESTS = ["test_algorithms", "test_policies", "test_confirmation", "test_properties"]
SLOW = "not run_keeps and not emoji and not cannot_be and not time_to_find and not 64_pulls and not second_looks"
CONFIG = """
[tool.pytest.ini_options]
asyncio_mode = "auto"
asyncio_default_fixture_loop_scope = "session"
asyncio_default_test_loop_scope = "session"
filterwarnings = ["ignore", "error::RuntimeWarning"]

[tool.mutmut]
source_paths = ["src"]
only_mutate = {mutated}
also_copy = ["tests", "benchmarks"]
pytest_add_cli_args = ["-p", "no:cacheprovider", "-x", "--hypothesis-seed=0", "-k", "{slow}"]
pytest_add_cli_args_test_selection = {tests}
"""


def prepare(folder: Path, only: list[str], tests: list[str]) -> None:
    """Copy the package, in one tree, and its tests."""
    package = folder / "src" / "metascale"
    if not package.exists():
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(TOP / "src" / "metascale", package, ignore=ignore)
        for name in ("graphs", "nodes", "prompts"):
            shutil.copytree(TOP / name, package / name, ignore=ignore)
        for name in ("tests", "benchmarks"):
            shutil.copytree(TOP / name, folder / name, ignore=ignore)
    mutated = [f"src/metascale/{pattern}" for pattern in only]
    run = [f"tests/{name}.py" for name in tests]
    (folder / "pyproject.toml").write_text(CONFIG.format(mutated=json.dumps(mutated), tests=json.dumps(run), slow=SLOW))


def main() -> int:
    """Mutate, test, and print the counts and the survivors with what was changed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the copy lies; by default a new temporary one")
    parser.add_argument("--only", action="append", metavar="PATTERN", help="files of src/metascale: bandits/ucb.py")
    parser.add_argument("--tests", action="append", metavar="NAME", help="files of tests, such as test_policies")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="metascale-mutants-"))
    folder.mkdir(exist_ok=True)
    prepare(folder, options.only or MUTATED, options.tests or TESTS)
    print(f"in {folder}")

    def mutmut(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": ""}
        command = [sys.executable, "-m", "mutmut", *arguments]
        return subprocess.run(command, cwd=folder, env=environment, check=False, text=True, capture_output=True)

    ran = mutmut("run", "--max-children", str(options.processes))
    listed = mutmut("results", "--all", "true").stdout.splitlines()
    results = [line.strip("# ").split(": ") for line in listed if ": " in line]
    if not any(status == "killed" for _, status in results):
        print(ran.stdout[-3_000:], ran.stderr[-3_000:])
        return 1
    counts: dict[tuple[str, str], int] = {}
    for name, status in results:
        module = name.split(".x")[0]
        counts[module, status] = counts.get((module, status), 0) + 1
    for (module, status), count in sorted(counts.items()):
        print(f"{module:50} {status:12} {count:5}")
    for name, status in results:
        if status != "killed":
            print(f"\n{status}: {mutmut('show', name).stdout.strip()}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
