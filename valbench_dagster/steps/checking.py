"""Checking: the checks of `sql/checks` run over facts as they lie on disk.

What a check forbids is its SQL file; which rows failed it is kept as facts (`check_failures`). A step that spends money
calls `require_sound` first, since a blocking check in Dagster blocks only within its own run.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from valbench_dagster.adapters.facts import Facts
from valbench_dagster.adapters.warehouse.checks import EARLIER, Check, load_checks, offending_all
from valbench_dagster.identity import identify
from valbench_dagster.records import (
    CandidatePair,
    CheckFailure,
    DumpDamage,
    DumpFile,
    Issue,
    MinedFile,
    Pair,
    PairDrop,
    Record,
    Response,
    Section,
    SectionDrop,
    Verdict,
)
from valbench_dagster.steps.project import Project

CHECKED: dict[str, type[Record]] = {
    record.TABLE: record
    for record in (
        *(DumpFile, MinedFile, DumpDamage, Section, SectionDrop),
        *(Issue, CandidatePair, Pair, PairDrop, Response, Verdict),
    )
}
"""The fact tables that may have checks."""

VOUCHING = {
    "sections": {"dump": "dump", "mined_files": "sections", "dump_damages": "sections", "section_drops": "sections"}
}
"""Facts that say whether those of a table are whole, each with the asset that publishes it."""


class BlockingCheckError(Exception):
    """A blocking check fails on the facts that a step was about to spend money on."""


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """One check over one partition: the offending rows as (row id, what is wrong)."""

    check: Check
    rows: tuple[tuple[str, str], ...]

    @property
    def passed(self) -> bool:
        """Whether no row offends."""
        return not self.rows


def run_checks(project: Project, fact: str, partition: str, checks: Sequence[Check]) -> list[CheckOutcome]:
    """Run checks on one partition of a fact, read back from disk, and keep their offending rows.

    `partition` is a snapshot key and what else the fact is partitioned by. Of another fact that a check reads, those
    partitions are taken that agree with it as far as both go: verdicts meet the responses of their own model, whatever
    other models have by then. Where a check reads earlier snapshots of a fact, those partitions are taken that differ
    in nothing but an earlier date, and that this version can read.
    """
    asked = partition.split("/")
    snapshot = asked[0]
    relations = {fact: _paths(project.facts, fact, [partition])}
    for other in sorted({name for check in checks for name in check.also_reads} - {fact}):
        held = project.facts.partitions(CHECKED[other])
        matching = [each for each in held if all(a == b for a, b in zip(each.split("/"), asked, strict=False))]
        relations[other] = _paths(project.facts, other, matching)
    for other in sorted({name for check in checks for name in check.reads_earlier}):
        held = project.facts.partitions(CHECKED[other])
        before = [each for each in held if _is_earlier(each.split("/"), asked)]
        readable = [each for each in before if project.facts.current(CHECKED[other], each)]
        relations[f"{EARLIER}{other}"] = _paths(project.facts, other, readable)
    found = offending_all(checks, relations)
    outcomes = [CheckOutcome(check, tuple(sorted(set(found[check.name].iter_rows())))) for check in checks]
    for outcome in outcomes:
        _keep(project.facts, outcome, snapshot, partition, relations)
    return outcomes


def _keep(
    facts: Facts, outcome: CheckOutcome, snapshot: str, partition: str, relations: Mapping[str, Sequence[str]]
) -> None:
    """Keep the offending rows of a check; the same query over the same files has the same, and is kept already."""
    check = outcome.check
    kept = f"{check.fact}/{check.name}/{partition}"
    # Files are named by their content: their names stand for what is in them.
    read = {name: [path.rpartition("/")[2] for path in relations[name]] for name in check.relations}
    fingerprint = identify("check", [check.statement, read])
    current = facts.current(CheckFailure, kept)
    if current is None or current.input_fingerprint != fingerprint:
        rows = [CheckFailure(snapshot, check.fact, check.name, row_id, detail) for row_id, detail in outcome.rows]
        facts.publish(CheckFailure, kept, rows, input_fingerprint=fingerprint)


def require_sound(project: Project, fact: str, partition: str) -> None:
    """Stop a step before it spends money on facts that a blocking check forbids; raises `BlockingCheckError`.

    Facts that vouch for them are checked too, where there are any: facts made by an older version stand alone, and are
    as sound as they were then.
    """
    vouching = VOUCHING.get(fact, {})
    held = [other for other in vouching if project.facts.current(CHECKED[other], partition)]
    failed = [
        outcome for each in (fact, *held) for outcome in _blocking(project, each, partition) if not outcome.passed
    ]
    if failed:
        assets = " and ".join(sorted({vouching.get(outcome.check.fact, fact) for outcome in failed}))
        raise BlockingCheckError(
            f"{len(failed)} blocking check{'s' * (len(failed) > 1)} on {fact} of {partition}; no call was made:\n"
            + "\n".join(_line(outcome) for outcome in failed)
            + f"\nLook at them under the checks of {assets}, mend their source, materialise {assets} again."
        )


def _blocking(project: Project, fact: str, partition: str) -> list[CheckOutcome]:
    blocking = [check for check in load_checks(fact) if check.blocking and check.severity == "error"]
    return run_checks(project, fact, partition, blocking)


def _line(outcome: CheckOutcome) -> str:
    row_id, detail = outcome.rows[0]
    return f"  {outcome.check.fact}/{outcome.check.name}: {len(outcome.rows)} offending, such as {row_id}: {detail}"


def _is_earlier(partition: Sequence[str], asked: Sequence[str]) -> bool:
    """Whether a partition is of the wiki asked about, of an earlier date, and agrees with the rest."""
    (wiki, _, day), (asked_wiki, _, asked_day) = (parts[0].rpartition("-") for parts in (partition, asked))
    rest = zip(partition[1:], asked[1:], strict=False)
    return wiki == asked_wiki and day < asked_day and all(one == other for one, other in rest)


def _paths(facts: Facts, fact: str, partitions: Iterable[str]) -> list[str]:
    return facts.paths(CHECKED[fact], partitions)
