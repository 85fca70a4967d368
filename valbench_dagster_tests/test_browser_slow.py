"""A newcomer's first pages in a real browser: the graph shows our groups, the page of `pairs` its checks.

One small look at what only a browser can tell: that the pages render from what we have defined.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from html import unescape
from pathlib import Path

import pytest

from valbench_dagster.adapters.warehouse.checks import load_checks
from valbench_dagster.project_files import project_file
from valbench_dagster_tests.chain import SNAPSHOT
from valbench_dagster_tests.dagster_dev import DagsterDev, Run, dagster_dev

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--window-size=1600,1200"),
    # Milliseconds of the page's own time; while a request is under way that clock stands still.
    "--virtual-time-budget=20000",
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not CHROMIUM, reason="no chromium: apt-get install chromium, and run make test-slow again"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterDev]:
    root = tmp_path_factory.mktemp("browser")
    roster = Path(shutil.copy(project_file("roster.toml"), root / "roster.toml"))
    with dagster_dev(root, roster) as running:
        yield running


def page(server: DagsterDev, path: str, profile: Path) -> str:
    """Open a page and give the text that it shows, one space between pieces."""
    command = [CHROMIUM, *OPTIONS, f"--user-data-dir={profile}", "--dump-dom", f"{server.url}{path}"]
    done = subprocess.run(command, capture_output=True, timeout=180, check=True, text=True)
    shown = re.sub(r"<(script|style)\b.*?</\1>", " ", done.stdout, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", shown)).split())


def test_the_asset_graph_shows_our_groups(server: DagsterDev, tmp_path: Path) -> None:
    shown = page(server, "/asset-groups", tmp_path / "profile")
    missing = [group for group in ("source", "dataset", "evaluation", "warehouse", "report") if group not in shown]
    assert not missing, shown


def test_the_page_of_pairs_shows_every_check_and_what_it_forbids(server: DagsterDev, tmp_path: Path) -> None:
    shown = page(server, "/assets/pairs?view=checks&checkDetail=loaded_words", tmp_path / "profile")
    checks = {check.name: check for check in load_checks() if check.fact in ("pairs", "pair_drops")}
    assert [name for name in checks if name not in shown] == [], shown
    assert checks["loaded_words"].description[:60] in shown, shown
    assert "sql/checks/pairs/loaded_words.sql" in shown, shown


def test_a_stand_in_is_backfilled_with_nothing_else_started(server: DagsterDev, tmp_path: Path) -> None:
    # What the page of the job sends on "Launch backfill": the first thing that the README lets a newcomer do.
    for job, assets, key in (
        ("refresh_dataset", ("dump", "sections", "issues", "candidate_pairs", "pairs"), SNAPSHOT),
        ("evaluate_model", ("responses", "verdicts/stand-in-v3", "verdicts/stand-in-released"), f"aligned|{SNAPSHOT}"),
    ):
        backfill = server.backfill(job, assets, [key])
        done = server.wait_for(f"end of the run of {job}", partial(_ended, server, backfill))
        assert [run.status for run in done] == ["SUCCESS"], server.shown()
    shown = page(server, "/assets/responses?view=partitions", tmp_path / "profile")
    assert "Materialized (1)" in shown, shown
    assert "Missing (5)" in shown, shown


def _ended(server: DagsterDev, backfill: str) -> list[Run] | None:
    runs = server.runs_of_backfill(backfill)
    return runs if runs and all(run.end for run in runs) else None
