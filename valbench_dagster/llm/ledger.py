"""The port of the ledger: every finished call, stored before anything is made of it.

Append-only: nothing in a ledger is ever updated or deleted by a run. A reply is served for ever; where two replies to
one fingerprint exist (two processes raced), the one with the lowest id. Failures are stored as failures and never
served as replies. Which database holds it is an adapter's business.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

CallKind = Literal["reply", "rejected", "failed"]


@dataclass(frozen=True, slots=True)
class FinishedCall:
    """One finished call, as it is stored.

    `reply` is the server's JSON as it came, null unless `kind` is `reply`; `message` says what went wrong, null if
    nothing. `started_at` is ISO 8601 UTC, `latency` in seconds from sending to the last byte of the attempt that
    ended the call, `attempts` counts those made. No key, header or address is in any field.
    """

    fingerprint: str
    kind: CallKind
    endpoint: str
    provider: str
    model: str
    request: bytes
    reply: bytes | None
    status: int | None
    message: str | None
    input_tokens: int | None
    output_tokens: int | None
    started_at: str
    latency: float
    attempts: int
    run: str
    schema_mode: str | None = None
    """How the reply was held to a schema (`calls.SchemaMode`); null where the request has none."""
    served_model: str | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost: float | None = None
    """By the roster's prices when the call was made; null without a reply."""
    batch: str | None = None
    """The provider's id of the batch it was part of; null for a call of its own."""
    step: str | None = None
    """What it was made for: fact table and partition, as `responses/enwiki-20261101/llama`; null outside of a step."""


@dataclass(frozen=True, slots=True)
class StoredFailure:
    """The newest failure stored for a fingerprint."""

    kind: CallKind
    message: str


@dataclass(frozen=True, slots=True)
class StepCost:
    """What the calls of one step to one model of one endpoint came to, all runs together.

    `step` is null for calls made outside of a step. `replies`, `rejected` and `failed` count calls by their kind.
    Tokens and `cost` are sums over what was counted: a reply whose tokens the server did not count adds none. Cached
    tokens are among the input's, reasoning tokens among the output's.
    """

    step: str | None
    endpoint: str
    provider: str
    model: str
    replies: int
    rejected: int
    failed: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost: float


BatchEventKind = Literal["planned", "uploaded", "created", "ended", "collected", "abandoned"]


@dataclass(frozen=True, slots=True)
class BatchEvent:
    """One thing that happened to a batch of calls: stored before what comes next is begun.

    `batch` is our own key of it. `planned`: `fingerprints` are to be sent; `uploaded`: the provider holds the file
    `remote_id`; `created`: it works on the batch `remote_id`; `ended`: it will do no more, `detail` is its word for
    how; `collected`: every line it gave is in the ledger; `abandoned`: nothing of it will come, `detail` says why.
    """

    batch: str
    kind: BatchEventKind
    endpoint: str
    provider: str
    at: str
    run: str
    remote_id: str | None = None
    fingerprints: tuple[str, ...] = ()
    detail: str | None = None


class BatchLog(Protocol):
    """What the batch flow needs of a ledger beside its calls."""

    async def record(self, event: BatchEvent) -> None:
        """Store an event; return when it can no longer be lost."""
        ...

    def batch_events(self, provider: str) -> list[BatchEvent]:
        """Give every event of a provider's batches that are neither collected nor abandoned, in order."""
        ...


class Ledger(Protocol):
    """What the dispatcher and the steps need of a ledger."""

    def known(self, fingerprints: Sequence[str]) -> set[str]:
        """Give those fingerprints that have a stored reply, without reading it."""
        ...

    def replies(self, fingerprints: Sequence[str]) -> dict[str, bytes]:
        """Give the stored reply (JSON as it came) of each fingerprint that has one."""
        ...

    def failures(self, fingerprints: Sequence[str]) -> dict[str, StoredFailure]:
        """Give the newest failure of each fingerprint that has one."""
        ...

    async def append(self, call: FinishedCall) -> None:
        """Store a finished call; return when it can no longer be lost."""
        ...
