"""A pool of worker processes that can be killed: the guard around code that may hang, eat memory or crash.

Here belongs the parent's side: who gets which task, who is late, what follows from a death. What runs in a worker is
`worker_process.py`, what is done to one from outside `workers.py`. Nothing here knows what a task or a section is.
Not `concurrent.futures` nor `multiprocessing.Pool`: neither goes on after the death of a worker.
"""

import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Generic, TypeVar

from valbench_dagster.mining.watch import Lost, Watch
from valbench_dagster.mining.worker_process import Done, Failed, WorkError, named
from valbench_dagster.mining.workers import Start, Worker, end_named, started

__all__ = ["Guard", "Start", "TooManyLostError", "Work", "WorkError", "WorkerDiedError", "run_guarded"]

Task = TypeVar("Task")
Result = TypeVar("Result")

Work = Callable[[Task, Watch, tuple[Lost, ...]], Result]
"""Does a task, entering sections by the watch but none of those lost. A function of a module: it is pickled by name."""

AHEAD = 3
"""Tasks per process that may have been read and not yet given back as results."""
GRACE_S = 1.0
"""Seconds past the deadline after which the parent ends a worker that its own alarm did not end."""


class WorkerDiedError(RuntimeError):
    """A worker died twice on the same task while it was on no section; the message names the task and both ends."""


class TooManyLostError(RuntimeError):
    """A task lost more sections than the guard allows; the message names the task and the first of them."""


@dataclass(frozen=True, slots=True)
class Guard:
    """What a worker may use.

    `deadline_s`: seconds on one section. `memory_bytes`: address space above what a worker has when it starts; kept on
    Linux only, macOS does not enforce such a limit. `most_lost`: sections that one task may lose. `ValueError`, naming
    all that is wrong, unless the first two are positive and the last is not negative.
    """

    deadline_s: float = 5.0
    memory_bytes: int = 2 << 30
    most_lost: int = 20

    def __post_init__(self) -> None:
        wrong = [
            f"{name} is {value}, expected {least}"
            for name, value, fits, least in (
                ("deadline_s", self.deadline_s, self.deadline_s > 0, "more than 0"),
                ("memory_bytes", self.memory_bytes, self.memory_bytes > 0, "more than 0"),
                ("most_lost", self.most_lost, self.most_lost >= 0, "at least 0"),
            )
            if not fits
        ]
        if wrong:
            raise ValueError(f"a guard that cannot be kept: {'; '.join(wrong)}")


def run_guarded(
    work: Work[Task, Result],
    tasks: Iterable[Task],
    *,
    processes: int,
    guard: Guard | None = None,
    initial: Callable[[], None] | None = None,
    meanwhile: Callable[[], None] | None = None,
    start: Start = "auto",
) -> Generator[Result, None, None]:
    """The results of `work` on each of `tasks`, in their order, whatever the number of processes, one included.

    Tasks are read as workers get free, at most `AHEAD` per process ahead of the results taken. A worker does one task
    after another, each once `initial` has run in it; tasks, results and errors are pickled. A section on which a
    worker dies, stays past the deadline or runs out of memory is lost: a new worker gets the same task again, with it
    among the lost. Ends all workers when it ends, is closed (`contextlib.closing`) or fails; they end themselves when
    this process is killed, at the latest a deadline after. `meanwhile` is called once, in this process, when the
    workers have their first tasks: there is nothing else to do here until one has done it.

    Raises, after the results of all tasks before: what the work or `tasks` raised, with the worker's traceback as a
    note (`WorkError` with its text where it cannot be pickled); `TooManyLostError`; `WorkerDiedError` where a worker
    dies a second time outside of any section, in which time is not limited. `ValueError` for `processes` under 1.
    """
    if processes < 1:
        raise ValueError(f"processes is {processes}, expected at least 1")
    return _Pool(work, tasks, processes, guard or Guard(), initial, start).results(meanwhile)


@dataclass(slots=True, eq=False)
class _Job(Generic[Task]):
    number: int
    task: Task
    lost: tuple[Lost, ...] = ()
    deaths: tuple[str, ...] = ()


