"""The labels of the judge's trial: which outputs people prefer, and which chains hold a mistake."""

from __future__ import annotations

from metascale.data import bigbench_mistake, llmbar_pairs
from metascale.evals.judges.mistakes import numbered

BETTER = {(pair.prompt, getattr(pair, f"output_{pair.label}")) for pair in llmbar_pairs()}
KNOWN = {(chain.question, numbered(chain)): chain for chain in bigbench_mistake()}


def is_right(material: dict[str, str]) -> bool:
    """Whether the answer is the better one of its pair, or a chain without a mistake."""
    key = (material["question"], material["answer"])
    return KNOWN[key].mistake_index is None if key in KNOWN else key in BETTER
