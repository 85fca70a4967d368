"""The ledger of the project, looked at and moved: what `valbench ledger` does.

Asking and storing are `asking.py`. Here belong the looks at a whole ledger, the transfer of its calls, and the end of
a batch that nobody will collect.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from valbench_dagster.adapters.ledger.connection import is_there, read_url
from valbench_dagster.adapters.ledger.errors import LedgerRefused
from valbench_dagster.adapters.ledger.sql_ledger import SqlLedger
from valbench_dagster.adapters.ledger.summaries import LedgerSize
from valbench_dagster.adapters.ledger.transfer import Chosen, Exported, Imported
from valbench_dagster.adapters.openai.batch import OpenAIBatchTransport
from valbench_dagster.llm.batches.log import OpenBatch, open_batches
from valbench_dagster.llm.batches.stop import stop_batch
from valbench_dagster.llm.ledger import BatchEvent, StepCost
from valbench_dagster.steps.asking import Part, endpoint_settings
from valbench_dagster.steps.project import Project


@dataclass(frozen=True, slots=True)
class LedgerState:
    """A ledger at a glance: `name` is its URL without password, `batches` are those open, as they were planned."""

    name: str
    size: LedgerSize
    costs: tuple[StepCost, ...]
    batches: tuple[OpenBatch, ...]


def look(project: Project) -> LedgerState:
    """Say what the project's ledger holds; raises `LedgerRefused` where there is none yet."""
    with _existing(project) as ledger:
        batches = open_batches(ledger.batch_events())
        return LedgerState(ledger.name, ledger.size(), tuple(ledger.costs()), tuple(batches.values()))


def export_ledger(project: Project, path: Path, chosen: Chosen) -> Exported:
    """Write the calls of the project's ledger to a new Parquet file; errors as `transfer.export_calls` and `look`."""
    with _existing(project) as ledger:
        return ledger.export_calls(path, chosen)


def import_ledger(project: Project, path: Path) -> Imported:
    """Store the calls of an exported file in the project's ledger, made where there is none; errors as `transfer`."""
    if not path.is_file():
        raise LedgerRefused(f"there is no file {path} to import")
    with SqlLedger(project.settings.ledger_url) as ledger:
        return ledger.import_calls(path)


def cancel_batch(project: Project, key: str) -> str:
    """Ask the provider to stop an open batch, named by our key or its id; give the sentence that says what follows.

    What it has done by then is paid for, and collected by the next run of its step. Raises `LedgerRefused` for a batch
    that is not open, was never created, or whose endpoint left the roster, and `EndpointRefused`.
    """
    with _existing(project) as ledger:
        batches = open_batches(ledger.batch_events())
    batch = next((each for each in batches.values() if key in (each.key, each.batch_id)), None)
    if batch is None:
        raise LedgerRefused(f"no open batch is called {key}; open are: {', '.join(batches) or 'none'}")
    entry = project.roster.endpoint.get(batch.endpoint)
    if entry is None:
        raise LedgerRefused(f"the roster has no endpoint {batch.endpoint}, at which batch {key} is: add it, or abandon")
    settings = endpoint_settings(batch.endpoint, entry, Part())

    async def cancel() -> str:
        async with OpenAIBatchTransport(settings) as transport:
            return await stop_batch(batch, transport)

    try:
        return asyncio.run(cancel())
    except LookupError as error:
        raise LedgerRefused(str(error)) from None


def abandon_batch(project: Project, key: str) -> BatchEvent:
    """Store that nothing of an open batch will come: its requests are asked again by the next run, and paid again.

    Nothing is said to the provider. Raises `LedgerRefused` for a key that no open batch has.
    """
    with _existing(project) as ledger:
        batches = open_batches(ledger.batch_events())
        if key not in batches:
            raise LedgerRefused(f"no open batch is called {key}; open are: {', '.join(batches) or 'none'}")
        batch = batches[key]
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        event = BatchEvent(
            key, "abandoned", batch.endpoint, batch.provider, at, batch.run, batch.batch_id, detail="by hand"
        )
        asyncio.run(ledger.record(event))
        return event


@contextmanager
def _existing(project: Project) -> Iterator[SqlLedger]:
    """Open the project's ledger if there is one: a look makes none."""
    if not is_there(read_url(project.settings.ledger_url)):
        raise LedgerRefused("there is no ledger yet: the first run that asks a model makes it")
    with SqlLedger(project.settings.ledger_url) as ledger:
        yield ledger
