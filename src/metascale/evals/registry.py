"""What Inspect finds in this package: models, solvers and tasks, under `metascale/`, and `langgraph/servers`."""

from metascale.evals.models import MetaScaleModels, langgraph_servers
from metascale.evals.solvers import SOLVERS
from metascale.evals.tasks import arena_hard, gsm8k, mmlu_pro, recorded

__all__ = ["SOLVERS", "MetaScaleModels", "arena_hard", "gsm8k", "langgraph_servers", "mmlu_pro", "recorded"]
