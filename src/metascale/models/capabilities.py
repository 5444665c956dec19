"""What requests have shown of the server behind a model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Form = Literal["json_schema", "function_calling", "prompt"]
"""How a model is asked for an object: in the server's JSON-schema mode, by a tool call, or in words."""

FORMS: tuple[Form, ...] = ("json_schema", "function_calling", "prompt")
"""The forms in the order in which they are tried."""
READ, UNREAD = 1, -2
"""Points of a form for a reply that could be read, and for one that could not. Ours: a form is left if more than a
third of its replies are unreadable."""
MOST_POINTS = 4
"""The most points of a form, and with a minus the fewest. Ours: a form that stops working is left soon."""


@dataclass
class Capabilities:
    """What a server supports, filled in as requests show it. Models of one server share it within a graph.

    Attributes:
        one_by_one: whether it gives only one reply to a request.
        takes_limit: whether replies fit into a limit of tokens; false if the server refused one, or thinking filled it.
        takes_attached: whether it takes blocks other than text, such as images.
        options: the model's keyword arguments that ask for a schema in a form, by both; None where it has no such form.
        refused: the forms that the server refuses.
        points: of each form in which it replied.
    """

    one_by_one: bool = False
    takes_limit: bool = True
    takes_attached: bool = True
    options: dict[tuple[Form, type], dict[str, Any] | None] = field(default_factory=dict)
    refused: set[Form] = field(default_factory=set)
    points: dict[Form, int] = field(default_factory=dict)

    def forms(self) -> list[Form]:
        """The forms to try: those that work, then those that were not tried, then those that failed."""
        usable = [form for form in FORMS if form not in self.refused]
        return sorted(usable, key=lambda form: -self.points.get(form, 0))

    def works(self, form: Form) -> bool:
        """Whether replies in this form could mostly be read."""
        return self.points.get(form, 0) > 0

    def note(self, form: Form, *, is_read: bool) -> None:
        """Remember whether a reply in this form could be read."""
        points = self.points.get(form, 0) + (READ if is_read else UNREAD)
        self.points[form] = max(-MOST_POINTS, min(MOST_POINTS, points))

    def note_refusal(self, form: Form, *, is_final: bool) -> None:
        """Remember that a request in this form failed and the same one in another form did not.

        Args:
            form: the form that failed.
            is_final: whether the server said so itself, and the form never worked: it is not tried again.
        """
        if is_final:
            self.refused.add(form)
        else:
            self.note(form, is_read=False)
