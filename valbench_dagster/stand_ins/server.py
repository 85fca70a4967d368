"""The stand-in server: the stand-ins behind an OpenAI-compatible API, as an ASGI app.

Here belong routes, status codes and errors in OpenAI's shape. What a completion is stands in `chat`.
"""

import asyncio

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from valbench_dagster.stand_ins.chat import CREATED, MODELS, ChatError, UnknownModelError, complete


def make_app(latency: float = 0.0) -> Starlette:
    """Make the server; each completion waits `latency` seconds before it is sent. Raises `ValueError` below 0."""
    if latency < 0:
        raise ValueError(f"a latency of {latency} seconds cannot be kept: give 0 or more")

    async def completions(request: Request) -> Response:
        try:
            reply = complete(await request.body())
        except ChatError as error:
            status = 404 if isinstance(error, UnknownModelError) else 400
            return _error(str(error), status, error.param, error.code)
        if latency > 0:
            await asyncio.sleep(latency)
        return JSONResponse(reply)

    return Starlette(
        routes=[
            Route("/v1/chat/completions", completions, methods=["POST"]),
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
