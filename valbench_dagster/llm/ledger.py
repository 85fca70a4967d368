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


@dataclass(frozen=True, slots=True)
class StoredFailure:
    """The newest failure stored for a fingerprint."""

    kind: CallKind
    message: str


class Ledger(Protocol):
    """What the dispatcher and the steps need of a ledger."""

    def replies(self, fingerprints: Sequence[str]) -> dict[str, bytes]:
        """Give the stored reply (JSON as it came) of each fingerprint that has one."""
        ...

    def failures(self, fingerprints: Sequence[str]) -> dict[str, StoredFailure]:
        """Give the newest failure of each fingerprint that has one."""
        ...

    async def append(self, call: FinishedCall) -> None:
        """Store a finished call; return when it can no longer be lost."""
        ...
