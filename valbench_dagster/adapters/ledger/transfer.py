"""Transfer: calls out of a ledger into a Parquet file, and from such a file into any ledger, whichever database.

Rows keep their order, so that of two replies the one that was served is served there too, and their ids, so that
nothing is stored twice however often a file is imported. Both directions hold a bounded number of rows in memory.
The events of open batches go into a file beside that of all calls: whoever lost them would pay for those again.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from sqlalchemy import Connection, Engine, Select, Table, or_, select

from valbench_dagster.adapters.ledger.connection import Patience, patiently, shown_url
from valbench_dagster.adapters.ledger.errors import LedgerRefused, cause, unwritable
from valbench_dagster.adapters.ledger.inserts import Row, call_row, event_row, insert_rows
from valbench_dagster.adapters.ledger.summaries import open_batch_events
from valbench_dagster.adapters.ledger.tables import batch_events, calls
from valbench_dagster.adapters.parquet import holds, read_rows, write_file
from valbench_dagster.llm.ledger import BatchEvent, FinishedCall
from valbench_dagster.records import Record

R = TypeVar("R", bound=Record)

ROWS_A_COMMIT = 500
READ_AHEAD = 200
"""Rows that are fetched from the database together."""


@dataclass(frozen=True, slots=True)
class StoredCall:
    """One row of `calls` in a file; see `llm.ledger.FinishedCall`."""

    TABLE: ClassVar[str] = "ledger_calls"
    VERSION: ClassVar[int] = 1
    KEY: ClassVar[tuple[str, ...]] = ("number",)

    number: Annotated[int, "Place in the ledger that it was exported from, ascending"]
    call_id: Annotated[str, "Id of the call, the same in every ledger"]
    fingerprint: Annotated[str, "Hash of everything that could change the reply"]
    kind: Annotated[str, "`reply`, `rejected` or `failed`"]
    endpoint: Annotated[str, "The roster's name of the server"]
    provider: Annotated[str, "Who serves the model"]
    model: Annotated[str, "The model as it was asked for"]
    status: Annotated[int | None, "HTTP status, null where none was had"]
    input_tokens: Annotated[int | None, "Tokens of the prompt, null where the server did not count"]
    output_tokens: Annotated[int | None, "Tokens of the reply, reasoning included"]
    started_at: Annotated[str, "Start of the attempt that ended the call, ISO 8601, UTC"]
    latency: Annotated[float, "Seconds from sending to the last byte"]
    attempts: Annotated[int, "Attempts made"]
    run: Annotated[str, "Run that made it"]
    schema_mode: Annotated[str | None, "How the reply was held to a schema, null without one"]
    served_model: Annotated[str | None, "The model that the reply names"]
    cached_tokens: Annotated[int | None, "Tokens of the prompt that came from the server's cache"]
    reasoning_tokens: Annotated[int | None, "Tokens of reasoning among the reply's"]
    cost: Annotated[float | None, "Cost by the roster's prices when it was made"]
    batch: Annotated[str | None, "The provider's id of the batch it was part of"]
    step: Annotated[str | None, "Fact table and partition it was made for"]
    message: Annotated[str | None, "What went wrong, null if nothing"]
    request: Annotated[bytes, "The request's JSON"]
    reply: Annotated[bytes | None, "The reply's JSON as it came, null unless `kind` is `reply`"]


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One row of `batch_events` in a file; see `llm.ledger.BatchEvent`."""

    TABLE: ClassVar[str] = "ledger_batch_events"
    VERSION: ClassVar[int] = 1
    KEY: ClassVar[tuple[str, ...]] = ("number",)

    number: Annotated[int, "Place in the file, ascending"]
    event_id: Annotated[str, "Id of the event, the same in every ledger"]
    batch: Annotated[str, "Our own key of the batch"]
    kind: Annotated[str, "What happened"]
    endpoint: Annotated[str, "The roster's name of the server"]
    provider: Annotated[str, "Who works on it"]
    at: Annotated[str, "When, ISO 8601, UTC"]
    run: Annotated[str, "Run that stored it"]
    remote_id: Annotated[str | None, "The provider's id of the file or batch"]
    fingerprints: Annotated[tuple[str, ...], "Requests that are to be sent"]
    detail: Annotated[str | None, "The provider's word, or why"]


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which calls are exported: null chooses all.

    `since` is the earliest start, ISO 8601, UTC; `step` a fact table, or one with snapshot, or a whole step.
    """

    endpoint: str | None = None
    since: str | None = None
    step: str | None = None


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: calls, and events of open batches in the file `events_path` (null: there were none)."""

    calls: int
    events: int
    events_path: Path | None


@dataclass(frozen=True, slots=True)
class Imported:
    """What a file held, and how many of its calls and events were not in the ledger before."""

    calls: int
    new_calls: int
    events: int
    new_events: int


def events_beside(path: Path) -> Path:
    """Give the path of the file with the events of open batches that belongs to a file of calls."""
    return path.with_name(f"{path.stem}.batch_events.parquet")


