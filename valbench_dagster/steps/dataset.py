"""Dataset: from sections to accepted pairs. The steps of the assets `issues`, `candidate_pairs` and `pairs`."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from valbench_dagster.adapters.facts import frame_of
from valbench_dagster.adapters.warehouse.checks import load_checks, offending_all
from valbench_dagster.identity import identify
from valbench_dagster.llm.budget import Caps
from valbench_dagster.prompting import load_prompt
from valbench_dagster.records import CandidatePair, Issue, Pair, PairDrop, Section
from valbench_dagster.stages.acceptance import accept, is_kept
from valbench_dagster.stages.issues import ask_issue, read_issue
from valbench_dagster.stages.pairs import ask_pair, read_pair
from valbench_dagster.steps.asking_step import AskingStep, required
from valbench_dagster.steps.checking import require_sound
from valbench_dagster.steps.project import Project
from valbench_dagster.steps.step_report import StepReport, Watch

ANNOTATING = 1
WRITING = 1
ACCEPTING = 1
"""Each is raised when the same input would give other rows: part of the step's input fingerprint."""


def publish_issues(project: Project, snapshot: str, run: str, watch: Watch, *, caps: Caps | None = None) -> StepReport:
    """Annotate every section of a snapshot and publish one issue a section."""
    step = issues_step(project, snapshot)
    require_sound(project, "sections", snapshot)
    return step.run(project, run, watch, caps)


def issues_step(project: Project, snapshot: str) -> AskingStep[Section, Issue]:
    """Make the step of `publish_issues` without running it; nothing is asked, checked or written."""
    source = required(project.facts.current(Section, snapshot), "sections", snapshot)
    name = project.roster.defaults.annotator
    served, prompt = project.roster.served(project.roster.worker[name]), load_prompt("annotate_issue")
    return AskingStep(
        record=Issue,
        partition=snapshot,
        served=served,
        prompt=prompt,
        input=[ANNOTATING, source.content, name],
        items=lambda: project.facts.rows(Section, snapshot),
        question=lambda section: ask_issue(section, served, prompt),
        row=lambda section, question, answer: read_issue(section, question, answer, name, prompt),
        made_by=issues_step,
        made_of=(snapshot,),
        expected=lambda: source.rows,
    )


def publish_candidates(
    project: Project, snapshot: str, run: str, watch: Watch, *, caps: Caps | None = None
) -> StepReport:
    """Write a pair for every divergent issue of a snapshot and publish one candidate an issue."""
    step = candidates_step(project, snapshot)
    require_sound(project, "issues", snapshot)
    return step.run(project, run, watch, caps)


def candidates_step(project: Project, snapshot: str) -> AskingStep[tuple[Section, Issue], CandidatePair]:
    """Make the step of `publish_candidates` without running it; nothing is asked, checked or written."""
    sections = required(project.facts.current(Section, snapshot), "sections", snapshot)
    issues = required(project.facts.current(Issue, snapshot), "issues", snapshot)
    name = project.roster.defaults.writer
    served, prompt = project.roster.served(project.roster.worker[name]), load_prompt("write_pair")

    def divergent() -> Iterator[tuple[Section, Issue]]:
        both = zip(project.facts.rows(Section, snapshot), project.facts.rows(Issue, snapshot), strict=True)
        for section, issue in both:
            if section.section_id != issue.section_id:
                raise ValueError(f"issue {issue.issue_id} is not of section {section.section_id}: materialise `issues`")
            if is_kept(issue):
                yield section, issue

    return AskingStep(
        record=CandidatePair,
        partition=snapshot,
        served=served,
        prompt=prompt,
        input=[WRITING, sections.content, issues.content, name],
        items=divergent,
        question=lambda item: ask_pair(*item, served, prompt),
        row=lambda item, question, answer: read_pair(*item, question, answer, name, prompt),
        made_by=candidates_step,
        made_of=(snapshot,),
        expected=lambda: sum(is_kept(issue) for issue in project.facts.rows(Issue, snapshot)),
    )


def publish_pairs(project: Project, snapshot: str) -> StepReport:
    """Accept or drop every candidate by the pair checks, and publish accepted pairs and the reason of every drop."""
    pointers = {
        record: required(project.facts.current(record, snapshot), record.TABLE, snapshot)
        for record in (Section, Issue, CandidatePair)
    }
    checks = [check for check in load_checks("pairs") if check.blocking]
    rules = [[check.name, check.statement] for check in checks]
    fingerprint = identify("step", ["pairs", ACCEPTING, rules, [pointer.content for pointer in pointers.values()]])
    pairs, drops = (project.facts.current(record, snapshot) for record in (Pair, PairDrop))
    if pairs and drops and pairs.input_fingerprint == drops.input_fingerprint == fingerprint:
        return StepReport(pairs, False, _reasons(project, snapshot))

    def offending(pairs: Sequence[Pair]) -> Mapping[str, tuple[str, str]]:
        found = offending_all(checks, {"pairs": frame_of(Pair, pairs)})
        by_pair: dict[str, tuple[str, str]] = {}
        for check in checks:
            for pair_id, detail in found[check.name].iter_rows():
                by_pair.setdefault(pair_id, (check.name, detail))
        return by_pair

    accepted, dropped = accept(
        list(project.facts.rows(CandidatePair, snapshot)),
        {issue.issue_id: issue for issue in project.facts.rows(Issue, snapshot)},
        {section.section_id: section for section in project.facts.rows(Section, snapshot)},
        offending,
    )
    pointer = project.facts.publish(Pair, snapshot, accepted, input_fingerprint=fingerprint)
    project.facts.publish(PairDrop, snapshot, dropped, input_fingerprint=fingerprint)
    return StepReport(pointer, True, _reasons(project, snapshot))


def _reasons(project: Project, snapshot: str) -> dict[str, int]:
    drops = Counter(f"dropped: {drop.reason}" for drop in project.facts.rows(PairDrop, snapshot))
    accepted = project.facts.current(Pair, snapshot)
    return {"accepted": accepted.rows if accepted else 0, **dict(sorted(drops.items()))}
