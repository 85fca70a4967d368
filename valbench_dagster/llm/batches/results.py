"""The results of a batch: its files fetched, what each line means, and the ledger's record of how a request ended.

Nothing is stored here: in which order things are is `collect.py`. How a line reads is `lines.py`.
"""

import logging
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

import orjson

from valbench_dagster.llm.apis.wire import request_body
from valbench_dagster.llm.batches.lines import ResultLine, Unusable, result_lines
from valbench_dagster.llm.batches.log import OpenBatch
from valbench_dagster.llm.batches.port import RemoteBatch
from valbench_dagster.llm.batches.remote import BatchRemote
from valbench_dagster.llm.calls import Reply, Request, SchemaMode
from valbench_dagster.llm.endpoint import TransportFault
from valbench_dagster.llm.ledger import CallKind, FinishedCall
from valbench_dagster.llm.replies import BadReply, read_reply
from valbench_dagster.llm.retry import treatment
from valbench_dagster.llm.served_names import fits
from valbench_dagster.llm.settle import in_chunks

STORED_TOGETHER = 500
"""Lines looked up and stored at once."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Read:
    """What a line means.

    `kind` is what is to be stored of it; null where the request is to be asked again: for no fault of its own (out of
    time, stopped, overload), or not surely one (a broken body, another model's reply). Either `reply` or `fault` is
    null.
    """

    kind: CallKind | None
    reply: Reply | None
    fault: TransportFault | None


async def results(remote: BatchRemote, batch: OpenBatch, found: RemoteBatch) -> AsyncIterator[list[ResultLine]]:
    """Give the results of a batch that has ended, some at a time, those of its output file first.

    A file that the provider lacks is logged, and so are lines that are no result of the batch. Raises
    `EndpointRefused`.
    """
    asked, unusable = frozenset(batch.fingerprints), Unusable()
    for file_id in (found.output_file, found.error_file):
        if file_id is None:
            continue
        with tempfile.TemporaryFile() as file:
            if not await remote.download(file_id, file):
                _log.warning("batch %s: the provider has lost its file %s", found.id, file_id)
                continue
            file.seek(0)
            for some in in_chunks(result_lines(file, asked, unusable), STORED_TOGETHER):
                yield some
    if unusable:
        _log.warning("batch %s: lines that are no results of it: %s", found.id, unusable)


def read(line: ResultLine, request: Request) -> Read:
    """Say what a line means for the request it belongs to."""
    if line.reply is None:
        fault = TransportFault("broken" if line.status is None else "status", line.status, line.message or "no message")
        kinds: dict[str, CallKind | None] = {"rejected": "rejected", "fatal": "failed", "retry": None}
        return Read(kinds[treatment(fault)], None, fault)
    try:
        reply = read_reply(request.served.api, line.reply)
    except BadReply as bad:
        return Read(None, None, TransportFault("broken", None, str(bad)))
    served = request.served
    if not fits(served.model, reply.served_model, served.answers_as):
        other = f"answers as `{reply.served_model}` where `{served.model}` was asked"
        return Read(None, None, TransportFault("another_model", None, other))
    return Read("reply", reply, None)


def schema_mode(request: Request) -> SchemaMode | None:
    """Give how a batch asks for a schema: as the roster pins it, else as strictly as can be; null where none is asked.

    A batch cannot find out what the server obeys before all of it is asked; the providers that have one obey.
    """
    if request.schema is None:
        return None
    return "json_schema" if request.served.structured == "auto" else request.served.structured


def body_of(request: Request) -> bytes:
    """Give the JSON body of a request, as its line and the ledger hold it."""
    return orjson.dumps(request_body(request, schema_mode(request) or "json_schema"))


@dataclass(frozen=True, slots=True)
class Ended:
    """A request that has ended: what is to be stored, and its reply, null if it has none."""

    call: FinishedCall
    reply: Reply | None


@dataclass(frozen=True, slots=True)
class CallRecords:
    """Makes the ledger's record of how a request ended: for one batch, by one run.

    `batch_id` is the provider's; null where the request never came into a batch. `ended_at` is when the batch was seen
    to have ended: `latency` is the time since it was created, that of all its requests.
    """

    endpoint: str
    run: str
    step: str | None
    batch_id: str | None
    created_at: datetime
    ended_at: datetime

    def of_line(self, request: Request, line: ResultLine, result: Read, *, attempts: int) -> Ended:
        """Give the record of a request that a line has ended; `attempts` counts the batches it was in."""
        message = None if result.fault is None else str(result.fault)
        return self._record(request, result.kind or "failed", message, attempts, line.status, line.reply, result.reply)

    def of_failure(
        self, request: Request, kind: CallKind, message: str, *, attempts: int, status: int | None = None
    ) -> Ended:
        """Give the record of a request that ended without a reply."""
        return self._record(request, kind, message, attempts, status, None, None)

    def _record(
        self,
        request: Request,
        kind: CallKind,
        message: str | None,
        attempts: int,
        status: int | None,
        raw: bytes | None,
        reply: Reply | None,
    ) -> Ended:
        served = request.served
        call = FinishedCall(
            fingerprint=request.fingerprint,
            kind=kind,
            endpoint=self.endpoint,
            provider=served.provider,
            model=served.model,
            request=body_of(request),
            reply=raw if reply is not None else None,
            status=status,
            message=message,
            input_tokens=None if reply is None else reply.input_tokens,
            output_tokens=None if reply is None else reply.output_tokens,
            started_at=self.created_at.isoformat(timespec="milliseconds"),
            latency=max(0.0, (self.ended_at - self.created_at).total_seconds()),
            attempts=attempts,
            run=self.run,
            schema_mode=schema_mode(request),
            served_model=None if reply is None else reply.served_model,
            cached_tokens=None if reply is None else reply.cached_tokens,
            reasoning_tokens=None if reply is None else reply.reasoning_tokens,
            cost=None
            if reply is None
            else served.prices.cost(reply.input_tokens, reply.output_tokens, reply.cached_tokens),
            batch=self.batch_id,
            step=self.step,
        )
        return Ended(call, reply)
