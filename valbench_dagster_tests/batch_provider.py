"""A provider of the Batch API in memory, written from its public documentation: files, batches, their states, results.

It is given no more time than it is asked: each look at a batch moves it on. Tests script what becomes of batches
(`Fate`), what becomes of lines (`answer`), what result files look like (`bend`) and which requests to the API go wrong
(`faults`). It counts what it has worked off: what a customer would pay for.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson

from valbench_dagster_tests.llm_fakes import completion

T = TypeVar("T")

MOST_LINES, MOST_BYTES = 50_000, 200_000_000
PATHS = ("/v1/chat/completions", "/v1/responses", "/v1/completions", "/v1/embeddings")

Answer = Callable[[str, dict[str, Any]], tuple[int, dict[str, Any]]]
Bend = Callable[[str, list[bytes]], list[bytes]]


class ApiError(Exception):
    """An answer of the API with an error status."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message

    def body(self) -> dict[str, Any]:
        return {"error": {"message": self.message, "type": "api_error", "param": None, "code": self.code}}


@dataclass(frozen=True)
class Fault:
    """How one request to the API goes wrong; `done`: after the provider has done what it was asked."""

    status: int
    code: str = "server_error"
    message: str = "the server had an error"
    done: bool = False


@dataclass(frozen=True)
class Fate:
    """What becomes of a batch: its last state, how many lines are answered by then (null: all), after how many looks.

    `errors` are those of a batch that fails when its file is checked.
    """

    ends: str = "completed"
    answered: int | None = None
    looks: int = 2
    errors: tuple[dict[str, Any], ...] = ()


@dataclass
class Job:
    """A batch: its public fields and its lines."""

    fields: dict[str, Any]
    lines: list[dict[str, Any]]
    fate: Fate
    looked: int = 0


