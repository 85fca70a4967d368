"""The stand-in server: the stand-ins behind an OpenAI-compatible API, as an ASGI app.

Here belong routes, status codes and errors in OpenAI's shape. What a reply is stands in `chat`, `responses` and
`completions`.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from valbench_dagster.stand_ins.chat import CREATED, MODELS, ChatError, UnknownModelError, complete
from valbench_dagster.stand_ins.completions import continue_text
from valbench_dagster.stand_ins.responses import respond


def make_app(latency: float = 0.0) -> Starlette:
    """Make the server; each reply of a model waits `latency` seconds before it is sent. Raises `ValueError` below 0."""
    if latency < 0:
        raise ValueError(f"a latency of {latency} seconds cannot be kept: give 0 or more")

    def answering(path: str, make: Callable[[bytes], dict[str, Any]]) -> Route:
        async def answer(request: Request) -> Response:
            try:
                reply = make(await request.body())
            except ChatError as error:
                status = 404 if isinstance(error, UnknownModelError) else 400
                return _error(str(error), status, error.param, error.code)
            if latency > 0:
                await asyncio.sleep(latency)
            return JSONResponse(reply)

        return Route(path, answer, methods=["POST"])

    return Starlette(
        routes=[
            answering("/v1/chat/completions", complete),
            answering("/v1/responses", respond),
            answering("/v1/completions", continue_text),
            Route("/v1/models", _models, methods=["GET"]),
            Route("/health", _health, methods=["GET"]),
        ],
        exception_handlers={HTTPException: _http_error},
    )


async def _models(_request: Request) -> Response:
    listed = [{"id": name, "object": "model", "created": CREATED, "owned_by": "valbench_dagster"} for name in MODELS]
    return JSONResponse({"object": "list", "data": listed})


async def _health(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = error.headers if isinstance(error, HTTPException) else None
    response = _error(f"{request.method} {request.url.path} is not served here", status, None, None)
    response.headers.update(headers or {})
    return response


def _error(message: str, status: int, param: str | None, code: str | None) -> Response:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return JSONResponse({"error": error}, status_code=status)


app = make_app()
"""The server without latency, for use in process."""
