"""Other versions: the SQL and the chain give the same on the next major release of DuckDB."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

SUITES = ("test_sql_metrics.py", "test_warehouse.py", "test_pair_checks.py", "test_fact_checks.py", "test_chain.py")


@pytest.mark.slow
def test_the_warehouse_and_its_checks_hold_on_duckdb_2(tmp_path: Path) -> None:
    target = tmp_path / "packages"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    installed = subprocess.run(
        [*pip, "--no-deps", "--target", str(target), "duckdb==2.0.0"], capture_output=True, text=True, check=False
    )
    if installed.returncode:
        pytest.skip(f"duckdb 2.0.0 cannot be installed here: {installed.stderr[-500:]}")
    environment = {**os.environ, "PYTHONPATH": str(target)}
    version = subprocess.run(
        [sys.executable, "-c", "import duckdb; print(duckdb.__version__)"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert version.stdout.strip() == "2.0.0"
    suite = [
        sys.executable,
        "-m",
        "pytest",
        "-n",
        "2",
        "-p",
        "no:cacheprovider",
        *(str(TESTS / name) for name in SUITES),
    ]
    result = subprocess.run(suite, env=environment, capture_output=True, text=True, check=False, cwd=TESTS.parent)
    assert result.returncode == 0, result.stdout[-4000:]
