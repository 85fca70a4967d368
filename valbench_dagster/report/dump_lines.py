"""Dump lines: what a person reads on a terminal of offers and of a fetch under way.

Pure text from records that are handed in; sizes are decimal (1 GB = 10^9 bytes).
"""

from collections.abc import Mapping, Sequence

from valbench_dagster.dumps.catalogue import Offer
from valbench_dagster.dumps.fetch_progress import FetchProgress


def gigabytes(size: int) -> str:
    """Give a number of bytes in GB, with as many decimals as keep it from being 0.0."""
    billions = size / 1e9
    return f"{billions:.1f}" if billions >= 0.05 or not size else f"{billions:.6f}".rstrip("0").rstrip(".")


def duration(seconds: float) -> str:
    """Give a time left, rounded: `40 s`, `12 min`, `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def fetch_line(progress: FetchProgress) -> str:
    """Give one line on how far a fetch is: bytes, speed, time left, files, and why it waits."""
    total = progress.bytes_total
    parts = [f"{gigabytes(progress.bytes_done)} GB" if total is None else _of(progress.bytes_done, total)]
    if progress.bytes_per_second is not None:
        parts.append(f"{progress.bytes_per_second / 1e6:.1f} MB/s")
    if progress.seconds_left is not None:
        parts.append(f"{duration(progress.seconds_left)} left")
    parts.append(f"{progress.parts_done} of {progress.parts_total} files")
    if progress.mirror_misses:
        parts.append(f"{progress.mirror_misses} not from the mirror")
    return ", ".join(parts) + (f"; {progress.waiting}" if progress.waiting else "")


def _of(done: int, total: int) -> str:
    percent = 100 * done // total if total else 100
    return f"{gigabytes(done)} of {gigabytes(total)} GB ({percent} %)"


def offer_lines(offers: Sequence[Offer], here: Mapping[str, str]) -> list[str]:
    """Give a table of offers with its heading; `here` says by snapshot key what lies in the folder of dumps."""
    lines = [f"{'snapshot':<24} {'layout':<8} {'files':>5} {'GB':>8}  state"]
    for offer in offers:
        size = "-" if offer.bytes is None or not offer.files else gigabytes(offer.bytes)
        state = "complete" if offer.complete else f"not complete: {offer.missing}"
        lies = here.get(offer.snapshot, "absent")
        lines.append(
            f"{offer.snapshot:<24} {offer.layout:<8} {len(offer.files):>5} {size:>8}  "
            f"{state}{'' if lies == 'absent' else f' (here: {lies})'}"
        )
    return lines
