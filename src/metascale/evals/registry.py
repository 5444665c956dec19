"""What Inspect finds in this package: models, solvers and tasks, all under `metascale/`."""

from metascale.evals.models import MetaScaleModels
from metascale.evals.solvers import SOLVERS
from metascale.evals.tasks import arena_hard, gsm8k, mmlu_pro, recorded

__all__ = ["SOLVERS", "MetaScaleModels", "arena_hard", "gsm8k", "mmlu_pro", "recorded"]
