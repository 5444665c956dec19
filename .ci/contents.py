"""What a release holds: the wheel every tracked file of the packages and nothing else, the sdist nothing untracked."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

TOP = Path(__file__).parents[1]
BESIDE = {"PKG-INFO", "setup.cfg"}
"""What setuptools adds to an sdist."""


def main(folder: Path) -> str | None:
    """What is wrong with the distributions in a folder; None where nothing is."""
    project = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))
    name = f"metascale-{project['project']['version']}"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=TOP, capture_output=True, check=True).stdout  # noqa: S607
    tracked = {path for path in listed.decode().split("\0") if path}
    places = project["tool"]["setuptools"]["package-dir"]
    wanted = set()
    for package, place in places.items():
        held = {path for path in tracked if path.startswith(f"{place}/")}
        wanted |= {package.replace(".", "/") + path.removeprefix(place) for path in held}
    with zipfile.ZipFile(folder / f"{name}-py3-none-any.whl") as wheel:
        found = {entry for entry in wheel.namelist() if not entry.startswith(f"{name}.dist-info/")}
        licences = {entry.rpartition("/licenses/")[2] for entry in wheel.namelist() if "/licenses/" in entry}
    with tarfile.open(folder / f"{name}.tar.gz") as sdist:
        inside = {member.name.removeprefix(f"{name}/") for member in sdist.getmembers() if member.isfile()}
    strays = {path for path in inside - tracked - BESIDE if "metascale.egg-info" not in path.split("/")}
    problems = {
        "missing in the wheel": wanted - found,
        "strays in the wheel": found - wanted,
        "licences missing in the wheel": set(project["project"]["license-files"]) - licences,
        "strays in the sdist": strays,
        "missing in the sdist": {"pyproject.toml", "README.md", "LICENSE"} - inside,
    }
    told = [f"{what}: {', '.join(sorted(names))}" for what, names in problems.items() if names]
    return "\n".join(told) or None


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
