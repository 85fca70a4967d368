"""Asking from several processes, where one core is not enough for an endpoint.

Each process makes the step's questions anew and asks its share of them, chosen by fingerprint, so that equal requests
meet in one process and are paid once. They write one ledger; the answers are read from it afterwards by the process
that started them. Concurrency, rates and caps of the endpoint are divided among them. Here belong their start, their
messages and their end; what one process does is `asking.py`.

A process that loses its parent ends itself in order, as on any signal: what has arrived is stored.
"""

import asyncio
import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from valbench_dagster.llm.budget import BudgetReached, Caps, Spent
from valbench_dagster.llm.calls import Question
from valbench_dagster.llm.stops import EndpointRefused
from valbench_dagster.llm.tally import Progress, Tally
from valbench_dagster.settings import Settings
from valbench_dagster.steps.asking import Asking, Part, ask_part, open_ledger
from valbench_dagster.steps.project import open_project

Questions = Callable[..., Iterator[Question]]
"""Makes the questions of a step from a project and the arguments given with it; at a module's top level, so that it can
be named to another process."""

ENDING_S = 120.0
"""Seconds that a process may take to store what has arrived, once it is told to stop."""


class CallingProcessError(RuntimeError):
    """A process that made calls died or failed for a reason of its own; what it had stored is kept."""


@dataclass(frozen=True, slots=True)
class _Stopped:
    """How a process ended without having asked everything: what to raise for it."""

    kind: str
    arguments: tuple[Any, ...]

    def error(self) -> Exception:
        """Make the error again that was raised there."""
        known: dict[str, Callable[..., Exception]] = {"refused": EndpointRefused, "budget": BudgetReached}
        return known.get(self.kind, CallingProcessError)(*self.arguments)


def ask_in_processes(
    settings: Settings, questions: Questions, arguments: tuple[Any, ...], asking: Asking, processes: int
) -> Tally:
    """Ask every question that has no stored reply from `processes` processes; return what they did together.

    Raises what the first of them that could not go on raised there (`EndpointRefused`, `BudgetReached`), after all of
    them have stored what had arrived; `CallingProcessError` where one died.
    """
    expected = asking.expected
    asking = replace(asking, expected=None, caps=_each(asking.caps, asking.spent, processes), spent=Spent())
    context = multiprocessing.get_context("spawn")
    workers: list[tuple[BaseProcess, Connection]] = []
    try:
        for number in range(processes):
            ours, theirs = context.Pipe()
            task = (theirs, settings, questions, arguments, replace(asking, watch=_nobody), Part(number, processes))
            process = context.Process(target=_work, args=task, name=f"calling-{number}")
            process.start()
            theirs.close()
            workers.append((process, ours))
        return _joined([connection for _, connection in workers], asking.watch, expected)
    finally:
        _end(workers)


def _each(caps: Caps, spent: Spent, processes: int) -> Caps:
    """Divide what is left under the caps: together the processes never pass them."""
    tokens = spent.input_tokens + spent.output_tokens
    return Caps(
        None if caps.cost is None else max(0.0, caps.cost - spent.cost) / processes,
        None if caps.tokens is None else max(0, caps.tokens - tokens) // processes,
        None if caps.calls is None else max(0, caps.calls - spent.calls) // processes,
    )


def _joined(connections: list[Connection], watch: Callable[[Progress], None], expected: int | None) -> Tally:
    """Pass on progress until every process has ended well; raise for the first that has not."""
    progress: dict[int, Progress] = {}
    tallies: dict[int, Tally] = {}
    while len(tallies) < len(connections):
        waiting = [connection for number, connection in enumerate(connections) if number not in tallies]
        for ready in wait(waiting):
            number = next(index for index, connection in enumerate(connections) if connection is ready)
            try:
                message = connections[number].recv()
            except EOFError:
                raise CallingProcessError(
                    "a process that made calls died. What it had stored is kept: run again, it goes on from there"
                ) from None
            if isinstance(message, _Stopped):
                raise message.error()
            if isinstance(message, Tally):
                tallies[number] = message
            else:
                progress[number] = message
                watch(_together(list(progress.values()), expected))
    return _summed(list(tallies.values()))


def _together(parts: list[Progress], expected: int | None) -> Progress:
    """Say how far all processes are; they wait when each of those that have more to do does."""
    waiting = [part.waiting for part in parts if part.done < part.total]
    apart = ("total", "held_s", "waiting")
    sums = {
        each.name: sum(getattr(part, each.name) for part in parts)
        for each in fields(Progress)
        if each.name not in apart
    }
    return Progress(
        **sums,
        total=max(expected or 0, sum(part.total for part in parts)),
        held_s=max(part.held_s for part in parts),
        waiting=waiting[0] if waiting and None not in waiting else None,
    )


def _summed(parts: list[Tally]) -> Tally:
    return Tally(**{each.name: sum(getattr(part, each.name) for part in parts) for each in fields(Tally)})


def _end(workers: list[tuple[BaseProcess, Connection]]) -> None:
    """Tell all processes to stop, wait until they have stored what arrived, and kill those that cannot."""
    for _, connection in workers:
        connection.close()
    for process, _ in workers:
        process.join(ENDING_S)
        if process.exitcode is None:
            process.kill()
            process.join()
        process.close()


def _nobody(_progress: Progress) -> None:
    """Watch for nobody: in place of a watcher that cannot travel to another process."""


def _work(
    connection: Connection,
    settings: Settings,
    questions: Questions,
    arguments: tuple[Any, ...],
    asking: Asking,
    part: Part,
) -> None:
    """Ask one part of the questions and say how it went; runs in a process of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # meant for the parent, which ends us in order
    tell = _Teller(connection)
    try:
        tell(asyncio.run(_ask(connection, settings, questions, arguments, replace(asking, watch=tell), part)))
    except asyncio.CancelledError:
        return
    except EndpointRefused as error:
        tell(_Stopped("refused", (error.endpoint, error.status, str(error))))
    except BudgetReached as error:
        tell(_Stopped("budget", (str(error),)))
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent is to raise it
        tell(_Stopped("failed", (f"{type(error).__name__}: {error}",)))


class _Teller:
    """Sends to the parent while it lives; without one there is nobody to tell, and `_ask` ends of that by itself."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __call__(self, message: Progress | Tally | _Stopped) -> None:
        with suppress(OSError):
            self._connection.send(message)


async def _ask(
    connection: Connection,
    settings: Settings,
    questions: Questions,
    arguments: tuple[Any, ...],
    asking: Asking,
    part: Part,
) -> Tally:
    project = open_project(settings)
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine that runs is a task's
    loop.add_signal_handler(signal.SIGTERM, task.cancel)

    def heed_the_parent() -> None:
        try:
            connection.recv()
        except (EOFError, OSError):
            with suppress(RuntimeError):  # the loop has ended, and there is nothing left to stop
                loop.call_soon_threadsafe(task.cancel)

    threading.Thread(target=heed_the_parent, daemon=True).start()
    mine = (asked for asked in questions(project, *arguments) if part.holds(asked.request.fingerprint))
    with open_ledger(project) as ledger:
        return await ask_part(project, ledger, mine, asking, part)
