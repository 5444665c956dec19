"""Numbers in canonical form."""

from __future__ import annotations

import re
from fractions import Fraction
from math import factorial
from typing import NamedTuple

from metascale.answers.notation import in_plain_notation
from metascale.answers.units import LETTERS, SCALES, is_unit

MOST_DIGITS = 60
"""Digits that a number may have; longer ones are noise."""
MOST_NUMBERS = 20
"""Numbers of a statement; one with more does not state a result. It keeps the time linear. Not tuned."""

_CURRENCY = r"(?:(?:US|CA|AU|HK|NZ|[ACS])?\$|[€£¥₹₩₽₫₦₱฿]|(?:USD|EUR|GBP|INR|CAD|AUD|Rs\.?)(?=\s?[-\d.]))"
_DIGITS = (
    r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d+)?|\d{1,3}(?:\.\d{3})+,\d+|\d{1,3}(?:\.\d{3}){2,}"
    r"|\d{1,3}(?: \d{3}){2,}(?:[.,]\d+)?|\d{1,3}(?: 000)+|\d{1,3}(?:'\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+"
)
_FRACTION = r"(?:(?P<whole>\d+)(?:\s|\sand\s))?(?P<above>\d+)\s?/\s?(?P<below>\d+)(?!\s?/|\.?\d)"
_POWER = (
    r"(?:\s?[x×*·]\s?10\s?\^\s?(?P<power>[-+]?\s?\d{1,2})|[eE](?P<e>[-+]?\d{1,2})|\s?\^\s?(?P<exponent>\d{1,3}))?(?!\d)"
)
_SCALE = rf"(?P<scales>(?:\s?(?i:{'|'.join(SCALES)})\b)+)|(?P<letter>MM|[kKmMbBT])(?!\w)"
_NUMBER = re.compile(
    rf"(?<![\w.,/:^\\_'])(?P<sign>[-+]\s?)?(?P<currency>{_CURRENCY}\s?)?(?P<sign2>[-+]\s?)?"
    rf"(?:{_FRACTION}|(?P<digits>{_DIGITS})(?!\d|[.,']\d){_POWER})(?P<half>\sand\s(?:a|one)\s(?:half|quarter)\b)?"
    rf"(?:{_SCALE})?(?P<percent>\s?%|\s?°(?:\s?[CFK]\b)?)?",
)

