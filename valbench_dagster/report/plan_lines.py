"""Plan lines: what a run would ask and cost, as lines for a terminal, at most 100 columns wide, or as JSON.

Money is in the currency of the roster's prices, which has no name here.
"""

import math
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from itertools import groupby

import orjson

from valbench_dagster.llm.estimate import Estimate
from valbench_dagster.steps.planned import CapFit, Plan, PlannedStep

WIDTH = 100
_NAME = 35
_HEADS = ("questions", "in ledger", "to make", "tok. in", "tok. out", "cost", "time")
_WIDTHS = (11, 10, 11, 8, 9, 8, 8)


def as_json(plan: Plan) -> str:
    """Give a plan as one JSON document: its records as they are, numbers not rounded."""
    return orjson.dumps(asdict(plan), option=orjson.OPT_INDENT_2).decode()


def plan_lines(plan: Plan) -> Iterator[str]:
    """Give a plan as lines: a table of its steps, what it comes to, what it rests on, and what to run."""
    yield from _wrapped(f"{plan.snapshot}: {plan.asked}", "")
    yield ""
    yield _row("", _HEADS)
    for run, steps in groupby(plan.steps, key=lambda step: step.run):
        yield run if run == "dataset" else f"evaluation of {run}"
        for step in steps:
            yield _row(f"  {step_name(step)}", _cells(step.questions, step.known + step.shared, step, step.estimate))
    total = plan.total
    yield _row(
        "total",
        _cells(
            sum(step.questions for step in plan.steps),
            sum(step.known + step.shared for step in plan.steps),
            None,
            total,
        ),
    )
    yield ""
    if total.calls:
        if total.cost_high > total.cost_low:
            yield f"The cost should lie between {money(total.cost_low)} and {money(total.cost_high)}."
        for cap in plan.caps:
            yield from _wrapped(cap_sentence(cap))
        if not plan.caps:
            yield "No cap is set: max_cost, max_tokens or max_calls in [defaults] of the roster stop a run."
        yield ""
        for line in dict.fromkeys([*_remarks(plan), *plan.notes]):
            yield from _wrapped(line, "  ")
    else:
        yield "Nothing is to be asked: every reply is there."
    for number, what in enumerate(plan.to_run):
        yield f"{'Then' if number else 'Run'}: {what}"


def step_name(step: PlannedStep) -> str:
    """Name a step as its asset is named."""
    return f"verdicts/{step.asker}" if step.fact == "verdicts" else step.fact


def cap_sentence(fit: CapFit) -> str:
    """Say whether the run that needs most of it fits under a cap."""
    what = "the dataset" if fit.run == "dataset" else f"the evaluation of {fit.run}"
    amount = money if fit.cap == "max_cost" else lambda value: f"{value:,.0f}"
    head = f"Under {fit.cap} {amount(fit.allowed)}"
    if fit.at_most <= fit.allowed:
        return f"{head} every run fits: yes; {what} needs most, {amount(fit.needed)}."
    if fit.needed <= fit.allowed:
        return f"{head} every run fits: probably; {what} needs most, {amount(fit.needed)} to {amount(fit.at_most)}."
    runs = math.ceil(fit.needed / fit.allowed)
    return (
        f"{head} every run fits: no; {what} needs {amount(fit.needed)}. It stops at the cap, and goes on when run "
        f"again: {runs} runs in all."
    )


def money(amount: float) -> str:
    """Give an amount with the digits that matter, in at most seven characters."""
    if amount >= 999_999.5:
        return tokens(round(amount))
    if amount >= 999.995:
        return f"{amount:,.0f}"
    if amount == 0 or amount >= 1:
        return f"{amount:.2f}"
    return f"{amount:.4f}" if amount >= 0.0001 else "<0.0001"


def tokens(count: int) -> str:
    """Give a number of tokens in at most six characters."""
    for size, letter in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if count >= 0.9995 * size:
            scaled = count / size
            return f"{scaled:.1f}{letter}" if scaled < 99.95 else f"{scaled:.0f}{letter}"
    return str(count)


def duration(seconds: float | None) -> str:
    """Give a time in the unit that fits it, `unknown` where nothing is known."""
    if seconds is None:
        return "unknown"
    for size, unit, from_on in ((86_400, "d", 172_800), (3_600, "h", 5_400), (60, "min", 90)):
        if seconds >= from_on:
            return f"{seconds / size:.1f} {unit}" if size > 60 else f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _cells(questions: int, there: int, step: PlannedStep | None, needed: Estimate) -> tuple[str, ...]:
    mark = "~" if step is not None and step.foreseen else ""
    return (
        mark + _count(questions),
        _count(there),
        mark + _count(needed.calls),
        tokens(needed.input_tokens),
        tokens(needed.output_tokens),
        money(needed.cost),
        duration(needed.seconds),
    )


def _count(number: int) -> str:
    return f"{number:,}" if number < 10_000_000 else tokens(number)


def _row(name: str, cells: tuple[str, ...]) -> str:
    shown = name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"
    return f"{shown:<{_NAME}}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, _WIDTHS, strict=True))


def _remarks(plan: Plan) -> Iterator[str]:
    """Say of each step what its estimate rests on, and what of it was asked before."""
    for step in plan.steps:
        of = step_name(step) if step.run == "dataset" else f"{step_name(step)} of {step.run}"
        if step.basis:
            yield f"{of}: {step.basis}"
        if step.foreseen:
            yield f"~ {of}: {step.foreseen:,} are foreseen, as what they would ask about is not there yet"
        if step.failed:
            yield f"{of}: {step.failed:,} of those to make were asked before and have no reply"
        if step.shared:
            yield f"{of}: {step.shared:,} are the same calls as in a step above, made and paid once"
    if any(step.estimate.seconds is None for step in plan.steps):
        yield "unknown time: how long a call takes is known from the first replies on, and never of a batch"


def _wrapped(text: str, indent: str = "") -> Iterator[str]:
    yield from textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=f"{indent}  ", break_on_hyphens=False
    )
