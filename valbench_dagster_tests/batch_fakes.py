"""Stand-ins for the ports of the Batch API: a transport straight to a `BatchProvider`, and a ledger with a log.

A `Lab` holds what outlives the runs of a test: the provider, the ledger and a clock that costs no time.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any, BinaryIO, TypeVar

from valbench_dagster.llm.batches.flow import ask_by_batches
from valbench_dagster.llm.batches.port import OUR_KEY, BatchPage, LineError, RemoteBatch
from valbench_dagster.llm.calls import Question
from valbench_dagster.llm.endpoint import EndpointSettings, TransportFault
from valbench_dagster.llm.ledger import BatchEvent, FinishedCall
from valbench_dagster.llm.settle import answers
from valbench_dagster.llm.tally import Progress, Tally
from valbench_dagster_tests.batch_provider import ApiError, BatchProvider
from valbench_dagster_tests.llm_fakes import FakeClock, MemoryLedger, question

T = TypeVar("T")

STEP = "responses/sample/m"
POLL_S = 30.0


class Killed(BaseException):
    """The process is dead: nothing after this line of it has happened."""


class MemoryBatchLedger(MemoryLedger):
    """A ledger that forgets everything, with a log of batches.

    `dies_at` names the storing at which the process dies: an event's kind, or `call` and the number of calls stored
    before; `dies_after` says whether it is stored first. It dies there once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.events: list[BatchEvent] = []
        self.dies_at: str | None = None
        self.dies_after = False

    async def append(self, call: FinishedCall) -> None:
        dies = self._dies(f"call {len(self.calls)}")
        if dies and not self.dies_after:
            raise Killed
        await super().append(call)
        if dies:
            raise Killed

    async def record(self, event: BatchEvent) -> None:
        dies = self._dies(event.kind)
        if dies and not self.dies_after:
            raise Killed
        self.events.append(event)
        if dies:
            raise Killed

    def _dies(self, place: str) -> bool:
        if self.dies_at != place:
            return False
        self.dies_at = None
        return True

    def batch_events(self, provider: str) -> list[BatchEvent]:
        closed = {event.batch for event in self.events if event.kind in ("collected", "abandoned")}
        return [event for event in self.events if event.provider == provider and event.batch not in closed]

    def kinds(self) -> list[str]:
        """Give the kinds of all events, in order."""
        return [event.kind for event in self.events]

    def by_kind(self) -> Counter[str]:
        """Count the calls by kind."""
        return Counter(call.kind for call in self.calls)

    def twice(self) -> list[str]:
        """Give the requests of which there is more than one reply."""
        replied = Counter(call.fingerprint for call in self.calls if call.kind == "reply")
        return [fingerprint for fingerprint, times in replied.items() if times > 1]


class ProviderTransport:
    """Asks a `BatchProvider` in memory; each request takes `takes` seconds of the clock.

    `dies_in` names the request during which the process dies, after the provider has done what it was asked.
    """

    def __init__(self, provider: BatchProvider, clock: FakeClock, takes: float = 1.0, name: str = "lab") -> None:
        self.settings = EndpointSettings(name, "http://lab/v1")
        self.provider = provider
        self.dies_in: str | None = None
        self.clock = clock
        self.takes = takes

    async def upload(self, name: str, content: BinaryIO) -> str:
        content.seek(0)
        lines = content.read()
        return str((await self._ask("upload", lambda: self.provider.upload(name, lines, "batch")))["id"])

    async def create(self, file_id: str, path: str, metadata: Mapping[str, str]) -> RemoteBatch:
        body = {"input_file_id": file_id, "endpoint": path, "completion_window": "24h", "metadata": dict(metadata)}
        return remote(await self._ask("create", lambda: self.provider.create(body)))

    async def retrieve(self, batch_id: str) -> RemoteBatch:
        return remote(await self._ask("retrieve", lambda: self.provider.retrieve(batch_id)))

    async def batches(self, after: str | None = None) -> BatchPage:
        page = await self._ask("list", lambda: self.provider.listed(after, 2))
        return BatchPage(tuple(map(remote, page["data"])), page["last_id"] if page["has_more"] else None)

    async def cancel(self, batch_id: str) -> RemoteBatch:
        return remote(await self._ask("cancel", lambda: self.provider.cancel(batch_id)))

    async def download(self, file_id: str, into: BinaryIO) -> None:
        into.write(await self._ask("content", lambda: self.provider.content(file_id)))

    async def delete(self, file_id: str) -> None:
        await self._ask("delete", lambda: self.provider.delete(file_id))

    async def _ask(self, request: str, do: Callable[[], T]) -> T:
        await self.clock.sleep(self.takes)
        try:
            done = do()
        except ApiError as error:
            raise TransportFault("status", error.status, f"{error.code}: {error.message}") from None
        if self.dies_in == request:
            raise Killed
        return done


def remote(fields: Mapping[str, Any]) -> RemoteBatch:
    """Read the API's fields of a batch."""
    counts, errors = fields["request_counts"], fields["errors"] or {"data": []}
    return RemoteBatch(
        id=fields["id"],
        status=fields["status"],
        input_file=fields["input_file_id"],
        output_file=fields["output_file_id"],
        error_file=fields["error_file_id"],
        created_at=fields["created_at"],
        done=counts["completed"] + counts["failed"],
        our_key=(fields["metadata"] or {}).get(OUR_KEY),
        errors=tuple(LineError(error["line"], error["code"], error["message"]) for error in errors["data"]),
    )


def asked(number: int, **kwargs: Any) -> list[Question]:
    """Give questions `q0`, `q1`, ..."""
    return [question(f"q{index}", **kwargs) for index in range(number)]


class Lab:
    """A provider, a ledger and a clock that outlive the runs of a test."""

    def __init__(self, provider: BatchProvider | None = None) -> None:
        self.provider = provider or BatchProvider()
        self.clock = FakeClock()
        self.provider.now = lambda: self.clock.now().timestamp()
        self.ledger = MemoryBatchLedger()
        self.transport = ProviderTransport(self.provider, self.clock)
        self.said: list[Progress] = []
        self.runs = 0

    def run(self, questions: Iterable[Question], **kwargs: Any) -> Tally:
        """Ask in a run of its own, to its end."""
        self.runs += 1
        return asyncio.run(self.asking(questions, run=f"run-{self.runs}", **kwargs))

    async def asking(self, questions: Iterable[Question], run: str, **kwargs: Any) -> Tally:
        """Ask in a run of the given id."""
        transport = kwargs.pop("transport", self.transport)
        given = {"step": STEP, "clock": self.clock, "rng": Random(run), "poll_s": POLL_S, **kwargs}
        return await ask_by_batches(questions, self.ledger, transport, run, self.said.append, **given)

    def answered(self, questions: Iterable[Question]) -> list[str]:
        """Give the outcome of each question by the ledger."""
        return [answer.outcome for answer in answers(questions, self.ledger)]

    def clean(self) -> bool:
        """Say whether nothing is left: no open batch in the log, no file at the provider."""
        return not self.ledger.batch_events("lab") and not self.provider.files

    def batches(self) -> list[int]:
        """Give the number of requests of each batch that was made."""
        return [len(ids) for ids in self.provider.custom_ids()]
