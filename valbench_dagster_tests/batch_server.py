"""A provider of the Batch API over HTTP, on loopback: `BatchProvider` behind the paths of the public documentation.

Source: https://platform.openai.com/docs/api-reference/batch and .../files. Uploads come as multipart forms, ids stand
in paths, lists have pages, errors have OpenAI's shape, and nothing is given without the key.
"""

from collections import deque
from collections.abc import Callable
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from valbench_dagster_tests.batch_provider import ApiError, BatchProvider

KEY = "sk-batch-0123456789abcdef"


class BatchServer:
    """An ASGI app. `garbled` are bodies sent in place of the next good answers, by kind of request."""

    def __init__(self, provider: BatchProvider) -> None:
        self.provider = provider
        self.garbled: dict[str, deque[bytes]] = {}
        self.queries: list[str] = []
        self.app = Starlette(
            routes=[
                Route("/v1/files", self.upload, methods=["POST"]),
                Route("/v1/files/{file_id}/content", self.content, methods=["GET"]),
                Route("/v1/files/{file_id}", self.delete, methods=["DELETE"]),
                Route("/v1/batches", self.create, methods=["POST"]),
                Route("/v1/batches", self.listed, methods=["GET"]),
                Route("/v1/batches/{batch_id}", self.retrieve, methods=["GET"]),
                Route("/v1/batches/{batch_id}/cancel", self.cancel, methods=["POST"]),
            ]
        )

    async def upload(self, request: Request) -> Response:
        form = _form(request.headers["content-type"], await request.body())
        name, content = form["file"]
        purpose = form["purpose"][1].decode()
        return self._answer(request, "upload", lambda: self.provider.upload(name, content, purpose))

    async def content(self, request: Request) -> Response:
        return self._answer(request, "content", lambda: self.provider.content(request.path_params["file_id"]))

    async def delete(self, request: Request) -> Response:
        return self._answer(request, "delete", lambda: self.provider.delete(request.path_params["file_id"]))

    async def create(self, request: Request) -> Response:
        body = orjson.loads(await request.body())
        return self._answer(request, "create", lambda: self.provider.create(body))

    async def listed(self, request: Request) -> Response:
        limit, after = int(request.query_params.get("limit", "20")), request.query_params.get("after")
        if not 1 <= limit <= 100:
            return _error(ApiError(400, "invalid_request", f"limit is {limit}, expected 1 to 100"))
        return self._answer(request, "list", lambda: self.provider.listed(after, limit))

    async def retrieve(self, request: Request) -> Response:
        return self._answer(request, "retrieve", lambda: self.provider.retrieve(request.path_params["batch_id"]))

    async def cancel(self, request: Request) -> Response:
        return self._answer(request, "cancel", lambda: self.provider.cancel(request.path_params["batch_id"]))

    def _answer(self, request: Request, kind: str, do: Callable[[], Any]) -> Response:
        self.queries.append(request.url.query)
        if request.headers.get("authorization") != f"Bearer {KEY}":
            given = request.headers.get("authorization", "nothing")
            return _error(ApiError(401, "invalid_api_key", f"Incorrect API key provided: {given}"))
        try:
            done = do()
        except ApiError as error:
            return _error(error)
        if garbled := self.garbled.get(kind):
            return Response(garbled.popleft(), media_type="application/json")
        if isinstance(done, bytes):
            return Response(done, media_type="application/octet-stream")
        return Response(orjson.dumps(done), media_type="application/json")


def _error(error: ApiError) -> Response:
    return Response(orjson.dumps(error.body()), error.status, media_type="application/json")


def _form(content_type: str, body: bytes) -> dict[str, tuple[str, bytes]]:
    """Take a multipart form apart: by field, its file name (empty if none) and its bytes."""
    head = f"Content-Type: {content_type}\r\nMIME-Version: 1.0\r\n\r\n".encode()
    message = BytesParser(policy=HTTP).parsebytes(head + body)
    form: dict[str, tuple[str, bytes]] = {}
    for part in message.iter_parts():
        field = part.get_param("name", header="content-disposition")
        payload = part.get_payload(decode=True)
        assert isinstance(payload, bytes), f"the field {field} of the form holds no bytes"
        form[str(field)] = (part.get_filename() or "", payload)
    return form
