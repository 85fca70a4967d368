"""Patterns: which headings make a section a candidate, by language; read from `patterns.toml` beside the package.

Here belongs reading, checking and matching. The patterns themselves, with headings each must and must not match, are
data; where they are applied is `stages.sections`.
"""

import re
import tomllib
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Self

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, model_validator

from valbench_dagster.identity import identify
from valbench_dagster.wikitext.keywords import fold, required_letters
from valbench_dagster.wikitext.wikis import language_of


class PatternsError(ValueError):
    """`patterns.toml` cannot be used as it is, or has nothing for the wiki at hand."""


class _Pattern(BaseModel):
    """One entry of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    regex: str
    matches: tuple[str, ...]
    misses: tuple[str, ...]

    @model_validator(mode="after")
    def _does_what_its_lines_say(self) -> Self:
        try:
            compiled = re.compile(self.regex, re.IGNORECASE)
        except re.error as error:
            raise ValueError(f"{self.regex!r} is no regular expression: {error}") from error
        wrong = [f"{self.regex!r} does not match {line!r}" for line in self.matches if not compiled.search(line)]
        wrong += [f"{self.regex!r} matches {line!r}" for line in self.misses if compiled.search(line)]
        if not self.matches:
            wrong.append(f"{self.regex!r} names no heading that it matches")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self


_FILE = TypeAdapter(dict[str, list[_Pattern]])


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
        entries = _FILE.validate_python(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise PatternsError(f"{source} is not TOML: {error}") from error
    except ValidationError as error:
        lines = [f"  {_place(problem['loc'])}: {problem['msg']}" for problem in error.errors()]
        raise PatternsError("\n".join([f"{source} has {len(lines)} problems:", *lines])) from error
    without = [language for language, patterns in entries.items() if not patterns]
    if without:
        raise PatternsError(
            f"{source} has no pattern for {', '.join(without)}; add [[{without[0]}]] or remove the name"
        )
    return {
        language: Patterns(language, tuple(re.compile(entry.regex, re.IGNORECASE) for entry in patterns))
        for language, patterns in entries.items()
    }


def _place(location: tuple[int | str, ...]) -> str:
    """`en, entry 3, regex` for a place in the file."""
    return ", ".join(f"entry {part + 1}" if isinstance(part, int) else part for part in location)


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
