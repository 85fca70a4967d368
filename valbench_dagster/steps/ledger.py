"""The ledger of the project, looked at and moved: what `valbench ledger` does.

Asking and storing are `asking.py`. Here belong the looks at a whole ledger, the transfer of its calls, and the end of
a batch that nobody will collect.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from valbench_dagster.adapters.ledger.connection import is_there, read_url
from valbench_dagster.adapters.ledger.errors import LedgerRefused
from valbench_dagster.adapters.ledger.sql_ledger import SqlLedger
from valbench_dagster.adapters.ledger.summaries import LedgerSize
from valbench_dagster.adapters.ledger.transfer import Chosen, Exported, Imported
from valbench_dagster.adapters.openai.batch import OpenAIBatchTransport
from valbench_dagster.llm.batches import stop
from valbench_dagster.llm.batches.log import OpenBatch, open_batches
from valbench_dagster.llm.ledger import StepCost
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
        batch = _open(ledger, key)
    entry = project.roster.endpoint.get(batch.endpoint)
    if entry is None:
        raise LedgerRefused(f"the roster has no endpoint {batch.endpoint}, at which batch {key} is: add it, or abandon")
    settings = endpoint_settings(batch.endpoint, entry, Part())

    async def cancel() -> str:
        async with OpenAIBatchTransport(settings) as transport:
            return await stop.stop_batch(batch, transport)

    try:
        return asyncio.run(cancel())
    except LookupError as error:
        raise LedgerRefused(str(error)) from None


def abandon_batch(project: Project, key: str) -> str:
    """Store that nothing of an open batch will come; give the sentence that says what follows.

    Its requests are asked again by the next run, and paid again; nothing is said to the provider. Raises
    `LedgerRefused` for a key that no open batch has.
    """
    with _existing(project) as ledger:
        batch = _open(ledger, key)
        return asyncio.run(stop.abandon_batch(batch, ledger, batch.endpoint, batch.run, "by hand"))


def _open(ledger: SqlLedger, key: str) -> OpenBatch:
    try:
        return stop.open_batch(ledger.batch_events(), key)
    except LookupError as error:
        raise LedgerRefused(str(error.args[0])) from None


@contextmanager
def _existing(project: Project) -> Iterator[SqlLedger]:
    """Open the project's ledger if there is one: a look makes none."""
    if not is_there(read_url(project.settings.ledger_url)):
        raise LedgerRefused("there is no ledger yet: the first run that asks a model makes it")
    with SqlLedger(project.settings.ledger_url) as ledger:
        yield ledger
