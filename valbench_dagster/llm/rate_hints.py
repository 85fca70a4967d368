"""What servers say of their limits in the headers of an answer: when to come again, and what is left.

Pure reading of names and values as providers document them; what is made of them is `retry.py`, `gate.py` and
`pace.py`. Moments are measured from the answer's own `Date` where it has one, so that clocks that differ do no harm.
"""

import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache

from valbench_dagster.llm.endpoint import RateHints

_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_SPAN = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|us|µs|ns|d|h|m|s)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_EPOCH_S, _EPOCH_MS = 1e9, 1e12
"""A reset from here on is a moment (seconds or milliseconds since 1970), below it is a span: thirty years are none."""

_TOKENS = {"tokens", "token", "tok", "tokenlimit", "tokens_usage_based"}
_REQUESTS = {"requests", "request", "req"}
_BARE = {"x", "ratelimit", "rate", "limit", "anthropic"}
_Limit = tuple[str, tuple[str, ...]]
"""One limit of a server: `requests` or `tokens`, and the words that set it apart from others of the kind."""


def retry_after_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """Read how long a server asks to be left alone: `retry-after-ms`, else `Retry-After` as a span or a moment.

    Names are lower case, or found whatever their case. Seconds, never negative (a date that is past is 0); null where
    neither can be read. `now` is the time where the answer has no `Date`.
    """
    milliseconds = headers.get("retry-after-ms", "").strip()
    if _NUMBER.fullmatch(milliseconds) and math.isfinite(float(milliseconds)):
        return float(milliseconds) / 1000.0
    return _seconds(headers.get("retry-after", "").strip(), headers.get("date", ""), now)


def read_rate_hints(headers: Iterable[tuple[bytes, bytes]], now: datetime) -> RateHints | None:
    """Read what is left of the server's limits, null where no header speaks of any.

    `headers` are names and values as they came, `now` is the time where no `Date` is among them. Known are the
    spellings of OpenAI (also of Azure, Groq, Cerebras, Together, Mistral and others: `x-ratelimit-remaining-tokens`,
    with or without a window such as `-minute`), Anthropic (`anthropic-ratelimit-tokens-remaining`), and the plain
    `x-ratelimit-remaining`, which counts requests. Resets may be spans (`6m0s`, `12ms`, `7.5`), RFC 3339 or HTTP
    dates, or seconds or milliseconds since 1970. Of several limits of a kind the one with the least left is given, of
    equals the one that takes longest. Negative counts (Azure's -1) say nothing.
    """
    found = [(name, value) for name, value in headers if b"limit" in name.lower()]
    if not found:
        return None
    date = next((value.decode("latin-1") for name, value in headers if name.lower() == b"date"), "")
    left: dict[_Limit, int] = {}
    resets: dict[_Limit, float] = {}
    for raw_name, raw_value in found:
        role, limit = _meaning(raw_name.decode("latin-1").lower())
        value = raw_value.decode("latin-1").strip()
        if limit is None:
            continue
        if role == "remaining" and re.fullmatch(r"[0-9]{1,15}(\.[0-9]*)?", value):
            left[limit] = int(float(value))
        elif role == "reset" and (seconds := _seconds(value, date, now)) is not None:
            resets[limit] = seconds
    requests, tokens = (_tightest(kind, left, resets) for kind in ("requests", "tokens"))
    hints = RateHints(*requests, *tokens)
    return None if hints == RateHints() else hints


@lru_cache(maxsize=256)
def _meaning(name: str) -> tuple[str, _Limit | None]:
    """Take a name apart: `remaining` or `reset`, and which limit it is about, null where it is about none we know."""
    words = name.split("-")
    role = next((word for word in words if word in ("remaining", "reset")), "")
    if not role or not any(limit in name for limit in ("ratelimit", "rate-limit", "tokenlimit")):
        return role, None
    rest = tuple(word for word in words if word != role and word not in _BARE)
    if any(word in _TOKENS for word in rest):
        return role, ("tokens", rest)
    return role, ("requests", rest) if not rest or any(word in _REQUESTS for word in rest) else None


def _tightest(kind: str, left: Mapping[_Limit, int], resets: Mapping[_Limit, float]) -> tuple[int | None, float | None]:
    limits = {limit for limit in (*left, *resets) if limit[0] == kind}
    if not limits:
        return None, None
    first = min(limits, key=lambda limit: (left.get(limit, math.inf), -resets.get(limit, 0.0), limit))
    return left.get(first), resets.get(first)


def _seconds(value: str, date: str, now: datetime) -> float | None:
    """Read a reset as seconds from the answer on, never negative; null where it cannot be read."""
    if _NUMBER.fullmatch(value):
        number = float(value)
        if number < _EPOCH_S:
            return number
        try:
            moment: datetime | None = datetime.fromtimestamp(number / (1000.0 if number >= _EPOCH_MS else 1.0), UTC)
        except (ValueError, OverflowError, OSError):  # beyond all calendars
            return None
    else:
        parts = _SPAN.findall(value)
        if parts and "".join(number + unit for number, unit in parts) == value:
            return sum(float(number) * _UNITS[unit] for number, unit in parts)
        moment = _moment(value)
    return None if moment is None else _until(moment, date, now)


def _moment(value: str) -> datetime | None:
    """Read an RFC 3339 or an HTTP date; without a zone it is UTC."""
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = read(value.strip())
        except (ValueError, OverflowError):  # no date of this kind, or one beyond all calendars
            continue
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return None


def _until(moment: datetime, date: str, now: datetime) -> float:
    return max(0.0, (moment - (_moment(date) or now)).total_seconds())
