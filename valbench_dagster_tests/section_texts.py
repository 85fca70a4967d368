"""What tests make of a section's wikitext in place of plain text, ends of the worker included.

It runs in worker processes, which import this module by its name: it imports little, so that they start soon.
"""

import faulthandler
import os
import re
import signal
from collections.abc import Callable, Mapping

from valbench_dagster.wikitext.link_names import LinkNames


def as_it_stands(wikitext: str, _names: LinkNames) -> str:
    """Wikitext for plain text, behind a sign that keeps a section without any text from being dropped."""
    return f".{wikitext}"


def _hang_in_c() -> None:
    # Every way of dividing the letters is tried, 2 ** 60 of them; the matcher never lets another thread run.
    re.match(r"(a+)+$", "a" * 60 + "b")


def _segfault() -> None:
    faulthandler.disable()  # the test runner's would print a traceback
    os.kill(os.getpid(), signal.SIGSEGV)


def _leave() -> None:
    os._exit(3)


def _eat() -> None:
    eaten = []
    while True:
        eaten.append(bytearray(1 << 20))


DOINGS: Mapping[str, Callable[[], None]] = {
    "hangs in C": _hang_in_c,
    "segfaults": _segfault,
    "exits": _leave,
    "eats memory": _eat,
}


def obedient(wikitext: str, names: LinkNames) -> str:
    """Do what a section tells to do (`DOINGS`) in the words `this section ...`, else take it as it stands."""
    for words, doing in DOINGS.items():
        if f"this section {words}" in wikitext:
            doing()
    return as_it_stands(wikitext, names)
