"""Numbers in canonical form."""

from __future__ import annotations

import re
from fractions import Fraction

MOST_DIGITS = 60
"""Digits that a number may have; longer ones are noise."""

_SIGN = r"(?:[-+]\s?)?"
_CURRENCY = r"(?:(?:US|CA|AU)?\$|€|£|¥|₹|(?:USD|EUR|GBP|Rs\.?)\s?)?\s?"
_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+"
_POWER = r"(?:\s?(?:[x×*·]|\\times|\\cdot)\s?10\s?\^\s?\{?([-+]?\d{1,2})\}?|[eE]([-+]?\d{1,2}))?"
_FRACTION = r"(?:(?P<whole>\d+)\s+)?(?P<above>\d+)\s?/\s?(?P<below>\d+)"
_NUMBER = rf"(?P<sign>{_SIGN}){_CURRENCY}(?P<sign2>{_SIGN})(?:{_FRACTION}|(?P<digits>{_DIGITS}){_POWER})"
_UNIT = r"(?:\s?%|\s?°\s?[A-Za-z]?|[\s-]?[^\W\d_][^\d=<>]{0,60}?(?:\^\{?\d\}?)?)?"
_ONE_UNIT = r"(?:\s?%|\s?°\s?[A-Za-z]?|[\s-]?[^\W\d_]+)?"
_LEAD = r"(?:(?:approximately|approx\.?|about|around|roughly|nearly|exactly|only|a total of|≈|~)\s?)?"
_WHOLE = re.compile(rf"{_LEAD}{_NUMBER}{_UNIT}", re.IGNORECASE)
_BARE = re.compile(rf"{_NUMBER}{_ONE_UNIT}")
_ANYWHERE = re.compile(rf"(?<![\w.,/^]){_NUMBER}(?![\w^/]|[.,]\d)")

_LIST_ITEM = re.compile(r"\(?\d+[.)]\s")


def read_number(statement: str, *, alone: bool = False) -> str | None:
    """The number that a statement gives, in canonical form, or None.

    Reads currency, thousands, decimals, fractions, mixed numbers, percent (the sign is a unit: `50%` is `50`), powers
    of ten, LaTeX and units. Only the part after the last equals sign counts. Several numbers give None.

    Args:
        statement: what a reply marks as its answer.
        alone: the statement must be a number with at most one word of unit, and nothing else.
    """
    text = _without_latex(statement)
    if _LIST_ITEM.match(text):
        return None
    if alone:
        return _value(_BARE.fullmatch(text))
    if "=" in text:
        text = text.rpartition("=")[2].strip()
    whole = _WHOLE.fullmatch(text)
    if whole:
        return _value(whole)
    found = list(_ANYWHERE.finditer(text))
    return _value(found[0]) if len(found) == 1 else None


def canonical(value: Fraction) -> str:
    """A number as text: a whole number, a finite decimal without trailing zeros, or a fraction in lowest terms."""
    below = value.denominator
    twos = fives = 0
    while below % 2 == 0:
        below, twos = below // 2, twos + 1
    while below % 5 == 0:
        below, fives = below // 5, fives + 1
    if below != 1:
        return f"{value.numerator}/{value.denominator}"
    places = max(twos, fives)
    if places == 0:
        return str(value.numerator)
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"


def _value(match: re.Match[str] | None) -> str | None:
    if match is None or len(match[0]) > MOST_DIGITS * 2:
        return None
    if match["above"] is not None:
        if int(match["below"]) == 0:
            return None
        value = Fraction(int(match["whole"] or 0)) + Fraction(int(match["above"]), int(match["below"]))
    else:
        digits = match["digits"].replace(",", "")
        if len(digits) > MOST_DIGITS:
            return None
        power = next((group for group in match.groups()[-2:] if group), "0")
        value = Fraction(digits) * Fraction(10) ** int(power)
    return canonical(-value if "-" in match["sign"] + match["sign2"] else value)


_LATEX = [
    (re.compile(r"\\[dt]?frac\s*\{\s*([-\d.,]+)\s*\}\s*\{\s*([-\d.,]+)\s*\}"), r" \1/\2"),
    (re.compile(r"\\(?:text|mathrm|mathbf|mbox|textbf)\s*\{([^{}]*)\}"), r" \1"),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\[,;:! ]|~|\\(?:left|right|displaystyle)\b|\\[()\[\]]"), " "),
    (re.compile(r"\\([$%])"), r"\1"),
    (re.compile(r"\^\s*\{?\\circ\}?"), "°"),
    (re.compile(r"[−–‒]"), "-"),
    (re.compile(r"[\u00a0\u202f\u2009](?=\d{3}\b)"), ""),
]
_REMARK = re.compile(r" ?\([^()\d]*\) ?$")


def _without_latex(statement: str) -> str:
    text = statement.strip()
    for pattern, plain in _LATEX:
        text = pattern.sub(plain, text)
    text = _REMARK.sub("", re.sub(r"\s+", " ", text)).strip(" *_`\"'“”")
    if len(text) > 1 and text[0] == text[-1] == "$":
        text = text[1:-1].strip()
    return text.removesuffix("$").rstrip(" .,;:!")