def export_calls(engine: Engine, path: Path, chosen: Chosen) -> Exported:
    """Write calls to a new Parquet file in the order of their ids; all of them with the open batches beside it.

    What is stored meanwhile is not in it. Raises `FileExistsError` for a file that is there, `FileNotFoundError` for a
    folder that is not, and the database's error where it does not answer.
    """
    events_path = events_beside(path)
    for there in (path, events_path):
        if there.exists():
            raise FileExistsError(f"there is a file {there} already: name another, or remove it")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.absolute().parent}: make it, or name a file elsewhere")
    with engine.connect() as connection:
        events = list(_stored_events(connection)) if chosen == Chosen() else []
        count = _write_aside(StoredCall, _stored_calls(connection, chosen), path)
    if events:
        _write_aside(StoredEvent, events, events_path)
    return Exported(count, len(events), events_path if events else None)


def import_calls(engine: Engine, path: Path, patience: Patience) -> Imported:
    """Store the calls of a file, and the events beside it, behind what is there; what is there already is passed over.

    Every few hundred rows are committed, so that a run may store between them. Raises `LedgerRefused` for files that no
    export made (nothing is stored then) or that are damaged (what stands before the damage is stored), and
    `LedgerUnwritable` where the database does not store.
    """
    if not path.is_file():
        raise LedgerRefused(f"there is no file {path} to import")
    events_path = events_beside(path)
    parts: list[tuple[type[Any], Path]] = [(StoredCall, path)]
    if events_path.is_file():
        parts.append((StoredEvent, events_path))
    for record, file in parts:
        if not holds(record, file):
            raise LedgerRefused(
                f"{file} is no file that `valbench ledger export` of this version wrote: nothing was imported"
            )
    (seen, new), (seen_events, new_events) = (
        *(_import(engine, record, file, patience) for record, file in parts),
        *([(0, 0)] * (2 - len(parts))),
    )
    return Imported(seen, new, seen_events, new_events)


def _stored_calls(connection: Connection, chosen: Chosen) -> Iterator[StoredCall]:
    columns = [calls.c["id" if field.name == "number" else field.name] for field in fields(StoredCall)]
    query: Select[Any] = select(*columns).order_by(calls.c.id)
    if chosen.endpoint is not None:
        query = query.where(calls.c.endpoint == chosen.endpoint)
    if chosen.since is not None:
        query = query.where(calls.c.started_at >= chosen.since)
    if chosen.step is not None:
        within = calls.c.step.startswith(f"{chosen.step}/", autoescape=True)
        query = query.where(or_(calls.c.step == chosen.step, within))
    names = [field.name for field in fields(StoredCall)]
    for row in connection.execution_options(yield_per=READ_AHEAD).execute(query):
        yield StoredCall(**dict(zip(names, row, strict=True)))


def _stored_events(connection: Connection) -> Iterator[StoredEvent]:
    for number, (event_id, event) in enumerate(open_batch_events(connection, None)):
        yield StoredEvent(number, event_id, **{field.name: getattr(event, field.name) for field in fields(BatchEvent)})


def _write_aside(record: type[R], rows: Iterable[R], path: Path) -> int:
    """Write a whole file or none."""
    aside = path.with_name(f"{path.name}.part")
    try:
        count = write_file(record, rows, aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return count


def _import(engine: Engine, record: type[Any], path: Path, patience: Patience) -> tuple[int, int]:
    """Store the rows of one file; give how many it held and how many were new."""
    table, row_of = (calls, _call_row) if record is StoredCall else (batch_events, _event_row)
    seen = new = 0
    with path.open("rb") as file:
        rows = map(row_of, read_rows(record, file, str(path)))
        while True:
            try:
                some = list(islice(rows, ROWS_A_COMMIT))
            except (ValueError, OSError) as error:
                raise LedgerRefused(
                    f"{path} is damaged behind its row {seen} ({cause(error)}): the rows before are in the ledger. "
                    "Export it again, then import that: nothing is stored twice"
                ) from None
            if not some:
                return seen, new
            try:
                new += patiently(patience, lambda: _store(engine, table, some))  # noqa: B023 - called at once
            except Exception as error:  # noqa: BLE001 - whatever it is, it says why nothing more was stored
                raise unwritable(shown_url(engine.url), error) from None
            seen += len(some)


def _store(engine: Engine, table: Table, rows: list[Row]) -> int:
    connection = engine.raw_connection()
    try:
        new = insert_rows(connection.cursor(), engine.dialect, table, rows)
        connection.commit()
    except Exception:
        connection.invalidate()
        raise
    connection.close()
    return new


def _call_row(stored: StoredCall) -> Row:
    named: dict[str, Any] = {field.name: getattr(stored, field.name) for field in fields(FinishedCall)}
    return call_row(stored.call_id, FinishedCall(**named))


def _event_row(stored: StoredEvent) -> Row:
    named: dict[str, Any] = {field.name: getattr(stored, field.name) for field in fields(BatchEvent)}
    return event_row(stored.event_id, BatchEvent(**named))