LIST_ITEM = re.compile(r"\(?\d+[.)]\s")
_UNIT_POWER = re.compile(r"(?<=[A-Za-z])(?<![\d.][eE])(?:\^-?[1-4]|[23])(?!\w|\.\d|\()")
_CALCULATION = re.compile(r"\([^()+×*=÷]{0,80}[+×*=÷][^()]{0,80}\)|\([^()\d]{0,200}\)\W{0,9}$")
_DENIED = re.compile(
    r"(?:\b(?:is|are|was|were|be|do|does|did|can|could|will|would|should|has|have|had)\snot|n't|\bcannot)\b"
    r"(?:(?!\b(?:is|are|was|were|but|it's)\b)\D)*\d|\d\s?(?:is|was)(?:\snot|n't)\b",
    re.IGNORECASE,
)
_CONTRAST = re.compile(
    r"(?:(?:,|(?<=\d))\s(?:and |but )?not|\s(?:rather than|instead of|as opposed to))\s.*$", re.IGNORECASE
)
_ASIDE = re.compile(
    r"[,;:]?\s(?:because|since|as|where|which|when|given)\s|[,;]\s(?!(?:and|or|but)\b|[-+$€£]?\d)", re.IGNORECASE
)
_MONTH = (
    r"(?:January|February|March|April|May|June|July|August|September|October|November|December"
    r"|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)"
)
_OPERAND = re.compile(
    r"(?:[+*/^<>≤≥±×÷·√|!\[≠]|\w\(|-\s?\(?|\b(?:twice|double|half|triple|third|quarter|thrice|negative|minus|plus|times"
    r"|root|root of|sqrt|log|ln|sin|cos|tan|square of|cube of|(?:half|third|quarter|fifth|tenth|percent|multiple|factor"
    r"|divisor|power) of|(?:divisible|divided|multiplied) by|adding|subtracting|one of(?: the| these)?|correct to"
    r"|rounded to))\s?$",
    re.IGNORECASE,
)
_ASIDE_NUMBER = re.compile(
    r"\b(?:than|over|under|above|below|beyond|least|most|between|exceeds?|exceeding|with|until|before|after|up to|step"
    r"|chapter|section|case|option|question|problem|part|figure|table|equation|method|page|number|no\.|day|week|year|line"
    r"|als|mindestens|höchstens|m[áa]s de|menos de|plus de|moins de|au moins|至少|至多|超过|少于"
    rf"|{_MONTH}(?:\.?\s\d{{1,2}},)?)\.?\s?$",
    re.IGNORECASE,
)
_AFTER = re.compile(
    r"\s?[+*^=<>≤≥±×÷·≈_√|π∞]|\s?/\s?(?![A-Za-z])|\s?-\s?[\d$(]|:\d|[(\[]|'s\b|\s?(?:-|to|through)\s?\$?\d"
    r"|\s?(?:squared|cubed|factorial|choose|mod|plus|minus|divided|or (?:more|fewer|less|higher|lower))\b"
    r"|\s(?:hal(?:f|ves)|thirds?|quarters?|(?:four|fif|six|seven|eigh|nin|ten|hundred|thousand|million|billion)ths?)\b"
    r"|\s(?:out of|in|of|per|for every)\s(?:every\s)?\d"
    r"|\s(?:\w{1,20}\s)?(?:more|less|fewer|greater)\sthan\s\W?\d|\sby\s\d|\s?-\s?[A-Za-z](?![A-Za-z])"
    rf"|\s?and (?:above|up|over|under|more)\b|\s?(?:st|nd|rd|th)?\s?(?:of\s)?{_MONTH}\b",
    re.IGNORECASE,
)
_TERM = re.compile(r"\d[a-zA-Z](?<![mgshL])(?!\w)|[-+*/^]\s?[xyznkabtpqrwuv]\b|\b[xyznkabtpqrwuv]\s?[-+*/^]")
_ARGUMENT = re.compile(r"(?<=\b[A-Za-z])\(-?\d+\)")
_WHERE = re.compile(r"(?<=\d)(?:,?\s\w+)?,?\s(?:when|where|at|for|with)\s[A-Za-z]\s?=[^=]*$")
_EUROS = re.compile(r"\s?(?:€|euros?\b|EUR\b)", re.IGNORECASE)
_NAME = re.compile(
    r"(?!(?:Total|Sum|Result|Answer|Value|Number|About|Around|Almost|Only|Just|Over|So|Thus|Hence|Therefore|Then|Rs|\w+ly)\s)"
    r"(?:[A-Z][a-z]\w*|[a-z]+[A-Z]\w*)(?:\s[A-Z][a-z]\w*)*\s\d+"
)
_ROUNDED = re.compile(r"\d\s?[+×*÷]\s?[^≈]*≈|\d\s-\s[^≈]*≈")
_ONE_UNIT = re.compile(r"[\s-]?[^\W\d_]*(?:(?:\s(?:a|an|per|each|every)\s|\s?/\s?)[^\W\d_]+|\s(?:each|apiece))?")
_WORD = re.compile(r"(\s?-?)([^\W\d_]+)")


def read_number(statement: str, *, alone: bool = False) -> str | None:
    """The number that a statement gives, in canonical form, or None.

    Reads currency, thousands, decimals, fractions, mixed numbers, percent (the sign is a unit: `50%` is `50`), powers
    of ten, scale words, LaTeX and units. Only the part after the last equals sign counts. Several numbers, ranges,
    inequalities, roots and algebra give None.

    Args:
        statement: what a reply marks as its answer.
        alone: the statement must be a number with at most one unit, such as `dollars` or `dollars a day`, and nothing
            else.
    """
    math = is_formula(statement)
    text = in_plain_notation(statement).strip(' *_"“”')
    if len(text) > 1 and text[0] == text[-1] == "$":
        text = text.strip("$ ")
    text = text.rstrip(" .,;:" if math else " .,;:!")
    if LIST_ITEM.match(text):
        return None
    if alone:
        return _alone(text, math=math)
    right = result_side(text)
    found = numbers_in(right, math=math) if right else None
    values = {number.value for number in found or ()}
    clear = len(values) == 1 and not any(number.aside for number in found or ())
    return values.pop() if clear else None


def is_formula(statement: str) -> bool:
    """Whether all of a statement is LaTeX, where letters are variables."""
    text = statement.strip()
    return (
        "\\boxed" in text
        or "\\fbox" in text
        or bool(re.fullmatch(r"\$[^$]+\$|\\\(.*\\\)|\\\[.*\\\]", text.rstrip(".")))
    )


def _alone(text: str, *, math: bool) -> str | None:
    match = _NUMBER.match(text)
    if match is None or not _ONE_UNIT.fullmatch(text, match.end()):
        return None
    return _value(match, text, math=math)


