"""Patterns: the packaged file line by line, how a heading is matched, and what a broken file is told."""

import tomllib
from importlib.resources import files
from typing import Any

import pytest

from valbench_dagster.wikitext.patterns import Patterns, PatternsError, load_patterns, parse_patterns
from valbench_dagster.wikitext.wikis import host_of, language_of

TEXT = (files("valbench_dagster") / "patterns.toml").read_text(encoding="utf-8")
ENTRIES: list[dict[str, Any]] = tomllib.loads(TEXT)["en"]
ENGLISH = load_patterns("enwiki")

# One heading for each of the paper's 38 patterns (A.1.1), in its order. Each is found by its own pattern first.
HEADINGS = (
    *("Criticism", "Controversies", "Disputes", "Debates", "Allegations", "Scandals", "Backlash", "Opposition"),
    *("Protests", "Boycott", "Complaints", "Dissent", "Legal challenges", "Lawsuits", "Litigation", "Misconduct"),
    *("Corruption", "Fraud", "Bribery", "Price-fixing", "Abuse", "Harassment", "Sexual assault", "Racism", "Sexism"),
    *("Xenophobia", "Discrimination", "Plagiarism", "Censorship", "Human rights", "Ethical concerns"),
    *("Environmental impact", "Privacy", "Data breach", "Security concerns", "Safety concerns", "Terrorism"),
    "Propaganda",
)


def alone(entry: dict[str, Any]) -> Patterns:
    """The patterns of a file that holds this entry only."""
    return parse_patterns(f"[[en]]\nregex = '{entry['regex']}'\nmatches = ['{entry['matches'][0]}']\nmisses = []")["en"]


def test_all_38_patterns_of_the_paper_are_there_and_no_other() -> None:
    assert len(HEADINGS) == 38
    assert [ENGLISH.match(heading) for heading in HEADINGS] == [entry["regex"] for entry in ENTRIES]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["regex"])
def test_each_pattern_matches_and_misses_the_lines_it_says(entry: dict[str, Any]) -> None:
    pattern = alone(entry)
    assert len(entry["matches"]) >= 2
    assert len(entry["misses"]) >= 2
    assert [line for line in entry["matches"] if pattern.match(line) != entry["regex"]] == []
    assert [line for line in entry["misses"] if pattern.match(line) is not None] == []


@pytest.mark.parametrize("heading", ["CRITICISM", "criticism", "Reception and Criticism of the plan"])
def test_case_and_place_in_the_heading_do_not_matter(heading: str) -> None:
    assert ENGLISH.match(heading) == r"\bCriticism?s?\b"


def test_the_first_pattern_in_the_order_of_the_file_is_named() -> None:
    # Criticism stands before Controversies in the file, whatever stands first in the heading.
    assert ENGLISH.match("Controversies and criticism") == r"\bCriticism?s?\b"


@pytest.mark.parametrize("heading", ["", "History", "Reception", "Protestantism", "Boycotts", "Controversial works"])
def test_a_heading_without_any_pattern_is_not_matched(heading: str) -> None:
    assert ENGLISH.match(heading) is None


def test_a_heading_of_many_characters_takes_no_time() -> None:
    assert ENGLISH.match("price " * 20_000 + "Critic " * 20_000) is None


def test_a_wiki_whose_language_has_no_patterns_is_told_which_there_are() -> None:
    with pytest.raises(PatternsError, match=r"'dewiki' \(language 'de'\).*there are patterns for: en.*\[\[de\]\]"):
        load_patterns("dewiki")


def test_a_broken_file_is_told_everything_at_once() -> None:
    broken = """
        it = "G"
        pt = ["H"]
        [[en]]
        regex = '\\bA('
        matches = ["A"]
        misses = []
        [[en]]
        regex = '\\bB\\b'
        matches = ["C"]
        misses = ["a b"]
        [[de]]
        regex = 'D'
        matches = ["D"]
        misses = []
        flags = "i"
        [[fr]]
        regex = 'E'
        matches = []
        misses = []
        [[es]]
        regex = 'F'
        matches = ["F", 1]
        [[es]]
        regex = 3
        matches = []
        misses = []
    """
    with pytest.raises(PatternsError) as caught:
        parse_patterns(broken, "mine.toml")
    message = str(caught.value)
    for part in (
        "mine.toml has 10 problems",
        "en, entry 1: '\\\\bA(' is no regular expression",
        "en, entry 2: '\\\\bB\\\\b' does not match 'C'",
        "en, entry 2: '\\\\bB\\\\b' matches 'a b'",
        "de, entry 1: flags: there is no such key; expected regex, matches, misses",
        "fr, entry 1: 'E' names no heading that it matches",
        "es, entry 1: matches: expected a list of headings, found ['F', 1]",
        "es, entry 1: misses: expected a list of headings, found None",
        "es, entry 2: regex: expected a regular expression, found 3",
        "it: expected entries under [[it]], found 'G'",
        "pt, entry 1: expected a table with regex, matches, misses, found 'H'",
    ):
        assert part in message


@pytest.mark.parametrize(("text", "says"), [("[[en", "not TOML"), ("en = []", r"no pattern for en; add \[\[en\]\]")])
def test_a_file_that_is_no_list_of_patterns_is_refused(text: str, says: str) -> None:
    with pytest.raises(PatternsError, match=says):
        parse_patterns(text)


def test_the_fingerprint_follows_the_patterns_and_not_the_lines_that_try_them() -> None:
    [one, lines, other] = (
        parse_patterns(f"[[en]]\nregex = '{regex}'\nmatches = ['{line}']\nmisses = []")["en"].fingerprint
        for regex, line in (("a", "a"), ("a", "ba"), ("ab?", "a"))
    )
    assert one == lines != other


@pytest.mark.parametrize(
    ("wiki", "language", "host"),
    [
        ("enwiki", "en", "en.wikipedia.org"),
        ("simplewiki", "en", "simple.wikipedia.org"),
        ("sample", "en", None),
        ("dewiki", "de", "de.wikipedia.org"),
        ("zh_yuewiki", "zh-yue", "zh-yue.wikipedia.org"),
        ("enwiktionary", "en", "en.wiktionary.org"),
        ("enwikinews", "en", "en.wikinews.org"),
        ("commonswiki", "commons", "commons.wikimedia.org"),
        ("wikidatawiki", "wikidata", "www.wikidata.org"),
        ("mylab", "mylab", None),
    ],
)
def test_a_wiki_is_known_by_its_database_name(wiki: str, language: str, host: str | None) -> None:
    assert (language_of(wiki), host_of(wiki)) == (language, host)
