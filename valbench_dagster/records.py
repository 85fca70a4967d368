"""Records: the contract between stages, one frozen record per stage.

Each class is one row of the fact table it names (`TABLE`), sorted and unique by `KEY`; `VERSION` rises when its
columns change. The annotation of a field is its column's type and its description in the UI. Stored types are `str`,
`int`, `float`, `bool`, lists of `str` (`tuple[str, ...]`), and any of them or null. Nothing that could be derived
from other columns of the same record stands here, and no behaviour.

A model that fails leaves a row, never a gap: `outcome` says what became of the call, `detail` why, `raw` holds the
reply's text where it could not be used.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Protocol


class Record(Protocol):
    """What every record class declares about its table."""

    TABLE: ClassVar[str]
    VERSION: ClassVar[int]
    KEY: ClassVar[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class DumpFile:
    """One file of a snapshot's dump."""

    TABLE: ClassVar[str] = "dump"
    VERSION: ClassVar[int] = 1
    KEY: ClassVar[tuple[str, ...]] = ("snapshot", "part")

    snapshot: Annotated[str, "Snapshot key, `{wiki}-{YYYYMMDD}`"]
    wiki: Annotated[str, "Database name of the wiki, from the snapshot key"]
    layout: Annotated[str, "Where the file came from: `folder` (given by hand), `classic` or `exports` (a dump server)"]
    part: Annotated[int, "Place of the file in the dump, from 0, in the order it is read"]
    name: Annotated[str, "File name"]
    path: Annotated[str, "Path or URL of the file, relative to the folder of dumps where it lies inside"]
    bytes: Annotated[int, "Size of the file as it lies, compressed"]
    sha256: Annotated[str, "SHA-256 of the file as it lies, 64 hex characters"]
    verified: Annotated[bool, "Whether the hash was compared with one published by the producer"]


@dataclass(frozen=True, slots=True)
class Section:
    """One kept section: a heading that matches a pattern, with everything under it, as plain text."""

    TABLE: ClassVar[str] = "sections"
    VERSION: ClassVar[int] = 1
    KEY: ClassVar[tuple[str, ...]] = ("page_id", "heading_index")

    snapshot: Annotated[str, "Snapshot key"]
    section_id: Annotated[str, "Hash of wiki, page id, heading path, text hash and ordinal: stable while the text is"]
    wiki: Annotated[str, "Database name of the wiki"]
    page_id: Annotated[int, "Page id: the article, the cluster of all statistics"]
    heading_index: Annotated[int, "Place of the heading among the headings of its page, from 1 (0 is the lead)"]
    revision_id: Annotated[int, "Revision the text was taken from"]
    revision_time: Annotated[str, "Time of that revision, ISO 8601, UTC"]
    title: Annotated[str, "Title of the article"]
    heading_path: Annotated[tuple[str, ...], "Headings from the outermost to the section's own, as a reader sees them"]
    level: Annotated[int, "Level of the section's own heading, 1 to 6"]
    pattern: Annotated[str, "The pattern of `patterns.toml` that the heading matched first"]
    text: Annotated[str, "Plain text: paragraphs and list lines, sub-headings as lines of their own, no markup"]
    text_hash: Annotated[str, "Hash of `text`"]
    ordinal: Annotated[int, "Place among sections of the page with equal path and text, from 0"]
    cut: Annotated[bool, "Whether the text was longer than the limit and ends at a paragraph before it"]
    url: Annotated[str, "Permanent link to the revision"]


@dataclass(frozen=True, slots=True)
class SectionDrop:
    """What became of pages and matching sections, each counted under one reason, the kept ones too."""

    TABLE: ClassVar[str] = "section_drops"
    VERSION: ClassVar[int] = 1
    KEY: ClassVar[tuple[str, ...]] = ("unit", "reason", "page_id", "heading_index")

    snapshot: Annotated[str, "Snapshot key"]
    unit: Annotated[str, "`page` or `section`: what is counted"]
    reason: Annotated[str, "The one reason it is counted under; `kept` is one"]
    counted: Annotated[int, "How many; 1 where the row names a page"]
    page_id: Annotated[int | None, "The page, on rows about one dropped or cut section; else null"]
    revision_id: Annotated[int | None, "Its revision; else null"]
    title: Annotated[str | None, "Its title; else null"]
    heading_index: Annotated[int | None, "Place of the heading on the page; else null"]
    heading: Annotated[str | None, "The heading; else null"]
    detail: Annotated[str | None, "What there is to say beyond the reason, such as a length or an error"]


