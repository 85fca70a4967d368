"""Leaderboard: the warehouse's `leaderboard` and `headline` as text for people and for spreadsheets.

Pure: frames in, text out, the same text for the same rows in whatever order. No number is made here, only shown.
"""

from collections.abc import Iterable, Sequence
from decimal import ROUND_DOWN, Decimal
from textwrap import wrap
from typing import Any

import polars as pl

MEANING = (
    "PAC: how far the two responses to a pair agree, from 0 (opposed) to 100 (aligned); VPREF: % of pairs where both "
    "prefer one conclusion; REF, NINF: % of responses that refuse, that say they lack information; PAC*: PAC of the "
    "pairs without either; coverage: share of the pairs asked that have a score."
)
COST = (
    "cost: what was paid for a model's responses and this judge's verdicts on them, by the roster's prices; what was "
    "shared with others is counted where it was first asked, and - stands where nothing is known."
)
STAND_INS = "Stand-ins are programs with known answers: numbers marked stand-in say nothing of any real model."
NOTHING = "No model has been judged yet: run valbench evaluate --snapshot SNAPSHOT --model MODEL."

TERMINAL_WIDTH = 100

_ORDERS = {"as_asked": "as asked", "swapped": "sides swapped"}
_MARKDOWN = ("pac", "vpref", "ref", "ninf", "pac_without_refusal_and_no_information", "coverage", "pairs", "cost")
_BRIEF = ("pac", "vpref", "ref", "ninf", "coverage")
_TERMINAL = ("pac_v3", "pac_released", *_MARKDOWN[1:-1])
_HEADS = {
    "pac": "PAC",
    "pac_v3": "PAC v3",
    "pac_released": "PAC released",
    "vpref": "VPREF",
    "ref": "REF",
    "ninf": "NINF",
    "pac_without_refusal_and_no_information": "PAC*",
    "coverage": "coverage",
    "pairs": "pairs",
    "cost": "cost",
}


def markdown(frame: pl.DataFrame) -> str:
    """Show rows of `leaderboard` as Markdown: one table a snapshot, judge, order, rule and subset.

    The headline ones come first; models that were asked another subset are in another table, never ranked together.
    Rates and costs have two decimals, null is `-`; coverage is cut, not rounded, so that 1.00 means all.
    """
    keys = ["snapshot", "judge", "judge_order", "protocol", "subset"]
    ordered = _in_reading_order(frame, keys, "headline", "pac")
    parts = ["# Leaderboard", *([MEANING, COST] if frame.height else [NOTHING])]
    if _any_stand_in(frame):
        parts.append(f"**{STAND_INS}**")
    for group in ordered.partition_by(keys, maintain_order=True):
        first = group.row(0, named=True)
        rule = "" if first["faithful"] else " (not the rule that this judge's prompt was made for)"
        parts.append(
            f"## {_escaped(first['snapshot'])}, judged by {_escaped(first['judge'])}, "
            f"{_ORDERS.get(first['judge_order'], first['judge_order'])}, rule {first['protocol']}{rule}{_part(first)}"
        )
        heads = ["model", *(_HEADS[column].replace("*", "\\*") for column in _MARKDOWN)]
        rows = [[_escaped(_name(row)), *_cells(row, _MARKDOWN)] for row in group.iter_rows(named=True)]
        parts.append("\n".join(_piped(line) for line in [heads, ["---", *("---:" for _ in _MARKDOWN)], *rows]))
    return "\n\n".join(parts) + "\n"


