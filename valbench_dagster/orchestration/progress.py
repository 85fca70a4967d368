"""Progress: how a long step tells a person where it is.

Run tags every ten seconds (they show as chips on the list of runs, and are overwritten in place), one log line a
minute, and a bar on a terminal. Never an event per call: each costs milliseconds and stays for ever.
"""

import sys
import time
from collections.abc import Callable, Mapping
from typing import NoReturn

import dagster as dg
from tqdm import tqdm

from valbench_dagster.llm.dispatcher import Progress

TAGS_EVERY = 10.0
LOG_EVERY = 60.0
"""Seconds between two updates."""


class RunProgress:
    """Called with the dispatcher's progress; passes on what is due."""

    def __init__(self, context: dg.AssetExecutionContext, clock: Callable[[], float] = time.monotonic) -> None:
        self._context = context
        self._clock = clock
        self._started = clock()
        # A step that ends within the first interval leaves no trace of progress: its numbers are its metadata.
        self._tagged = self._logged = self._started
        self._bar: tqdm[NoReturn] | None = None
        self._last: Progress | None = None

    def __call__(self, progress: Progress) -> None:
        """Pass on where the step is."""
        now = self._clock()
        self._last = progress
        if sys.stderr.isatty():
            self._draw(progress)
        if now - self._tagged >= TAGS_EVERY:
            self._tagged = now
            self._context.instance.add_run_tags(self._context.run.run_id, self._tags(progress, now))
        if now - self._logged >= LOG_EVERY:
            self._logged = now
            self._context.log.info(
                f"{progress.done:,} of {progress.total:,} calls done, {progress.failed:,} failed, "
                f"{progress.input_tokens + progress.output_tokens:,} tokens"
            )

    def close(self) -> None:
        """End the bar, if there is one, and leave no tag behind that says less than was done."""
        if self._last is not None and self._tagged > self._started:
            tags = self._tags(self._last, self._clock())
            self._context.instance.add_run_tags(self._context.run.run_id, tags)
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _tags(self, progress: Progress, now: float) -> Mapping[str, str]:
        rate = progress.done / max(now - self._started, 1e-9)
        left = (progress.total - progress.done) / rate if rate else None
        return {
            "progress": f"{self._context.asset_key.to_user_string()} {progress.done:,}/{progress.total:,}",
            "failed": str(progress.failed),
            "time_left": "unknown" if left is None else f"{left / 60:.0f} min",
        }

    def _draw(self, progress: Progress) -> None:
        if self._bar is None:
            self._bar = tqdm(unit="call", desc=self._context.op_handle.name, leave=False)
        self._bar.total = progress.total
        self._bar.n = progress.done
        self._bar.refresh()
