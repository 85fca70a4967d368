"""Namespaces: the numbers of a wiki's namespaces, and which of them a title stands in by its prefix.

Here belongs what every reader of a title must know without siteinfo. What siteinfo says is `pages.py`; which prefixes
make a link a picture or a category is `wikitext/`.
"""

from collections.abc import Mapping
from types import MappingProxyType

ENGLISH_NAMESPACES: Mapping[int, str] = MappingProxyType(
    {
        -2: "Media",
        -1: "Special",
        0: "",
        1: "Talk",
        2: "User",
        3: "User talk",
        4: "Wikipedia",
        5: "Wikipedia talk",
        6: "File",
        7: "File talk",
        8: "MediaWiki",
        9: "MediaWiki talk",
        10: "Template",
        11: "Template talk",
        12: "Help",
        13: "Help talk",
        14: "Category",
        15: "Category talk",
        100: "Portal",
        101: "Portal talk",
        118: "Draft",
        119: "Draft talk",
        710: "TimedText",
        711: "TimedText talk",
        828: "Module",
        829: "Module talk",
    }
)
"""Namespaces of the English Wikipedia: what an export without siteinfo is read with."""


def prefixes(namespaces: Mapping[int, str]) -> dict[str, int]:
    """Prefixes of titles, lower case, to namespace numbers: a wiki's own names, and the English ones beside them."""
    return {name.lower(): key for names in (ENGLISH_NAMESPACES, namespaces) for key, name in names.items() if name}


def namespace_of(title: str, known: Mapping[str, int]) -> int:
    """The namespace that the prefix of `title` names among `known` (see `prefixes`), else 0."""
    prefix, colon, _ = title.partition(":")
    return known.get(prefix.strip().replace("_", " ").lower(), 0) if colon else 0