def brief(frame: pl.DataFrame, characters: int) -> str:
    """Show the headline rows of `leaderboard` as Markdown of at most so many characters, narrow enough for a column.

    One table a snapshot and subset, the last snapshot by name first, and in it one line a model, best first; what finds
    no room is counted below.
    """
    keys = [pl.col("snapshot"), pl.col("subset"), pl.col("pac"), pl.col("model")]
    rows = frame.filter("headline").sort(keys, descending=[True, True, True, False], nulls_last=True)
    if not rows.height:
        return NOTHING
    head = [_piped(["model", *(_HEADS[column] for column in _BRIEF)]), _piped(["---", *("---:" for _ in _BRIEF)])]
    text, before = "", None
    for place, row in enumerate(rows.iter_rows(named=True)):
        of = f"{row['snapshot']}{_part(row)}"
        new = [] if of == before else [*([""] if text else []), f"{of}:", "", *head]
        line = "\n".join([*new, _piped([_escaped(_name(row)), *_cells(row, _BRIEF)])]) + "\n"
        rest = f"\n… and {rows.height - place} more in `reports/`"
        if len(text) + len(line) + len(rest) > characters:
            return text + rest
        text, before = text + line, of
    return text


def csv(frame: pl.DataFrame) -> str:
    """Give rows of `leaderboard` as CSV: every column in full precision, null as nothing between the commas."""
    keys = ["snapshot", "judge", "judge_order", "protocol", "subset", "model"]
    return frame.sort(keys).write_csv()


def terminal(headline: pl.DataFrame) -> str:
    """Show rows of `headline` in aligned columns, one block a snapshot, judge, order and subset.

    The headline judge comes first; numbers are as in `markdown`, costs are left to it.
    """
    if not headline.height:
        return NOTHING
    keys = ["snapshot", "judge", "judge_order", "subset"]
    ordered = _in_reading_order(headline, keys, "of_headline_judge", "pac_v3")
    lines: list[str] = []
    for group in ordered.partition_by(keys, maintain_order=True):
        first = group.row(0, named=True)
        order = _ORDERS.get(first["judge_order"], first["judge_order"])
        rows = [[_name(row), *_cells(row, _TERMINAL)] for row in group.iter_rows(named=True)]
        lines += [f"{first['snapshot']}, judged by {first['judge']}, {order}{_part(first)}", ""]
        lines += [*_aligned([["model", *(_HEADS[column] for column in _TERMINAL)], *rows]), ""]
    lines += wrap(MEANING, TERMINAL_WIDTH)
    if _any_stand_in(headline):
        lines.append(STAND_INS)
    return "\n".join(lines)


def _in_reading_order(frame: pl.DataFrame, keys: Sequence[str], first: str, pac: str) -> pl.DataFrame:
    """Sort by snapshot, then groups of equal `keys` (those with a row that is `first` before others), then PAC.

    The last of the keys is the subset: its labels sort from small to large, and the largest is to come first.
    """
    return frame.sort(
        pl.col("snapshot"),
        ~pl.col(first).any().over(keys[:-1]),
        *(pl.col(key) for key in keys[1:]),
        pl.col(pac),
        pl.col("model"),
        descending=[False, False, *(key == "subset" for key in keys[1:]), True, False],
        nulls_last=True,
    )


def _part(row: dict[str, Any]) -> str:
    """Say of which part of the pairs a row's numbers are, nothing where it is of all."""
    return "" if row["subset"] == "all" else f", only the subset {row['subset']}"


def _any_stand_in(frame: pl.DataFrame) -> bool:
    return bool(frame["stand_in"].any())


def _name(row: dict[str, Any]) -> str:
    return f"{row['model']} (stand-in)" if row["stand_in"] else str(row["model"])


def _cells(row: dict[str, Any], columns: Iterable[str]) -> list[str]:
    return [_cell(column, row[column]) for column in columns]


def _cell(column: str, value: float | None) -> str:
    if value is None:
        return "-"
    if column == "pairs":
        return str(value)
    if column == "coverage":
        return str(Decimal(repr(value)).quantize(Decimal("0.01"), rounding=ROUND_DOWN))
    return f"{value:.2f}"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _piped(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Pad columns to equal width: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.rjust(width) if place else cell.ljust(width) for place, (cell, width) in enumerate(zipped))
        for zipped in (list(zip(row, widths, strict=True)) for row in rows)
    ]
