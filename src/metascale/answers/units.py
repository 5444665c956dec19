"""What may follow a number: scale words, units, and what makes it part of something else."""

from __future__ import annotations

import re

SCALES = {
    "hundred": 10**2,
    "mil": 10**3,
    "tausend": 10**3,
    "thousand": 10**3,
    "lakh": 10**5,
    "lakhs": 10**5,
    "million": 10**6,
    "mn": 10**6,
    "mio": 10**6,
    "millionen": 10**6,
    "millones": 10**6,
    "millions": 10**6,
    "crore": 10**7,
    "crores": 10**7,
    "billion": 10**9,
    "bn": 10**9,
    "mrd": 10**9,
    "milliarden": 10**9,
    "milliards": 10**9,
    "trillion": 10**12,
}
"""Words that multiply the number before them."""
LETTERS = {"k": 10**3, "K": 10**3, "m": 10**6, "M": 10**6, "MM": 10**6, "b": 10**9, "B": 10**9, "T": 10**12}
"""Letters that multiply an amount of money; of them `k` also multiplies other numbers."""

_LETTER_UNITS = frozenset("mgshLlWVJNAFCdtK")
_LETTER_UNITS_OF_MATH = frozenset("mgsL")
_SHORT_UNITS = re.compile(
    r"[mcdk]?m|in|ft|yds?|mi|[mk]?g|lbs?|oz|ms|sec|mins?|h|hrs?|days?|yrs?|[mkc][lL]|gal|[kMG]?Hz|kV|[kM]W|k?Wh|mA|[kM]J|k?Pa"
    r"|km?ph|mph|rpm|[ap]m|[AP]M|[kKMGT]B|p[xt]|cal|mol|st|nd|rd|th|eur|usd|gbp|EUR|USD|GBP"
)
_NO_UNITS = re.compile(r"pi|squared|cubed|factorial|choose|mod|plus|minus|root|[ei]", re.IGNORECASE)


def is_unit(word: str, *, attached: bool, math: bool) -> bool:
    """Whether a word after a number leaves the number's value as it is.

    Args:
        word: the letters after the number.
        attached: no space lies between.
        math: whether the number is part of a formula, where letters are variables.
    """
    if _NO_UNITS.fullmatch(word):
        return False
    if len(word) == 1:
        return word in (_LETTER_UNITS_OF_MATH if math else _LETTER_UNITS) and not (math and attached)
    return not attached or len(word) > 3 or bool(_SHORT_UNITS.fullmatch(word))
