"""Fetch progress: how far a fetch is, put together from what its threads say."""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

SPEED_OVER_S = 15.0
"""Seconds that the recent speed is taken over."""


@dataclass(frozen=True, slots=True)
class FetchProgress:
    """How far a fetch is; what lay there before counts as done.

    `bytes_total` is null while a size is unknown, `bytes_per_second` (recent, as received) until there is one, and
    `seconds_left` without both. `waiting` says why a thread waits, such as "the server asks to wait 30 s", and is null
    where none does. `mirror_misses` counts files that the mirror lacked or had otherwise than the server.
    """

    bytes_done: int
    bytes_total: int | None
    bytes_per_second: float | None
    seconds_left: float | None
    parts_done: int
    parts_total: int
    waiting: str | None
    mirror_misses: int


class Tally:
    """What the threads of a fetch say of its files, by name; safe from any thread."""

    def __init__(self, sizes: Mapping[str, int | None], clock: Callable[[], float]) -> None:
        """Begin with nothing done; `sizes` in bytes, null where unknown, `clock` in seconds that only grow."""
        self._lock = threading.Lock()
        self._sizes = dict(sizes)
        self._clock = clock
        self._done = dict.fromkeys(sizes, 0)
        self._whole: set[str] = set()
        self._missed: set[str] = set()
        self._waiting: dict[str, str] = {}
        self._received = 0
        self._samples: deque[tuple[float, int]] = deque([(clock(), 0)])

    def sized(self, name: str, size: int) -> None:
        """Note the size of a file that was not known."""
        with self._lock:
            self._sizes[name] = size

    def lies(self, name: str, size: int, *, received: int = 0) -> None:
        """Note that `size` bytes of a file lie there, of which `received` came in just now."""
        with self._lock:
            self._done[name] = size
            self._received += received

    def whole(self, name: str, size: int) -> None:
        """Note that a file is done."""
        with self._lock:
            self._sizes[name] = self._done[name] = size
            self._whole.add(name)

    def missed(self, name: str) -> None:
        """Note that the mirror was of no use for a file."""
        with self._lock:
            self._missed.add(name)

    def waits(self, name: str, reason: str | None) -> None:
        """Note why a file has to wait; null when it goes on."""
        with self._lock:
            if reason is None:
                self._waiting.pop(name, None)
            else:
                self._waiting[name] = reason

    def progress(self) -> FetchProgress:
        """Put it together, as of now."""
        with self._lock:
            now = self._clock()
            self._samples.append((now, self._received))
            while len(self._samples) > 2 and self._samples[1][0] <= now - SPEED_OVER_S:
                self._samples.popleft()
            began, before = self._samples[0]
            speed = (self._received - before) / (now - began) if now > began and self._received > before else None
            sizes = [size for size in self._sizes.values() if size is not None]
            total = sum(sizes) if len(sizes) == len(self._sizes) else None
            done = sum(self._done.values())
            return FetchProgress(
                bytes_done=done,
                bytes_total=total,
                bytes_per_second=speed,
                seconds_left=(total - done) / speed if speed and total is not None else None,
                parts_done=len(self._whole),
                parts_total=len(self._sizes),
                waiting="; ".join(dict.fromkeys(self._waiting.values())) or None,
                mirror_misses=len(self._missed),
            )
