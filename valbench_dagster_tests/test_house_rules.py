"""The rules of the house, read off the source: what may import what, and what no file may hold.

A rule takes one file and says what is wrong with it. Each is shown able to fail on a line or two made for it.
"""

import ast
import os
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from valbench_dagster.adapters.warehouse.connection import connect

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "valbench_dagster"
TESTS = "valbench_dagster_tests"

VENDORS = {
    "dagster": ("orchestration/", "definitions.py"),
    "dagster_duckdb": ("orchestration/", "definitions.py"),
    "openai": ("adapters/openai/",),
    "httpx2": ("adapters/openai/",),
    "aiohttp": ("adapters/openai/",),
    "psycopg": ("adapters/ledger/",),
    "sqlalchemy": ("adapters/ledger/",),
    "duckdb": ("adapters/warehouse/",),
    "pyarrow": ("adapters/parquet.py",),
    "mwparserfromhell": ("wikitext/plain_text.py",),
    "rapidgzip": ("dumps/bzip2_decoder.py",),
    "indexed_bzip2": ("dumps/bzip2_decoder.py",),
    "requests": ("dumps/http.py",),
    "urllib3": ("dumps/http.py",),
    "uvicorn": ("stand_ins/",),
    "starlette": ("stand_ins/",),
    "click": ("cli.py", "commands/"),
    "tqdm": ("orchestration/progress.py",),
}
"""Where in the package a vendor may be imported: a module, or a folder with all that is in it."""

STAGES = (
    *("sections", "explanation", "issues", "pairs", "acceptance", "subsets", "responses", "verdicts"),
    *("calibration", "agreement", "intervals", "comparisons"),
)
"""In the order of the flow: a stage may import those before it."""

NOT_FOR_STAGES = (
    *("steps", "adapters", "orchestration", "report", "stand_ins"),
    *("cli", "commands", "definitions", "settings", "project_files"),
)
SHAPELESS = {"utils", "util", "helpers", "helper", "common", "base", "misc", "v2"}
MOST_LINES = 300
LONGER = {"records.py": "the contract of all stages: one class a table, one line a column, no behaviour"}

SQL_WORDS = re.compile(r"\s*(?:SELECT|INSERT|UPDATE|DELETE|MERGE|CREATE|ALTER|DROP|WITH|FROM|COPY|ATTACH)\s")
SQL_ABOUT_THE_DATABASE = (
    "ALTER TABLE calls ADD COLUMN",
    "SELECT pg_advisory_xact_lock(",
    "SELECT count(*) FROM query_table($name)",
    "SELECT column_name, data_type FROM information_schema.columns",
    "SELECT json_serialize_sql($select)",
)
"""Statements that ask a database about itself; those that define a number stand in `sql/`."""

TEXT_FILES = {".py", ".sql", ".toml", ".md", ".yaml", ".yml", ".json", ".jinja", ".html", ".css", ".cfg", ".txt", ""}
SKIPPED_FOLDERS = {"__pycache__", "data", "dist", "build"}
REGISTRY = re.compile(r"https?://[\w.-]*(?:pypi|pythonhosted|npmjs|crates|rubygems)\.\w+", re.IGNORECASE)
MACHINE_PATH = re.compile(r"(?<![\w.}>)-])/(?:work|home|root|Users)/\w")


class File(NamedTuple):
    """One file: its path from the root, with `/`, and its text."""

    path: str
    text: str

    def tree(self) -> ast.Module:
        """Parse a Python file."""
        return ast.parse(self.text)

    def inside(self) -> str | None:
        """Give a module's path within the package, null for any other file."""
        folder, _, rest = self.path.partition("/")
        return rest if folder == PACKAGE and rest.endswith(".py") else None


Rule = Callable[[File], Iterator[str]]


