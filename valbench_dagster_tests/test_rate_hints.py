"""What servers say of their limits, in every spelling that providers document."""

import string
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valbench_dagster.llm.endpoint import RateHints
from valbench_dagster.llm.rate_hints import read_rate_hints, retry_after_seconds

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
DATE = "Sat, 21 Nov 2026 12:00:00 GMT"


def hints(headers: dict[str, str]) -> RateHints | None:
    return read_rate_hints([(name.encode(), value.encode("latin-1")) for name, value in headers.items()], NOW)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "20s"}, 20.0),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after-ms": "none", "retry-after": "1"}, 1.0),
        ({"retry-after": "Sat, 21 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Sat, 21 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "Sat, 21 Nov 2026 13:00:30 +0100"}, 30.0),
        ({"retry-after": "2026-11-21T12:00:30Z"}, 30.0),
        ({"retry-after": str(int(NOW.timestamp()) + 30)}, 30.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after-ms": "9" * 400}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_as_a_span_and_as_a_moment(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_seconds(headers, NOW) == seconds


# The server's clock is an hour ahead of ours: it wants 30 s, not an hour and 30 s. Then an hour behind: 30 s, not 0.
@pytest.mark.parametrize(
    ("date", "retry_after"),
    [
        ("Sat, 21 Nov 2026 13:00:00 GMT", "Sat, 21 Nov 2026 13:00:30 GMT"),
        ("Sat, 21 Nov 2026 11:00:00 GMT", "Sat, 21 Nov 2026 11:00:30 GMT"),
    ],
)
def test_a_date_is_measured_by_the_servers_own_clock(date: str, retry_after: str) -> None:
    assert retry_after_seconds({"date": date, "retry-after": retry_after}, NOW) == 30.0
    assert retry_after_seconds({"date": "yesterday", "retry-after": DATE}, NOW) == 0.0


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_retry_after_brings_the_reader_down(value: str, date: str) -> None:
    for name in ("retry-after", "retry-after-ms"):
        seconds = retry_after_seconds({name: value, "date": date}, NOW)
        assert seconds is None or 0.0 <= seconds < float("inf")


OPENAI = {
    "x-ratelimit-limit-requests": "500",
    "x-ratelimit-limit-tokens": "30000",
    "x-ratelimit-remaining-requests": "499",
    "x-ratelimit-remaining-tokens": "0",
    "x-ratelimit-reset-requests": "120ms",
    "x-ratelimit-reset-tokens": "6m0s",
}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (OPENAI, RateHints(499, 0.12, 0, 360.0)),
        ({name.title(): value for name, value in OPENAI.items()}, RateHints(499, 0.12, 0, 360.0)),
        # Azure: tokens and requests without resets, -1 for what it does not count, resets in bare seconds.
        ({"x-ratelimit-remaining-requests": "19", "x-ratelimit-remaining-tokens": "19913"}, RateHints(19, None, 19913)),
        ({"x-ratelimit-remaining-tokens": "-1", "x-ratelimit-reset-tokens": "0"}, RateHints(tokens_reset_s=0.0)),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "57"}, RateHints(None, None, 0, 57.0)),
        (
            {
                "anthropic-ratelimit-requests-limit": "50",
                "anthropic-ratelimit-requests-remaining": "49",
                "anthropic-ratelimit-requests-reset": "2026-11-21T12:00:02Z",
                "anthropic-ratelimit-input-tokens-remaining": "40000",
                "anthropic-ratelimit-input-tokens-reset": "2026-11-21T12:00:01Z",
                "anthropic-ratelimit-output-tokens-remaining": "0",
                "anthropic-ratelimit-output-tokens-reset": "2026-11-21T12:00:09.5Z",
            },
            RateHints(49, 2.0, 0, 9.5),
        ),
        # Windows beside each other (Cerebras): the one with the least left binds.
        (
            {
                "x-ratelimit-remaining-requests-day": "14000",
                "x-ratelimit-reset-requests-day": "33011.382867",
                "x-ratelimit-remaining-requests-minute": "3",
                "x-ratelimit-reset-requests-minute": "11.4",
                "x-ratelimit-remaining-tokens-minute": "61000",
                "x-ratelimit-reset-tokens-minute": "11.4",
            },
            RateHints(3, 11.4, 61000, 11.4),
        ),
        # Two that are used up: nothing goes before both are full.
        (
            {
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "2s",
                "x-ratelimit-remaining-requests-1h": "0",
                "x-ratelimit-reset-requests-1h": "20m",
            },
            RateHints(0, 1200.0),
        ),
        (
            {"x-ratelimit-remaining": "5", "x-ratelimit-reset": "2", "x-tokenlimit-remaining": "70"},
            RateHints(5, 2.0, 70),
        ),
        ({"ratelimit-remaining": "5", "ratelimit-reset": "30"}, RateHints(5, 30.0)),
        ({"x-ratelimit-remaining-req-minute": "9", "x-ratelimit-remaining-tokens-minute": "8"}, RateHints(9, None, 8)),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW.timestamp()) + 40)}, RateHints(0, 40.0)),
        (
            {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW.timestamp()) * 1000 + 4500)},
            RateHints(0, 4.5),
        ),
        ({"x-ratelimit-remaining": "7", "x-ratelimit-reset": "Sat, 21 Nov 2026 12:02:42 GMT"}, RateHints(7, 162.0)),
        ({"x-ratelimit-remaining-images": "0", "x-ratelimit-reset-images": "1s"}, None),
        ({"x-ratelimit-limit-requests": "500", "x-time-limit": "3"}, None),
        ({"x-ratelimit-remaining-requests": "many", "x-ratelimit-reset-requests": "later"}, None),
        ({"x-ratelimit-remaining-requests": "9" * 400, "x-ratelimit-reset-requests": "9" * 400}, None),
        ({"content-type": "application/json", "date": DATE}, None),
        ({}, None),
    ],
)
def test_what_is_left_is_read_in_the_spellings_of_providers(
    headers: dict[str, str], expected: RateHints | None
) -> None:
    assert hints(headers) == expected


