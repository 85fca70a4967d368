"""A signal ends work that waits in an event loop: whatever it meets there, and once the work has cleaned up."""

import asyncio
import signal
import threading
from collections.abc import Iterator

import pytest

from valbench_dagster.steps.interrupts import run_interruptibly


class Stopped(BaseException):
    """What the handler of these tests raises, as Dagster's does: no KeyboardInterrupt, which asyncio knows."""


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    def stop(_number: int, _frame: object) -> None:
        raise Stopped

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


async def signalled(number: signal.Signals, cleaned: list[str]) -> str:
    """Be sent a signal while a callback runs, and take one more turn of the loop to clean up."""
    asyncio.get_running_loop().call_soon(signal.raise_signal, number)
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        await asyncio.sleep(0)
        cleaned.append("cleaned up")
    return "not reached"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_meets_a_callback_ends_the_work_once_it_has_cleaned_up(number: signal.Signals) -> None:
    cleaned: list[str] = []
    with pytest.raises(Stopped):
        run_interruptibly(signalled(number, cleaned))
    assert cleaned == ["cleaned up"]


def test_the_handlers_are_in_their_places_again_after_the_work() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert run_interruptibly(asyncio.sleep(0, "done")) == "done"
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_signal_that_its_process_ignores_does_not_end_the_work() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    async def goes_on() -> str:
        signal.raise_signal(signal.SIGINT)
        return await asyncio.sleep(0, "done")

    assert run_interruptibly(goes_on()) == "done"


def test_work_that_is_cancelled_by_itself_says_so() -> None:
    async def gives_up() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        run_interruptibly(gives_up())


def test_outside_the_main_thread_it_runs_without_handlers() -> None:
    results: list[str] = []
    thread = threading.Thread(target=lambda: results.append(run_interruptibly(asyncio.sleep(0, "done"))))
    thread.start()
    thread.join()
    assert results == ["done"]
