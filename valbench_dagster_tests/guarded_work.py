"""Work for the pool of workers in tests: tasks that say what each of their sections does, and a program that runs them.

As a program (`python -m`, or by its path) it runs a pool in a process of its own, for what a test cannot do in its own:
start methods with the main module imported anew, a parent that is killed or interrupted.
"""

import faulthandler
import json
import multiprocessing
import os
import re
import signal
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from valbench_dagster.mining.pool import Guard, Start, run_guarded
from valbench_dagster.mining.watch import Lost, Watch


@dataclass(frozen=True)
class Span:
    """A task: its number, what it does outside of any section, and what each of its sections does.

    Section `i` of span `n` is heading `i` of page `n`. `path` is a place on disk for those who need one.
    """

    number: int
    sections: tuple[str, ...] = ()
    outside: str = "fine"
    path: Path = Path()


@dataclass(frozen=True)
class Report:
    """A result: the span's number, what became of each section, the worker's process id, and the lost it was given."""

    number: int
    sections: tuple[str, ...]
    pid: int
    lost: tuple[Lost, ...]


class TwoPartsError(Exception):
    """An exception that is pickled and cannot be made again: it takes two arguments and keeps one."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what} because {why}")


def parse(span: Span, watch: Watch, lost: tuple[Lost, ...]) -> Report:
    """Do a span: each section that is not lost under the watch."""
    DOINGS[span.outside](span)
    known = {(each.page_id, each.heading_index): each.detail for each in lost}
    became = []
    for index, doing in enumerate(span.sections):
        place = span.number, index
        if place not in known:
            with watch.section(*place):
                DOINGS[doing](span)
        became.append(known.get(place, "parsed"))
    return Report(span.number, tuple(became), os.getpid(), lost)


def _some_work(span: Span) -> None:
    sum(range(span.number * 7919 % 40_000))  # as good as random, and the same each time


def _loop(span: Span) -> None:
    while True:
        pass


def _loop_in_c(span: Span) -> None:
    # Every way of dividing the letters is tried, 2 ** 60 of them; the matcher never lets another thread run.
    re.match(r"(a+)+$", "a" * 60 + "b")


def _loop_without_alarm(span: Span) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    _loop(span)


def _die(number: signal.Signals) -> Callable[[Span], None]:
    def die(span: Span) -> None:
        faulthandler.disable()  # the test runner's would print a traceback
        os.kill(os.getpid(), number)

    return die


def _exit(span: Span) -> None:
    os._exit(3)


def _exit_once(span: Span) -> None:
    try:
        span.path.touch(exist_ok=False)
    except FileExistsError:
        return
    os._exit(3)


def _eat(span: Span) -> None:
    eaten = []
    while True:
        eaten.append(bytearray(1 << 20))


def _eat_and_catch(span: Span) -> None:
    try:
        _eat(span)
    except MemoryError:
        return


def _raise(error: Callable[[], Exception]) -> Callable[[Span], None]:
    def fail(span: Span) -> None:
        raise error()

    return fail


def _with_function() -> Exception:
    error = ValueError("holds a function")
    error.hook = lambda: None  # type: ignore[attr-defined]  # what cannot be pickled
    return error


def _wait_for_pipe(span: Span) -> None:
    span.path.read_bytes()


def _open_pipe(span: Span) -> None:
    span.path.write_bytes(b"go")


def _announced(doing: Callable[[Span], None]) -> Callable[[Span], None]:
    def announced(span: Span) -> None:
        sys.stdout.write("hanging\n")
        sys.stdout.flush()
        doing(span)

    return announced


DOINGS: dict[str, Callable[[Span], None]] = {
    "fine": lambda span: None,
    "some work": _some_work,
    "loop": _loop,
    "loop in C": _loop_in_c,
    "loop without alarm": _loop_without_alarm,
    "announced loop": _announced(_loop),
    "announced loop in C": _announced(_loop_in_c),
    "segmentation fault": _die(signal.SIGSEGV),
    "killed": _die(signal.SIGKILL),
    "exit": _exit,
    "exit once": _exit_once,
    "eat": _eat,
    "eat and catch": _eat_and_catch,
    "raise": _raise(lambda: LookupError("no such page")),
    "raise two parts": _raise(lambda: TwoPartsError("it failed", "it could")),
    "raise with function": _raise(_with_function),
    "wait for pipe": _wait_for_pipe,
    "open pipe": _open_pipe,
}


def size_of(text: bytes, watch: Watch, lost: tuple[Lost, ...]) -> bytes:
    """Give the task back, as a result that no pipe holds at once."""
    return text


def unsendable(number: int, watch: Watch, lost: tuple[Lost, ...]) -> object:
    """Give a result that cannot be pickled where the task is 1."""
    return (lambda: None) if number == 1 else number


READY: list[int] = []
"""Process ids in which `make_ready` ran, as one process sees it."""


def make_ready() -> None:
    """Note that a worker was made ready, by whom it is."""
    READY.append(os.getpid())


def not_ready() -> None:
    """Fail to make a worker ready."""
    raise OSError("no scratch folder")


def times_ready(number: int, watch: Watch, lost: tuple[Lost, ...]) -> int:
    """How often this worker was made ready."""
    return READY.count(os.getpid())


def main(start: str, deadline_s: str, *doings: str) -> None:
    """Run a span for each of `doings`, in two workers, and print what came of it as JSON, a line each.

    A doing is that of the span's second section, or with `outside: ` before it, that outside of any.
    """
    spans = [
        Span(number, ("fine",), outside=doing.removeprefix("outside: "))
        if doing.startswith("outside: ")
        else Span(number, ("fine", doing))
        for number, doing in enumerate(doings)
    ]
    guard = Guard(deadline_s=float(deadline_s))
    with closing(run_guarded(parse, spans, processes=2, guard=guard, start=cast(Start, start))) as reports:
        for report in reports:
            sys.stdout.write(json.dumps([report.number, *report.sections]) + "\n")
            sys.stdout.flush()
    sys.stdout.write(f"{len(multiprocessing.active_children())} children left\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
