"""Keywords: letters that every heading matched by a pattern holds, and the folding under which they are compared.

Here belongs what makes a cheap test possible that never misses: a keyword is read off its regular expression, never
given beside it, so that nobody can get it wrong. Where the keywords are looked for is `candidates`.
"""

import re

_PLAIN_ESCAPES = frozenset("bBAZdDsSwW")
_OTHER_I = ("\u0130", "\u0131")  # `re` takes both for an i; case folding does not


def fold(text: str) -> str:
    """Fold case so that whatever `re.IGNORECASE` takes for equal is equal; line ends stay where they are."""
    for letter in _OTHER_I:
        text = text.replace(letter, "i")
    return text.casefold()


def required_letters(pattern: str) -> str | None:
    """Give the longest run of letters (folded) that stands in every match of `pattern`; null where none is sure.

    Reads the regular expression from left to right and trusts only letters outside of groups, sets and alternatives
    that no `?`, `*` or `{` follows: it may overlook letters that are required, and names none that is not.
    """
    runs: list[str] = [""]
    at = 0
    while at < len(pattern):
        sign = pattern[at]
        following = pattern[at + 1 : at + 2]
        if sign == "|" or (sign == "(" and following == "?" and pattern[at + 2 : at + 3] != ":"):
            return None  # alternatives of the whole; flags, conditions and look-arounds
        if sign == "(" or sign == "[":
            end = _end_of_group(pattern, at) if sign == "(" else _end_of_set(pattern, at)
            if end is None:
                return None
            runs.append("")
            at = end
        elif sign == "\\":
            if following not in _PLAIN_ESCAPES and following.isalnum():
                return None  # a character by its number or name, or a back reference
            runs.append("")
            at += 2
        elif sign == "{":
            runs.append("")
            at = pattern.find("}", at) + 1 or len(pattern)
        elif not sign.isalnum() or (following and following in "?*{"):
            runs.append("")
            at += 1
        else:
            runs[-1] += sign
            at += 1
    longest = max(runs, key=len)
    return fold(longest) or None


def _end_of_set(pattern: str, at: int) -> int | None:
    found = re.compile(r"\[\^?\]?(?:[^\]\\]|\\.)*\]", re.DOTALL).match(pattern, at)
    return found.end() if found else None


def _end_of_group(pattern: str, at: int) -> int | None:
    depth = 0
    while at < len(pattern):
        if pattern[at] == "\\":
            at += 2
            continue
        if pattern[at] == "[":
            end = _end_of_set(pattern, at)
            if end is None:
                return None
            at = end
            continue
        if pattern[at] == "(":
            if pattern[at + 1 : at + 2] == "?" and pattern[at + 2 : at + 3] != ":":
                return None
            depth += 1
        elif pattern[at] == ")":
            depth -= 1
            if depth == 0:
                return at + 1
        at += 1
    return None
