"""Settings: where things lie and where dumps come from, read from the environment in one place.

| variable | default | meaning |
| --- | --- | --- |
| `VALBENCH_HOME` | `./data` | everything the project writes, unless moved by one of the others |
| `VALBENCH_ROSTER` | `./roster.toml`, else the shipped one | the roster |
| `VALBENCH_LEDGER_URL` | SQLite in the home | SQLAlchemy URL of the ledger of model calls |
| `VALBENCH_FACTS` | `facts/` in the home | path or fsspec URL of the fact tables |
| `VALBENCH_DUMPS` | `dumps/` in the home | path of the folder of dumps |
| `VALBENCH_CONTACT` | none | your e-mail or page address: the dump server refuses who does not say |
| `VALBENCH_DUMP_SOURCE` | `auto` | `auto`, `classic`, `exports`, or the path or fsspec URL of a prefix with dumps |
| `VALBENCH_DUMP_SERVER` | Wikimedia's | address of the dump server: lists, names and hashes |
| `VALBENCH_DUMP_MIRROR` | none | address of a mirror of it: the bytes |
| `VALBENCH_DUMP_CONNECTIONS` | 2 | connections to it at once, 3 at most |
| `VALBENCH_WIKIS` | `enwiki` | wikis that are followed, separated by commas |
| `VALBENCH_DUMP_POLL_S` | 3600 | seconds between two looks of the sensor `new_dumps` |
| `VALBENCH_PROCESSES` | one a processor | processes that mine a dump |
| `VALBENCH_KEEP_DUMPS` | all | newest snapshots of a wiki whose dump files `valbench prune` keeps |
| `VALBENCH_KEEP_FACTS` | all | newest snapshots of a wiki whose facts it keeps |
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from valbench_dagster.project_files import project_file

DUMP_SERVER = "https://dumps.wikimedia.org"


class SettingsError(ValueError):
    """Variables of the environment that cannot be used: all of them, one a line."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Absolute paths, URLs and numbers; nothing else of the environment shapes a run but the keys of endpoints."""

    home: Path
    roster: Path
    ledger_url: str
    facts: str
    dumps: Path
    contact: str | None = None
    dump_source: str = "auto"
    dump_server: str = DUMP_SERVER
    dump_mirror: str | None = None
    dump_connections: int = 2
    wikis: tuple[str, ...] = ("enwiki",)
    dump_poll_s: int = 3600
    processes: int | None = None
    """Null: as many as there are processors."""
    keep_dumps: int | None = None
    """Null: all of them."""
    keep_facts: int | None = None
    """Null: all of them."""

    @property
    def warehouse(self) -> Path:
        """The DuckDB file; deleting it loses nothing."""
        return self.home / "warehouse" / "valbench.duckdb"

    @property
    def reports(self) -> Path:
        """Where leaderboards are written."""
        return self.home / "reports"


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from the environment (the process's own unless another is given).

    Raises `SettingsError` with every variable that is no number where one is wanted.
    """
    env = os.environ if environ is None else environ
    problems: list[str] = []

    def path(name: str, default: Path) -> Path:
        return Path(env[name]).expanduser().resolve() if env.get(name) else default

    def number(name: str) -> int | None:
        value = env.get(name)
        if not value:
            return None
        if not (value.isascii() and value.isdecimal()) or int(value) < 1:
            problems.append(f"{name} is {value!r}: expected a whole number from 1 on, or nothing.")
            return None
        return int(value)

    home = path("VALBENCH_HOME", Path("data").resolve())
    own_roster = Path("roster.toml").resolve()
    settings = Settings(
        home=home,
        roster=path("VALBENCH_ROSTER", own_roster if own_roster.is_file() else project_file("roster.toml")),
        ledger_url=env.get("VALBENCH_LEDGER_URL") or f"sqlite:///{home / 'ledger.sqlite'}",
        facts=env.get("VALBENCH_FACTS") or str(home / "facts"),
        dumps=path("VALBENCH_DUMPS", home / "dumps"),
        contact=env.get("VALBENCH_CONTACT") or None,
        dump_source=env.get("VALBENCH_DUMP_SOURCE") or "auto",
        dump_server=(env.get("VALBENCH_DUMP_SERVER") or DUMP_SERVER).rstrip("/"),
        dump_mirror=(env.get("VALBENCH_DUMP_MIRROR") or "").rstrip("/") or None,
        dump_connections=number("VALBENCH_DUMP_CONNECTIONS") or 2,
        wikis=tuple(wiki.strip() for wiki in (env.get("VALBENCH_WIKIS") or "enwiki").split(",") if wiki.strip()),
        dump_poll_s=number("VALBENCH_DUMP_POLL_S") or 3600,
        processes=number("VALBENCH_PROCESSES"),
        keep_dumps=number("VALBENCH_KEEP_DUMPS"),
        keep_facts=number("VALBENCH_KEEP_FACTS"),
    )
    if problems:
        raise SettingsError("\n".join([*problems, "Set or unset them, then run: valbench doctor"]))
    return settings
