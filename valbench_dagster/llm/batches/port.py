"""The port of a provider's Batch API: files of requests that are worked off within a day, for less money.

Vendor-free. Here belong what a provider says of a batch and what the flow (`batches.py`) needs of an adapter
(`adapters/openai/batch.py`; scripted objects in tests). What stands in the files is `lines.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from valbench_dagster.llm.endpoint import EndpointSettings

OUR_KEY = "valbench_batch"
"""The metadata of a batch in which our own key of it stands."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How much goes into one file and how many batches are waited for at once.

    The public limits are 50,000 requests and 200 MB a file. Questions are held in memory while their batch is open, so
    `open_at_once` bounds the memory of a run.
    """

    requests_a_file: int = 50_000
    bytes_a_file: int = 200_000_000
    open_at_once: int = 8


@dataclass(frozen=True, slots=True)
class LineError:
    """What a provider holds against a batch as a whole (`line` null) or one line of its file (counted from 1)."""

    line: int | None
    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
"""States in which a batch will do no more: all lines done; refused when its file was checked; out of time; stopped."""


@dataclass(frozen=True, slots=True)
class RemoteBatch:
    """A batch as its provider describes it.

    `status` is the provider's word; one that is not among `ENDED` means that it is at work. `created_at` is in Unix
    seconds. `done` counts lines answered, with a reply or an error. Files are null where there is none (yet);
    `our_key` is null for a batch that is not of this project.
    """

    id: str
    status: str
    input_file: str | None = None
    output_file: str | None = None
    error_file: str | None = None
    created_at: int = 0
    done: int = 0
    our_key: str | None = None
    errors: tuple[LineError, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether it will do no more."""
        return self.status in ENDED


@dataclass(frozen=True, slots=True)
class BatchPage:
    """One page of a provider's batches, newest first; `after` asks for the next one, null if there is none."""

    batches: tuple[RemoteBatch, ...]
    after: str | None = None


class BatchTransport(Protocol):
    """One open endpoint that has a Batch API. Every method makes one try, and raises `TransportFault` if it failed."""

    @property
    def settings(self) -> EndpointSettings:
        """What the roster says of the endpoint."""
        ...

    async def upload(self, name: str, content: BinaryIO) -> str:
        """Store a file of lines, read from its beginning, at the provider; give its id there."""
        ...

    async def create(self, file_id: str, path: str, metadata: Mapping[str, str]) -> RemoteBatch:
        """Have the lines of an uploaded file worked off; each asks `path`, such as `/v1/chat/completions`."""
        ...

    async def retrieve(self, batch_id: str) -> RemoteBatch:
        """Give the present state of a batch."""
        ...

    async def batches(self, after: str | None = None) -> BatchPage:
        """Give a page of the account's batches, newest first."""
        ...

    async def cancel(self, batch_id: str) -> RemoteBatch:
        """Ask for a batch to be stopped: what is done by then can still be collected."""
        ...

    async def download(self, file_id: str, into: BinaryIO) -> None:
        """Write a file of the provider into `into`, from its beginning, in place of all it held."""
        ...

    async def delete(self, file_id: str) -> None:
        """Remove a file at the provider."""
        ...
