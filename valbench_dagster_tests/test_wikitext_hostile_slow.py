"""Hostile wikitext of the size of large pages, in a process of its own, so that its memory is its own too."""

import json
import subprocess
import sys

import pytest

from valbench_dagster_tests.hostile_wikitext import HOSTILE

MOST_SECONDS = 4.0
"""Of the processor, for one input; the longest takes a fifth of it here."""
MOST_MEMORY = 400_000_000
"""Bytes; the package alone has 30 million, and it takes 80 million here."""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_four_hundred_thousand_characters_take_seconds_and_no_memory_to_speak_of() -> None:
    command = [sys.executable, "-m", "valbench_dagster_tests.hostile_wikitext", "400000"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=500)
    measured = json.loads(done.stdout)
    assert set(measured["seconds"]) == set(HOSTILE)
    assert {name: seconds for name, seconds in measured["seconds"].items() if max(seconds) > MOST_SECONDS} == {}
    assert measured["peak"] < MOST_MEMORY
