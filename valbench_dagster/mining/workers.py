"""A worker as its parent has it: started by a fitting method, asked whether it is late, ended and buried.

Here belongs what is done to one worker from outside. Who gets which task is `pool.py`, what runs in the worker is
`worker_process.py`.
"""

import multiprocessing
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkContext, ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

from valbench_dagster.mining.watch import Reading, Slot, entered_ns, new_slot, read
from valbench_dagster.mining.worker_process import serve

Start = Literal["auto", "fork", "forkserver", "spawn"]
"""How a worker is started. `auto` forks on Linux while this process has one thread, else takes a fork server there, and
spawns on other systems. Threads of libraries count: a fork would copy the locks that they hold, never to be released.
All but `fork` import the main module and the work's in each worker anew."""

DYING_S = 10.0
"""Seconds that a worker whose connection has ended may take to end itself."""


@dataclass(slots=True, eq=False)
class Worker:
    """A worker process and what it shares with its parent; `ended` says that the parent killed it."""

    process: BaseProcess
    connection: Connection
    slot: Slot
    ended: bool = False

    def late_in_s(self, limit_s: float) -> float:
        """Seconds until it is over the limit on its section, or would be on one that it enters now."""
        entered = entered_ns(self.slot)
        return limit_s if entered is None else limit_s - (time.monotonic_ns() - entered) / 1e9

    def end(self) -> None:
        """Kill it; returns at once."""
        self.ended = True
        self.process.kill()

    def buried(self) -> tuple[int, Reading | None]:
        """Wait for its death and give its exit code, negative for a signal, and the section that it was on if any."""
        self.process.join(DYING_S)
        if self.process.exitcode is None:
            self.end()
            self.process.join()
        code = self.process.exitcode
        self.connection.close()
        self.process.close()
        return -signal.SIGKILL if code is None else code, read(self.slot)


def started(
    start: Start,
    work: Callable[..., Any],
    initial: Callable[[], None] | None,
    deadline_s: float,
    memory_bytes: int,
) -> Worker:
    """Start a worker (see `serve`) and return at once; what cannot be pickled raises as `pickle` does."""
    context = _context(start)
    if isinstance(context, ForkServerContext):  # what the work imports, the server imports once for all workers
        context.set_forkserver_preload(["__main__", work.__module__])
    ours, theirs = context.Pipe()
    slot = new_slot()
    process = context.Process(
        target=serve,
        args=(theirs, slot, work, initial, deadline_s, memory_bytes),
        name="guarded-worker",
        daemon=True,
    )
    process.start()
    theirs.close()  # so that reading ours ends when the worker does
    return Worker(process, ours, slot)


def end_named(code: int) -> str:
    """An exit code as messages say it: `exit code 3`, `signal 11 (SIGSEGV)`."""
    names = {int(number): number.name for number in signal.Signals}
    return f"exit code {code}" if code >= 0 else f"signal {-code} ({names.get(-code, 'unnamed')})"


def _context(start: Start) -> ForkContext | ForkServerContext | SpawnContext:
    method = _fitting() if start == "auto" else start
    if method == "fork":
        return multiprocessing.get_context("fork")
    return multiprocessing.get_context("forkserver") if method == "forkserver" else multiprocessing.get_context("spawn")


def _fitting() -> Start:
    if sys.platform != "linux":
        return "spawn"
    return "fork" if len(list(Path("/proc/self/task").iterdir())) == 1 else "forkserver"