def replies(custom_id: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Answer any chat request by repeating its last message."""
    answer = orjson.loads(completion(f"echo of {body['messages'][-1]['content']}"))
    answer["model"] = body["model"]
    return 200, answer


def straight(_kind: str, lines: list[bytes]) -> list[bytes]:
    """Leave a file of results as it is."""
    return lines


@dataclass
class BatchProvider:
    """One account. `fate` is told how many batches were made before; `now` gives Unix seconds."""

    answer: Answer = replies
    fate: Callable[[int], Fate] = lambda _number: Fate()
    bend: Bend = straight
    now: Callable[[], float] = lambda: 1_795_262_400.0
    files: dict[str, bytes] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    faults: dict[str, deque[Fault | None]] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    worked_off: Counter[str] = field(default_factory=Counter)
    uploaded: list[str] = field(default_factory=list)

    def goes_wrong(self, request: str, *faults: Fault | None) -> None:
        """Let the next requests of a kind (upload, create, retrieve, list, cancel, content, delete) go wrong."""
        self.faults.setdefault(request, deque()).extend(faults)

    def upload(self, name: str, content: bytes, purpose: str) -> dict[str, Any]:
        def do() -> dict[str, Any]:
            if purpose != "batch" or not name.endswith(".jsonl"):
                raise ApiError(400, "invalid_file", "expected a .jsonl file with the purpose batch")
            if len(content) > MOST_BYTES:
                raise ApiError(413, "file_too_large", f"a file may have {MOST_BYTES} bytes")
            file_id = self._store(content)
            self.uploaded.append(file_id)
            return {
                **{"id": file_id, "object": "file", "bytes": len(content), "created_at": int(self.now())},
                **{"filename": name, "purpose": purpose, "status": "processed"},
            }

        return self._request("upload", do)

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        def do() -> dict[str, Any]:
            if body.get("completion_window") != "24h" or body.get("endpoint") not in PATHS:
                raise ApiError(400, "invalid_request", f"no such window or endpoint: {body}")
            if body.get("input_file_id") not in self.files:
                raise ApiError(400, "invalid_file", f"no file {body.get('input_file_id')}")
            fate = self.fate(len(self.jobs))
            batch_id = f"batch_{len(self.jobs) + 1:03}"
            lines, errors = self._checked(self.files[body["input_file_id"]], body["endpoint"])
            if errors:
                fate = Fate("failed", looks=1, errors=tuple(errors))
            fields = {
                **{"id": batch_id, "object": "batch", "status": "validating", "endpoint": body["endpoint"]},
                **{"completion_window": "24h", "input_file_id": body["input_file_id"]},
                **{"created_at": int(self.now()), "metadata": body.get("metadata"), "errors": None},
                **{"output_file_id": None, "error_file_id": None},
                "request_counts": {"total": 0, "completed": 0, "failed": 0},
            }
            self.jobs[batch_id] = Job(fields, lines, fate)
            return dict(fields)

        return self._request("create", do)

    def retrieve(self, batch_id: str) -> dict[str, Any]:
        def do() -> dict[str, Any]:
            job = self._job(batch_id)
            if job.fields["status"] in ("validating", "in_progress", "cancelling"):
                self._move_on(job)
            return dict(job.fields)

        return self._request("retrieve", do)

    def listed(self, after: str | None, limit: int) -> dict[str, Any]:
        def do() -> dict[str, Any]:
            newest_first = [job.fields for job in reversed(self.jobs.values())]
            start = 0
            if after is not None:
                start = 1 + [fields["id"] for fields in newest_first].index(after)
            data = newest_first[start : start + limit]
            more = len(newest_first) > start + limit
            ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {}
            return {"object": "list", "data": [dict(fields) for fields in data], "has_more": more, **ends}

        return self._request("list", do)

    def cancel(self, batch_id: str) -> dict[str, Any]:
        def do() -> dict[str, Any]:
            job = self._job(batch_id)
            if job.fields["status"] not in ("validating", "in_progress"):
                raise ApiError(409, "conflict", f"a batch that is {job.fields['status']} cannot be cancelled")
            job.fields["status"] = "cancelling"
            job.fate = Fate("cancelled", answered=len(job.lines) // 2, looks=job.looked + 1)
            return dict(job.fields)

        return self._request("cancel", do)

    def content(self, file_id: str) -> bytes:
        def do() -> bytes:
            if file_id not in self.files:
                raise ApiError(404, "not_found", f"no file {file_id}")
            return self.files[file_id]

        return self._request("content", do)

    def delete(self, file_id: str) -> dict[str, Any]:
        def do() -> dict[str, Any]:
            if self.files.pop(file_id, None) is None:
                raise ApiError(404, "not_found", f"no file {file_id}")
            return {"id": file_id, "object": "file", "deleted": True}

        return self._request("delete", do)

    def custom_ids(self) -> list[list[str]]:
        """Give for each batch that was made the ids in its file, in order."""
        return [[line["custom_id"] for line in job.lines] for job in self.jobs.values()]

    def _request(self, kind: str, do: Callable[[], T]) -> T:
        self.asked[kind] += 1
        waiting = self.faults.get(kind)
        fault = waiting.popleft() if waiting else None
        if fault is not None and not fault.done:
            raise ApiError(fault.status, fault.code, fault.message)
        done = do()
        if fault is not None:
            raise ApiError(fault.status, fault.code, fault.message)
        return done

    def _job(self, batch_id: str) -> Job:
        if batch_id not in self.jobs:
            raise ApiError(404, "not_found", f"no batch {batch_id}")
        return self.jobs[batch_id]

    def _store(self, content: bytes) -> str:
        number = self.asked["stored"] = self.asked["stored"] + 1
        self.files[f"file-{number:03}"] = content
        return f"file-{number:03}"

    def _checked(self, content: bytes, endpoint: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Check a file as the documentation says: its lines, and what is wrong with them."""
        lines: list[dict[str, Any]] = []
        errors: list[dict[str, Any]] = []
        seen: set[str] = set()
        for number, raw in enumerate(content.splitlines(), start=1):
            line = orjson.loads(raw)
            problem = None
            if line["custom_id"] in seen:
                problem = "duplicate_custom_id"
            elif line["method"] != "POST" or line["url"] != endpoint:
                problem = "url_mismatch"
            elif lines and line["body"]["model"] != lines[0]["body"]["model"]:
                problem = "model_mismatch"
            seen.add(line["custom_id"])
            lines.append(line)
            if problem:
                errors.append({"code": problem, "line": number, "message": "see the code", "param": None})
        if not lines or len(lines) > MOST_LINES:
            errors.append({"code": "too_many_tasks" if lines else "empty_file", "line": None, "message": "no"})
        return lines, errors

    def _move_on(self, job: Job) -> None:
        job.looked += 1
        total = len(job.lines)
        answered = total if job.fate.answered is None else min(total, job.fate.answered)
        if job.looked < job.fate.looks:
            if job.fields["status"] == "validating":
                job.fields["status"] = "in_progress"
            job.fields["request_counts"] = {"total": total, "completed": answered // 2, "failed": 0}
            return
        job.fields["status"] = job.fate.ends
        if job.fate.ends == "failed":
            job.fields["errors"] = {"object": "list", "data": list(job.fate.errors)}
            return
        good: list[bytes] = []
        bad: list[bytes] = []
        for number, line in enumerate(job.lines):
            if number < answered:
                self.worked_off[line["custom_id"]] += 1
                status, body = self.answer(line["custom_id"], line["body"])
                response = {"status_code": status, "request_id": f"req_{number}", "body": body}
                result = {"id": f"batch_req_{number}", "custom_id": line["custom_id"], "response": response}
                (good if status < 300 else bad).append(orjson.dumps({**result, "error": None}))
            elif job.fate.ends == "expired":
                message = "This request could not be executed before the completion window expired."
                error = {"code": "batch_expired", "message": message}
                result = {"id": f"batch_req_{number}", "custom_id": line["custom_id"], "response": None}
                bad.append(orjson.dumps({**result, "error": error}))
        job.fields["request_counts"] = {"total": total, "completed": len(good), "failed": len(bad)}
        for name, kind, lines in (("output_file_id", "output", good), ("error_file_id", "error", bad)):
            bent = self.bend(kind, lines)
            job.fields[name] = self._store(b"".join(line + b"\n" for line in bent)) if bent else None


def billed_twice(provider: BatchProvider) -> Iterable[str]:
    """Give the requests that the provider worked off more than once."""
    return [custom_id for custom_id, times in provider.worked_off.items() if times > 1]
