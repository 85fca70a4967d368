"""The watch over a worker: which section it is on, written where the parent can read it even after the worker died.

Here belong the slot in shared memory and both of its sides: `Watch` for the worker, `Reading` for the parent. Who
starts workers and what follows from a loss is `pool.py`. Nothing here knows what a section is but its two numbers.
"""

import ctypes
import signal
import time
from dataclasses import dataclass
from multiprocessing.sharedctypes import RawArray
from types import TracebackType

Slot = ctypes.Array[ctypes.c_int64]
"""Four numbers of one worker: page id, heading index, when the section was entered, whether memory ran out in it."""

_PAGE, _HEADING, _ENTERED_NS, _RAN_OUT = range(4)


@dataclass(frozen=True, slots=True)
class Lost:
    """A section that cost a worker its life; `detail` says how, as a reader of the drops should see it."""

    page_id: int
    heading_index: int
    detail: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What a slot said: the section, and whether memory ran out in it."""

    page_id: int
    heading_index: int
    ran_out: bool


def new_slot() -> Slot:
    """A slot that a process may share with the workers it starts, by whatever method; it says that none is entered."""
    slot: Slot = RawArray(ctypes.c_int64, 4)
    return slot


def entered_ns(slot: Slot) -> int | None:
    """When the section that the worker is on was entered, by `time.monotonic_ns`, null while it is on none.

    One number, so never half written; the clock is the system's, the same for all processes (Linux, macOS).
    """
    return slot[_ENTERED_NS] or None


def read(slot: Slot) -> Reading | None:
    """The section that the worker died on, null where it was on none; call it only once the worker is dead."""
    return Reading(slot[_PAGE], slot[_HEADING], bool(slot[_RAN_OUT])) if slot[_ENTERED_NS] else None


class Watch:
    """The worker's side: `with watch.section(page_id, heading_index):` around what may hang or crash.

    A section that is not left within `deadline_s` seconds ends the process by SIGALRM, whose default action reaches
    loops in C that never return to Python, and works while the parent is busy or dead: the work must leave that signal
    and the real interval timer alone. One section at a time, from one thread. Costs under 5 microseconds a section.

    A `MemoryError` that leaves a section, and then the work, counts as the loss of that section. Without arguments it
    is a watch that nobody keeps, for work that is called in the process itself: no deadline, no loss.
    """

    __slots__ = ("_deadline_s", "_slot")

    def __init__(self, slot: Slot | None = None, deadline_s: float = 0.0) -> None:
        self._slot = (ctypes.c_int64 * 4)() if slot is None else slot
        self._deadline_s = deadline_s

    def section(self, page_id: int, heading_index: int) -> "Watch":
        """Name the section that the `with` block is on; both numbers fit 64 bits. `RuntimeError` inside another."""
        slot = self._slot
        if slot[_ENTERED_NS]:
            raise RuntimeError(
                f"section {heading_index} of page {page_id} inside section {slot[_HEADING]} of page {slot[_PAGE]}: "
                "expected one section at a time; leave the first before entering the next"
            )
        slot[_PAGE] = page_id
        slot[_HEADING] = heading_index
        slot[_RAN_OUT] = 0
        return self

    def __enter__(self) -> None:
        # The timer runs only while the slot names a section: a worker that it ends was on that section.
        self._slot[_ENTERED_NS] = time.monotonic_ns()
        if self._deadline_s:
            signal.setitimer(signal.ITIMER_REAL, self._deadline_s)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._deadline_s:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
        self._slot[_ENTERED_NS] = 0
        if kind is not None and issubclass(kind, MemoryError):
            self._slot[_RAN_OUT] = 1

    def ran_out(self) -> bool:
        """Whether a `MemoryError` left the last section; if so the slot names it again, for a worker about to end."""
        if self._slot[_RAN_OUT]:
            self._slot[_ENTERED_NS] = time.monotonic_ns()
        return bool(self._slot[_RAN_OUT])

    def forget(self) -> None:
        """Forget the last section: another task begins."""
        self._slot[_RAN_OUT] = 0
