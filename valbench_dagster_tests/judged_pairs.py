"""Judged pairs: rows of responses and verdicts, and the SQL of scores, metrics and leaderboard run over them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any

import polars as pl
from duckdb import DuckDBPyConnection

from valbench_dagster.adapters.facts import frame_of
from valbench_dagster.adapters.warehouse.connection import connect
from valbench_dagster.adapters.warehouse.sql_files import SqlFile, load_sql_files
from valbench_dagster.records import CallCost, Judge, Model, Pair, Record, Response, Verdict, Worker
from valbench_dagster_tests.examples import PAIR, response

SNAPSHOT = "sample-20260101"

MODEL = Model("m", "lab", "lab", "lab", "org/m", 1, "respondent_paper/v1/abc", "{}", False)
WORKER = Worker("small", "lab", "lab", "org/small", 1, "{}", False)
JUDGES = (Judge("j", "small", "judge_v3/v1/abc", True), Judge("r", "small", "judge_released/v1/def", False))

VERDICT = Verdict(
    snapshot=SNAPSHOT,
    model="m",
    judge="j",
    judge_order="as_asked",
    pair_id="p1",
    sample=0,
    subset="all",
    alignment=0,
    preference=False,
    refusal_for=False,
    refusal_against=False,
    no_information_for=False,
    no_information_against=False,
    central_issue="The tolls",
    position_for="Fair",
    position_against="Unfair",
    points_of_alignment="None",
    points_of_opposition="All",
    text_cut=False,
    outcome="parsed",
    detail=None,
    raw=None,
    prompt="judge_v3/v1/abc",
    input_tokens=10,
    output_tokens=5,
    cached_tokens=None,
    reasoning_tokens=None,
    fingerprint="f",
)


def verdict(
    pair_id: str,
    alignment: int,
    *,
    preference: bool | None = False,
    refuse: Sequence[str] = (),
    no_information: Sequence[str] = (),
    **fields: Any,
) -> Verdict:
    """Make a parsed verdict; `refuse` and `no_information` name the sides that do."""
    return replace(
        VERDICT,
        pair_id=pair_id,
        alignment=alignment,
        preference=preference,
        refusal_for="for" in refuse,
        refusal_against="against" in refuse,
        no_information_for="for" in no_information,
        no_information_against="against" in no_information,
        **fields,
    )


def unparsed(made: Verdict, outcome: str = "unparsed") -> Verdict:
    """Turn a verdict into a row that says it could not be had."""
    return replace(
        made,
        alignment=None,
        preference=None,
        refusal_for=None,
        refusal_against=None,
        no_information_for=None,
        no_information_against=None,
        outcome=outcome,
    )


def pairs_of(count: int) -> list[Pair]:
    """Make pairs `p1`, `p2` and so on, each of an article of its own."""
    return [replace(PAIR, pair_id=f"p{number}", page_id=number) for number in range(1, count + 1)]


def responses_to(pairs: Sequence[Pair], model: str = "m") -> list[Response]:
    """Make both responses of a model to each pair."""
    made = [response(side, "text", pair_id=pair.pair_id) for pair in pairs for side in ("for", "against")]
    return [replace(each, model=model) for each in made]


@cache
def derived_files() -> list[SqlFile]:
    """Give the files of `sql/` that read other tables, not facts, in the order of building."""
    return [file for file in load_sql_files() if not file.facts]


@contextmanager
def judged(
    pairs: Sequence[Pair],
    responses: Sequence[Response],
    verdicts: Sequence[Verdict],
    *,
    models: Sequence[Model] = (MODEL,),
    judges: Sequence[Judge] = JUDGES,
    workers: Sequence[Worker] = (WORKER,),
    costs: Sequence[CallCost] = (),
) -> Iterator[DuckDBPyConnection]:
    """Run scores, metrics and leaderboard over rows in memory; rows need no order and may repeat a key of the facts."""
    given: list[tuple[type[Record], Sequence[Any]]] = [
        (Pair, pairs),
        (Response, responses),
        (Verdict, verdicts),
        (Model, models),
        (Judge, judges),
        (Worker, workers),
        (CallCost, costs),
    ]
    with connect(None, threads=1) as connection:
        for record, rows in given:
            connection.register(record.TABLE, _frame(record, rows))
        for file in derived_files():
            connection.execute(file.statement).fetchall()
        yield connection


def _frame(record: type[Any], rows: Sequence[Any]) -> pl.DataFrame:
    """Make one frame of rows of many partitions, which no key sorts."""
    frames = [frame_of(record, [row]) for row in rows]
    return pl.concat(frames) if frames else frame_of(record, [])