class _Pool(Generic[Task, Result]):
    def __init__(
        self,
        work: Work[Task, Result],
        tasks: Iterable[Task],
        processes: int,
        guard: Guard,
        initial: Callable[[], None] | None,
        start: Start,
    ) -> None:
        self._work, self._processes, self._guard, self._initial, self._start = work, processes, guard, initial, start
        self._tasks = iter(tasks)
        self._read, self._next, self._all_read = 0, 0, False
        self._again: deque[_Job[Task]] = deque()
        self._workers: list[Worker] = []
        self._idle: list[Worker] = []
        self._busy: dict[Connection, tuple[Worker, _Job[Task]]] = {}
        self._outcomes: dict[int, Done | Failed] = {}  # of tasks that wait for an earlier one

    def results(self, meanwhile: Callable[[], None] | None) -> Generator[Result, None, None]:
        try:
            self._give_out()
            if meanwhile is not None:
                meanwhile()
            while True:
                self._give_out()
                if self._next in self._outcomes:
                    outcome = self._outcomes.pop(self._next)
                    if isinstance(outcome, Failed):
                        raise outcome.error
                    self._next += 1
                    self._give_out()  # the workers go on while the caller has the result
                    yield outcome.result
                elif self._busy:
                    self._wait()
                else:
                    return
        finally:
            self._end_all()

    def _give_out(self) -> None:
        while len(self._busy) < self._processes and (job := self._next_job()) is not None:
            worker = self._idle.pop() if self._idle else self._started()
            self._busy[worker.connection] = worker, job
            try:
                worker.connection.send((job.task, job.lost))
            except (BrokenPipeError, ConnectionResetError):
                continue  # it died while idle: its connection is at its end, which `_wait` sees
            except Exception as error:  # noqa: BLE001 - a task that cannot be pickled fails in its turn
                del self._busy[worker.connection]
                self._idle.append(worker)
                self._fail(job.number, error)

    def _next_job(self) -> _Job[Task] | None:
        if self._again:
            return self._again.popleft()
        if self._all_read or self._read - self._next >= AHEAD * self._processes:
            return None
        try:
            job = _Job(self._read, next(self._tasks))
        except StopIteration:
            self._all_read = True
            return None
        except Exception as error:  # noqa: BLE001 - raised when its turn comes, after the results before it
            self._fail(self._read, error)
            return None
        self._read += 1
        return job

    def _fail(self, number: int, error: Exception) -> None:
        self._outcomes[number] = Failed(error)
        self._all_read = True

    def _started(self) -> Worker:
        guard = self._guard
        worker = started(self._start, self._work, self._initial, guard.deadline_s, guard.memory_bytes)
        self._workers.append(worker)
        return worker

    def _wait(self) -> None:
        """Wait until a worker has something to say, has died, or may be late."""
        limit_s = self._guard.deadline_s + GRACE_S
        live = [worker for worker, _ in self._busy.values() if not worker.ended]
        nearest = min((worker.late_in_s(limit_s) for worker in live), default=None)
        for connection in wait(list(self._busy), None if nearest is None else max(nearest, 0.0)):
            if isinstance(connection, Connection):
                self._receive(*self._busy.pop(connection))
        for worker, _ in self._busy.values():
            if not worker.ended and worker.late_in_s(limit_s) <= 0:
                worker.end()

    def _receive(self, worker: Worker, job: _Job[Task]) -> None:
        try:
            outcome: Done | Failed = worker.connection.recv()
        except (EOFError, OSError):
            self._died(worker, job)
            return
        self._idle.append(worker)
        if isinstance(outcome, Failed):
            self._fail(job.number, outcome.error)
        else:
            self._outcomes[job.number] = outcome

    def _died(self, worker: Worker, job: _Job[Task]) -> None:
        code, section = worker.buried()
        self._workers.remove(worker)
        guard = self._guard
        if section is None:
            job.deaths = (*job.deaths, end_named(code))
            if len(job.deaths) < 2:
                self._again.append(job)
                return
            self._fail(
                job.number,
                WorkerDiedError(
                    f"the task {named(job.task)}: its worker died outside of any section, and so did the next: "
                    f"{' and '.join(job.deaths)}; expected a result; signal 9 is often a lack of memory: see the "
                    "system's log, and run again with fewer processes"
                ),
            )
            return
        if section.ran_out:
            detail = f"ran out of memory: more than {guard.memory_bytes / (1 << 20):g} MiB above what it started with"
        elif worker.ended or code == -signal.SIGALRM:
            detail = f"took longer than {guard.deadline_s:g} s and was ended"
        else:
            detail = f"the process died: {end_named(code)}"
        job.lost = (*job.lost, Lost(section.page_id, section.heading_index, detail))
        if len(job.lost) <= guard.most_lost:
            self._again.append(job)
            return
        some = "; ".join(f"page {each.page_id}, section {each.heading_index}: {each.detail}" for each in job.lost[:3])
        self._fail(
            job.number,
            TooManyLostError(
                f"the task {named(job.task)}: lost {len(job.lost)} sections, expected at most {guard.most_lost}; the "
                f"first: {some}; if they are sound, run again with a longer deadline or more memory"
            ),
        )

    def _end_all(self) -> None:
        for worker in self._workers:
            worker.end()
        for worker in self._workers:
            worker.buried()
