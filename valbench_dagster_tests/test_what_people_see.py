"""What a person sees in the UI and the terminal beside numbers: short leaderboards, progress tags, the `.env`."""

from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from valbench_dagster.llm.tally import Progress
from valbench_dagster.orchestration.instance import name_home
from valbench_dagster.orchestration.progress import LOG_EVERY, TAGS_EVERY, RunProgress
from valbench_dagster.report.leaderboard import NOTHING, brief
from valbench_dagster_tests.examples import LEADERBOARD_ROW

ROW: dict[str, Any] = LEADERBOARD_ROW | {"ref": 0.0}
HEAD = ["", "| model | PAC | VPREF | REF | NINF | coverage |", "| --- | ---: | ---: | ---: | ---: | ---: |"]


def test_the_short_leaderboard_has_one_line_a_model_best_first() -> None:
    other_rule = ROW | {"protocol": "released", "headline": False, "pac": 99.0}
    frame = pl.DataFrame([ROW, other_rule, ROW | {"model": "best", "pac": 100.0, "stand_in": True}])
    assert brief(frame, 990).splitlines() == [
        *("sample-20260101:", *HEAD),
        "| best (stand-in) | 100.00 | 25.00 | 0.00 | 0.00 | 1.00 |",
        "| m | 56.25 | 25.00 | 0.00 | 0.00 | 1.00 |",
    ]


def test_the_short_leaderboard_has_one_table_a_snapshot_the_last_one_first() -> None:
    frame = pl.DataFrame([ROW, ROW | {"snapshot": "sample-20260201"}])
    line = "| m | 56.25 | 25.00 | 0.00 | 0.00 | 1.00 |"
    assert brief(frame, 990).splitlines() == [
        *("sample-20260201:", *HEAD, line),
        "",
        *("sample-20260101:", *HEAD, line),
    ]


def test_the_short_leaderboard_counts_what_it_has_no_room_for() -> None:
    frame = pl.DataFrame([ROW | {"model": f"model-{number:02}"} for number in range(40)])
    text = brief(frame, 990)
    shown = sum(line.startswith("| model-") for line in text.splitlines())
    assert 0 < shown < 40
    assert len(text) <= 990
    assert text.endswith(f"|\n\n… and {40 - shown} more in `reports/`")


def test_the_short_leaderboard_of_nobody_says_what_to_run() -> None:
    assert brief(pl.DataFrame([ROW]).clear(), 990) == NOTHING


def tags_after(seconds_and_calls: list[tuple[float, int]], end: float) -> dict[str, str]:
    """Run a step that reports so many of 94 calls at these seconds and ends then; give the progress tags it leaves."""
    # The clock is read when the step starts, at each report, and at the end where tags were written before.
    times = iter([0.0, *(seconds for seconds, _ in seconds_and_calls), end])

    @dg.asset
    def responses(context: dg.AssetExecutionContext) -> None:
        watch = RunProgress(context, lambda: next(times))
        for _, done in seconds_and_calls:
            watch(Progress(done=done, total=94, failed=0, input_tokens=0, output_tokens=0))
        watch.close()

    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.get_run_by_id(dg.materialize([responses], instance=instance).run_id)
        assert run is not None
        return {name: run.tags[name] for name in ("progress", "failed", "time_left") if name in run.tags}


def test_a_short_step_leaves_no_tag() -> None:
    assert tags_after([(TAGS_EVERY / 2, 94)], TAGS_EVERY / 2) == {}


def test_a_long_step_leaves_the_tags_of_its_end_not_of_its_last_look() -> None:
    # At 10 s tags say 1 of 94; what comes within the next 10 s is not written at once, and must not be lost.
    assert TAGS_EVERY < LOG_EVERY
    assert tags_after([(TAGS_EVERY, 1), (TAGS_EVERY + 1, 94)], TAGS_EVERY + 1) == {
        "progress": "responses 94/94",
        "failed": "0",
        "time_left": "0 min",
    }


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        (None, "DAGSTER_HOME=/here\n", None),
        ("DAGSTER_HOME=/here\n", "DAGSTER_HOME=/here\n", None),
        ("KEY=1\nDAGSTER_HOME=/there\n", "KEY=1\nDAGSTER_HOME=/here\n", "/there"),
        ("KEY=1", "KEY=1\nDAGSTER_HOME=/here\n", None),
    ],
)
def test_the_env_file_names_the_home_that_was_prepared(
    tmp_path: Path, before: str | None, after: str, named: str | None
) -> None:
    file = tmp_path / ".env"
    if before is not None:
        file.write_text(before, encoding="utf-8")
    assert name_home(file, Path("/here")) == named
    assert file.read_text(encoding="utf-8") == after