# By OpenAI's way of writing spans: 1 h 2 min = 3,720 s, 2 min 59.56 s = 179.56 s, 1 d 0 h 0 min 1 s = 86,401 s.
@pytest.mark.parametrize(
    ("span", "seconds"),
    [
        *(("1s", 1.0), ("6m0s", 360.0), ("12ms", 0.012), ("1h2m", 3720.0), ("2m59.56s", 179.56), ("1d0h0m1s", 86401.0)),
        *(("500us", 0.0005), ("7", 7.0), ("1s later", None), ("m5", None), ("-1s", None), ("1 s", None)),
    ],
)
def test_resets_are_read_as_spans(span: str, seconds: float | None) -> None:
    found = hints({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": span})
    assert found is not None
    assert found.requests_reset_s == (None if seconds is None else pytest.approx(seconds))


def test_a_reset_at_a_moment_is_measured_by_the_servers_own_clock() -> None:
    ahead = {"Date": "Sat, 21 Nov 2026 13:00:00 GMT", "anthropic-ratelimit-tokens-reset": "2026-11-21T13:00:05Z"}
    assert hints(ahead) == RateHints(tokens_reset_s=5.0)


NAMES = st.sampled_from([*OPENAI, "date", "x-ratelimit-reset", "anthropic-ratelimit-tokens-reset"])
ANY_NAME = st.text(string.ascii_letters + "-_", max_size=30).map(lambda name: f"x-ratelimit-{name}")


@given(st.lists(st.tuples(NAMES | ANY_NAME, st.binary(max_size=30)), max_size=8))
def test_no_headers_bring_the_reader_down(headers: list[tuple[str, bytes]]) -> None:
    found = read_rate_hints([(name.encode(), value) for name, value in headers], NOW)
    if found is not None:
        said = (found.requests_left, found.requests_reset_s, found.tokens_left, found.tokens_reset_s)
        assert all(value is None or 0 <= value < float("inf") for value in said)
        assert set(said) != {None}


# A transport reads them for every reply: 20 microseconds are a tenth of what the whole call costs, and a hundred times
# what the work takes, so that a busy machine does not fail it.
def test_headers_without_limits_cost_next_to_nothing() -> None:
    headers = [(b"Content-Type", b"application/json"), (b"Content-Length", b"1800"), (b"Date", DATE.encode())]
    headers += [(b"Server", b"uvicorn"), (b"X-Request-Id", b"req-1"), (b"Via", b"1.1 proxy")]
    best = float("inf")
    for _ in range(20):
        began = time.perf_counter()
        for _ in range(100):
            read_rate_hints(headers, NOW)
        best = min(best, (time.perf_counter() - began) / 100)
    assert best < 20e-6
