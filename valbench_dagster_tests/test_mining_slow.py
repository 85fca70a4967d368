"""Parallel mining against the plain miner and against damage, in all the ways that take too long for every day."""

from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from valbench_dagster.dumps.decode import open_decoded
from valbench_dagster.dumps.page_scan import PAGE
from valbench_dagster_tests.mining_runs import CONTAINERS, WHOLE, as_bytes, compiled, mine, packed
from valbench_dagster_tests.plain_miner import mine_plainly
from valbench_dagster_tests.test_mining import (
    DECODERS,
    ENGLISH,
    SAMPLE,
    assert_as_plainly,
    own_patterns,
    real_exports,
    whole_exports,
)
from valbench_dagster_tests.test_mining_damage import assert_law, law, on_disk


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_container_cut_decoder_and_number_of_processes_gives_the_same_bytes(
    tmp_path: Path,
) -> None:
    path = packed(tmp_path, SAMPLE, "plain XML")
    plain_sample = mine_plainly(path, ENGLISH)
    made = set()
    for container in CONTAINERS:
        path = packed(tmp_path, SAMPLE, container)
        for span_bytes, decoder, processes in product((1000, 2500, 20_000, WHOLE), DECODERS, (1, 2, 3)):
            found = mine(path, span_bytes=span_bytes, decoder=decoder, processes=processes)
            assert_as_plainly(found, plain_sample)
            made.add(as_bytes(found, tmp_path))
    assert len(made) == 1


@real_exports
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("path", whole_exports(), ids=lambda path: path.name)
def test_a_real_export_in_every_container_gives_the_same_bytes(tmp_path: Path, path: Path) -> None:
    patterns, plain = compiled(own_patterns(path)), mine_plainly(path, own_patterns(path))
    with open_decoded(path) as chunks:
        xml = b"".join(chunks)
    assert xml.count(PAGE) == plain.pages
    made = set()
    for container in CONTAINERS:
        again = packed(tmp_path, xml, container)
        size = again.stat().st_size
        small = max(1000, size // 30)
        for number, (span_bytes, decoder) in enumerate(product((small, size // 4, WHOLE), DECODERS)):
            found = mine(again, patterns=patterns, span_bytes=span_bytes, decoder=decoder, processes=1 + number % 3)
            assert_as_plainly(found, plain)
            made.add(as_bytes(found, tmp_path))
    assert len(made) == 1


@pytest.mark.slow
@pytest.mark.timeout(1200)
@settings(max_examples=400, deadline=None, suppress_health_check=on_disk)
@law
def test_no_damage_is_silent_however_many_are_tried(
    tmp_path: Path, name: str, kind: str, place: float, length: int, options: dict[str, Any]
) -> None:
    assert_law(tmp_path, name, kind, place, length, options)
