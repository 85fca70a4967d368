"""Sources: what gives the bytes of dump files, and with how much patience its faults are met.

Pure rules and a port, with time and chance handed in, so that tests wait for nothing. Here belongs what holds for every
source; a dump server is `http.py`, a store `store.py`, what is done with the bytes `part.py`.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from random import Random
from typing import Protocol


class TransferError(Exception):
    """Something between us and a source went wrong, and trying again at once is of no use; the message says what."""


class PassingError(TransferError):
    """A fault that may pass by itself: a broken connection, a timeout, an error of the server.

    `busy` where the server said that it is busy (429, 503); `hold` is how many seconds it asked to be left alone, null
    where it did not say.
    """

    def __init__(self, message: str, *, busy: bool = False, hold: float | None = None) -> None:
        super().__init__(message)
        self.busy = busy
        self.hold = hold


class GaveUpError(TransferError):
    """Faults that may pass and did not."""


class ForbiddenError(TransferError):
    """The server refuses us; asking again would make it worse."""


class InterruptedTransferError(TransferError):
    """The source was told to end everything, from another thread."""


class RangeRefusedError(TransferError):
    """The file at the source ends before the offset asked for; `total` is its size as told, null where not told."""

    def __init__(self, message: str, total: int | None) -> None:
        super().__init__(message)
        self.total = total


@dataclass(frozen=True, slots=True)
class Body:
    """Bytes of a file from `start` on (0, or the offset asked for), in chunks, which may end early or never.

    `total` is the size of the whole file and `validator` what changes with its content (ETag, else Last-Modified):
    both as `host` says, null where it does not.
    """

    start: int
    total: int | None
    validator: str | None
    host: str
    chunks: Iterator[bytes]


@dataclass(frozen=True, slots=True)
class Patience:
    """Limits of trying again.

    `attempts` tries in a row may fail without a byte gained, and `busy_attempts` may be told that the server is busy
    (which says nothing against the request). A wait is drawn evenly between half and all of `first_delay_s`, doubled
    each time up to `longest_delay_s`; a server that names a time is left alone for it, `longest_hold_s` at most.
    """

    attempts: int = 8
    busy_attempts: int = 40
    first_delay_s: float = 1.0
    longest_delay_s: float = 60.0
    longest_hold_s: float = 600.0


Tell = Callable[[str | None], None]
"""Is given the reason before every wait, and null after it."""


class Retries:
    """The tries of one thing. Not shared between threads."""

    def __init__(
        self, patience: Patience, wait: Callable[[float], object], rng: Random, tell: Tell | None = None
    ) -> None:
        """Count from zero; `wait` returns after that many seconds."""
        self._patience = patience
        self._wait = wait
        self._rng = rng
        self._tell = tell
        self._faults = 0
        self._busy = 0

    def progressed(self) -> None:
        """Count from zero again: something was gained since the last fault."""
        self._faults = self._busy = 0

    def wait_after(self, fault: PassingError) -> None:
        """Wait as long as `fault` calls for; raises `GaveUpError` when there were too many without progress."""
        rules = self._patience
        if fault.busy:
            self._busy += 1
        else:
            self._faults += 1
        if self._faults >= rules.attempts or self._busy >= rules.busy_attempts:
            tries = self._faults + self._busy
            raise GaveUpError(f"{fault}; gave up after {tries} failed tries in a row without a byte gained") from fault
        seconds, reason = self._pause(fault)
        if self._tell:
            self._tell(reason)
        self._wait(seconds)
        if self._tell:
            self._tell(None)

    def _pause(self, fault: PassingError) -> tuple[float, str]:
        rules = self._patience
        if fault.hold is not None:
            seconds = min(fault.hold, rules.longest_hold_s)
            asked = f"the server asks to wait {fault.hold:.0f} s"
            return seconds, asked if seconds == fault.hold else f"{asked}: waiting {seconds:.0f} s"
        doubled = rules.first_delay_s * 2.0 ** min(self._faults + self._busy - 1, 60)
        seconds = min(rules.longest_delay_s, doubled) * self._rng.uniform(0.5, 1.0)
        return seconds, f"{fault}; next try in {seconds:.1f} s"


class Source(Protocol):
    """What gives the bytes of files. Threads share it."""

    @property
    def has_mirror(self) -> bool:
        """Whether bytes may come from elsewhere than names and hashes."""
        ...

    def body(self, place: str, offset: int, *, from_mirror: bool) -> AbstractContextManager[Body]:
        """Open the bytes of the file at `place` from `offset` on, in one try.

        Raises `NotThereError`, `PassingError`, `RangeRefusedError`, or another `TransferError` that is final; the
        chunks raise `PassingError`.
        """
        ...

    def retries(self, tell: Tell | None = None) -> Retries:
        """Begin to count the tries for one file."""
        ...

    def interrupt(self) -> None:
        """End every wait and every open body at once, for good."""
        ...
