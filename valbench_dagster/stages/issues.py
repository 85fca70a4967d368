"""Issues: which sections discuss a divergent issue, and how widely known it is (paper, A.1.2).

Here belong the annotation request of a section and the reading of its reply. Dropping what is not divergent is
acceptance, and asking is the dispatcher's.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from valbench_dagster.identity import identify
from valbench_dagster.llm.call_columns import call_columns
from valbench_dagster.llm.calls import Answer, Question, Request, ServedModel
from valbench_dagster.llm.structured import fault_against, read_structured
from valbench_dagster.prompting import Fenced, Prompt, fence, render
from valbench_dagster.records import Issue, Section

SECTION_TEXT_LIMIT = 20_000
"""Characters of a section that an annotator or writer is shown: as many as mining keeps (`sections.Limits`), about
5,000 tokens of English, so that nothing is cut twice. Its use is recorded in `text_cut`."""

HEADING_LIMIT = 1_000
"""Characters of a title or of a path of headings; MediaWiki allows titles of 255 bytes."""

REASKS = 2


class Annotation(BaseModel):
    """The reply that the annotation prompt asks for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    divergent_issue_rationale: Annotated[str, Field(min_length=1)]
    is_divergent_issue: bool
    divergent_issue_scale_rationale: Annotated[str, Field(min_length=1)]
    divergent_issue_scale: Annotated[int, Field(ge=0, le=5)]


def section_material(section: Section) -> dict[str, Fenced]:
    """Give what a worker is shown of a section: title, headings from the outermost, and text, each within its limit."""
    return {
        "title": fence(section.title, HEADING_LIMIT),
        "heading": fence(" > ".join(section.heading_path), HEADING_LIMIT),
        "text": fence(section.text, SECTION_TEXT_LIMIT),
    }


def ask_issue(section: Section, annotator: ServedModel, prompt: Prompt) -> Question:
    """Make the annotation request of a section; equal text under equal headings makes an equal request."""
    request = Request(annotator, render(prompt, section_material(section)), prompt.name, prompt.schema)
    return Question(request, fault_against(Annotation), REASKS)


def read_issue(section: Section, question: Question, answer: Answer, worker: str, prompt: Prompt) -> Issue:
    """Read what became of a section's annotation as one row, whatever it was."""
    reply = answer.reply
    parsed = read_structured(Annotation, reply) if answer.outcome == "reply" and reply is not None else None
    return Issue(
        snapshot=section.snapshot,
        issue_id=identify("issue", [section.section_id, question.request.fingerprint]),
        section_id=section.section_id,
        page_id=section.page_id,
        heading_index=section.heading_index,
        is_divergent=parsed.is_divergent_issue if parsed else None,
        rationale=parsed.divergent_issue_rationale if parsed else None,
        scale=parsed.divergent_issue_scale if parsed else None,
        scale_rationale=parsed.divergent_issue_scale_rationale if parsed else None,
        text_cut=section_material(section)["text"].cut,
        worker=worker,
        fingerprint=answer.request.fingerprint,
        **call_columns(answer, prompt.label, parsed=parsed is not None),
    )
