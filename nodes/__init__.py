"""The phases of METASCALE, one node a file. A node reads state, calls a model or a pure function, returns an update."""

from metascale.nodes.components import Components, as_node
from metascale.nodes.evolve import evolve
from metascale.nodes.finalize import finalize
from metascale.nodes.generate import generate
from metascale.nodes.initialize_pool import initialize_pool
from metascale.nodes.score import score
from metascale.nodes.select_arm import select_arm

__all__ = [
    "Components",
    "as_node",
    "evolve",
    "finalize",
    "generate",
    "initialize_pool",
    "score",
    "select_arm",
]