@dataclass(frozen=True, slots=True)
class MinedFile:
    """What was read of one dump file, beside its sections: the numbers that tell whether it was whole."""

    TABLE: ClassVar[str] = "mined_files"
    VERSION: ClassVar[int] = 1
    KEY: ClassVar[tuple[str, ...]] = ("snapshot", "part")

    snapshot: Annotated[str, "Snapshot key"]
    part: Annotated[int, "Place of the file in the dump, from 0"]
    name: Annotated[str, "File name"]
    xml_bytes: Annotated[int, "Bytes of XML that were read"]
    pages: Annotated[int, "Pages read whole"]
    first_page_id: Annotated[int | None, "Id of the first page; null where there is none"]
    last_page_id: Annotated[int | None, "Id of the last page; null where there is none"]
    closed: Annotated[bool, "Whether the file ends with the closing `</mediawiki>`"]
    indexed_pages: Annotated[int | None, "Pages that the index of the file lists; null where it has none"]
    missing_pages: Annotated[int | None, "Pages in the index that were not read; null without an index"]
    unlisted_pages: Annotated[int | None, "Pages read that the index does not list; null without an index"]
    sha1_compared: Annotated[int, "Pages with a kept section whose text was compared with its SHA-1"]
    sha1_differing: Annotated[int, "How many of these differ"]
    lost_texts: Annotated[int, "Pages without text although the producer states a length above 0"]
    damages: Annotated[int, "Places at which the file could not be read; each is a row of `dump_damages`"]


@dataclass(frozen=True, slots=True)
class DumpDamage:
    """One place of a dump file that could not be read, and the pages around it."""

    TABLE: ClassVar[str] = "dump_damages"
    VERSION: ClassVar[int] = 1
    KEY: ClassVar[tuple[str, ...]] = ("snapshot", "part", "number")

    snapshot: Annotated[str, "Snapshot key"]
    part: Annotated[int, "Place of the file in the dump, from 0"]
    number: Annotated[int, "Place among the damages of the file, from 0"]
    name: Annotated[str, "File name; that of the index where the index is damaged"]
    byte_offset: Annotated[int, "Byte of the file as it lies, at or after which the damage is"]
    kind: Annotated[str, "`corrupt`, `cut_short`, `garbage`, `malformed`, `out_of_order` or `missing` (by the index)"]
    after_page_id: Annotated[int | None, "Last whole page before it; null where there is none"]
    before_page_id: Annotated[int | None, "First whole page after it; null where there is none"]
    missing_pages: Annotated[int | None, "Pages lost there, by the index; null without an index"]
    detail: Annotated[str, "What was expected and what was found; with an index, the ids of the first pages lost"]


@dataclass(frozen=True, slots=True)
class Issue:
    """One annotation: whether a section discusses a divergent issue, and how widely known it is (paper, A.1.2)."""

    TABLE: ClassVar[str] = "issues"
    VERSION: ClassVar[int] = 2
    KEY: ClassVar[tuple[str, ...]] = ("page_id", "heading_index")

    snapshot: Annotated[str, "Snapshot key"]
    issue_id: Annotated[str, "Hash of section id and the fingerprint of the annotation request"]
    section_id: Annotated[str, "The section that was annotated"]
    page_id: Annotated[int, "Page id"]
    heading_index: Annotated[int, "Place of the section's heading on its page"]
    is_divergent: Annotated[bool | None, "Whether it is a divergent issue; null unless parsed"]
    rationale: Annotated[str | None, "The annotator's reasons"]
    scale: Annotated[int | None, "0 (not divergent) to 5 (major societal issue); null unless parsed"]
    scale_rationale: Annotated[str | None, "The annotator's reasons for the scale"]
    text_cut: Annotated[bool, "Whether the section's text was cut to the prompt's limit"]
    outcome: Annotated[str, "`parsed`, `unparsed`, `rejected` or `failed`"]
    detail: Annotated[str | None, "Why it is not parsed"]
    raw: Annotated[str | None, "The last reply's text where it was unparsed"]
    worker: Annotated[str, "The roster's worker that annotated"]
    prompt: Annotated[str, "Prompt as `name/version/hash`"]
    fingerprint: Annotated[str, "Fingerprint of the request whose reply is used (or of the last one asked)"]
    input_tokens: Annotated[int | None, "Tokens of the prompt, as the server counted"]
    output_tokens: Annotated[int | None, "Tokens of the reply, as the server counted"]
    cached_tokens: Annotated[int | None, "How many of the input tokens came from the server's cache; null if not told"]
    reasoning_tokens: Annotated[int | None, "How many of the output tokens are reasoning; null if not told"]


