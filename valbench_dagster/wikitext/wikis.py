"""Wikis: what the database name of a wiki says of its language and of its host.

Wikimedia names a wiki by language and project (`enwiki`, `zh_yuewiktionary`) but for a few, which are listed here.
"""

import re

_NAME = re.compile(r"([a-z_]+?)(wiki|wiktionary|wikinews|wikiquote|wikisource|wikibooks|wikiversity|wikivoyage)")
_ENGLISH = frozenset({"sample", "simplewiki"})  # `sample` is the bundled dump
_HOSTS = {
    "commonswiki": "commons.wikimedia.org",
    "incubatorwiki": "incubator.wikimedia.org",
    "mediawikiwiki": "www.mediawiki.org",
    "metawiki": "meta.wikimedia.org",
    "specieswiki": "species.wikimedia.org",
    "wikidatawiki": "www.wikidata.org",
}


def language_of(wiki: str) -> str:
    """Name the language of a wiki: `enwiki` is `en`, `zh_yuewiktionary` is `zh-yue`.

    Wikis of no one language (`commonswiki`) get a language that nobody writes patterns for.
    """
    if wiki in _ENGLISH:
        return "en"
    named = _NAME.fullmatch(wiki)
    return (named[1] if named else wiki).replace("_", "-")


def host_of(wiki: str) -> str | None:
    """Name the host of a wiki of Wikimedia's; null where the name follows no rule of theirs."""
    named = _NAME.fullmatch(wiki)
    if wiki in _HOSTS or named is None:
        return _HOSTS.get(wiki)
    project = "wikipedia" if named[2] == "wiki" else named[2]
    return f"{named[1].replace('_', '-')}.{project}.org"
