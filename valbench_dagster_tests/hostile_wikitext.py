"""Hostile wikitext, at any length: inputs that take a parser minutes, gigabytes or its life (wikipedia.md, section 6
and the figures at the end of section 8).

Run as a module it gives one length of all of them to the package and writes what each took:
`python -m valbench_dagster_tests.hostile_wikitext 400000`.
"""

import json
import random
import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from valbench_dagster.dumps.namespaces import ENGLISH_NAMESPACES
from valbench_dagster.wikitext.headings import headings
from valbench_dagster.wikitext.plain_text import ParserGaveUp, link_names, plain_text

_NAMES = link_names(ENGLISH_NAMESPACES)

PROSE = "The [[council]] closed {{nowrap|12 km}} of ''road''<ref>Smith</ref>.\n"

_REPEATED = (
    *("{{T|p=a & b}}", "a & b ", "{{T|p=& "),  # issue 352: a write before the buffer
    *("[[a|<b>", "<b>", "<i><b>[[a|"),  # issue 286: gigabytes
    *("''{{a|b''}} ", "'''[[a|b'''c]] ", "{|\n|''a\n|b''\n", "''", "'''", "''a"),  # issues 40 and 353: swallowed
    *("<word>", "<word ", "if a < b "),  # issue 102: what follows is not parsed
    # Quadratic: openers that are never closed.
    *("{{a|", "<a ", '<div style="a ', "[[a|", "<!-- ", "{|\n|-\n| a\n", "<x>[[a]]{{b}}", "\n|-\n| a", '<a b="c '),
    *("{{tpl|p=a", "[[link|", "<div>", "<ref>", "<ref name=x>", "{{{a|", "{{", "[[", "{", "[", "[http://a ", "-{"),
    *(
        "[[File:a|[[b]]",
        "[[File:",
        "{{a|[[",
        "{{#if:x|",
        "<nowiki>",
        "<poem>",
        "<includeonly>",
        "<span style=display:none>",
    ),
    # The same from the other side, and what repairs and lines look for.
    *(
        "}}",
        "]]",
        "{{}}}",
        "</ref>",
        "</div>",
        "=",
        "\n=",
        "== a ==\n",
        "&#",
        "&#xD800;",
        "({{x}},",
        "( ",
        " ",
        "\n",
        "\n;a:",
    ),
)
_NESTED = (  # issue 229 and depth over 100
    *(
        ("{{a|", "}}"),
        ("{{nowrap|", "}}"),
        ("{{quote|b ", "}}"),
        ("{{ubl|", "}}"),
        ("{{{a|", "}}}"),
        ("{{#if:x|", "}}"),
    ),
    *(
        ("[[a|", "]]"),
        ("[[File:a|", "]]"),
        ("{{nowrap|[[a|", "]]}}"),
        ("{|\n|", "\n|}"),
        ("<div>", "</div>"),
        ("(", ")"),
    ),
    *(("<ref>", "</ref>"), ("<poem>", "</poem>"), ("[http://a ", "]"), ("-{", "}-")),
)
_SIGNS = (
    *(
        "{{",
        "}}",
        "[[",
        "]]",
        "|",
        "=",
        "<ref>",
        "</ref>",
        "<!--",
        "-->",
        "''",
        "\n",
        "<div>",
        "</div>",
        "{|\n",
        "\n|}",
    ),
    *("&", "a ", "[http://a ", "]", "<b ", "\n* ", "{{{", "}}}", "-{", "}-", "<nowiki>", "</nowiki>", "\n== ", " ==\n"),
)


def _repeated(piece: str) -> Callable[[int], str]:
    return lambda size: piece * (size // len(piece))


def _nested(opening: str, closing: str) -> Callable[[int], str]:
    def made(size: int) -> str:
        depth = size // len(opening + closing)
        return f"{opening * depth}x{closing * depth}"

    return made


def _random(seed: int) -> Callable[[int], str]:
    return lambda size: "".join(random.Random(seed).choices(_SIGNS, k=size // 3))[:size]


def _behind(opener: str) -> Callable[[int], str]:
    return lambda size: opener + PROSE * (size // len(PROSE))


HOSTILE: Mapping[str, Callable[[int], str]] = {
    **{repr(piece): _repeated(piece) for piece in _REPEATED},
    **{f"{opening!r} .. {closing!r}": _nested(opening, closing) for opening, closing in _NESTED},
    **{f"random page {seed}": _random(seed) for seed in range(4)},
    **{f"prose behind {count} open": _behind("{{a|" * count) for count in (1, 7, 10)},
    "tags in a link": lambda size: f"[[a|{'<b>' * (size // 3)}]]",
    "a link in tags": lambda size: f"{'<b ' * (size // 3)}>[[a]]",
    "comment marks before one end": lambda size: f"{'<!-- ' * (size // 5)}-->",
    "crossed": lambda size: "[[" * (size // 4) + "{{}}}}" * (size // 12),
    "words far down": lambda size: "{{nowrap|" * 350 + "word " * (size // 5) + "}}" * 350,
}
"""By name: gives the input in about so many characters."""


def seconds_of(name: str, size: int) -> tuple[float, float]:
    """Seconds of the processor that plain text, with default arguments, and headings take of an input of `size`.

    Headings are looked for in the input as it stands and in a title made of it. Whatever but `ParserGaveUp` is raised
    is passed on.
    """
    wikitext = HOSTILE[name](size)
    started = time.process_time()
    try:
        plain_text(wikitext, _NAMES)
    except ParserGaveUp as error:
        if "MemoryError" in str(error):
            raise
    between = time.process_time()
    headings(wikitext)
    headings(f"== {wikitext.replace(chr(10), ' ')} ==")
    return between - started, time.process_time() - between


def main() -> None:
    """Write as JSON: the most memory this process has had, in bytes, and the seconds of each input."""
    seconds = {name: seconds_of(name, int(sys.argv[1])) for name in HOSTILE}
    sys.stdout.write(json.dumps({"peak": most_memory(), "seconds": seconds}))


def most_memory() -> int:
    """Give the most bytes that this process has held.

    On Linux `getrusage` counts what the parent held when it started this process: there the kernel's own mark is read.
    """
    status = Path("/proc/self/status")
    if not status.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    marks = dict(line.split(":", 1) for line in status.read_text(encoding="ascii").splitlines())
    return int(marks["VmHWM"].split()[0]) * 1024


if __name__ == "__main__":
    main()
