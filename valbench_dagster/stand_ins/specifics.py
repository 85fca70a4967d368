"""Specifics: which proper names and which year a section's text gives a question to hold on to.

Here belongs how names are told from other words, by capitals and place alone, and the words that a neutral question
leaves out. How a clause is made of them is the convention's.
"""

import re
from dataclasses import dataclass

from valbench_dagster.prompting import CUT_NOTE

_LOADED = """
blatant blatantly disgraceful evil extremist extremists fanatic fanatics infamous notorious notoriously obvious
obviously outrageous regime regimes shameful shamefully so-called thug thugs
"""
LOADED_WORDS = frozenset(_LOADED.split())
"""Words that no question uses of its own accord; a title keeps them, as it is a name."""

NAME_WORDS = 5
NAME_LIMIT = 60
"""A longer run of capitalised words, or of more characters, is a headline and no name."""

_NOT_NAMES = """
a about according advocates after against all also although among an and another any are as at backers because been
before both but by campaigners city county critics defenders despite detractors during each early either even every few
following for from he her here his how however i if in instead is it its later local many members more most much
national neither no none nor not objectors of on once one only opponents or other others our over parliament people
proponents regional residents she since so some still such supporters that the their them then there these they this
those though through thus to today town two under until up village was we were what when where whether which while who
why with within without would yet you your
january february march april may june july august september october november december
monday tuesday wednesday thursday friday saturday sunday
"""
_NO_NAMES = frozenset(_NOT_NAMES.split())

_WORD = re.compile(r"[^\W_]+(?:['’.-][^\W_]+)*")
_YEAR = re.compile(r"(?<![\w.,])(?:1[0-9]|20)[0-9]{2}(?![\w%])(?![.,][0-9])")
_STOPS = frozenset(".!?:;\n•")
_JOINS = (" ", "' ", "’ ")


@dataclass(frozen=True, slots=True)
class Specifics:
    """What a text is specific about: its first year, null without one, and its proper names in order, repeats too."""

    year: str | None
    names: tuple[str, ...]


def specifics(text: str, title: str) -> Specifics:
    """Read the specifics of a section's text; names that the article's title holds anyway are left out."""
    source = text.removesuffix(CUT_NOTE)
    year = _YEAR.search(source)
    names = tuple(name for name in _proper_names(source) if name.casefold() not in title.casefold())
    return Specifics(year.group() if year else None, names)


def is_loaded(word: str) -> bool:
    """Whether a word, or a part of a compound one, is loaded."""
    parts = re.findall(r"\w+", word.casefold())
    return "-".join(parts) in LOADED_WORDS or any(part in LOADED_WORDS for part in parts)


def _proper_names(text: str) -> list[str]:
    """Find the runs of capitalised words, with nothing but a blank between them, that name something."""
    names: list[str | None] = []
    run: list[re.Match[str]] = []
    opens = True
    end = 0
    for word in _WORD.finditer(text):
        between = text[end : word.start()]
        capital = word.group()[0].isupper()
        if run and not (capital and between in _JOINS):
            names.append(_name(text, run, opens))
            run = []
        if capital:
            if not run:
                opens = end == 0 or not _STOPS.isdisjoint(between)
            run.append(word)
        end = word.end()
    names.append(_name(text, run, opens))
    return [name for name in names if name is not None]


def _name(text: str, run: list[re.Match[str]], opens: bool) -> str | None:
    """Give the name that a run of capitalised words makes, null if none.

    The word that opens a sentence is capitalised anyway: alone it is no name. Nor is one of fewer than three
    characters, such as an initial.
    """
    words = list(run)
    while words and words[0].group().casefold() in _NO_NAMES:
        words, opens = words[1:], False
    while words and words[-1].group().casefold() in _NO_NAMES:
        words.pop()
    if not words or (opens and len(words) == 1) or len(words) > NAME_WORDS:
        return None
    name = text[words[0].start() : words[-1].end()]
    if not 2 < len(name) <= NAME_LIMIT or any(is_loaded(word.group()) for word in words):
        return None
    return name
