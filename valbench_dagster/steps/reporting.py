"""Reporting: leaderboards written from the warehouse, one folder a snapshot."""

from pathlib import Path

import polars as pl

from valbench_dagster.adapters.warehouse.build import read
from valbench_dagster.adapters.warehouse.connection import run_query
from valbench_dagster.report.leaderboard import csv, markdown
from valbench_dagster.steps.project import Project


def read_report(project: Project, name: str) -> pl.DataFrame:
    """Read a table or view of the warehouse by the query of that name in `sql/queries`.

    Raises `FileNotFoundError` where there is no warehouse yet.
    """
    if not project.settings.warehouse.is_file():
        raise FileNotFoundError(f"there is no warehouse at {project.settings.warehouse}: run the job rebuild_warehouse")
    with read(project.settings.warehouse) as connection:
        return run_query(connection, name)


def publish_report(project: Project) -> list[Path]:
    """Write `leaderboard.md` and `leaderboard.csv` of every snapshot in the warehouse; give the files written."""
    leaderboard = read_report(project, "leaderboard")
    written = []
    for snapshot in leaderboard["snapshot"].unique().sort():
        frame = leaderboard.filter(pl.col("snapshot") == snapshot)
        folder = project.settings.reports / snapshot
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in (("leaderboard.md", markdown(frame)), ("leaderboard.csv", csv(frame))):
            _replace(folder / name, text)
            written.append(folder / name)
    return written


def _replace(path: Path, text: str) -> None:
    aside = path.with_suffix(path.suffix + ".tmp")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)
