"""Runs of the miner in tests: files in every container, and what came of mining them.

What is made of a section's wikitext there is `section_texts`.
"""

import bz2
import gzip
import multiprocessing
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from valbench_dagster.adapters.parquet import write_file
from valbench_dagster.dumps.bzip2_decoder import Decoder
from valbench_dagster.dumps.decode import DumpError
from valbench_dagster.mining.mine import MOST_UNORDERED, Mining, OnDamage
from valbench_dagster.mining.pool import Guard
from valbench_dagster.mining.span_miner import Rules
from valbench_dagster.records import DumpDamage, MinedFile, Section, SectionDrop
from valbench_dagster.stages.sections import Limits, ToText
from valbench_dagster.wikitext.patterns import Patterns, load_patterns
from valbench_dagster_tests.section_texts import as_it_stands

SNAPSHOT = "enwiki-20261001"
NO_LIMITS = Limits(min_chars=1, max_chars=10**9)
multiprocessing.set_forkserver_preload(["pytest", "valbench_dagster.mining.span_miner"])  # workers start in less time

WHOLE = 1 << 40
"""A span that no file reaches the end of."""


@dataclass(frozen=True)
class Outcome:
    """What came of mining one snapshot's files; `error` where it was given up."""

    sections: tuple[Section, ...]
    drops: tuple[SectionDrop, ...]
    files: tuple[MinedFile, ...]
    damages: tuple[DumpDamage, ...]
    error: str | None = None
    reasons: Mapping[str, int] = field(default_factory=dict)

    @property
    def places(self) -> list[tuple[int, int]]:
        """Page and heading of each kept section."""
        return [(section.page_id, section.heading_index) for section in self.sections]

    @property
    def pages(self) -> int:
        """Pages counted."""
        return sum(self.reasons.values())


def compiled(patterns: Sequence[str]) -> Patterns:
    """Make patterns of the miner out of regular expressions."""
    return Patterns("xx", tuple(re.compile(pattern, re.IGNORECASE) for pattern in patterns))


def mine(
    *files: Path,
    patterns: Patterns | None = None,
    to_text: ToText | None = None,
    limits: Limits = NO_LIMITS,
    decoder: Decoder = "auto",
    span_bytes: int = 2 << 20,
    processes: int = 1,
    guard: Guard | None = None,
    any_order: bool = True,
    on_damage: OnDamage = "fail",
) -> Outcome:
    """Mine files as one snapshot; by default each section's wikitext is taken for its text."""
    rules = Rules(SNAPSHOT, patterns or load_patterns("enwiki"), limits, to_text or as_it_stands, decoder)
    mining = Mining(
        files,
        rules,
        processes,
        guard or Guard(),
        span_bytes,
        MOST_UNORDERED if any_order else 0,
        on_damage,
    )
    sections: list[Section] = []
    error = None
    try:
        sections += mining.sections()
    except DumpError as raised:
        error = str(raised)
    reasons = {reason: count for reason, count in mining.tally.pages.items() if count}
    rows = () if error else tuple(mining.tally.rows())
    return Outcome(tuple(sections), rows, tuple(mining.mined_files), tuple(mining.damages), error, reasons)


def as_bytes(outcome: Outcome, folder: Path) -> tuple[bytes, bytes]:
    """Give `sections.parquet` and `section_drops.parquet` of an outcome."""
    assert outcome.error is None
    write_file(Section, outcome.sections, folder / "sections.parquet")
    write_file(SectionDrop, outcome.drops, folder / "section_drops.parquet")
    return (folder / "sections.parquet").read_bytes(), (folder / "section_drops.parquet").read_bytes()


# Containers.


def parts_of(xml: bytes) -> tuple[bytes, list[bytes], bytes]:
    """Take a document apart: what stands before its pages, each page with the white space before it, the rest."""
    pages = list(re.finditer(rb"\s*<page>.*?</page>", xml, re.DOTALL))
    return xml[: pages[0].start()], [page[0] for page in pages], xml[pages[-1].end() :]


def _multistream(pages_a_stream: int) -> Callable[[bytes], bytes]:
    def packed(xml: bytes) -> bytes:
        head, pages, rest = parts_of(xml)
        groups = [b"".join(pages[at : at + pages_a_stream]) for at in range(0, len(pages), pages_a_stream)]
        return b"".join(map(bz2.compress, (head, *groups, rest)))

    return packed


CONTAINERS: Mapping[str, tuple[str, Callable[[bytes], bytes]]] = {
    "plain XML": (".xml", bytes),
    "gzip": (".xml.gz", gzip.compress),
    "a page a stream": (".xml.bz2", _multistream(1)),
    "3 pages a stream": (".xml.bz2", _multistream(3)),
    "100 pages a stream": (".xml.bz2", _multistream(100)),
    "a single stream": (".xml.bz2", bz2.compress),
    "a single stream of small blocks": (".xml.bz2", lambda xml: bz2.compress(xml, 1)),
}
"""By name: what a file's name ends with, and how XML becomes its bytes."""


def packed(folder: Path, xml: bytes, container: str) -> Path:
    """Write a document in one of the containers."""
    ending, pack = CONTAINERS[container]
    path = folder / f"{container.replace(' ', '-')}{ending}"
    path.write_bytes(pack(xml))
    return path


def without_page(outcome: Outcome, page_id: int) -> Outcome:
    """Leave out the sections and drops of a page."""
    return replace(
        outcome,
        sections=tuple(section for section in outcome.sections if section.page_id != page_id),
        drops=tuple(drop for drop in outcome.drops if drop.page_id != page_id),
    )


def counted(drops: Sequence[SectionDrop]) -> Counter[str]:
    """Count what became of pages and sections, by unit and reason."""
    counts = Counter[str]()
    for drop in drops:
        counts[f"{drop.unit}: {drop.reason}"] += drop.counted
    return counts
