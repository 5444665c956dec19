r"""A statement with a number in plain notation: without LaTeX, Markdown and the many Unicode forms of a character."""

from __future__ import annotations

import re
import unicodedata

_SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-", strict=True))
_MINUS = r"[−–‒‐‑－﹣⁻—―]"
_ARGUMENT = r"\s*\{([^{}]*)\}"
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{((?:(?!\\boxed|\\fbox).)*)\}", re.DOTALL)
_FRACTION = rf"\\[dtc]?frac(?:{_ARGUMENT}{_ARGUMENT}|\s*(\d)\s*(\d))"
_INTEGER = re.compile(r"\s*[-+]?\s*\d+\s*")

_EMPHASIS = re.compile(r"`|(?<!\d)\*\*|\*\*(?!\d)")
_NEGATIVE = re.compile(r"(^\W*|\b(?:is|are|was|be|to)\s|[=:]\s?)(?:negative|minus)\s(?=[$\d])", re.IGNORECASE)
_LATEX = [
    (re.compile(r"(?<=\d)\s*\\(?:text|mathrm|rm)\{\s*[eE]\s*\}\s*(?=[-+]?\d)"), "e"),
    (re.compile(rf"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox|emph|operatorname){_ARGUMENT}"), r" \1"),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\!\s*"), ""),
    (re.compile(r"(?<=\d)(?:\\[,;: ]|~|\\thinspace\s?)\s?(?=\d{3}(?!\d))"), ""),
    (re.compile(r"\\[,;: ]|~|\\q?quad\b|\\(?:left|right|displaystyle|thinspace|big|Big)(?![A-Za-z])|\\[()\[\]]"), " "),
    (re.compile(r"\\(?:times|cdot)(?![A-Za-z])"), "×"),
    (re.compile(r"\\div(?![A-Za-z])"), "÷"),
    (re.compile(r"\\approx(?![A-Za-z])"), "≈"),
    (re.compile(r"\\(?:pounds|euro)(?![A-Za-z])"), "£"),
    (re.compile(r"\\([$%&#_])"), r"\1"),
    (re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![A-Za-z]))|\\degree(?![A-Za-z])"), "°"),
    (re.compile(r"\^\s*\{\s*([-+]?\s*\d+)\s*\}"), r"^\1"),
]


def in_plain_notation(statement: str) -> str:
    r"""A statement with one form of each digit, sign, space, exponent and fraction; LaTeX that is not known remains.

    `3×10⁸` becomes `3×10^8`, `1½` becomes `1 1/2`, `\dfrac{-7}{4}` becomes `-7/4`, and `11,\! 111` becomes `11,111`.
    """
    text = re.sub("[" + "".join(_SUPERSCRIPTS) + "]+", _raised, statement)
    text = re.sub(r"(?=[₀-₉])(?<![₀-₉])", "_", text)
    text = re.sub(r"[¼-¾⅐-⅞↉]", lambda found: f" {unicodedata.normalize('NFKC', found[0])}", text)
    text = re.sub(r"(?<=\d)[\u00a0\u202f\u2009\u2007](?=\d{3}(?!\d))", "", text)
    text = re.sub(_MINUS, "-", unicodedata.normalize("NFKC", text)).replace("⁄", "/").replace("∕", "/")
    text = "".join(_digit(each) if each.isdecimal() and not each.isascii() else each for each in text)
    for pattern, plain in _LATEX:
        text = pattern.sub(plain, text)
    text = re.sub(_FRACTION, _fraction, text)
    text = re.sub(rf"\\(?:boxed|fbox){_ARGUMENT}", r" \1", text)
    text = re.sub(r"\$\$?\s*([-+]?[\d.,/ ]*\d)\s*\$\$?(?!\d)", r" \1", text)
    text = _NEGATIVE.sub(r"\1-", text)
    return re.sub(r"\s+", " ", _EMPHASIS.sub("", text)).strip()


def unboxed(statement: str) -> str:
    r"""The content of a statement that is one `\boxed{...}`; other statements as they are."""
    box = _BOX.fullmatch(statement)
    return box[1] if box else statement


def _raised(found: re.Match[str]) -> str:
    return "^" + "".join(_SUPERSCRIPTS[each] for each in found[0])


def _digit(digit: str) -> str:
    return str(unicodedata.decimal(digit))


def _fraction(found: re.Match[str]) -> str:
    above, below = found[1] or found[3], found[2] or found[4]
    if above and below and _INTEGER.fullmatch(above) and _INTEGER.fullmatch(below):
        above, below = above.replace(" ", ""), below.replace(" ", "")
        if not below.startswith(("-", "+")):
            return f" {above}/{below}"
    return found[0]
