"""Ledger lines: what a person reads of a ledger on a terminal, and the same as one JSON document.

Pure text from records that are handed in. Money is in whatever currency the roster's prices are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime

import orjson

from valbench_dagster.llm.batches.log import OpenBatch
from valbench_dagster.report.dump_lines import gigabytes
from valbench_dagster.steps.ledger import LedgerState

MOST_STEPS = 40
"""Steps that are listed; the rest is in the JSON."""


def as_json(state: LedgerState) -> str:
    """Give everything as one JSON document; of open batches the number of requests, not each."""
    batches = [_batch_fields(batch) for batch in state.batches]
    whole = {
        "ledger": state.name,
        **asdict(state.size),
        "costs": [asdict(cost) for cost in state.costs],
        "open_batches": batches,
    }
    return orjson.dumps(whole, option=orjson.OPT_INDENT_2).decode()


def lines(state: LedgerState, width: int) -> Iterator[str]:
    """Tell size, calls and cost per endpoint and model, costs per step, failures and open batches, `width` wide."""
    size = state.size
    yield f"ledger  {state.name}: {gigabytes(size.bytes)} GB"
    if size.first_at is None or size.last_at is None:
        yield "calls   none"
    else:
        cost = sum(use.cost for use in size.endpoints)
        yield (
            f"calls   {size.calls:,}, of them {size.replies:,} replies; cost {cost:.2f}; "
            f"from {_time(size.first_at)} to {_time(size.last_at)} UTC"
        )
        yield ""
        yield from _table(
            ["endpoint", "model", "replies", "rejected", "failed", "cost", "median s", "95% under s"],
            [
                [
                    *(use.endpoint, use.model, f"{use.replies:,}", f"{use.rejected:,}", f"{use.failed:,}"),
                    *(f"{use.cost:.2f}", _seconds(use.median_s), _seconds(use.p95_s)),
                ]
                for use in size.endpoints
            ],
        )
        yield ""
        yield from _table(
            ["step", "model", "replies", "tokens in", "cached", "tokens out", "reasoning", "cost"],
            [
                [
                    *(cost.step or "(none)", cost.model, f"{cost.replies:,}", f"{cost.input_tokens:,}"),
                    *(f"{cost.cached_tokens:,}", f"{cost.output_tokens:,}", f"{cost.reasoning_tokens:,}"),
                    f"{cost.cost:.2f}",
                ]
                for cost in state.costs[:MOST_STEPS]
            ],
        )
        if len(state.costs) > MOST_STEPS:
            yield f"... and {len(state.costs) - MOST_STEPS} more: valbench ledger show --json"
    for failure in size.failures:
        yield ""
        yield f"{failure.kind}: {failure.calls:,} x {failure.label} from {failure.model} at {failure.endpoint}, newest"
        yield _cut(f"  {_time(failure.newest_at)} {' '.join(failure.newest_message.split())}", width)
    if state.batches:
        yield ""
        yield "open batches (run their step again to collect them; valbench ledger abandon BATCH gives one up)"
    for batch in state.batches:
        at_provider = f"{batch.provider} calls it {batch.batch_id}" if batch.batch_id else "not at the provider yet"
        state_word = "ended, not collected" if batch.ended else "under way" if batch.batch_id else "planned"
        yield (
            f"  {batch.key}: {len(batch.fingerprints):,} requests, {state_word}, {at_provider}; planned "
            f"{batch.planned_at:%Y-%m-%d %H:%M} for {batch.step or 'no step'}"
        )


def _batch_fields(batch: OpenBatch) -> dict[str, object]:
    named: dict[str, object] = asdict(batch)
    return {
        **{name: value for name, value in named.items() if name != "fingerprints"},
        "requests": len(batch.fingerprints),
    }


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Give a table with its heading; the first two columns are names, the others numbers."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for cells in (heads, *rows):
        padded = (
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        yield "  ".join(padded).rstrip()


def _time(iso: str) -> str:
    """Give a stored time to the minute."""
    return f"{datetime.fromisoformat(iso):%Y-%m-%d %H:%M}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."
