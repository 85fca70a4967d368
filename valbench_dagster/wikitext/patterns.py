"""Patterns: which headings make a section a candidate, by language; read from `patterns.toml` beside the package.

Here belongs reading, checking and matching. The patterns themselves, with headings each must and must not match, are
data; where they are applied is `stages.sections`. The file is checked by hand, not by pydantic, whose import is a third
of what `valbench mine` takes to start, before any of its workers can.
"""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.resources import files

from valbench_dagster.identity import identify
from valbench_dagster.wikitext.keywords import fold, required_letters
from valbench_dagster.wikitext.wikis import language_of

_KEYS = ("regex", "matches", "misses")


class PatternsError(ValueError):
    """`patterns.toml` cannot be used as it is, or has nothing for the wiki at hand."""


@dataclass(frozen=True, slots=True)
class Patterns:
    """The patterns of one language, in the order they are tried."""

    language: str
    compiled: tuple[re.Pattern[str], ...]
    letters: tuple[str | None, ...] = field(init=False)
    """What every match of each pattern holds, folded; null where nothing is sure (see `keywords`)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "letters", tuple(required_letters(pattern.pattern) for pattern in self.compiled))

    @property
    def fingerprint(self) -> str:
        """Name these patterns: equal where the same headings are found under the same names."""
        return identify("patterns", [self.language, [pattern.pattern for pattern in self.compiled]])

    def match(self, title: str) -> str | None:
        """Name the first pattern found in `title` (a heading as a reader sees it), as it is written; else null."""
        folded = fold(title)
        for pattern, letters in zip(self.compiled, self.letters, strict=True):
            if (letters is None or letters in folded) and pattern.search(title):
                return pattern.pattern
        return None


def parse_patterns(text: str, source: str = "patterns.toml") -> dict[str, Patterns]:
    """Read a file of patterns, by language; `source` is what errors call it.

    Raises `PatternsError` with everything that is wrong: no TOML, unknown keys, a regular expression that does not
    compile, a pattern that fails one of its own lines, a language without patterns.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PatternsError(f"{source} is not TOML: {error}") from error
    problems: list[str] = []
    for language, entries in tables.items():
        if not isinstance(entries, list):
            problems.append(f"  {language}: expected entries under [[{language}]], found {entries!r}")
            continue
        for number, entry in enumerate(entries, start=1):
            problems += (f"  {language}, entry {number}: {problem}" for problem in _problems(entry))
    if problems:
        raise PatternsError("\n".join([f"{source} has {len(problems)} problems:", *problems]))
    without = [language for language, entries in tables.items() if not entries]
    if without:
        raise PatternsError(
            f"{source} has no pattern for {', '.join(without)}; add [[{without[0]}]] or remove the name"
        )
    return {
        language: Patterns(language, tuple(re.compile(entry["regex"], re.IGNORECASE) for entry in entries))
        for language, entries in tables.items()
    }


def _problems(entry: object) -> Iterator[str]:
    """What is wrong with one entry of the file."""
    if not isinstance(entry, dict):
        yield f"expected a table with {', '.join(_KEYS)}, found {entry!r}"
        return
    for key in entry:
        if key not in _KEYS:
            yield f"{key}: there is no such key; expected {', '.join(_KEYS)}"
    regex, matches, misses = (entry.get(key) for key in _KEYS)
    if not isinstance(regex, str):
        yield f"regex: expected a regular expression, found {regex!r}"
    for key, lines in (("matches", matches), ("misses", misses)):
        if not (isinstance(lines, list) and all(isinstance(line, str) for line in lines)):
            yield f"{key}: expected a list of headings, found {lines!r}"
    if isinstance(regex, str) and isinstance(matches, list) and isinstance(misses, list):
        yield from _tried(regex, matches, misses)


def _tried(regex: str, matches: list[object], misses: list[object]) -> Iterator[str]:
    """Where a pattern does not do what its own lines say."""
    try:
        compiled = re.compile(regex, re.IGNORECASE)
    except re.error as error:
        yield f"{regex!r} is no regular expression: {error}"
        return
    yield from (f"{regex!r} does not match {line!r}" for line in matches if not compiled.search(str(line)))
    yield from (f"{regex!r} matches {line!r}" for line in misses if compiled.search(str(line)))
    if not matches:
        yield f"{regex!r} names no heading that it matches"


def load_patterns(wiki: str) -> Patterns:
    """The packaged patterns of the language of `wiki` (a database name).

    Raises `PatternsError` where there are none, naming the languages there are.
    """
    source = files("valbench_dagster") / "patterns.toml"
    known = parse_patterns(source.read_text(encoding="utf-8"), str(source))
    language = language_of(wiki)
    if language not in known:
        raise PatternsError(
            f"no heading patterns for {wiki!r} (language {language!r}); there are patterns for: {', '.join(known)}. "
            f"Add [[{language}]] entries with regex, matches and misses to {source}"
        )
    return known[language]
