"""The engine of this project as a process of its own: asks marked questions into a ledger, and says what it cost.

    python -m benchmarks.inference.engine BASE_URL LEDGER --calls 10000 [--first 0] [--concurrency 256]
                                          [--acknowledged FILE]

Prints `READY`, waits for a line on its standard input, asks, and prints one line of JSON (`Cost`). With FILE the mark
of every call is written there the moment the ledger says that it can no longer be lost. The tests that kill a run
use this too.
"""

import argparse
import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from valbench_dagster.adapters.ledger.sql_ledger import SqlLedger
from valbench_dagster.adapters.openai.transport import OpenAITransport
from valbench_dagster.llm.calls import Message, Question, Request, ServedModel
from valbench_dagster.llm.dispatcher import Progress, ask_missing
from valbench_dagster.llm.endpoint import EndpointSettings
from valbench_dagster.llm.ledger import FinishedCall, Ledger, StoredFailure
from valbench_dagster.llm.retry import RetryRules

ENDPOINT = "loopback"
MODEL = "loopback"
"""As the server names itself in its replies."""

_SERVED = ServedModel(ENDPOINT, ENDPOINT, "chat", MODEL, 1, {"temperature": 0.1, "max_tokens": 1024})
_SYSTEM = "Answer in one or two paragraphs, with reasons, and say which values weigh most. " * 4
_ASKED = "Explain why the people of the valley were right to keep the old road open to all who had used it. " * 5


@dataclass(frozen=True, slots=True)
class Cost:
    """What asking cost: `began` and `ended` by the machine's clock (seconds, comparable between processes), CPU seconds
    meanwhile of the whole process and of the ledger's writer thread, most memory since the process began.
    """

    calls: int
    failed: int
    began: float
    ended: float
    cpu_s: float
    ledger_cpu_s: float
    whole_cpu_s: float
    peak_mb: float


def questions(first: int, count: int) -> Iterator[Question]:
    """Give the questions of the marks from `first` on, each of about 800 bytes."""
    for mark in range(first, first + count):
        yield Question(Request(_SERVED, (Message("system", _SYSTEM), Message("user", f"[[{mark:06d}]] {_ASKED}"))))


class Acknowledging:
    """A ledger that writes down what the real one has taken: by a system call, so that it outlives the process."""

    def __init__(self, ledger: Ledger, path: Path) -> None:
        self._ledger = ledger
        self._file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def known(self, fingerprints: Sequence[str]) -> set[str]:
        """Ask the real one."""
        return self._ledger.known(fingerprints)

    def replies(self, fingerprints: Sequence[str]) -> dict[str, bytes]:
        """Ask the real one."""
        return self._ledger.replies(fingerprints)

    def failures(self, fingerprints: Sequence[str]) -> dict[str, StoredFailure]:
        """Ask the real one."""
        return self._ledger.failures(fingerprints)

    async def append(self, call: FinishedCall) -> None:
        """Store a call, and write `+ fingerprint` before and `= fingerprint` once it is stored."""
        os.write(self._file, f"+ {call.fingerprint}\n".encode())
        await self._ledger.append(call)
        os.write(self._file, f"= {call.fingerprint}\n".encode())


def thread_seconds(name: str) -> float:
    """Give the CPU seconds of the living threads whose name begins with `name`, by the kernel's count."""
    found = [thread.native_id for thread in threading.enumerate() if thread.name.startswith(name)]
    return sum(int(Path(f"/proc/self/task/{tid}/schedstat").read_text().split()[0]) for tid in found) / 1e9


def peak_megabytes() -> float:
    """Give the most memory that this process ever had resident."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


def unwatched(_: Progress) -> None:
    """Watch nothing."""


async def ask(base_url: str, ledger: Ledger, first: int, count: int, concurrency: int) -> Cost:
    """Ask `count` questions from the mark `first` on, with the real transport and rules."""
    settings = EndpointSettings(ENDPOINT, base_url, concurrency=concurrency)
    async with OpenAITransport(settings) as transport:
        print("READY", flush=True)
        sys.stdin.readline()
        cpu, began = time.process_time(), time.monotonic()
        tally = await ask_missing(
            questions(first, count), ledger, {ENDPOINT: transport}, RetryRules(), "benchmark", unwatched
        )
        ended = time.monotonic()
        return Cost(
            calls=tally.asked,
            failed=tally.failed + tally.rejected + tally.unparsed,
            began=began,
            ended=ended,
            cpu_s=time.process_time() - cpu,
            ledger_cpu_s=thread_seconds("ledger"),
            whole_cpu_s=time.process_time(),
            peak_mb=peak_megabytes(),
        )


def main() -> None:
    """Ask and print what it cost."""
    parser = argparse.ArgumentParser(description="Asks marked questions into a ledger.")
    parser.add_argument("base_url")
    parser.add_argument("ledger", type=Path)
    parser.add_argument("--calls", type=int, required=True)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--acknowledged", type=Path)
    chosen = parser.parse_args()
    ledger = SqlLedger(f"sqlite:///{chosen.ledger}")
    try:
        used: Ledger = Acknowledging(ledger, chosen.acknowledged) if chosen.acknowledged else ledger
        cost = asyncio.run(ask(chosen.base_url, used, chosen.first, chosen.calls, chosen.concurrency))
    finally:
        ledger.close()
    print(json.dumps(asdict(cost)), flush=True)


if __name__ == "__main__":
    main()
