"""What a server may do to a request in place of answering it well: every fault by its name, as bytes, pauses and ends.

Here belongs what goes over the wire; when it does is `fault_server.py`. Pauses are fractions of a second, so that
tests with limits as small last seconds.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Literal

import orjson

STALL_S = 5.0
"""A stall: far more than the limits of any test, which ends it by going away."""

BIG = 5 * 1024 * 1024
SERVED_MODEL = "m"


@dataclass(frozen=True, slots=True)
class Pause:
    """Send nothing for so long."""

    seconds: float


Step = bytes | Pause | Literal["close", "reset", "counts"]
"""`counts`: with what is written next the client has its reply; left out, that is the last that is written."""
Answer = list[Step]


def reply_body(prompt: str, number: int) -> bytes:
    """Give the body of a good reply: its text names the prompt and how many good ones that prompt has had."""
    text = f"reply {number} to {prompt[:100]}"
    message = {"role": "assistant", "content": text}
    return orjson.dumps(
        {
            "id": f"chatcmpl-{number}",
            "object": "chat.completion",
            "model": SERVED_MODEL,
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 5},
        }
    )


def http(
    status: str, body: bytes, *headers: str, length: int | None = None, content_type: str = "application/json"
) -> bytes:
    """Give a whole answer; `length` is what it says of its body's."""
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body) if length is None else length}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def error(status: str, message: str, *headers: str) -> Answer:
    """Give an error as the API words it."""
    return [http(status, orjson.dumps({"error": {"message": message, "type": "server_error"}}), *headers)]


def _chunked(*parts: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


def _throttled(*headers: str) -> Callable[[bytes], Answer]:
    return lambda _good: error("429 Too Many Requests", "slow down", *headers)


def _throttled_until_a_date(_good: bytes) -> Answer:
    # The server's clock is a day ahead. By it, now is the time to come again; by ours, it is tomorrow.
    theirs = format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True)
    return error("429 Too Many Requests", "slow down", f"Date: {theirs}", f"Retry-After: {theirs}")


def _page(status: str) -> Callable[[bytes], Answer]:
    page = b"<!DOCTYPE html><html><head><title>Bad gateway</title></head><body><h1>502</h1></body></html>"
    return lambda _good: [http(status, page, content_type="text/html")]


def _half(good: bytes) -> bytes:
    return good[: len(good) // 2]


def _twice_over(good: bytes) -> bytes:
    """Say the same keys twice with the same values."""
    return b"{" + good[1:-1] + b"," + good[1:-1] + b"}"


def _drip(good: bytes) -> Answer:
    answer = http("200 OK", good)
    cuts = range(0, len(answer), len(answer) // 8)
    steps: Answer = []
    for start in cuts:
        steps += [answer[start : start + cuts.step], Pause(0.01)]
    return steps[:-1]


FAULTS: Mapping[str, Callable[[bytes], Answer]] = {
    "throttled": _throttled(),
    "throttled_for_seconds": _throttled("Retry-After: 0.01"),
    "throttled_for_milliseconds": _throttled("retry-after-ms: 10"),
    "throttled_until_a_date": _throttled_until_a_date,
    "throttled_with_limits": _throttled(
        "x-ratelimit-remaining-requests: 0", "x-ratelimit-reset-requests: 10ms", "x-ratelimit-remaining-tokens: 900"
    ),
    "error_500": lambda _good: error("500 Internal Server Error", "output does not match the grammar"),
    "error_503": lambda _good: error("503 Service Unavailable", "the model is loading"),
    "error_529": lambda _good: error("529 Overloaded", "overloaded"),
    "page_502": _page("502 Bad Gateway"),
    "page_200": _page("200 OK"),
    "reset_before": lambda _good: ["reset"],
    "reset_within": lambda good: [http("200 OK", _half(good), length=len(good)), Pause(0.01), "reset"],
    "closed_before": lambda _good: ["close"],
    "stall_before": lambda _good: [Pause(STALL_S)],
    "stall_within": lambda good: [http("200 OK", _half(good), length=len(good)), Pause(STALL_S)],
    "half_json": lambda good: [http("200 OK", _half(good))],
    "empty_body": lambda _good: [http("200 OK", b"")],
    "error_with_200": lambda _good: [http("200 OK", b'{"error": {"message": "upstream died", "code": 502}}')],
    "length_too_large": lambda good: [http("200 OK", good, length=len(good) + 100), "close"],
    "length_too_small": lambda good: [http("200 OK", good, length=len(good) - 20)],
    "chunks_cut_short": lambda good: [_chunked(_half(good)), "close"],
    "no_http": lambda _good: [b"SSH-2.0-OpenSSH_9.2\r\n", "close"],
}
"""Answers that are no reply, each a function of the good one."""

ODDITIES: Mapping[str, Callable[[bytes], Answer]] = {
    "wrong_type": lambda good: [http("200 OK", good, content_type="text/html; charset=utf-16")],
    "slow_drip": _drip,
    "duplicate_keys": lambda good: [http("200 OK", _twice_over(good))],
    "in_chunks": lambda good: [
        _chunked(_half(good)),
        Pause(0.01),
        _chunked(good[len(_half(good)) :]).partition(b"\r\n\r\n")[2],
        b"0\r\n\r\n",
    ],
    "big": lambda good: [http("200 OK", good[:-1] + b',"padding":"' + b"x" * BIG + b'"}')],
    "then_closed": lambda good: [http("200 OK", good), "close"],
    "answered_twice": lambda good: [http("200 OK", good) + http("200 OK", reply_body("nobody", 1))],
}
"""Answers that are good replies all the same."""

REFUSALS: Mapping[str, Callable[[bytes], Answer]] = {
    "wrong_key": lambda _good: error("401 Unauthorized", "Incorrect API key provided: sk-0123456789"),
    "unknown_model": lambda _good: error("404 Not Found", "The model `m` does not exist"),
    "page_404": _page("404 Not Found"),
    "rejected": lambda _good: error("400 Bad Request", "this prompt is not to our taste"),
}
"""Answers that no other try would better."""

UNASKED: Mapping[str, Callable[[bytes], Answer]] = {
    "answered_again_later": lambda good: [
        "counts",
        http("200 OK", good),
        Pause(0.02),
        http("200 OK", reply_body("nobody", 1)),
    ],
    "closed_later": lambda good: ["counts", http("200 OK", good), Pause(0.02), "close"],
}
"""Good replies after which something happens on the idle connection."""

ANSWERS = {**FAULTS, **ODDITIES, **REFUSALS, **UNASKED}
