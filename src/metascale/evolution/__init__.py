"""The pure rules of the genetic step, one decision per file: parents, operators, the gate, and retirement."""

from metascale.evolution.children import with_class_prior
from metascale.evolution.combine import Combine
from metascale.evolution.compose import Compose
from metascale.evolution.contrast import Contrast
from metascale.evolution.diagnose import Diagnose
from metascale.evolution.gate import children_pay
from metascale.evolution.operator_choice import choose_operator
from metascale.evolution.operators import Operator
from metascale.evolution.parents import by_front, by_ucb, may_breed
from metascale.evolution.retirement import making_room, retirable, room
from metascale.records import OperatorName

OPERATORS: dict[OperatorName, Operator] = {
    "combine": Combine(),
    "diagnose": Diagnose(),
    "contrast": Contrast(),
    "compose": Compose(),
}

__all__ = [
    "OPERATORS",
    "Operator",
    "by_front",
    "by_ucb",
    "children_pay",
    "choose_operator",
    "making_room",
    "may_breed",
    "retirable",
    "room",
    "with_class_prior",
]
