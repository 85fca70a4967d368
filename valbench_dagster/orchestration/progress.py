"""Progress: how a long step tells a person where it is.

Run tags every five seconds (they show as chips on the list of runs, and are overwritten in place), one log line a
minute, and a bar on a terminal. Never an event per call: each costs milliseconds and stays for ever. When what is told
is due is decided here once; what a kind of step has to tell is a class of its own.
"""

import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, NoReturn, Self, TypeVar

import dagster as dg
from tqdm import tqdm

from valbench_dagster.dumps.fetch_progress import FetchProgress
from valbench_dagster.llm.tally import Progress
from valbench_dagster.mining.mine import MineProgress
from valbench_dagster.report.dump_lines import fetch_line, gigabytes
from valbench_dagster.report.mining_lines import progress_line

P = TypeVar("P")

TAGS_EVERY = 5.0
LOG_EVERY = 60.0
"""Seconds between two updates."""
SPEED_OVER = 60.0
"""Seconds over which the speed of calls is taken: an endpoint that slows down shows, a burst does not."""


@dataclass(frozen=True, slots=True)
class Told:
    """Where a step is: `total` is null while it is not known, `waiting` where nothing keeps it."""

    done: int
    total: int | None
    tags: Mapping[str, str]
    line: str
    waiting: str | None = None


class StepProgress(Generic[P]):
    """Called with the progress of a step; passes on what is due. A subclass says what there is to tell.

    `seconds` are those from the start to the last call.
    """

    unit = "it"
    scaled = False
    """Whether counts are so large that they are shown as k, M, G."""

    def __init__(self, context: dg.AssetExecutionContext, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin now; `clock` gives seconds that only grow, and is read once a call."""
        self._context = context
        self._clock = clock
        self._started = clock()
        self.seconds = 0.0
        # A step that ends within the first interval leaves no trace of progress: its numbers are its metadata.
        self._tagged = self._logged = self._started
        self._bar: tqdm[NoReturn] | None = None
        self._last: P | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def told(self, progress: P) -> Told:
        """Say where the step is."""
        raise NotImplementedError

    def __call__(self, progress: P) -> None:
        """Pass on where the step is."""
        now = self._clock()
        self.seconds = now - self._started
        self._last = progress
        told = self.told(progress)
        if sys.stderr.isatty():
            self._draw(told)
        if now - self._tagged >= TAGS_EVERY:
            self._tagged = now
            self._tag(told)
        if now - self._logged >= LOG_EVERY:
            self._logged = now
            self._context.log.info(told.line)

    def close(self) -> None:
        """End the bar, if there is one, and leave no tag behind that says less than was done."""
        if self._last is not None and self._tagged > self._started:
            self.seconds = self._clock() - self._started
            self._tag(self.told(self._last))
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _tag(self, told: Told) -> None:
        step = self._context.asset_key.to_user_string()
        tags = {**told.tags, "progress": f"{step} {told.tags['progress']}"}
        self._context.instance.add_run_tags(self._context.run.run_id, tags)

    def _draw(self, told: Told) -> None:
        if self._bar is None:
            name = self._context.op_handle.name
            self._bar = tqdm(unit=self.unit, unit_scale=self.scaled, desc=name, leave=False)
        self._bar.total = told.total
        self._bar.n = told.done
        self._bar.set_postfix_str(told.waiting or "", refresh=False)
        self._bar.refresh()


class RunProgress(StepProgress[Progress]):
    """Of a step that asks models: the engine's progress."""

    unit = "call"

    def __init__(self, context: dg.AssetExecutionContext, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin now; see `StepProgress`."""
        super().__init__(context, clock)
        self._recent: deque[tuple[float, int]] = deque([(0.0, 0)])

    def told(self, progress: Progress) -> Told:
        """Questions done and failed, what the calls cost, and the time left at the speed of the last minute."""
        while len(self._recent) > 2 and self._recent[1][0] <= self.seconds - SPEED_OVER:
            self._recent.popleft()
        since, before = self._recent[0]
        self._recent.append((self.seconds, progress.done))
        rate = (progress.done - before) / max(self.seconds - since, 1e-9)
        left = (progress.total - progress.done) / rate if rate else None
        cost = f"{progress.cost:,.2f}" if progress.cost else None
        in_flight = f"{progress.in_flight} of {progress.limit}"
        waiting = progress.waiting
        line = (
            f"{progress.done:,} of {progress.total:,} questions done, {progress.failed:,} failed; this run: "
            f"{progress.asked:,} calls, {progress.input_tokens + progress.output_tokens:,} tokens"
            f"{f', {cost} spent' if cost else ''}; {in_flight} calls in flight"
        )
        tags = {
            "progress": f"{progress.done:,}/{progress.total:,}",
            "failed": str(progress.failed),
            "time_left": waiting or _minutes(left),
            "in_flight": in_flight,
        }
        return Told(
            progress.done,
            progress.total,
            {**tags, "spent": cost} if cost else tags,
            f"{line}; waiting: {waiting}" if waiting else line,
            waiting,
        )


class FetchRunProgress(StepProgress[FetchProgress]):
    """Of the step that fetches a dump: bytes, and why it waits."""

    unit = "B"
    scaled = True

    def told(self, progress: FetchProgress) -> Told:
        """Bytes done, and the time left at the recent speed."""
        total = "?" if progress.bytes_total is None else gigabytes(progress.bytes_total)
        return Told(
            progress.bytes_done,
            progress.bytes_total,
            {
                "progress": f"{gigabytes(progress.bytes_done)}/{total} GB",
                "time_left": progress.waiting or _minutes(progress.seconds_left),
            },
            fetch_line(progress),
            progress.waiting,
        )


class MineRunProgress(StepProgress[MineProgress]):
    """Of the step that mines a dump: bytes of the files as they lie."""

    unit = "B"
    scaled = True

    def told(self, progress: MineProgress) -> Told:
        """Bytes done, pages and sections so far, and the time left at the speed so far."""
        speed = progress.bytes_done / progress.seconds if progress.seconds else 0.0
        left = (progress.bytes_total - progress.bytes_done) / speed if speed else None
        return Told(
            progress.bytes_done,
            progress.bytes_total,
            {
                "progress": f"{gigabytes(progress.bytes_done)}/{gigabytes(progress.bytes_total)} GB",
                "time_left": _minutes(left),
            },
            progress_line(progress).strip(),
        )


def _minutes(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{seconds / 60:.0f} min"
