"""The crew of a run: the tasks that make its calls, and how they are stopped without losing what has arrived.

Here belong starting, waiting for and ending of tasks, and the storing that nothing may break off. What is asked by whom
is `dispatcher.py`.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Literal

from valbench_dagster.llm.budget import BudgetReached
from valbench_dagster.llm.ledger import FinishedCall, Ledger


@dataclass(slots=True)
class Worker:
    """What a worker is at: that says how it may be stopped."""

    at: Literal["nothing", "calling", "storing"] = "nothing"


class _Over(Exception):  # noqa: N818 - no error: the run ends
    """Ends a worker that was storing while the run was stopped."""


class Crew:
    """Workers, and the tasks beside them, of one run."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._workers: dict[asyncio.Task[None], Worker] = {}
        self._others: list[asyncio.Task[None]] = []
        self._over = False
        self._unstored: Exception | None = None

    def start_worker(self, work: Callable[[Worker], Coroutine[Any, Any, None]]) -> None:
        """Start a worker, which says by its `Worker` what it is at."""
        worker = Worker()
        self._workers[asyncio.create_task(work(worker))] = worker

    def start_beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Start a task that makes no calls and may be broken off at any time."""
        self._others.append(asyncio.create_task(work))

    async def store(self, worker: Worker, call: FinishedCall) -> None:
        """Store a call, whether or not the run is stopped meanwhile; then the worker ends here."""
        worker.at = "storing"
        try:
            await self._ledger.append(call)
        except Exception as error:
            self._unstored = self._unstored or error
            raise
        worker.at = "nothing"
        if self._over:
            raise _Over

    async def until_one_ends(self) -> None:
        """Wait until the first task has ended; raises its error."""
        ended, _ = await asyncio.wait((*self._others, *self._workers), return_when=asyncio.FIRST_COMPLETED)
        # A cap can wait: of two errors at once the other is what the run stops with.
        for task in sorted(ended, key=_is_at_a_cap):
            task.result()

    async def let_calls_end(self) -> None:
        """Break off whoever makes no call and wait for all others, who are to begin no more.

        Raises an error among them at once, but for `BudgetReached`.
        """
        busy = {task for task, worker in self._workers.items() if worker.at != "nothing"}
        for task in (*self._others, *(self._workers.keys() - busy)):
            task.cancel()
        while busy:
            ended, busy = await asyncio.wait(busy, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                error = task.exception()
                if error is not None and not isinstance(error, BudgetReached):
                    raise error

    async def stop(self) -> None:
        """End all tasks at once, but those that are storing when they have stored; raises what the ledger raised."""
        self._over = True
        for task in self._others:
            task.cancel()
        for task, worker in self._workers.items():
            if worker.at != "storing":
                task.cancel()
        # Not gathered: a gathering that is cancelled would cancel those who store.
        left = {task for task in (*self._others, *self._workers) if not task.done()}
        while left:
            _, left = await asyncio.wait(left)
        for task in (*self._others, *self._workers):
            if not task.cancelled():
                task.exception()  # looked at, or asyncio would log it; the error that counts has been raised
        if self._unstored is not None:
            raise self._unstored


def _is_at_a_cap(task: asyncio.Task[None]) -> bool:
    return not task.cancelled() and isinstance(task.exception(), BudgetReached)
