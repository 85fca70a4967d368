"""The project as a step sees it: settings, roster and facts, opened together."""

from dataclasses import dataclass

from valbench_dagster.adapters.facts import Facts
from valbench_dagster.roster import Roster
from valbench_dagster.roster_file import load_roster
from valbench_dagster.settings import Settings, read_settings


@dataclass(frozen=True, slots=True)
class Project:
    """Where things lie, who is asked, and the tables so far."""

    settings: Settings
    roster: Roster
    facts: Facts


def open_project(settings: Settings | None = None) -> Project:
    """Open the project of the environment (or of `settings`); raises `RosterError` with all that is wrong there."""
    chosen = read_settings() if settings is None else settings
    return Project(chosen, load_roster(chosen.roster), Facts(chosen.facts))
