"""A worker process of the pool: takes a task, does it, sends what came of it, and takes the next.

Here belongs what runs in the worker: its signals, its memory, and its end when the parent is gone. What the
parent does is `pool.py`; how the two share the section that the worker is on is `watch.py`.
"""

import ctypes
import multiprocessing
import os
import pickle
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from valbench_dagster.mining.watch import Lost, Slot, Watch

MOST_SHOWN = 300
"""Characters of a task that a message shows."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of glibc's `mallopt`
_KEPT_BYTES = 32 << 20  # the most that every version of glibc takes for the second


class WorkError(RuntimeError):
    """What the work raised, as text with its traceback, where the exception itself cannot travel between processes."""


@dataclass(frozen=True, slots=True)
class Done:
    """What the work returned."""

    result: Any


@dataclass(frozen=True, slots=True)
class Failed:
    """What the work raised."""

    error: Exception


def named(task: object) -> str:
    """The task as messages name it: its `repr`, cut short."""
    text = repr(task)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def serve(
    connection: Connection,
    slot: Slot,
    work: Callable[[Any, Watch, tuple[Lost, ...]], Any],
    initial: Callable[[], None] | None,
    deadline_s: float,
    memory_bytes: int,
) -> None:
    """Do the tasks that come over `connection`, pairs of a task and its losses, one `Done` or `Failed` for each.

    Returns when the parent is gone; until then it is the parent that ends it, by SIGKILL. What `initial` raises is
    given as the outcome of the first task.
    """
    _set_signals()
    _keep_memory()
    threading.Thread(target=_end_with_parent, name="end-with-parent", daemon=True).start()
    watch = Watch(slot, deadline_s)
    spoiled: Failed | None = None
    try:
        if initial is not None:
            initial()
    except Exception as error:  # noqa: BLE001 - whatever it raises is the parent's to raise
        spoiled = _failed(error, "before the first task")
    _limit_memory(memory_bytes)
    while True:
        try:
            task, lost = connection.recv()
        except (EOFError, OSError):
            return  # the parent is gone
        except Exception as error:  # noqa: BLE001 - unpickling runs the task's own code
            connection.send(_failed(error, "reading a task"))
            continue
        outcome = spoiled or _outcome(work, task, watch, lost)
        try:
            connection.send(outcome)
        except (BrokenPipeError, ConnectionResetError):
            return  # the parent is gone
        except Exception as error:  # noqa: BLE001 - pickling runs the result's own code
            connection.send(_failed(error, f"sending the result of {named(task)}"))


def _outcome(
    work: Callable[[Any, Watch, tuple[Lost, ...]], Any], task: Any, watch: Watch, lost: tuple[Lost, ...]
) -> Done | Failed:
    watch.forget()
    try:
        return Done(work(task, watch, lost))
    except Exception as error:  # noqa: BLE001 - whatever it raises is the parent's to raise
        if isinstance(error, MemoryError) and watch.ran_out():
            os._exit(1)  # the slot says why; a process that was full is not used again
        return _failed(error, f"on the task {named(task)}")


def _failed(error: Exception, where: str) -> Failed:
    """The error with a note of where it was raised, or a `WorkError` in its place if it does not survive pickling."""
    told = f"In worker process {os.getpid()}, {where}:\n{''.join(traceback.format_exception(error))}"
    error.add_note(told)
    try:
        same = type(pickle.loads(pickle.dumps(error))) is type(error)  # noqa: S301 - our own bytes
    except Exception:  # noqa: BLE001 - pickling runs the exception's own code
        same = False
    return Failed(error if same else WorkError(told))


def _set_signals() -> None:
    """Leave interrupts to the parent; undo what a fork brought along: handlers, and a mask that may hold the alarm."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _keep_memory() -> None:
    """Have what is freed kept for the next of its size, where the C library is glibc; elsewhere nothing happens.

    The decoder takes and frees megabytes for each block, and a task does so for each chunk: left to itself, glibc
    gives them back to the system, which clears them page by page each time; that takes 4 % of the time of mining.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _KEPT_BYTES)
        mallopt(_TRIM_THRESHOLD, 2 * _KEPT_BYTES)


def _end_with_parent() -> None:
    """Wait in a thread until the parent is gone, however it went, and end the process whatever it is doing.

    A loop in C that keeps the interpreter's lock keeps this thread from running: it ends by the watch's alarm.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _limit_memory(above: int) -> None:
    """Let the address space grow by `above` bytes at most; Linux only, elsewhere the limit is not kept or not known."""
    if sys.platform == "linux":
        now = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        _, most = resource.getrlimit(resource.RLIMIT_AS)
        limit = now + above if most == resource.RLIM_INFINITY else min(now + above, most)
        resource.setrlimit(resource.RLIMIT_AS, (limit, most))