def result_side(text: str) -> str | None:
    """The part of a statement in plain notation that gives its result; None if it denies one or holds several.

    Of a chain of equations the last side counts. Remarks in brackets, asides after a number and what the result is
    contrasted with ("not 13") are left out.
    """
    text = _ARGUMENT.sub("", _CALCULATION.sub("", text)).strip()
    if _DENIED.search(text) or _NAME.fullmatch(text):
        return None
    start = _NUMBER.match(text)
    if start:
        aside = _ASIDE.search(text, start.end())
        if aside and not re.search(r"\d|=", text[start.end() : aside.start()]):
            text = text[: aside.start()]
    text = _CONTRAST.sub("", _WHERE.sub("", text))
    first, *others = text.split("=")
    if any(re.search(r"[,;]\s|\b(?:and|or)\b", part) for part in others[:-1]):
        return None
    if others and _TERM.search(first) and (len(others) == 1 or re.search("[A-Za-z]", "".join(others[:-1]))):
        return None
    result = (others[-1] if others else first).strip()
    return result.rpartition("≈")[2].strip() if _ROUNDED.search(result) else result


class Number(NamedTuple):
    """A number in a text: where it is, its canonical value, and whether what is before it bounds or counts it."""

    start: int
    end: int
    value: str
    aside: bool


def numbers_in(text: str, *, math: bool = False) -> list[Number] | None:
    """The numbers of a text in plain notation; None if it holds digits or formulas that are no clear number."""
    if "\\" in text:
        return None
    text = _UNIT_POWER.sub(lambda power: " " * len(power[0]), text)
    found: list[Number] = []
    end = 0
    for match in _NUMBER.finditer(text):
        value = _value(match, text, math=math)
        if value is None or len(found) == MOST_NUMBERS or re.search(r"\d", text[end : match.start()]):
            return None
        aside = _ASIDE_NUMBER.search(text[max(0, match.start() - 24) : match.start()])
        found.append(Number(match.start(), match.end(), value, aside is not None))
        end = match.end()
    return None if re.search(r"\d", text[end:]) else found


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


def _value(match: re.Match[str], text: str, *, math: bool) -> str | None:
    """The value of a number in its text, or None if what stands around it changes the value."""
    before, after = text[max(0, match.start() - 24) : match.start()], text[match.end() : match.end() + 40]
    signs = (match["sign"] or "") + (match["sign2"] or "")
    detached = " " in signs and match.start() > 0
    subtracts = math and signs and re.search(r"[\w)]\s*$", before)
    if detached or subtracts or len(signs.strip()) > 2 or _OPERAND.search(before) or _AFTER.match(after):
        return None
    size = _magnitude(match)
    if size is None:
        return None
    if match["half"]:
        size += Fraction(1, 2 if match["half"].endswith("half") else 4)
    for scale in (match["scales"] or "").split():
        size *= SCALES[scale.casefold()]
    if match["letter"]:
        scaled = _scaled(match, math=math)
        if scaled is None:
            return None
        size *= scaled
    elif math and after.startswith("!"):
        if size.denominator != 1 or size > 40 or after != "!":
            return None
        size = Fraction(factorial(int(size)))
    word = _WORD.match(after)
    if word and not match["percent"] and not _follows(word, after, math=math):
        return None
    return canonical(-size if "-" in signs else size)


def _magnitude(match: re.Match[str]) -> Fraction | None:
    if len(match[0]) > MOST_DIGITS * 2:
        return None
    if match["above"] is not None:
        below = int(match["below"])
        return Fraction(int(match["whole"] or 0)) + Fraction(int(match["above"]), below) if below else None
    digits = _without_separators(match)
    if digits is None or len(digits) > MOST_DIGITS:
        return None
    size = Fraction(digits)
    if match["exponent"]:
        exponent = int(match["exponent"])
        fits = exponent * len(digits) <= MOST_DIGITS and "." not in digits
        return size**exponent if fits else None
    return size * Fraction(10) ** int((match["power"] or match["e"] or "0").replace(" ", ""))


def _without_separators(match: re.Match[str]) -> str | None:
    """The digits of a number with a decimal point and no other separator."""
    digits = str(match["digits"]).replace(" ", "").replace("'", "")
    if digits.count(".") > 1 or ("," in digits and "." in digits and digits.rindex(".") < digits.index(",")):
        return digits.replace(".", "").replace(",", ".")
    if " " in str(match["digits"]) and "," in digits:
        return digits.replace(",", ".")
    euros = "€" in (match["currency"] or "") or _EUROS.match(match.string, match.end())
    if euros and re.fullmatch(r"[1-9]\d{0,2}\.\d{3}", digits):
        return None
    return digits.replace(",", "")


def _scaled(match: re.Match[str], *, math: bool) -> int | None:
    """What a letter after a number multiplies it by, if that is clear."""
    if match["currency"]:
        return LETTERS[match["letter"]]
    if math:
        return None
    return {"k": 10**3, "m": 1}.get(match["letter"])


def _follows(word: re.Match[str], after: str, *, math: bool) -> bool:
    """Whether the word after a number is a unit or a word of the sentence."""
    if word[2] == "a" and re.match(r"\sa\s[a-z]", after):
        return True
    return is_unit(word[2], attached=not word[1], math=math)
