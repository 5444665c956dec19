"""Write the half-finished run of an earlier commit into this folder: `python tests/data/make_checkpoint.py COMMIT`.

The commit's own code runs, on the offline model, and is stopped with four samples saved and four more paid for.
"""

from __future__ import annotations

import gzip
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
BEGIN = """
import asyncio, sys
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from metascale import MetaScaleSettings, create_metascale
from metascale.data import gsm8k
from metascale.session import Session

class Stop(Exception):
    pass

def watch(state):
    if len(state["candidates"]) >= 6:
        raise Stop

async def begin(path):
    settings = MetaScaleSettings(budget=12, batch_size=4, seed=1)
    async with AsyncSqliteSaver.from_conn_string(path) as saver:
        graph = create_metascale("simulated", settings=settings, checkpointer=saver)
        session = Session(graph, settings, "t", method="metascale", model="simulated", judge_model=None)
        await session.solve(gsm8k()[0]["question"], watch)

try:
    asyncio.run(begin(sys.argv[1]))
except Stop:
    pass
"""


def make(commit: str) -> Path:
    """Install the commit beside this environment's packages, and let it begin a run."""
    with tempfile.TemporaryDirectory() as folder:
        source, site, path = (Path(folder, name) for name in ("source", "site", "runs.sqlite"))
        source.mkdir()
        archive = subprocess.run(["git", "archive", commit], cwd=HERE.parents[1], capture_output=True, check=True)
        subprocess.run(["tar", "x", "-C", source], input=archive.stdout, check=True)
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", site, source]
        subprocess.run(pip, check=True)
        subprocess.run([sys.executable, "-c", BEGIN, path], check=True, cwd=folder, env={"PYTHONPATH": str(site)})
        with sqlite3.connect(path) as database:
            database.execute("pragma journal_mode = delete")
        database.close()
        kept = HERE / f"begun_by_{commit}.sqlite.gz"
        kept.write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    return kept


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(make(name))  # noqa: T201
