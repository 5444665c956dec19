"""The number that a reply's concluding sentence gives as the result: "Therefore, the total cost is $794."."""

from __future__ import annotations

import re

from metascale.answers.notation import in_plain_notation
from metascale.answers.numbers import LIST_ITEM, numbers_in, result_side
from metascale.answers.statements import LONGEST_STATEMENT, sentences

LAST_SENTENCES = 6
"""Sentences at the end of a reply among which a conclusion is looked for. Ours."""
WORKING = 2_000
"""Characters before a conclusion in which the last equation is looked for. Ours."""

_CONCLUDES = re.compile(
    r"\W*(?:therefore|thus|hence|so|consequently|accordingly|finally|in (?:total|conclusion|summary|all)|altogether"
    r"|overall|as a result|this means|we (?:find|conclude|get)|(?:the )?(?:final )?(?:result|conclusion|total|answer))\b",
    re.IGNORECASE,
)
_DOUBTS = re.compile(
    r"\b(?:might|may|maybe|perhaps|possibly|could|unclear|unknown|impossible|cannot|if|unless|assum\w*|suppos\w*|either|neither|between"
    r"|wording|trap|problem|statement|states|says|let's|check|verify|wrong|incorrect|wait|hmm|guess)\b|n't\b|\?",
    re.IGNORECASE,
)
_CONDITION = re.compile(r"\b(?:if|since|because|assuming)\b[^,]*,\s", re.IGNORECASE)
_IS = re.compile(
    r"(?:\b(?:is|are|was|were|be|equals?|total of|average of)(?: (?:now|then|only|still|indeed|a total of|an average of))*"
    r"(?: (?:approximately|about|around|roughly|nearly|exactly))?|[=≈])[ (]*$",
    re.IGNORECASE,
)
_CIRCUMSTANCE = re.compile(
    r"\b(?:in|for|on|within|during|from|by|with|at|every|each|per|all|these|those|of the|out of|the|her|his|their)"
    r"(?: (?:the|all|next|first|last|remaining|following|previous|other|past|same|these|those|a|only|another|just|about|every|each))*[ (]*$"
    r"|\bfrom\b.*\bto\s$",
    re.IGNORECASE,
)
_NUMBER_WORD = re.compile(
    r"\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|twenty|thirty|forty|fifty|sixty|seventy|eighty"
    r"|ninety|hundred|thousand|million|dozen|zero|none|half|twice|thrice)\b",
    re.IGNORECASE,
)
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
            marked = bool(_CONCLUDES.match(sentence))
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
    text = None if LIST_ITEM.match(plain) else result_side(_CONDITION.sub("", plain))
    found = numbers_in(text) if text else None
    if not text or not found or _DOUBTS.search(text):
        return None
    central = {number.value for number in found if not number.aside and not _CIRCUMSTANCE.search(text[: number.start])}
    stated = {number.value for number in found if not number.aside and _IS.search(text[: number.start])}
    computed = _last_result(working)
    if len({number.value for number in found}) == 1 and not found[0].aside:
        clear = not _NUMBER_WORD.search(text) and (marked or bool(stated) or bool(re.search("[=≈]", plain)))
        return found[0].value if clear or computed == found[0].value else None
    if len(central) != 1 or len(stated - central) > 0:
        return None
    return central.pop() if central <= stated | {computed} or loose else None


def _last_result(working: str) -> str | None:
    """The value of the last equation in a text."""
    sides = _EQUATION.findall(working)
    if not sides:
        return None
    found = numbers_in(in_plain_notation(sides[-1]).strip(" *_$.,;:)"))
    return found[0].value if found and len({number.value for number in found}) == 1 else None