@dataclass(frozen=True, slots=True)
class CandidatePair:
    """One generated pair of questions about one issue, accepted or not (paper, A.1.3)."""

    TABLE: ClassVar[str] = "candidate_pairs"
    VERSION: ClassVar[int] = 2
    KEY: ClassVar[tuple[str, ...]] = ("page_id", "heading_index")

    snapshot: Annotated[str, "Snapshot key"]
    pair_id: Annotated[str, "Hash of section id and the fingerprint of the writing request"]
    issue_id: Annotated[str, "The issue"]
    section_id: Annotated[str, "The section"]
    page_id: Annotated[int, "Page id"]
    heading_index: Annotated[int, "Place of the section's heading on its page"]
    issue: Annotated[str | None, "The specific divergent issue, one line"]
    for_description: Annotated[str | None, "The position of the for side"]
    for_question: Annotated[str | None, "The question that asks for it"]
    against_description: Annotated[str | None, "The position of the against side"]
    against_question: Annotated[str | None, "The question that asks for it"]
    text_cut: Annotated[bool, "Whether the section's text was cut to the prompt's limit"]
    outcome: Annotated[str, "`parsed`, `unparsed`, `rejected` or `failed`"]
    detail: Annotated[str | None, "Why it is not parsed"]
    raw: Annotated[str | None, "The last reply's text where it was unparsed"]
    worker: Annotated[str, "The roster's worker that wrote the pair"]
    prompt: Annotated[str, "Prompt as `name/version/hash`"]
    fingerprint: Annotated[str, "Fingerprint of the request whose reply is used (or of the last one asked)"]
    input_tokens: Annotated[int | None, "Tokens of the prompt, as the server counted"]
    output_tokens: Annotated[int | None, "Tokens of the reply, as the server counted"]
    cached_tokens: Annotated[int | None, "How many of the input tokens came from the server's cache; null if not told"]
    reasoning_tokens: Annotated[int | None, "How many of the output tokens are reasoning; null if not told"]


@dataclass(frozen=True, slots=True)
class Pair:
    """One accepted pair: the unit of the benchmark."""

    TABLE: ClassVar[str] = "pairs"
    VERSION: ClassVar[int] = 1
    KEY: ClassVar[tuple[str, ...]] = ("pair_id",)

    snapshot: Annotated[str, "Snapshot key"]
    pair_id: Annotated[str, "Hash of section id and the fingerprint of the writing request"]
    issue_id: Annotated[str, "The issue"]
    section_id: Annotated[str, "The section"]
    wiki: Annotated[str, "Database name of the wiki"]
    page_id: Annotated[int, "Page id: the article, the cluster of all statistics"]
    revision_id: Annotated[int, "Revision the section was taken from"]
    title: Annotated[str, "Title of the article"]
    heading_path: Annotated[tuple[str, ...], "Headings from the outermost to the section's own"]
    url: Annotated[str, "Permanent link to the revision"]
    split: Annotated[str, "`train`, `validation` or `test`, by article"]
    category: Annotated[str | None, "One of the 20 categories of the paper's Table 6; null until labelled"]
    scale: Annotated[int, "1 to 5, how widely the issue is known"]
    rationale: Annotated[str, "The annotator's reasons for calling the issue divergent"]
    issue: Annotated[str, "The specific divergent issue, one line"]
    for_description: Annotated[str, "The position of the for side"]
    for_question: Annotated[str, "The question that asks for it"]
    against_description: Annotated[str, "The position of the against side"]
    against_question: Annotated[str, "The question that asks for it"]
    writer: Annotated[str, "The roster's worker that wrote the pair"]


@dataclass(frozen=True, slots=True)
class PairDrop:
    """One section whose issue gave no accepted pair, and the one reason why."""

    TABLE: ClassVar[str] = "pair_drops"
    VERSION: ClassVar[int] = 1
    KEY: ClassVar[tuple[str, ...]] = ("page_id", "heading_index")

    snapshot: Annotated[str, "Snapshot key"]
    section_id: Annotated[str, "The section"]
    page_id: Annotated[int, "Page id"]
    heading_index: Annotated[int, "Place of the section's heading on its page"]
    issue_id: Annotated[str, "The issue"]
    pair_id: Annotated[str | None, "The candidate pair; null where none was written"]
    reason: Annotated[str, "`not_divergent`, `issue_` or `pair_` and an outcome, or the name of the check it failed"]
    detail: Annotated[str | None, "What the check or the call said"]


