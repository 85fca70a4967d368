"""The Dagster instance: its home, its settings file, its pools and the snapshots it knows."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import dagster as dg

from valbench_dagster.orchestration.partitions import SNAPSHOT, pool_of
from valbench_dagster.project_files import project_file
from valbench_dagster.roster import Roster
from valbench_dagster.settings import Settings


def prepare_home(settings: Settings) -> Path:
    """Make DAGSTER_HOME with our settings, unless it is set or there already, and point this process at it."""
    home = Path(os.environ.get("DAGSTER_HOME") or settings.home / "dagster")
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "dagster.yaml").exists():
        shutil.copyfile(project_file("dagster.yaml"), home / "dagster.yaml")
    os.environ["DAGSTER_HOME"] = str(home)
    return home


def name_home(env_file: Path, home: Path) -> str | None:
    """Name DAGSTER_HOME in a `.env`, keeping its other lines; give the one it named before, null if none or the same.

    `dagster ...` reads the `.env` of its working directory and puts it over the environment: one that names an older
    home would join that home's runs to this home's facts.
    """
    lines = env_file.read_text(encoding="utf-8").splitlines() if env_file.is_file() else []
    named = [line.partition("=")[2] for line in lines if line.startswith("DAGSTER_HOME=")]
    if named == [str(home)]:
        return None
    kept = [line for line in lines if not line.startswith("DAGSTER_HOME=")]
    env_file.write_text("\n".join([*kept, f"DAGSTER_HOME={home}", ""]), encoding="utf-8")
    return named[-1] if named else None


def open_instance(settings: Settings, roster: Roster) -> dg.DagsterInstance:
    """Open the instance of the project and give each endpoint's pool the limit that the roster names."""
    prepare_home(settings)
    instance = dg.DagsterInstance.get()
    held: Mapping[str, int | None] = {info.name: info.limit for info in instance.event_log_storage.get_pool_limits()}
    for name, endpoint in roster.endpoint.items():
        if held.get(pool_of(name)) != endpoint.runs:
            instance.event_log_storage.set_concurrency_slots(pool_of(name), endpoint.runs)
    return instance


def register_snapshot(instance: dg.DagsterInstance, snapshot: str) -> bool:
    """Add a snapshot to the partitions; give whether it was new. Keys are checked where dumps are added."""
    name = SNAPSHOT.name or ""
    if instance.has_dynamic_partition(name, snapshot):
        return False
    instance.add_dynamic_partitions(name, [snapshot])
    return True
