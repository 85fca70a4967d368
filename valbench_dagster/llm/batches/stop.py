"""Stopping a batch by hand: at the provider, so that it costs no more, or in the log, so that nobody waits for it.

Here belongs what a person may do about a batch that is open in the log. A run never does it.
"""

from collections.abc import Iterable
from random import Random

from valbench_dagster.llm.batches.log import BatchLedger, LogBook, OpenBatch, open_batches
from valbench_dagster.llm.batches.port import BatchTransport
from valbench_dagster.llm.batches.remote import BatchRemote
from valbench_dagster.llm.ledger import BatchEvent
from valbench_dagster.llm.retry import Clock, SystemClock


def open_batch(events: Iterable[BatchEvent], key: str) -> OpenBatch:
    """Find an open batch among the events of a log, by our key or the provider's id.

    Raises `LookupError`, which names those there are.
    """
    batches = open_batches(events)
    for batch in batches.values():
        if key in (batch.key, batch.batch_id):
            return batch
    known = ", ".join(batch.batch_id or batch.key for batch in batches.values())
    raise LookupError(f"there is no open batch {key}; open are: {known or 'none'}")


async def stop_batch(
    batch: OpenBatch, transport: BatchTransport, *, clock: Clock | None = None, rng: Random | None = None
) -> str:
    """Ask the provider to stop a batch; give the sentence that says what follows.

    What it has done by then is paid for, and collected by the next run of its step, which asks the rest again. Raises
    `EndpointRefused`, and `LookupError` for a batch that the provider was never asked for.
    """
    if batch.batch_id is None:
        raise LookupError(f"batch {batch.key} was planned and never created: there is nothing to stop, abandon it")
    found = await BatchRemote(transport, clock or SystemClock(), rng or Random()).cancel(batch.batch_id)
    return f"batch {found.id} is {found.status}: run {batch.step or 'its step'} again to collect what it has done"


async def abandon_batch(
    batch: OpenBatch, ledger: BatchLedger, endpoint: str, run: str, why: str, *, clock: Clock | None = None
) -> str:
    """Store that nothing of a batch will come; give the sentence that says what follows.

    Its requests are asked again by the next run, and what it has done is paid for twice: for a batch that its provider
    has lost, or whose account is gone. Nothing is sent.
    """
    await LogBook(ledger, endpoint, run, None, clock or SystemClock()).note(batch, "abandoned", detail=why)
    return f"batch {batch.batch_id or batch.key} is abandoned: its {len(batch.fingerprints):,} requests are asked again"
