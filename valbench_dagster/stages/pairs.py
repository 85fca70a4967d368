"""Pairs: two questions about one issue, one for each side (paper, A.1.3).

Here belong the writing request of a divergent issue and the reading of its reply as a candidate. Which candidates
become pairs of the benchmark is `acceptance`.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from valbench_dagster.identity import identify
from valbench_dagster.llm.call_columns import call_columns
from valbench_dagster.llm.calls import Answer, Question, Request, ServedModel
from valbench_dagster.llm.structured import fault_against, read_structured
from valbench_dagster.prompting import Prompt, fence, render
from valbench_dagster.records import CandidatePair, Issue, Section
from valbench_dagster.stages.issues import section_material

RATIONALE_LIMIT = 4_000
"""Characters of the annotator's rationale that the writer is shown."""

REASKS = 2

_Text = Annotated[str, Field(min_length=1)]


class WrittenPair(BaseModel):
    """The reply that the writing prompt asks for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    specific_divergent_issue: _Text
    for_description: _Text
    for_question: _Text
    against_description: _Text
    against_question: _Text


def ask_pair(section: Section, issue: Issue, writer: ServedModel, prompt: Prompt) -> Question:
    """Make the writing request of a divergent issue; raises `ValueError` on an issue that was not parsed."""
    if issue.rationale is None:
        raise ValueError(f"issue {issue.issue_id} has no rationale: its outcome is {issue.outcome}")
    values = {**section_material(section), "rationale": fence(issue.rationale, RATIONALE_LIMIT)}
    request = Request(writer, render(prompt, values), prompt.name, prompt.schema)
    return Question(request, fault_against(WrittenPair), REASKS)


def read_pair(
    section: Section, issue: Issue, question: Question, answer: Answer, worker: str, prompt: Prompt
) -> CandidatePair:
    """Read what became of a pair's writing as one row, whatever it was."""
    reply = answer.reply
    parsed = read_structured(WrittenPair, reply) if answer.outcome == "reply" and reply is not None else None
    return CandidatePair(
        snapshot=section.snapshot,
        pair_id=identify("pair", [section.section_id, question.request.fingerprint]),
        issue_id=issue.issue_id,
        section_id=section.section_id,
        page_id=section.page_id,
        heading_index=section.heading_index,
        issue=parsed.specific_divergent_issue if parsed else None,
        for_description=parsed.for_description if parsed else None,
        for_question=parsed.for_question if parsed else None,
        against_description=parsed.against_description if parsed else None,
        against_question=parsed.against_question if parsed else None,
        text_cut=section_material(section)["text"].cut,
        worker=worker,
        fingerprint=answer.request.fingerprint,
        **call_columns(answer, prompt.label, parsed=parsed is not None),
    )
