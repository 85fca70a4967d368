"""Interrupts: a signal that is to end the process ends first what it is waiting for, in order.

A handler that raises does so wherever the main thread is. Inside an event loop that is often a callback, whose errors
asyncio only logs (all but KeyboardInterrupt and SystemExit, and Dagster's own is neither): the run would go on. Here
the signal cancels the work instead, and has its handler once the work has ended.
"""

import asyncio
import signal
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

STOPPING = (signal.SIGINT, signal.SIGTERM)


def run_interruptibly(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end; a stopping signal that has a handler cancels it, then calls that handler.

    Raises what the handler raises, `KeyboardInterrupt` if that is nothing, and otherwise what the coroutine does.
    """
    handlers = {number: handler for number in STOPPING if callable(handler := signal.getsignal(number))}
    if threading.current_thread() is not threading.main_thread() or not handlers:
        return asyncio.run(work)
    received: list[signal.Signals] = []

    async def stoppable() -> T:
        task, loop = asyncio.create_task(work), asyncio.get_running_loop()

        def stop(number: signal.Signals) -> None:
            received.append(number)
            task.cancel()

        for number in handlers:
            loop.add_signal_handler(number, stop, number)
        return await task

    try:
        result = asyncio.run(stoppable())
    except asyncio.CancelledError:
        if not received:
            raise
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if received:
        signal.raise_signal(received[0])
        raise KeyboardInterrupt
    return result
