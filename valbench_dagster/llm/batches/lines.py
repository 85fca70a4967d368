"""The lines of the Batch API's files: one request a line going in, one result a line coming out.

Here belongs the JSON of both. Which requests go into a file is `submit.py`, what is made of a result
`collect.py`. Source: https://platform.openai.com/docs/api-reference/batch (request input and output objects).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from valbench_dagster.llm.apis.wire import path_of
from valbench_dagster.llm.calls import Request

MESSAGE_LIMIT = 1000
"""Characters kept of what a provider says is wrong with a line."""


@dataclass(frozen=True, slots=True)
class ResultLine:
    """What became of one request of a batch.

    `fingerprint` is the request's, sent as its `custom_id`. Either `reply`, the JSON of a successful answer, or
    `message`, what went wrong, is given and the other is null. `status` is the HTTP status of the answer, null where
    the request was never answered (the batch expired, or was stopped before its turn).
    """

    fingerprint: str
    status: int | None
    reply: bytes | None
    message: str | None


@dataclass(slots=True)
class Unusable:
    """Counts of lines that are no result of a batch's request: no JSON of the kind, not ours, or a second one."""

    malformed: int = 0
    unknown: int = 0
    repeated: int = 0
    seen: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        return f"{self.malformed} malformed, {self.unknown} of requests that are not in it, {self.repeated} repeated"

    def __bool__(self) -> bool:
        return bool(self.malformed or self.unknown or self.repeated)


def path_in_batch(api: str) -> str:
    """Give the path by which a batch and its lines name an API kind: below the server's root, not the base URL."""
    return f"/v1/{path_of(api)}"


def request_line(request: Request, body: bytes) -> bytes:
    """Give the line of a request whose JSON body is `body`, with its line break."""
    line = {
        "custom_id": request.fingerprint,
        "method": "POST",
        "url": path_in_batch(request.served.api),
        "body": orjson.Fragment(body),
    }
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def result_lines(raw: Iterable[bytes], asked: frozenset[str], unusable: Unusable) -> Iterator[ResultLine]:
    """Read the results of the requests `asked` from the lines of a file, each once; count all others as unusable.

    `unusable` is carried from file to file of one batch, since the same request may have a line in both. A line with
    a reply is never given up for one without: where an error comes first, both are given.
    """
    for line in raw:
        if not line.strip():
            continue
        result = _read(line)
        if result is None:
            unusable.malformed += 1
        elif result.fingerprint not in asked:
            unusable.unknown += 1
        elif result.fingerprint in unusable.seen:
            unusable.repeated += 1
        else:
            if result.reply is not None:
                unusable.seen.add(result.fingerprint)
            yield result


class _Error(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")  # compatible providers add fields of their own

    code: str | int | None = None
    message: str | None = None


class _Response(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    status_code: int
    body: Any = None


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    custom_id: str
    response: _Response | None = None
    error: _Error | None = None


def _read(raw: bytes) -> ResultLine | None:
    """Read one line; null where it is no result."""
    try:
        line = _Line.model_validate(orjson.loads(raw))
    except (orjson.JSONDecodeError, ValidationError):
        return None
    if line.response is None:
        error = line.error or _Error(message="neither a response nor an error in the line")
        return ResultLine(line.custom_id, None, None, _sentence(error.code, error.message))
    status, body = line.response.status_code, line.response.body
    if 200 <= status < 300:
        return ResultLine(line.custom_id, status, orjson.dumps(body), None)
    return ResultLine(line.custom_id, status, None, _message(body))


def _message(body: Any) -> str:
    """Find the message in the body of an error answer."""
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        return _sentence(error.get("code") or error.get("type"), error["message"])
    return _sentence(None, str(error) if error else None)


def _sentence(code: Any, message: str | None) -> str:
    said = " ".join((message or "no message").split())
    said = f"{code}: {said}" if isinstance(code, str | int) and code else said
    return said if len(said) <= MESSAGE_LIMIT else said[:MESSAGE_LIMIT] + " [cut]"