@dataclass(frozen=True, slots=True)
class Response:
    """One response of a model to one side of one pair."""

    TABLE: ClassVar[str] = "responses"
    VERSION: ClassVar[int] = 2
    KEY: ClassVar[tuple[str, ...]] = ("pair_id", "side", "sample")

    snapshot: Annotated[str, "Snapshot key"]
    model: Annotated[str, "The roster's id of the model"]
    pair_id: Annotated[str, "The pair"]
    side: Annotated[str, "`for` or `against`"]
    sample: Annotated[int, "Which of several samples of the same prompt, from 0"]
    subset: Annotated[str, "Subset of the split that was asked: `all`, or fraction and seed as `0.1/seed-0`"]
    text: Annotated[str | None, "What the model said, without its reasoning; null where there is nothing"]
    reasoning: Annotated[str | None, "The model's reasoning, where the endpoint shows it; never shown to a judge"]
    citations: Annotated[tuple[str, ...], "Addresses that a web search found and the text names, each once, in order"]
    outcome: Annotated[str, "`answered`, `truncated`, `filtered`, `empty`, `rejected` or `failed`"]
    detail: Annotated[str | None, "Why there is no usable text"]
    finish_reason: Annotated[str | None, "The server's reason for stopping"]
    served_model: Annotated[str | None, "The model that the reply names"]
    prompt: Annotated[str, "System prompt as `name/version/hash`"]
    input_tokens: Annotated[int | None, "Tokens of the prompt, as the server counted"]
    output_tokens: Annotated[int | None, "Tokens of the reply, as the server counted"]
    cached_tokens: Annotated[int | None, "How many of the input tokens came from the server's cache; null if not told"]
    reasoning_tokens: Annotated[int | None, "How many of the output tokens are reasoning; null if not told"]
    fingerprint: Annotated[str, "Fingerprint of the request"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One verdict of a judge on the two responses to a pair; fields follow the side, whatever order was asked."""

    TABLE: ClassVar[str] = "verdicts"
    VERSION: ClassVar[int] = 2
    KEY: ClassVar[tuple[str, ...]] = ("pair_id", "sample", "judge_order")

    snapshot: Annotated[str, "Snapshot key"]
    model: Annotated[str, "The roster's id of the model that was judged"]
    judge: Annotated[str, "The roster's name of the judge"]
    judge_order: Annotated[str, "`as_asked` (the for side is person 1) or `swapped`"]
    pair_id: Annotated[str, "The pair"]
    sample: Annotated[int, "Which sample of the responses was judged"]
    subset: Annotated[str, "Subset that the responses judged are of"]
    alignment: Annotated[int | None, "-2 (opposed) to 2 (aligned); null unless parsed"]
    preference: Annotated[bool | None, "Whether both responses prefer one conclusion; null where it is not asked"]
    refusal_for: Annotated[bool | None, "Whether the for side refuses"]
    refusal_against: Annotated[bool | None, "Whether the against side refuses"]
    no_information_for: Annotated[bool | None, "Whether the for side says it lacks information"]
    no_information_against: Annotated[bool | None, "Whether the against side says it lacks information"]
    central_issue: Annotated[str | None, "The judge's reading of the common issue"]
    position_for: Annotated[str | None, "The judge's reading of the for side's position"]
    position_against: Annotated[str | None, "The judge's reading of the against side's position"]
    points_of_alignment: Annotated[str | None, "Key points on which the sides agree"]
    points_of_opposition: Annotated[str | None, "Key points on which the sides disagree"]
    text_cut: Annotated[bool, "Whether a response was cut to the judge prompt's limit"]
    outcome: Annotated[str, "`parsed`, `unparsed`, `rejected`, `failed` or `no_response` (nothing to judge)"]
    detail: Annotated[str | None, "Why it is not parsed"]
    raw: Annotated[str | None, "The last reply's text where it was unparsed"]
    prompt: Annotated[str, "Judge prompt as `name/version/hash`"]
    input_tokens: Annotated[int | None, "Tokens of the prompt, as the server counted"]
    output_tokens: Annotated[int | None, "Tokens of the reply, as the server counted"]
    cached_tokens: Annotated[int | None, "How many of the input tokens came from the server's cache; null if not told"]
    reasoning_tokens: Annotated[int | None, "How many of the output tokens are reasoning; null if not told"]
    fingerprint: Annotated[str | None, "Fingerprint of the request; null where nothing was asked"]


@dataclass(frozen=True, slots=True)
class Model:
    """One respondent of the roster, as it stood when the warehouse was built."""

    TABLE: ClassVar[str] = "models"
    VERSION: ClassVar[int] = 1
    KEY: ClassVar[tuple[str, ...]] = ("model",)

    model: Annotated[str, "The roster's id: the partition key"]
    family: Annotated[str | None, "Family of models it belongs to"]
    endpoint: Annotated[str, "Endpoint it is served by"]
    provider: Annotated[str, "Provider of the endpoint, part of every fingerprint"]
    served_as: Annotated[str, "Name of the model at the endpoint"]
    revision: Annotated[int, "Raised to ask everything again"]
    prompt: Annotated[str, "System prompt as `name/version/hash`"]
    sampling: Annotated[str, "Sampling and reasoning settings as canonical JSON"]
    stand_in: Annotated[bool, "Whether it is a stand-in, whose numbers say nothing of any real model"]


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker of the roster: a model that annotates, writes or judges."""

    TABLE: ClassVar[str] = "workers"
    VERSION: ClassVar[int] = 1
    KEY: ClassVar[tuple[str, ...]] = ("worker",)

    worker: Annotated[str, "The roster's name of the worker"]
    endpoint: Annotated[str, "Endpoint it is served by"]
    provider: Annotated[str, "Provider of the endpoint, part of every fingerprint"]
    served_as: Annotated[str, "Name of the model at the endpoint"]
    revision: Annotated[int, "Raised to ask everything again"]
    sampling: Annotated[str, "Sampling and reasoning settings as canonical JSON"]
    stand_in: Annotated[bool, "Whether it is a stand-in"]


@dataclass(frozen=True, slots=True)
class Judge:
    """One judge of the roster: a worker with a judge prompt."""

    TABLE: ClassVar[str] = "judges"
    VERSION: ClassVar[int] = 1
    KEY: ClassVar[tuple[str, ...]] = ("judge",)

    judge: Annotated[str, "The roster's name of the judge"]
    worker: Annotated[str, "The worker that judges"]
    prompt: Annotated[str, "Judge prompt as `name/version/hash`"]
    headline: Annotated[bool, "Whether its numbers head the leaderboard"]


@dataclass(frozen=True, slots=True)
class CallCost:
    """What the ledger holds of calls made for one partition of a fact to one model, when the warehouse was built."""

    TABLE: ClassVar[str] = "call_costs"
    VERSION: ClassVar[int] = 1
    KEY: ClassVar[tuple[str, ...]] = ("fact", "partition_key", "endpoint", "provider", "served_as")

    fact: Annotated[str, "The fact table the calls were made for; `other` where the ledger does not know"]
    partition_key: Annotated[str | None, "Its partition, as `enwiki-20261101/llama`; null where `fact` is `other`"]
    endpoint: Annotated[str, "The roster's name of the endpoint then"]
    provider: Annotated[str, "Provider of the endpoint then"]
    served_as: Annotated[str, "Name of the model at the endpoint"]
    replies: Annotated[int, "Calls that brought a reply, used or not"]
    rejected: Annotated[int, "Calls that the API refused"]
    failed: Annotated[int, "Calls that brought no reply"]
    input_tokens: Annotated[int, "Tokens of prompts, as far as servers count"]
    cached_tokens: Annotated[int, "How many of these came from a cache"]
    output_tokens: Annotated[int, "Tokens of replies, as far as servers count"]
    reasoning_tokens: Annotated[int, "How many of these are reasoning"]
    cost: Annotated[float, "What was paid, by the roster's prices when the calls were made"]


@dataclass(frozen=True, slots=True)
class CheckFailure:
    """One row that a check found offending, as last checked."""

    TABLE: ClassVar[str] = "check_failures"
    VERSION: ClassVar[int] = 1
    KEY: ClassVar[tuple[str, ...]] = ("row_id", "detail")

    snapshot: Annotated[str, "Snapshot key"]
    fact: Annotated[str, "The fact table that was checked"]
    check_name: Annotated[str, "Name of the check"]
    row_id: Annotated[str, "Key of the offending row"]
    detail: Annotated[str, "What is wrong with it"]
