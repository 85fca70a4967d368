"""Hostile wikitext of the size of sections: it comes to an end, and nothing but `ParserGaveUp` is raised.

What takes longer than the bound grows with the square: ten times the bound and more. Inputs of the size of large pages
are `test_wikitext_hostile_slow.py`.
"""

import pytest

from valbench_dagster_tests.hostile_wikitext import HOSTILE, seconds_of

MOST_SECONDS = 2.0
"""Of the processor; the longest takes about a tenth of it here."""


@pytest.mark.parametrize("size", [20_000, 80_000])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_wikitext_comes_to_an_end(name: str, size: int) -> None:
    assert max(seconds_of(name, size)) < MOST_SECONDS


@pytest.mark.parametrize("name", HOSTILE)
def test_an_input_is_as_long_as_it_says(name: str) -> None:
    assert 15_000 < len(HOSTILE[name](20_000)) <= 25_000
