"""Acceptance: which candidates become pairs of the benchmark, and the one reason of each that does not.

Here belongs the joining of sections, issues and candidates into pairs, and the accounting: every issue ends as one
pair or one drop. What a good pair is, the checks of `sql/checks/pairs` say; they come in as a function.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from valbench_dagster.identity import split_of
from valbench_dagster.records import CandidatePair, Issue, Pair, PairDrop, Section

Offending = Callable[[Sequence[Pair]], Mapping[str, tuple[str, str]]]
"""From pairs to those that fail a check: by pair id, the name of the first check it fails and what that one says."""

SHOWN_PROBLEMS = 10


def is_kept(issue: Issue) -> bool:
    """Whether an issue counts as divergent: the annotator says so, on a scale of at least 1.

    The paper filters out sections that are not divergent at all (A.1.2) and does not say by which of the two fields;
    where they contradict each other, the annotation is not trusted.
    """
    return issue.is_divergent is True and issue.scale is not None and issue.scale >= 1


def accept(
    candidates: Sequence[CandidatePair],
    issues: Mapping[str, Issue],
    sections: Mapping[str, Section],
    offending: Offending,
) -> tuple[list[Pair], list[PairDrop]]:
    """Make every issue one pair or one drop: pairs sorted by id, drops by page and heading.

    `issues` and `sections` are by id. The reason of a drop is `not_divergent`, `issue_` or `pair_` and the outcome of
    the call that gave nothing, or the check that the pair fails first. Pairs with one id are dropped together when a
    check names it. Raises `ValueError` when the facts are not of one run: an issue that was kept without a candidate,
    one with two, a candidate of no kept issue, a section that is missing, a parsed row without its texts, or a check
    that names a pair which is not there.
    """
    written = _by_issue(candidates, issues, sections)
    drops: list[PairDrop] = []
    proposed: list[tuple[Issue, Pair]] = []
    for issue_id, issue in issues.items():
        candidate = written.get(issue_id)
        if issue.outcome != "parsed":
            drops.append(_drop(issue, None, f"issue_{issue.outcome}", issue.detail))
        elif candidate is None:
            answer = "divergent" if issue.is_divergent else "not divergent"
            drops.append(_drop(issue, None, "not_divergent", f"{answer}, scale {issue.scale}"))
        elif candidate.outcome != "parsed":
            drops.append(_drop(issue, candidate.pair_id, f"pair_{candidate.outcome}", candidate.detail))
        else:
            proposed.append((issue, _pair(sections[issue.section_id], issue, candidate)))
    proposed.sort(key=lambda each: (each[1].pair_id, each[0].page_id, each[0].heading_index))
    failing = offending([pair for _, pair in proposed])
    unknown = sorted(set(failing) - {pair.pair_id for _, pair in proposed})
    if unknown:
        raise ValueError(f"check {failing[unknown[0]][0]} names {unknown[0]}, which is the id of no candidate pair")
    accepted = [pair for _, pair in proposed if pair.pair_id not in failing]
    drops += [_drop(issue, pair.pair_id, *failing[pair.pair_id]) for issue, pair in proposed if pair.pair_id in failing]
    return accepted, sorted(drops, key=lambda drop: (drop.page_id, drop.heading_index))


def _by_issue(
    candidates: Sequence[CandidatePair], issues: Mapping[str, Issue], sections: Mapping[str, Section]
) -> dict[str, CandidatePair]:
    """Index the candidates by issue; raises `ValueError` with what does not fit together."""
    counted = Counter(candidate.issue_id for candidate in candidates)
    problems = [f"issue {issue_id} has {count} candidates" for issue_id, count in counted.items() if count > 1]
    for candidate in candidates:
        issue = issues.get(candidate.issue_id)
        if issue is None or not is_kept(issue):
            problems.append(f"candidate {candidate.pair_id} is of no issue that was kept ({candidate.issue_id})")
    for issue_id, issue in issues.items():
        if is_kept(issue) and issue_id not in counted:
            problems.append(f"issue {issue_id} was kept and has no candidate")
        if issue.section_id not in sections:
            problems.append(f"issue {issue_id} is of section {issue.section_id}, which is not there")
    if problems:
        raise ValueError(
            f"{len(problems)} reasons why sections, issues and candidate pairs are not of one run:\n  "
            + "\n  ".join(problems[:SHOWN_PROBLEMS])
            + "\nmaterialise `issues` and `candidate_pairs` of the snapshot again (calls with a reply are not repeated)"
        )
    return {candidate.issue_id: candidate for candidate in candidates}


def _drop(issue: Issue, pair_id: str | None, reason: str, detail: str | None) -> PairDrop:
    return PairDrop(
        snapshot=issue.snapshot,
        section_id=issue.section_id,
        page_id=issue.page_id,
        heading_index=issue.heading_index,
        issue_id=issue.issue_id,
        pair_id=pair_id,
        reason=reason,
        detail=detail,
    )


def _pair(section: Section, issue: Issue, candidate: CandidatePair) -> Pair:
    def text(name: str, value: str | None) -> str:
        if value is None:
            raise ValueError(f"pair {candidate.pair_id} counts as parsed and has no {name}")
        return value

    if issue.scale is None:
        raise ValueError(f"issue {issue.issue_id} counts as parsed and has no scale")
    return Pair(
        snapshot=candidate.snapshot,
        pair_id=candidate.pair_id,
        issue_id=issue.issue_id,
        section_id=section.section_id,
        wiki=section.wiki,
        page_id=section.page_id,
        revision_id=section.revision_id,
        title=section.title,
        heading_path=section.heading_path,
        url=section.url,
        split=split_of(section.wiki, section.page_id),
        category=None,
        scale=issue.scale,
        rationale=text("rationale", issue.rationale),
        issue=text("issue", candidate.issue),
        for_description=text("for_description", candidate.for_description),
        for_question=text("for_question", candidate.for_question),
        against_description=text("against_description", candidate.against_description),
        against_question=text("against_question", candidate.against_question),
        writer=candidate.worker,
    )
