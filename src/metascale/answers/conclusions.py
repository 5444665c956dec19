"""The number that a reply's concluding sentence gives as the result: "Therefore, the total cost is $794."."""

from __future__ import annotations

import re

from metascale.answers.notation import in_plain_notation
from metascale.answers.numbers import LIST_ITEM, Number, is_formula, numbers_in, result_side
from metascale.answers.statements import LONGEST_STATEMENT, sentences

LAST_SENTENCES = 6
"""Sentences at the end of a reply among which a conclusion is looked for. Not tuned."""
WORKING = 2_000
"""Characters before a conclusion in which the last equation is looked for. Not tuned."""

_CONCLUDES = re.compile(
    r"\W*(?:therefore|thus|hence|so|consequently|accordingly|finally|in (?:total|conclusion|summary|all)|altogether"
    r"|overall|as a result|this means|we (?:find|conclude|get)"
    r"|(?:the )?(?:final )?(?:result|conclusion|total|answer))\b",
    re.IGNORECASE,
)
_INFERS = re.compile(r"^\W*(?:since|because)\b[^,]*,\s|\bwe (?:can )?conclude\b", re.IGNORECASE)
_DOUBTS = re.compile(
    r"\b(?:might|may|maybe|perhaps|possibly|could|unclear|unknown|impossible|cannot|if|unless|assum\w*|suppos\w*|either"
    r"|here (?:is|are)|neither|between|against|counterexample|wording|trap|problem|statement|states|says|let's|check"
    r"|verify|find how|theorem|lemma|we (?:(?:then|first|can|need to|have to) )?(?:multiply|divide|subtract|add|solve)"
    r"|first we|wrong|incorrect|wait|hmm|guess|answer (?:has|have|contains?|consists|uses?|takes?|took))\b"
    r"|n't\b|\?",
    re.IGNORECASE,
)
_CONDITION = re.compile(r"\b(?:if|since|because|assuming)\b[^,]*,\s", re.IGNORECASE)
_IS = re.compile(
    r"(?:\b(?:is|are|was|were|be|equals?|total of|average of)"
    r"(?: (?:now|then|only|still|indeed|a total of|an average of))*"
    r"(?: (?:approximately|about|around|roughly|nearly|exactly))?|[=≈])[ (]*$",
    re.IGNORECASE,
)
_CIRCUMSTANCE = re.compile(
    r"\b(?:in|for|on|within|during|from|by|with|at|after|before|over|every|each|per|all|these|those|of the|out of|the"
    r"|her|his|their)"
    r"(?: (?:the|all|next|first|last|remaining|following|previous|other|past|same|these|those|a|only|another|just|about"
    r"|every|each))*[ (]*$|\bfrom\b.*\bto\s$",
    re.IGNORECASE,
)
_NUMBER_WORD = re.compile(
    r"\b(?:one of|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|twenty|thirty|forty|fifty"
    r"|sixty|seventy|eighty|ninety|hundred|thousand|million|dozen|zero|none|half|twice|thrice)\b",
    re.IGNORECASE,
)
_LISTS = re.compile(r"[,;]\s|\b(?:and|or)\b")
_EQUATION = re.compile(r"[=≈]\s*([^=≈\n]{1,80})")


def concluding_number(reply: str, *, after: int = 0) -> str | None:
    """The number that a reply's conclusion gives as its result, or None where it is not clear.

    The conclusion is the last sentence that begins like one ("Therefore", "In total"), if what follows holds no
    number, or else the last sentence.

    Args:
        reply: a reply without its thinking.
        after: where the last mark of an answer stands. Only what comes after it is a conclusion.
    """
    said = sentences(reply, LAST_SENTENCES)
    for back in range(1, len(said) + 1):
        start, sentence = said[-back]
        if len(sentence) > LONGEST_STATEMENT or start < after:
            return None
        if re.search(r"\d", sentence):
            marked = bool(_CONCLUDES.match(sentence) or _INFERS.search(sentence))
            if back > 1 and not marked:
                return None
            if any(_DOUBTS.search(later) for _, later in said[len(said) - back + 1 :]):
                return None
            return read_result(sentence, working=reply[max(0, start - WORKING) : start], marked=marked)
    return None


def read_result(sentence: str, *, working: str = "", marked: bool = True, loose: bool = False) -> str | None:
    """The number that a sentence states as its result, or None.

    Of several numbers the result is the only one that is neither a bound nor in a circumstance ("in 4 weeks", "each of
    the 3 boxes"), if the sentence says that something is that number, or if the last equation gives it.

    Args:
        sentence: a sentence in which a reply states its answer.
        working: what stands before it.
        marked: the sentence says that it is a conclusion; one that does not must say what something is.
        loose: the reply marks the sentence as its answer, so it need not say what something is.
    """
    plain = in_plain_notation(sentence).strip(' *_"“”').rstrip(" .,;:!$")
    text = None if LIST_ITEM.match(plain) or is_formula(sentence) else result_side(_CONDITION.sub("", plain))
    found = numbers_in(text) if text else None
    if not text or not found or _DOUBTS.search(text):
        return None
    computed = _last_result(working)
    bounds = {number.value for number in found if number.aside}
    if len({number.value for number in found}) == 1 and not bounds:
        clear = not _counted(text) and (
            (marked and (loose or not _is_circumstance(text, found[-1])))
            or _says_what_is(text, found[-1])
            or bool(re.search("[=≈]", plain))
        )
        return found[0].value if clear or computed == found[0].value else None
    central = [number for number in found if not number.aside and not _is_circumstance(text, number)]
    stated = {number.value for number in central if _says_what_is(text, number)}
    if not central or bounds & {number.value for number in central}:
        return None
    if len({number.value for number in central}) == 1:
        return central[0].value if loose or stated or computed == central[0].value else None
    if stated == {central[-1].value}:
        return central[-1].value
    listed = _LISTS.search(text[central[0].end : central[-1].start])
    return computed if computed == central[0].value and not listed and not stated - {computed} else None


def _says_what_is(text: str, number: Number) -> bool:
    return bool(_IS.search(text[: number.start]))


def _is_circumstance(text: str, number: Number) -> bool:
    """Whether a number only tells when, where or of what: "in 4 weeks", "6-inch pieces"."""
    return bool(_CIRCUMSTANCE.search(text[: number.start]) or re.match(r"-[A-Za-z]", text[number.end :]))


def _counted(text: str) -> bool:
    """Whether a text also counts something in words: "two boxes"."""
    words = _NUMBER_WORD.finditer(text)
    return any(not _CIRCUMSTANCE.search(text[: word.start()]) for word in words)


def _last_result(working: str) -> str | None:
    """The value of the last equation in a text."""
    sides = _EQUATION.findall(working)
    if not sides:
        return None
    found = numbers_in(in_plain_notation(sides[-1]).strip(" *_$.,;:)"))
    return found[0].value if found and len({number.value for number in found}) == 1 else None
