"""Inspect's samples with `choices`: the options are shown in the question, and the answer's option is marked.

So the scorer `choice()` works when a method replaces the solver `multiple_choice()`.
"""

from __future__ import annotations

import re

from inspect_ai.solver import MultipleChoiceTemplate, TaskState

from metascale.answers import extract

LETTERS = 26
"""Options with a letter; further ones are numbered from 1, as in Inspect."""
_MARKED = re.compile(r"answer\s*:\s*(.+)", re.IGNORECASE)
_BETWEEN = re.compile(r"[\s,;&]+|\band\b", re.IGNORECASE)


def show_choices(state: TaskState, *, several: bool) -> None:
    """Put the options of a sample into its question, in the words of Inspect's `multiple_choice(cot=True)`.

    Args:
        state: a sample; it stays as it is without options.
        several: whether more than one option may be right.
    """
    if not state.choices:
        return
    names = option_names(len(state.choices))
    form = MultipleChoiceTemplate.MULTIPLE_ANSWER_COT if several else MultipleChoiceTemplate.SINGLE_ANSWER_COT
    state.user_prompt.text = form.value.format(
        question=state.user_prompt.text,
        letters=",".join(names),
        choices="\n".join(f"{name}) {choice.value}" for name, choice in zip(names, state.choices, strict=True)),
    )


def mark_choices(state: TaskState, *, several: bool) -> None:
    """Mark the options that the sample's answer names; none where it names none clearly."""
    found = chosen(state.output.completion, len(state.choices), several=several) if state.choices else set()
    for index in range(len(state.choices)) if found else ():
        state.choices.mark_choice(index, index in found)


def chosen(answer: str, count: int, *, several: bool) -> set[int]:
    """The options that an answer names.

    Args:
        answer: the text of an answer.
        count: how many options there are.
        several: whether it may name more than one.

    Returns:
        Their indices; empty where the answer names none, or one that does not exist.
    """
    names = option_names(count)
    marked = _MARKED.findall(answer)
    said = re.sub(r"[*$().\[\]]", " ", marked[-1]).upper() if marked else ""
    parts = [part for part in _BETWEEN.split(said) if part]
    if several and len(parts) == 1 and parts[0].isalpha():
        parts = list(parts[0])
    if parts and set(parts) <= set(names) and (several or len(parts) == 1):
        return {names.index(part) for part in parts}
    letter = extract(answer, "choice", choices=min(count, LETTERS))
    return {names.index(letter)} if letter in names else set()


def option_names(count: int) -> list[str]:
    """The names of a sample's options: `A` to `Z`, then numbers from 1."""
    return [chr(ord("A") + index) if index < LETTERS else str(index - LETTERS + 1) for index in range(count)]
