"""Metadata: what a person sees of a materialisation in the UI.

Numbers are plain int and float (they become plots per partition); previews stay below 1,000 characters (longer ones
hide behind a link); the description of an asset says what a row of it is.
"""

import re
from collections.abc import Mapping
from itertools import islice
from typing import Any

import dagster as dg

from valbench_dagster.adapters.facts import column_docs
from valbench_dagster.adapters.warehouse.build import BuiltTable
from valbench_dagster.records import Record
from valbench_dagster.report.leaderboard import brief
from valbench_dagster.steps.project import Project
from valbench_dagster.steps.reporting import read_report
from valbench_dagster.steps.step_report import StepReport

PREVIEW_ROWS = 5
PREVIEW_CHARACTERS = 990
CELL_CHARACTERS = 64
HASH_CHARACTERS = 8
"""A whole hash does not wrap, and takes the room of the text beside it."""

_HASH = re.compile(r"[0-9a-f]{32}")


def column_schema(record: type[Record]) -> Mapping[str, Any]:
    """Give the definition metadata that makes the Columns section of an asset."""
    columns = [
        dg.TableColumn(name, column.type, column.doc, dg.TableColumnConstraints(nullable=column.nullable))
        for name, column in column_docs(record).items()
    ]
    return {"dagster/column_schema": dg.TableSchema(columns=columns)}


def materialized(
    project: Project,
    record: type[Record],
    partition: str,
    report: StepReport,
    preview: tuple[str, ...],
    scores: Mapping[str, float] | None = None,
) -> dg.MaterializeResult[Any]:
    """Make the result of a step: its data version is the input fingerprint of its facts."""
    metadata: dict[str, Any] = {"dagster/row_count": report.pointer.rows, **(scores or {})}
    metadata |= {name.replace("_", " "): count for name, count in report.counts.items()}
    if report.tally is not None and report.cost is not None:
        tally = report.tally
        metadata |= {
            "calls made": tally.asked,
            "replies from the ledger": tally.from_ledger,
            "input tokens of this run": tally.input_tokens,
            "cached tokens of this run": tally.cached_tokens,
            "output tokens of this run": tally.output_tokens,
            "reasoning tokens of this run": tally.reasoning_tokens,
            "cost of this run": report.cost,
        }
    if report.cost_so_far is not None:
        metadata["cost so far"] = report.cost_so_far
    if report.asked is not None:
        metadata["asked"] = report.asked
    if report.pointer.unfinished:
        metadata["unfinished"] = report.pointer.unfinished
    # The table of metadata keeps this order: numbers first, then what the rows look like, then what is for debugging.
    metadata |= {
        "preview": dg.MetadataValue.md(_preview(project, record, partition, preview)),
        "published by this run": report.fresh,
        "input fingerprint": report.pointer.input_fingerprint,
    }
    return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(report.pointer.input_fingerprint))


def sql_columns(table: BuiltTable) -> dg.TableSchema:
    """Give the columns of a table of the warehouse with their SQL types; what they mean is in its description."""
    return dg.TableSchema(columns=[dg.TableColumn(name, kind.lower()) for name, kind in table.columns.items()])


def headline_table(project: Project) -> dg.MarkdownMetadataValue:
    """Give the first lines of the leaderboard, short enough to be shown without a click."""
    return dg.MetadataValue.md(brief(read_report(project, "leaderboard"), PREVIEW_CHARACTERS))


def _preview(project: Project, record: type[Record], partition: str, columns: tuple[str, ...]) -> str:
    """Show the first rows as a Markdown table; rows that would make it too long are left off."""
    lines = [f"| {' | '.join(columns)} |", f"| {' | '.join('---' for _ in columns)} |"]
    for row in islice(project.facts.rows(record, partition), PREVIEW_ROWS):
        line = f"| {' | '.join(_cell(getattr(row, column)) for column in columns)} |"
        if sum(map(len, lines)) + len(lines) + len(line) > PREVIEW_CHARACTERS:
            break
        lines.append(line)
    return "\n".join(lines)


def _cell(value: object) -> str:
    text = " › ".join(value) if isinstance(value, tuple) else str(value)
    text = " ".join(text.split())
    if text.startswith("https://"):
        return f"[page]({text})"
    if _HASH.fullmatch(text):
        return f"{text[:HASH_CHARACTERS]}…"
    text = text.replace("|", "\\|")
    return text if len(text) <= CELL_CHARACTERS else text[: CELL_CHARACTERS - 1] + "…"
