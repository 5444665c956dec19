"""The package's entry point for Inspect: models, solvers and tasks, as `metascale/…`, `gguf/…`, `langgraph/servers`."""

from metascale.evals.harness.local_models import gguf
from metascale.evals.harness.models import MetaScaleModels, langgraph_servers
from metascale.evals.harness.solvers import SOLVERS
from metascale.evals.harness.tasks import arena_hard, gsm8k, mmlu_pro, recorded

__all__ = ["SOLVERS", "MetaScaleModels", "arena_hard", "gguf", "gsm8k", "langgraph_servers", "mmlu_pro", "recorded"]
