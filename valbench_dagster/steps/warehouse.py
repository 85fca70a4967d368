"""Warehouse: roster and costs as facts, then every table, view, metric and report of `sql/` from the current facts."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valbench_dagster.adapters.warehouse.build import BuiltTable, build
from valbench_dagster.adapters.warehouse.checks import problems_in
from valbench_dagster.identity import canonical_json, identify
from valbench_dagster.llm.calls import ServedModel
from valbench_dagster.prompting import load_prompt
from valbench_dagster.records import (
    CallCost,
    CandidatePair,
    CheckFailure,
    DumpDamage,
    DumpFile,
    Issue,
    Judge,
    MinedFile,
    Model,
    Pair,
    PairDrop,
    Record,
    Response,
    Section,
    SectionDrop,
    Verdict,
    Worker,
)
from valbench_dagster.roster import Roster
from valbench_dagster.steps.costs import call_costs
from valbench_dagster.steps.project import Project

ALL = "all"
"""The one partition of facts that have no snapshot."""

SOURCES: tuple[type[Record], ...] = (
    Model,
    Worker,
    Judge,
    DumpFile,
    MinedFile,
    DumpDamage,
    Section,
    SectionDrop,
    Issue,
    CandidatePair,
    Pair,
    PairDrop,
    Response,
    Verdict,
    CheckFailure,
    CallCost,
)
"""The fact tables that the warehouse is built from; one that no snapshot has yet is a table without rows."""


@dataclass(frozen=True, slots=True)
class WarehouseReport:
    """What was built, in the order of building, and the hash of the facts it was built from but those of costs.

    A cost changes with every call, also one that changes no fact (asked again and failed again, or made by another
    project on the same ledger): numbers would seem new that are not. `warnings` are sentences on what a reader must
    know.
    """

    path: Path
    tables: Sequence[BuiltTable]
    input_fingerprint: str
    warnings: Sequence[str] = ()


def build_warehouse(project: Project, open_database: Callable[[Path], AbstractContextManager[Any]]) -> WarehouseReport:
    """Publish roster and costs as facts and rebuild the warehouse whole; a failure leaves the old one in place.

    Holds what the roster names: facts of models and judges that left it stay on disk and out of the warehouse.
    """
    made: list[tuple[type[Record], list[Any]]] = [*_roster_facts(project.roster), (CallCost, call_costs(project))]
    for record, rows in made:
        content = identify("step", [record.TABLE, repr(rows)])
        current = project.facts.current(record, ALL)
        if current is None or current.input_fingerprint != content:
            project.facts.publish(record, ALL, rows, input_fingerprint=content)
    files: dict[str, list[str]] = {}
    inputs: list[object] = []
    for record in SOURCES:
        held = sorted(project.facts.partitions(record))
        partitions = [each for each in held if _is_named(project.roster, record, each)]
        files[record.TABLE] = project.facts.paths(record, partitions)
        if record is not CallCost:
            pointers = [(each, project.facts.current(record, each)) for each in partitions]
            inputs.append([record.TABLE, [[each, pointer.content] for each, pointer in pointers if pointer]])
    warnings: list[str] = []

    def verify(connection: Any) -> list[str]:
        warnings.extend(problems_in(connection, blocking=False))
        return problems_in(connection)

    tables = build(open_database, project.settings.warehouse, files, verify=verify)
    return WarehouseReport(project.settings.warehouse, tables, identify("step", ["warehouse", inputs]), warnings)


def _is_named(roster: Roster, record: type[Record], partition: str) -> bool:
    parts = partition.split("/")
    if record is Response:
        return parts[1] in roster.model_ids()
    if record is Verdict:
        return parts[1] in roster.model_ids() and parts[2] in roster.judge
    return True


def _roster_facts(roster: Roster) -> Iterator[tuple[type[Record], list[Any]]]:
    models = [
        Model(
            model=entry.id,
            family=entry.family,
            endpoint=entry.endpoint,
            provider=roster.endpoint[entry.endpoint].provider,
            served_as=entry.model,
            revision=entry.revision,
            prompt=roster.respondent_prompt(entry).label,
            sampling=_sampling(roster.served(entry)),
            stand_in=roster.is_stand_in(entry.endpoint),
        )
        for entry in sorted(roster.model, key=lambda entry: entry.id)
    ]
    workers = [
        Worker(
            worker=name,
            endpoint=entry.endpoint,
            provider=roster.endpoint[entry.endpoint].provider,
            served_as=entry.model,
            revision=entry.revision,
            sampling=_sampling(roster.served(entry)),
            stand_in=roster.is_stand_in(entry.endpoint),
        )
        for name, entry in sorted(roster.worker.items())
    ]
    judges = [
        Judge(
            judge=name,
            worker=judge.worker,
            prompt=load_prompt(judge.prompt, judge.prompt_version).label,
            headline=name == roster.defaults.judges[0],
        )
        for name, judge in sorted(roster.judge.items())
    ]
    yield from ((Model, models), (Worker, workers), (Judge, judges))


def _sampling(served: ServedModel) -> str:
    return canonical_json(dict(served.settings)).decode()
