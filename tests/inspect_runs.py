"""Evaluations of Inspect for tests, in one process of their own, because each import of Inspect takes seconds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from inspect_ai.log import EvalLog, read_eval_log

SETTINGS: dict[str, Any] = {"confirm": 0, "pool_size": 4, "evolution": "off"}

_SCRIPT = f"""
from inspect_ai import Task, eval, task_with
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from metascale.evals.harness.scorers import final_answer
from metascale.evals.harness.solvers import SOLVERS
from metascale.evals.harness.tasks import gsm8k, mmlu_pro

def run(task, method, model="metascale/simulated", solver={{}}, **options):
    ready = task_with(task, solver=SOLVERS[method](**{{"budget": 4, "seed": 1, "settings": {SETTINGS!r}}} | solver))
    return eval(ready, model=model, log_dir="logs", display="none", **options)

def says(*replies):
    outputs = [ModelOutput.from_content("mockllm/model", one) for one in replies]
    for output in outputs:
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    return get_model("mockllm/model", custom_outputs=outputs)

def asks(target, kind, **sample):
    data = MemoryDataset([Sample(id="q", input="How many?", target=target, **sample)])
    return Task(dataset=data, scorer=final_answer(kind))
"""


def evaluated(folder: Path, *evaluations: str) -> list[EvalLog]:
    """The logs of evaluations, in their order.

    Args:
        folder: where they run; the logs are in its folder `logs`.
        evaluations: arguments of `run`, such as `gsm8k(), "direct", limit=1`.
    """
    lines = [f"print(run({one})[0].location)" for one in evaluations]
    script = "\n".join([_SCRIPT, *lines])
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return [read_eval_log(place) for place in done.stdout.splitlines()[-len(evaluations) :]]
