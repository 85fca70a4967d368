"""Submitting: requests put into a file, the file uploaded, a batch made of it, each step stored before the next.

Here belong the file of one batch and the way from a plan to the provider's id, in such an order that a crash at any
point loses nothing and pays nothing twice. What becomes of batches is `batches.py`.

    planned in the log -> log read: all of it ours? -> uploaded -> stored -> still ours? -> created -> id stored

What remains possible: a file uploaded and not stored stays at the provider until it expires; two processes on one
PostgreSQL ledger whose plans are committed within the same milliseconds may not see one another; a provider whose list
shows a new batch only after `batch_log.SETTLING_S` may be asked for it twice by a run that crashed in between.
"""

import logging
import tempfile
from collections.abc import Callable
from random import Random

from valbench_dagster.identity import identify
from valbench_dagster.llm.batches.desk import Desk
from valbench_dagster.llm.batches.lines import path_in_batch
from valbench_dagster.llm.batches.log import LogBook, OpenBatch
from valbench_dagster.llm.batches.port import BatchLimits
from valbench_dagster.llm.batches.remote import BatchRemote
from valbench_dagster.llm.calls import ServedModel

_log = logging.getLogger(__name__)


class Draft:
    """A file that is being filled: requests of one model and one API kind, on disk and not in memory."""

    def __init__(self, served: ServedModel) -> None:
        self.provider = served.provider
        self.path = path_in_batch(served.api)
        self.fingerprints: list[str] = []
        self.content = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`: it outlives this function
        self._bytes = 0

    def takes(self, line: bytes, limits: BatchLimits) -> bool:
        """Say whether a line fits; an empty file takes one of any length."""
        if not self.fingerprints:
            return True
        return len(self.fingerprints) < limits.requests_a_file and self._bytes + len(line) <= limits.bytes_a_file

    def add(self, fingerprint: str, line: bytes) -> None:
        """Append a request."""
        self.content.write(line)
        self.fingerprints.append(fingerprint)
        self._bytes += len(line)

    def close(self) -> None:
        """Let go of the file."""
        self.content.close()


class Submitter:
    """Makes batches of drafts, and settles what became of batches that were planned and never heard of.

    `look` reads the log into the desk.
    """

    def __init__(
        self, desk: Desk, book: LogBook, remote: BatchRemote, rng: Random, lease_s: float, look: Callable[[], None]
    ) -> None:
        self._desk = desk
        self._book = book
        self._remote = remote
        self._rng = rng
        self._lease_s = lease_s
        self._look = look

    async def submit(self, draft: Draft) -> None:
        """Make a batch of a draft; afterwards its requests are in an open batch, or due again.

        No two plans share a key: the same requests may need a second batch, which must not find the first by its key.
        Raises `EndpointRefused`.
        """
        once = [self._book.run, self._book.now(), self._rng.getrandbits(64)]
        key = identify("batch", [draft.provider, once, draft.fingerprints])
        batch = await self._book.plan(key, draft.provider, draft.fingerprints)
        self._look()
        if any(self._desk.holder(fingerprint) not in (key, None) for fingerprint in draft.fingerprints):
            await self._book.note(batch, "abandoned", detail="another process had planned some of its requests before")
            self._look()
            return
        file_id = await self._remote.upload(f"valbench-{key}.jsonl", draft.content)
        batch = await self._book.note(batch, "uploaded", remote_id=file_id)
        self._look()
        if key not in self._desk.open:
            _log.warning("batch %s was taken over by another process while its file was uploaded", key)
            await self._remote.delete([file_id])
            return
        made = await self._remote.create(batch, file_id, draft.path)
        self._desk.update(await self._book.note(batch, "created", remote_id=made.id))

    async def recover(self, batch: OpenBatch) -> bool:
        """Settle what became of a planned batch without an id: adopt it, or give the plan up; false while too early.

        Raises `EndpointRefused`.
        """
        if not self._book.may_take_over(batch, self._lease_s):
            return False
        made = await self._remote.find(batch)
        if made is not None:
            _log.info("batch %s is at the provider as %s: going on with it", batch.key, made.id)
            self._desk.update(await self._book.note(batch, "created", remote_id=made.id))
            return True
        await self._book.note(batch, "abandoned", detail="never created: the provider has no batch of this key")
        await self._remote.delete([batch.file_id])
        self._look()
        return True
