"""Mining lines: how far a mining is, and what it came to, as lines for a terminal."""

from collections.abc import Iterator, Mapping, Sequence

from valbench_dagster.mining.mine import MineProgress
from valbench_dagster.records import DumpDamage, MinedFile
from valbench_dagster.stages.sections import PAGE_REASONS, Tally

MOST_DAMAGES = 20
"""Damages that are listed; the rest is counted."""


def progress_line(progress: MineProgress) -> str:
    """Tell share, speed and time left of a mining in one line."""
    share = progress.bytes_done / progress.bytes_total if progress.bytes_total else 1.0
    speed = progress.bytes_done / progress.seconds if progress.seconds else 0.0
    left = f"{(progress.bytes_total - progress.bytes_done) / speed:.0f} s left" if speed else "..."
    return (
        f"{share:4.0%} of {progress.bytes_total / 1e6:.0f} MB, {speed / 1e6:.1f} MB/s, {left}: "
        f"{progress.pages} pages, {progress.sections} sections   "
    )


def summary_lines(
    tally: Tally, files: Sequence[MinedFile], damages: Sequence[DumpDamage], seconds: Mapping[str, float]
) -> Iterator[str]:
    """Say what became of all pages and matching sections, what was damaged or is doubtful, and what took the time."""
    yield f"{tally.pages.total()} pages in {len(files)} file{'s' * (len(files) != 1)}:"
    for reason in PAGE_REASONS:
        yield f"  {tally.pages[reason]:>10}  {reason.replace('_', ' ')}"
    dropped: dict[str, int] = {}
    for drop in tally.drops:
        dropped[drop.reason] = dropped.get(drop.reason, 0) + drop.counted
    others = "".join(f", {count} {reason.replace('_', ' ')}" for reason, count in sorted(dropped.items()))
    yield f"{tally.sections_kept} sections kept{others}"
    for damage in damages[:MOST_DAMAGES]:
        after = "" if damage.after_page_id is None else f", after page {damage.after_page_id}"
        before = "" if damage.before_page_id is None else f", before page {damage.before_page_id}"
        kind = damage.kind.replace("_", " ")
        yield f"DAMAGED: {damage.name}, {kind} at or after byte {damage.byte_offset}{after}{before}: {damage.detail}"
    if len(damages) > MOST_DAMAGES:
        yield f"DAMAGED: {len(damages) - MOST_DAMAGES} more places, see dump_damages.parquet"
    for file in files:
        yield from _doubts(file)
    read = sum(file.xml_bytes for file in files)
    spent = {name: value for name, value in seconds.items() if name != "files"}
    total = sum(spent.values())
    shares = ", ".join(f"{name} {value:.1f} s ({value / total:.0%})" for name, value in spent.items()) if total else ""
    wall = seconds.get("files", 0.0)
    yield f"{read / 1e6:.0f} MB of XML in {wall:.1f} s; the workers' time: {shares or 'none'}"


def _doubts(file: MinedFile) -> Iterator[str]:
    """What is strange about a file that was read whole."""
    if file.unlisted_pages:
        yield (
            f"DOUBTFUL: {file.name}: its index lists {file.indexed_pages} pages, but not {file.unlisted_pages} of "
            "those that were read: it is cut short or another file's, and cannot tell of all that are missing"
        )
    if file.sha1_differing:
        yield (
            f"DOUBTFUL: {file.name}: {file.sha1_differing} of {file.sha1_compared} texts with a kept section have "
            "another SHA-1 than the dump states"
        )
    if file.lost_texts:
        yield f"DOUBTFUL: {file.name}: {file.lost_texts} pages have no text although the dump states a length for it"
