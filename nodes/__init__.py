"""The phases of METASCALE, one node per file. A node reads state, calls a model or a pure rule, returns an update."""

from metascale.nodes.compose import compose
from metascale.nodes.confirm import confirm
from metascale.nodes.evolve import evolve
from metascale.nodes.finalize import finalize
from metascale.nodes.foresee import foresee
from metascale.nodes.generate import generate
from metascale.nodes.grant_budget import grant_budget
from metascale.nodes.initialize_pool import initialize_pool
from metascale.nodes.populations import plan_step, vote_in_last
from metascale.nodes.rate_methods import apply_method, rate_methods
from metascale.nodes.review_pool import review_pool
from metascale.nodes.run import Components, Node, Run, runnable
from metascale.nodes.score import score
from metascale.nodes.select_arm import select_arm
from metascale.nodes.self_discover import adapt_modules, compose_plan, select_modules
from metascale.nodes.set_arm import set_arm
from metascale.nodes.synthesize import synthesize
from metascale.nodes.vote import tally, vote

__all__ = [
    "Components",
    "Node",
    "Run",
    "adapt_modules",
    "apply_method",
    "compose",
    "compose_plan",
    "confirm",
    "evolve",
    "finalize",
    "foresee",
    "generate",
    "grant_budget",
    "initialize_pool",
    "plan_step",
    "rate_methods",
    "review_pool",
    "runnable",
    "score",
    "select_arm",
    "select_modules",
    "set_arm",
    "synthesize",
    "tally",
    "vote",
    "vote_in_last",
]
