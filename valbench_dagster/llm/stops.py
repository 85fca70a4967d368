"""What stops a run: the errors of an endpoint that makes going on pointless, each one sentence with what to do.

Here belong the errors and their words. When one is raised is `one_call.py`'s and `dispatcher.py`'s affair; a budget
that is used up is `budget.py`.
"""

from valbench_dagster.llm.endpoint import TransportFault

_FIXES = {
    401: "check the key in the environment variable that key_env of [endpoint.{endpoint}] names",
    402: "the account has no credit left: top it up",
    403: "the key may not use this model or server: check key_env of [endpoint.{endpoint}] and the account's rights",
    404: "check base_url of [endpoint.{endpoint}] (it usually ends in /v1) and the model name {model!r}",
    407: "the proxy wants a login: check proxy of [endpoint.{endpoint}]",
    429: "the account's quota is used up: raise it, or wait as long as the server says",
}


class EndpointRefused(Exception):  # noqa: N818 - names what happened
    """An endpoint that makes going on pointless; the message says what it said and what to fix."""

    def __init__(self, endpoint: str, status: int | None, message: str) -> None:
        super().__init__(message)
        self.endpoint = endpoint
        self.status = status


class EndpointDown(EndpointRefused):
    """An endpoint that has answered nothing for too long; there is nothing to fix here but to run again."""


def refused(endpoint: str, model: str, fault: TransportFault) -> EndpointRefused:
    """Make the error for a fatal fault: endpoint, status, the server's message, what to fix."""
    fix = _FIXES.get(fault.status or 0, "check base_url of [endpoint.{endpoint}]")
    return EndpointRefused(
        endpoint,
        fault.status,
        f"endpoint {endpoint} refused a call to {model} ({fault}). To fix in the roster: "
        f"{fix.format(endpoint=endpoint, model=model)}; then run again, replies so far are kept.",
    )


def refused_from_the_start(endpoint: str, model: str, count: int, last: TransportFault) -> EndpointRefused:
    """Make the error for a model whose first replies are all rejections."""
    return EndpointRefused(
        endpoint,
        last.status,
        f"endpoint {endpoint} rejected the first {count} requests to {model}, the last with {last}. "
        f"Most often a setting in the roster that the model refuses (temperature, max_tokens, structured): mend the "
        f"entry of {model}, then run again.",
    )


def failed_in_a_row(endpoint: str, model: str, count: int, last: TransportFault) -> EndpointRefused:
    """Make the error for a model of which so many calls in a row failed, with no reply between."""
    return EndpointRefused(
        endpoint,
        last.status,
        f"endpoint {endpoint} failed {count:,} calls to {model} in a row, the last with {last}. "
        f"Look at the server's log, then run again: replies so far are kept.",
    )


def held_too_long(endpoint: str, fault: TransportFault, asked_s: float, longest_s: float) -> EndpointRefused:
    """Make the error for a server that asks for a longer pause than a run should wait."""
    return EndpointRefused(
        endpoint,
        fault.status,
        f"endpoint {endpoint} asks to be left alone for {asked_s:.0f} s, more than the {longest_s:.0f} s a run waits "
        f"({fault}). Run again then: replies so far are kept.",
    )


def not_there(endpoint: str, fault: TransportFault) -> EndpointRefused:
    """Make the error for an endpoint to which no connection can be made from the start."""
    return EndpointRefused(
        endpoint,
        None,
        f"endpoint {endpoint} cannot be reached ({fault}): check base_url of [endpoint.{endpoint}] and that its "
        f"server runs, then run again.",
    )


def answers_as_another(endpoint: str, model: str, fault: TransportFault) -> EndpointRefused:
    """Make the error for a server that gives another model's replies; the fault's message names the two."""
    return EndpointRefused(
        endpoint,
        None,
        f"endpoint {endpoint} {fault.message}: mend `model` in the entry of {model}, or allow the name there with "
        f"answers_as = [...]; then run again.",
    )


def went_down(endpoint: str, seconds: float, fault: TransportFault, so_far: str) -> EndpointDown:
    """Make the error for an endpoint that has answered nothing for so long; `so_far` says what is done."""
    return EndpointDown(
        endpoint,
        fault.status,
        f"endpoint {endpoint} has been down for {_span(seconds)} ({fault}): {so_far}, replies so far are kept; "
        f"run again to go on",
    )


def _span(seconds: float) -> str:
    number, unit = (round(seconds / 60), "minute") if seconds >= 60 else (round(seconds), "second")
    return f"{number} {unit}{'s' * (number != 1)}"
