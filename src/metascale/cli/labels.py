"""Short names by which a person tells meta-thoughts apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import takewhile

from metascale.records import MetaThought


def labels(pool: Sequence[MetaThought], width: int) -> list[str]:
    """One name for each meta-thought: its strategy, else its mindset, else its id, cut to `width` characters.

    Where cut names would be the same, the words that they share are left out. Two meta-thoughts of one strategy are
    told apart by their mindsets.
    """
    strategies = Counter(thought["strategy"] for thought in pool)
    texts = [_text(thought, is_shared=strategies[thought["strategy"]] > 1) for thought in pool]
    names = [shortened(text, width) for text in texts]
    for name in [name for name, count in Counter(names).items() if count > 1]:
        alike = [place for place, other in enumerate(names) if other == name]
        shared = _shared_words(texts[place].split() for place in alike)
        for place in alike:
            rest = " ".join(texts[place].split()[shared:])
            names[place] = shortened(f"… {rest}", width) if rest else name
    return names


def shortened(text: str, width: int) -> str:
    """The text on one line, cut between words to at most `width` characters, at least 2."""
    line = " ".join(text.split())
    if len(line) <= width:
        return line
    cut = line[: width - 1]
    return f"{cut.rpartition(' ')[0].rstrip(' ,;:.') or cut}…"


def _shared_words(texts: Iterable[Sequence[str]]) -> int:
    """How many words all texts begin with."""
    return sum(1 for _ in takewhile(lambda words: len(set(words)) == 1, zip(*texts, strict=False)))


def _text(thought: MetaThought, *, is_shared: bool) -> str:
    strategy, mindset = thought["strategy"], thought["mindset"]
    if strategy and mindset and is_shared:
        return f"{mindset} {strategy}"
    return " ".join((strategy or mindset or thought["id"].replace("_", " ")).split())
