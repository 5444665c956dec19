"""The phases of METASCALE, one node a file. A node reads state, calls a model or a pure function, returns an update."""

from metascale.nodes.components import Components, as_node
from metascale.nodes.evolve import evolve
from metascale.nodes.finalize import finalize
from metascale.nodes.foresee import foresee
from metascale.nodes.generate import generate
from metascale.nodes.grant_budget import grant_budget
from metascale.nodes.initialize_pool import initialize_pool
from metascale.nodes.rate_methods import apply_method, rate_methods
from metascale.nodes.review_pool import review_pool
from metascale.nodes.score import score
from metascale.nodes.select_arm import select_arm
from metascale.nodes.self_discover import adapt_modules, compose_plan, select_modules
from metascale.nodes.set_arm import set_arm
from metascale.nodes.vote import tally, vote

__all__ = [
    "Components",
    "adapt_modules",
    "apply_method",
    "as_node",
    "compose_plan",
    "evolve",
    "finalize",
    "foresee",
    "generate",
    "grant_budget",
    "initialize_pool",
    "rate_methods",
    "review_pool",
    "score",
    "select_arm",
    "select_modules",
    "set_arm",
    "tally",
    "vote",
]
