"""What may follow a number: scale words, units, and what makes it part of something else."""

from __future__ import annotations

SCALES = {
    "hundred": 10**2,
    "thousand": 10**3,
    "lakh": 10**5,
    "lakhs": 10**5,
    "million": 10**6,
    "mn": 10**6,
    "crore": 10**7,
    "crores": 10**7,
    "billion": 10**9,
    "bn": 10**9,
    "trillion": 10**12,
}
"""Words that multiply the number before them."""
LETTERS = {"k": 10**3, "K": 10**3, "m": 10**6, "M": 10**6, "MM": 10**6, "b": 10**9, "B": 10**9, "T": 10**12}
"""Letters that multiply an amount of money; of them `k` also multiplies other numbers."""

_LETTER_UNITS = frozenset("mgshLlWVJNAFCdtK")
_LETTER_UNITS_OF_MATH = frozenset("mgsL")
_SHORT_UNITS = frozenset(
    "mm cm dm km in ft yd mi mg kg lb oz ms min hr hrs ml mL kL cl gal Hz kHz MHz GHz kV kW MW Wh kWh mA kJ MJ Pa kPa "
    "kmh mph am pm AM PM KB kB MB GB TB px pt rpm cal st nd rd th lbs eur usd gbp USD EUR GBP hrs sec day mol mph kph "
    "years year yrs days hours hour mins feet foot miles mile".split()
)
_NO_UNITS = frozenset("pi squared cubed factorial choose mod plus minus e i root".split())


def is_unit(word: str, *, attached: bool, math: bool) -> bool:
    """Whether a word after a number leaves the number's value as it is.

    Args:
        word: the letters after the number.
        attached: no space lies between.
        math: the number stands in a formula, where letters are variables.
    """
    if word.casefold() in _NO_UNITS:
        return False
    if len(word) == 1:
        return word in (_LETTER_UNITS_OF_MATH if math else _LETTER_UNITS) and not (math and attached)
    return not attached or len(word) > 3 or word in _SHORT_UNITS
