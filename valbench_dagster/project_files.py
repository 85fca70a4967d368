"""Project files: where the files that are not Python lie, in a checkout and in a wheel.

The one place that knows: `sql/`, the default roster and the Dagster configuration stand at the root of a checkout and
under `packaged/` in a wheel. Prompts, patterns and the sample dump are package data in both.
"""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
_WHEEL = PACKAGE / "packaged"
ROOT = _WHEEL if _WHEEL.is_dir() else PACKAGE.parent


def project_file(name: str) -> Path:
    """Give the path of a file or folder of the project, such as `sql/tables` or `roster.toml`.

    Raises `FileNotFoundError` when an incomplete installation lacks it.
    """
    path = ROOT / name
    if not path.exists():
        raise FileNotFoundError(f"the installation lacks {name} (looked in {ROOT}): reinstall valbench_dagster")
    return path


def package_file(name: str) -> Path:
    """Give the path of a file or folder of package data, such as `prompts` or `patterns.toml`; errors as above."""
    path = PACKAGE / name
    if not path.exists():
        raise FileNotFoundError(f"the installation lacks {name} (looked in {PACKAGE}): reinstall valbench_dagster")
    return path
