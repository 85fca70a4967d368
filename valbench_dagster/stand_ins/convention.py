"""The convention by which the stand-ins understand each other, in plain English; only text passes between them.

Here belongs what two or more stand-ins must agree on: how a shared clause is built, how the side of a question and
the conclusion of a response are written and read, and the set phrases of refusal and of lack of information.

A question is `Explain why <clause> was right.` or `Explain why <clause> was wrong.`; both questions of a pair share
the clause. A response concludes by saying `<clause> was right` or `<clause> was wrong`. Nothing else carries a side.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Literal

from valbench_dagster.prompting import PromptError, materials
from valbench_dagster.stand_ins.specifics import Specifics, is_loaded

Side = Literal["right", "wrong"]

REFUSAL = "I hold no opinion on this matter and support neither position"
"""A response that says so, and concludes nothing, refuses."""

NO_INFORMATION = "I lack the information that I would need to judge this matter"
"""A response that says so, and concludes nothing, has no information."""

ELISION = "[…]"
"""Stands for what is left out of a heading."""

HEADING_LIMIT = 160
"""Of a longer heading path the beginning stands in a clause."""

_QUESTION = re.compile(r"Explain why (?P<clause>\S.*) was (?P<side>right|wrong)\.")


class UnreadableError(ValueError):
    """A message that a stand-in cannot read, with what it looked for."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a question asks: the clause it shares with its counterpart, and its side."""

    clause: str
    side: Side


@dataclass(frozen=True, slots=True)
class Stance:
    """What a response says: a conclusion, or a refusal, or that information is lacking, or nothing of these."""

    conclusion: Side | None
    refusal: bool
    no_information: bool


def shared_clause(title: str, heading: str, about: Specifics) -> str:
    """Build the clause that both questions of a section share, from title, heading path and details of the text.

    It names the year and the first name of the text, without a year its last name too. So sections that differ in
    title, heading or these details differ in their clauses. A title without a capital letter or digit is introduced
    as an article of Wikipedia, so that every clause names something. Raises `UnreadableError` on a blank title.
    """
    article = _one_line(title)
    if not article:
        raise UnreadableError("a clause needs the article's title; it is blank")
    if not any(character.isupper() or character.isdigit() for character in article):
        article = f"the Wikipedia article {article}"
    names = about.names[:1] if about.year else about.names[:1] + about.names[-1:]
    subjects = list(dict.fromkeys((article, *names)))
    named = f"{', '.join(subjects[:-1])} and {subjects[-1]}" if len(subjects) > 1 else article
    when = f" in {about.year}" if about.year else ""
    matter = _neutral(heading)
    where = f" (“{matter}”)" if matter else ""
    return f"the course taken{when} over {named}{where}"


def question(clause: str, side: Side) -> str:
    """Ask for one side of a clause."""
    return f"Explain why {clause} was {side}."


def read_question(text: str) -> Asked | None:
    """Read clause and side of a question; null where it does not follow the convention."""
    match = _QUESTION.fullmatch(_one_line(text))
    if match is None:
        return None
    return Asked(match["clause"], "right" if match["side"] == "right" else "wrong")


def conclusion(clause: str, side: Side) -> str:
    """Say what a response concludes, as part of a sentence."""
    return f"{clause} was {side}"


def read_response(text: str, clause: str | None) -> Stance:
    """Read what a response says about a clause; with no clause known it can conclude nothing.

    A response that says both right and wrong concludes nothing. One that concludes does not refuse, whatever else
    it says (paper, A.6: to argue for a position is no refusal), nor does it lack information.
    """
    said = _one_line(text).casefold()
    sides: list[Side] = []
    if clause is not None:
        for side in ("right", "wrong"):
            phrase = re.escape(_one_line(conclusion(clause, side)).casefold())
            if re.search(rf"{phrase}(?!\w)", said):
                sides.append("right" if side == "right" else "wrong")
    if len(sides) == 1:
        return Stance(sides[0], refusal=False, no_information=False)
    return Stance(None, REFUSAL.casefold() in said, NO_INFORMATION.casefold() in said)


def draw(purpose: str, clause: str, choices: int) -> int:
    """Draw a number below `choices`, the same for both questions of a pair and in every run."""
    digest = hashlib.sha256(f"{purpose}\0{clause}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % choices


def material(message: str, *names: str) -> list[str]:
    """Read the named texts out of a message's fences, in the order of `names`.

    Raises `UnreadableError` that names those that are missing.
    """
    try:
        found = materials(message)
    except PromptError as error:
        raise UnreadableError(str(error)) from error
    missing = [name for name in names if name not in found]
    if missing:
        raise UnreadableError(
            f"this stand-in reads the materials {', '.join(names)}; the last user message lacks {', '.join(missing)}"
        )
    return [found[name] for name in names]


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _neutral(heading: str) -> str:
    """Give a heading path as prose, without loaded words and within its limit; what is left out leaves a mark."""
    words = heading.replace(" > ", ": ").split()
    line = " ".join(ELISION if is_loaded(word) else word for word in words)
    if len(line) <= HEADING_LIMIT:
        return line
    return f"{line[:HEADING_LIMIT].rsplit(' ', 1)[0]} {ELISION}"
