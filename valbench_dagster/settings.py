"""Settings: where things lie, read from the environment in one place.

| variable | default | meaning |
| --- | --- | --- |
| `VALBENCH_HOME` | `./data` | everything the project writes, unless moved by one of the others |
| `VALBENCH_ROSTER` | `./roster.toml`, else the shipped one | the roster |
| `VALBENCH_LEDGER_URL` | SQLite in the home | SQLAlchemy URL of the ledger of model calls |
| `VALBENCH_FACTS` | `facts/` in the home | path or fsspec URL of the fact tables |
| `VALBENCH_DUMPS` | `dumps/` in the home | path of the folder of dumps |
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from valbench_dagster.project_files import project_file


@dataclass(frozen=True, slots=True)
class Settings:
    """Absolute paths and URLs; nothing else of the environment shapes a run but the keys that endpoints name."""

    home: Path
    roster: Path
    ledger_url: str
    facts: str
    dumps: Path

    @property
    def warehouse(self) -> Path:
        """The DuckDB file; deleting it loses nothing."""
        return self.home / "warehouse" / "valbench.duckdb"

    @property
    def reports(self) -> Path:
        """Where leaderboards are written."""
        return self.home / "reports"


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from the environment (the process's own unless another is given)."""
    env = os.environ if environ is None else environ

    def path(name: str, default: Path) -> Path:
        return Path(env[name]).expanduser().resolve() if env.get(name) else default

    home = path("VALBENCH_HOME", Path("data").resolve())
    own_roster = Path("roster.toml").resolve()
    return Settings(
        home=home,
        roster=path("VALBENCH_ROSTER", own_roster if own_roster.is_file() else project_file("roster.toml")),
        ledger_url=env.get("VALBENCH_LEDGER_URL") or f"sqlite:///{home / 'ledger.sqlite'}",
        facts=env.get("VALBENCH_FACTS") or str(home / "facts"),
        dumps=path("VALBENCH_DUMPS", home / "dumps"),
    )