def _imports(file: File) -> Iterator[str]:
    """Give the full dotted name of everything that a module imports, at whatever depth of its code."""
    above = file.path.removesuffix(".py").split("/")
    for node in ast.walk(file.tree()):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = above[: -node.level] if node.level else []
            module = ".".join([*parts, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def a_vendor_outside_its_place(file: File) -> Iterator[str]:
    """Each vendor is known to one module or folder, so that it can be replaced there."""
    inside = file.inside()
    for name in _imports(file) if inside else ():
        places = VENDORS.get(name.partition(".")[0])
        if inside and places and not inside.startswith(places):
            yield f"imports {name}; only {' and '.join(places)} may"


def a_stage_that_reaches_up_or_ahead(file: File) -> Iterator[str]:
    """A stage is pure and knows the stages before it only."""
    inside = file.inside() or ""
    if not inside.startswith("stages/") or inside == "stages/__init__.py":
        return
    own = inside.removeprefix("stages/").removesuffix(".py")
    if own not in STAGES:
        yield f"is not in the order of stages: {', '.join(STAGES)}"
        return
    for name in _imports(file):
        parts = name.split(".")
        if parts[0] != PACKAGE:
            continue
        if len(parts) > 1 and parts[1] in NOT_FOR_STAGES:
            yield f"imports {name}, which is not pure"
        if len(parts) > 2 and parts[1] == "stages" and parts[2] not in STAGES[: STAGES.index(own)]:
            yield f"imports {name}, which comes later"


def code_in_a_package_file(file: File) -> Iterator[str]:
    """An `__init__.py` says what its package is and does nothing."""
    if file.path.endswith("__init__.py"):
        for node in file.tree().body:
            if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
                yield f"line {node.lineno}: holds code"


def a_shapeless_name(file: File) -> Iterator[str]:
    """A module is named after what belongs in it."""
    shapeless = SHAPELESS.intersection(file.path.removesuffix(".py").split("/"))
    if file.path.endswith(".py") and shapeless:
        yield f"is named {shapeless.pop()}, which says nothing of what belongs there"


def an_overlong_module(file: File) -> Iterator[str]:
    """A module is a page or two; those that may be longer are listed with their reason."""
    inside, lines = file.inside(), len(file.text.splitlines())
    if inside and inside not in LONGER and lines >= MOST_LINES:
        yield f"has {lines} lines, expected under {MOST_LINES}"


def a_missing_docstring(file: File) -> Iterator[str]:
    """Modules, public classes and public functions of the package say what they promise."""
    if file.inside() is None:
        return
    tree = file.tree()
    if not ast.get_docstring(tree):
        yield "the module has no docstring"
    for owner, node in _public(tree, ""):
        if not ast.get_docstring(node):
            yield f"line {node.lineno}: {owner}{node.name} has no docstring"


def _public(
    parent: ast.Module | ast.ClassDef, owner: str
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]]:
    for node in parent.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield owner, node
            if isinstance(node, ast.ClassDef):
                yield from _public(node, f"{owner}{node.name}.")


def a_swallowed_error(file: File) -> Iterator[str]:
    """An error that is caught is acted upon, and says which it is."""
    if not file.path.endswith(".py"):
        return
    for node in ast.walk(file.tree()):
        if isinstance(node, ast.ExceptHandler):
            if node.type is None:
                yield f"line {node.lineno}: catches everything"
            if all(isinstance(each, ast.Pass) or _is_constant(each) for each in node.body):
                yield f"line {node.lineno}: catches and does nothing"


def _is_constant(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def a_query_in_python(file: File) -> Iterator[str]:
    """What a number means is read in `sql/`, never in a string."""
    if file.inside() is None:
        return
    for node in ast.walk(file.tree()):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            query = " ".join(node.value.split())
            if SQL_WORDS.match(node.value) and not query.startswith(SQL_ABOUT_THE_DATABASE):
                yield f"line {node.lineno}: holds a query ({query[:40]}): put it into a file of sql/"


def a_query_file_that_is_not_one_query_with_a_header(file: File) -> Iterator[str]:
    """A file of `sql/` opens with comment lines for people and is one statement."""
    if not file.path.endswith(".sql"):
        return
    if not re.match(r"-- *\w", file.text):
        yield "does not open with a comment that says what it is"
    with connect(None) as connection:
        statements = connection.extract_statements(file.text)
    if len(statements) != 1:
        yield f"holds {len(statements)} statements, expected one"


def a_registry_or_machine_path(file: File) -> Iterator[str]:
    """Files name no package registry and no folder of the machine that they were written on."""
    for number, line in enumerate(file.text.splitlines(), start=1):
        for pattern, what in ((REGISTRY, "a package registry"), (MACHINE_PATH, "a path of one machine")):
            if match := pattern.search(line):
                yield f"line {number}: names {what}: {match.group()}"


def a_test_that_sleeps(file: File) -> Iterator[str]:
    """A test waits for what it waits for; a clock is handed in."""
    if not (file.path.startswith(f"{TESTS}/") and file.path.endswith(".py")):
        return
    for name in _imports(file):
        if name == "time.sleep":
            yield "imports time.sleep"
    for node in ast.walk(file.tree()):
        if isinstance(node, ast.Attribute) and node.attr == "sleep" and ast.unparse(node.value) == "time":
            yield f"line {node.lineno}: sleeps"


RULES: list[Rule] = [
    a_vendor_outside_its_place,
    a_stage_that_reaches_up_or_ahead,
    code_in_a_package_file,
    a_shapeless_name,
    an_overlong_module,
    a_missing_docstring,
    a_swallowed_error,
    a_query_in_python,
    a_query_file_that_is_not_one_query_with_a_header,
    a_registry_or_machine_path,
    a_test_that_sleeps,
]


@cache
def _files() -> list[File]:
    """Read every text file that could be tracked."""
    found = []
    for folder, names, files in os.walk(ROOT):
        inner = {name for name in names if not name.startswith(".") or name == ".ci"} - SKIPPED_FOLDERS
        names[:] = sorted(inner if Path(folder) == ROOT else inner | {"data"} & set(names))
        for name in sorted(files):
            path = Path(folder, name)
            if path.suffix in TEXT_FILES and not name.startswith("."):
                found.append(File(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")))
    return found


def test_the_files_of_the_project_are_found() -> None:
    paths = {file.path for file in _files()}
    assert {f"{PACKAGE}/records.py", f"{TESTS}/test_house_rules.py", "pyproject.toml"} <= paths
    assert any(path.startswith("sql/checks/pairs/") for path in paths)
    assert not any(".venv" in path or "__pycache__" in path for path in paths)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_project_is_free_of(rule: Rule) -> None:
    assert [f"{file.path}: {complaint}" for file in _files() for complaint in rule(file)] == []


def _doc(code: str) -> str:
    return f'"""A module."""\n{code}\n'


FORBIDDEN = [
    (a_vendor_outside_its_place, "valbench_dagster/steps/x.py", "import dagster as dg"),
    (a_vendor_outside_its_place, "valbench_dagster/steps/x.py", "from dagster_duckdb import DuckDBResource"),
    (a_vendor_outside_its_place, "valbench_dagster/llm/x.py", "def f():\n    from openai import AsyncOpenAI"),
    (a_vendor_outside_its_place, "valbench_dagster/adapters/openai.py", "import openai.types"),
    (a_vendor_outside_its_place, "valbench_dagster/orchestration/x.py", "import duckdb"),
    (a_vendor_outside_its_place, "valbench_dagster/adapters/facts.py", "import pyarrow.parquet as pq"),
    (a_vendor_outside_its_place, "valbench_dagster/dumps/x.py", "import mwparserfromhell"),
    (a_vendor_outside_its_place, "valbench_dagster/adapters/warehouse/x.py", "from sqlalchemy import text"),
    (a_vendor_outside_its_place, "valbench_dagster/report/x.py", "import click"),
    (
        a_stage_that_reaches_up_or_ahead,
        "valbench_dagster/stages/issues.py",
        "from valbench_dagster.stages import pairs",
    ),
    (a_stage_that_reaches_up_or_ahead, "valbench_dagster/stages/issues.py", "import valbench_dagster.stages.verdicts"),
    (a_stage_that_reaches_up_or_ahead, "valbench_dagster/stages/issues.py", "from .pairs import ask_pair"),
    (a_stage_that_reaches_up_or_ahead, "valbench_dagster/stages/issues.py", "from ..steps import project"),
    (
        a_stage_that_reaches_up_or_ahead,
        "valbench_dagster/stages/pairs.py",
        "from valbench_dagster.adapters import facts",
    ),
    (a_stage_that_reaches_up_or_ahead, "valbench_dagster/stages/scores.py", ""),
    (code_in_a_package_file, "valbench_dagster/llm/__init__.py", "from valbench_dagster.llm import calls"),
    (code_in_a_package_file, "valbench_dagster_tests/__init__.py", "X = 1"),
    (a_shapeless_name, "valbench_dagster/utils.py", ""),
    (a_shapeless_name, "valbench_dagster/common/x.py", ""),
    (an_overlong_module, "valbench_dagster/x.py", "\n" * 300),
    (a_missing_docstring, "valbench_dagster/x.py", "def f():\n    return 1"),
    (a_missing_docstring, "valbench_dagster/x.py", "class C:\n    x = 1"),
    (a_missing_docstring, "valbench_dagster/x.py", 'class C:\n    """C."""\n    async def f(self): ...'),
    (a_swallowed_error, "benchmarks/x.py", "try:\n    f()\nexcept ValueError:\n    pass"),
    (a_swallowed_error, "valbench_dagster/x.py", "try:\n    f()\nexcept ValueError:\n    ..."),
    (a_swallowed_error, "valbench_dagster/x.py", "try:\n    f()\nexcept:\n    raise"),
    (a_query_in_python, "valbench_dagster/x.py", 'Q = "SELECT 1 AS pac"'),
    (a_query_in_python, "valbench_dagster/x.py", 'Q = f"CREATE VIEW {name} AS SELECT 1"'),
    (a_query_in_python, "valbench_dagster/x.py", 'Q = """\n    WITH a AS (SELECT 1)\n    SELECT * FROM a"""'),
    (a_query_in_python, "valbench_dagster/x.py", 'Q = "SELECT count(*) FROM pairs"'),
    (a_registry_or_machine_path, "README.md", "See https://" + "pypi.org/project/x."),
    (a_registry_or_machine_path, "x.toml", 'url = "https://files.' + 'pythonhosted.org/x"'),
    (a_registry_or_machine_path, "x.py", 'PATH = "/' + 'work/main/x"'),
    (a_registry_or_machine_path, "deploy/x.yaml", "path: /" + "home/me/x"),
    (a_test_that_sleeps, "valbench_dagster_tests/test_x.py", "import time\ntime.sleep(1)"),
    (a_test_that_sleeps, "valbench_dagster_tests/test_x.py", "from time import sleep"),
]


@pytest.mark.parametrize(("rule", "path", "code"), FORBIDDEN)
def test_a_rule_fails_on(rule: Rule, path: str, code: str) -> None:
    assert list(rule(File(path, _doc(code) if path.endswith(".py") else code))) != []


def test_a_module_without_docstring_fails() -> None:
    assert list(a_missing_docstring(File("valbench_dagster/x.py", "X = 1"))) == ["the module has no docstring"]


@pytest.mark.parametrize("text", ["SELECT 1", "-- One.\nSELECT 1; SELECT 2", "--\nSELECT 1", "-- One."])
def test_a_query_file_fails(text: str) -> None:
    assert list(a_query_file_that_is_not_one_query_with_a_header(File("sql/tables/x.sql", text))) != []


def test_every_rule_is_shown_able_to_fail() -> None:
    assert {rule for rule, _, _ in FORBIDDEN} == set(RULES) - {a_query_file_that_is_not_one_query_with_a_header}


ALLOWED = [
    (a_vendor_outside_its_place, "valbench_dagster/orchestration/assets/x.py", "import dagster as dg"),
    (a_vendor_outside_its_place, "valbench_dagster/definitions.py", "from dagster import Definitions"),
    (a_vendor_outside_its_place, "valbench_dagster/adapters/warehouse/x.py", "import duckdb"),
    (a_vendor_outside_its_place, "valbench_dagster_tests/test_x.py", "import duckdb, dagster"),
    (a_stage_that_reaches_up_or_ahead, "valbench_dagster/stages/verdicts.py", "from .pairs import ask_pair"),
    (a_stage_that_reaches_up_or_ahead, "valbench_dagster/steps/x.py", "from valbench_dagster.stages import pairs"),
    (a_shapeless_name, "valbench_dagster/baseline.py", ""),
    (an_overlong_module, "valbench_dagster/x.py", "\n" * 200),
    (an_overlong_module, "valbench_dagster_tests/test_x.py", "\n" * 400),
    (a_missing_docstring, "valbench_dagster/x.py", "def _f():\n    return 1\nclass _C:\n    def f(self): ..."),
    (a_swallowed_error, "valbench_dagster/x.py", "try:\n    f()\nexcept ValueError:\n    return None"),
    (a_query_in_python, "valbench_dagster/x.py", 'X = "Selected from pairs"\nY = "WITHOUT"\nZ = "SELECT"'),
    (a_query_in_python, "valbench_dagster/x.py", 'X = "SELECT count(*) FROM query_table($name)"'),
    (a_query_in_python, "valbench_dagster_tests/test_x.py", 'X = "SELECT 1"'),
    (a_registry_or_machine_path, "x.md", "a framework/home/page, https://example.org/home/page, ./work/x, /opt/x"),
    (a_test_that_sleeps, "valbench_dagster_tests/test_x.py", "import time\ntime.monotonic()"),
]


@pytest.mark.parametrize(("rule", "path", "code"), ALLOWED)
def test_a_rule_allows(rule: Rule, path: str, code: str) -> None:
    assert list(rule(File(path, _doc(code) if path.endswith(".py") else code))) == []
