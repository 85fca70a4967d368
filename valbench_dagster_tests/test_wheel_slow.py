"""The wheel holds all that the project needs: built, installed and run where there is no checkout."""

import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from valbench_dagster_tests.homes import Home, differing, printed_leaderboard
from valbench_dagster_tests.servers import Child, run

pytestmark = pytest.mark.slow

CHECKOUT = Path(__file__).resolve().parent.parent
PACKED = ("roster.toml", "dagster.yaml", "workspace.yaml")
"""Files of the checkout's root that the package needs."""


@dataclass(frozen=True)
class Installed:
    """A wheel, the tree it was built from, and an environment into which it is installed."""

    tree: Path
    wheel: Path
    environment: Path

    def run(self, name: str, *command: str | Path) -> Child:
        """Run a command of the environment in a folder that was empty, with nothing of this process's environment."""
        base, [program, *arguments] = self.environment.parent, command
        (base / "person").mkdir(exist_ok=True)
        env = {"PATH": os.defpath, "HOME": str(base / "person")}
        return run([self.environment / "bin" / program, *arguments], base / "empty", env, name)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    base = tmp_path_factory.mktemp("wheel")
    tree, environment = base / "tree", base / "environment"
    _copy_tree(tree)
    env = {"PATH": os.defpath, "HOME": str(base)}
    python = sys.executable
    run([python, "-m", "build", "--wheel", "--no-isolation", "--outdir", base / "dist", tree], base, env, "build")
    [wheel] = base.joinpath("dist").iterdir()
    run([python, "-m", "venv", "--without-pip", environment], base, env, "venv")
    inside = environment / "bin" / "python"
    pip: list[str | Path] = [python, "-m", "pip", "--python", inside]
    run([*pip, "install", "--quiet", "--no-deps", "--no-index", wheel], base, env, "pip")
    # The packages of the running environment, without what its own .pth files add: such as the checkout.
    [site] = environment.glob("lib/python*/site-packages")
    others = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    site.joinpath("others.pth").write_text("".join(f"{path}\n" for path in others), encoding="utf-8")
    return Installed(tree, wheel, environment)


def _copy_tree(target: Path) -> None:
    """Copy what git knows or would know: no environment, no data, nothing built."""
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0"):
        if name and CHECKOUT.joinpath(name).is_file():  # one that is deleted is listed until that is committed
            target.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
            target.joinpath(name).write_bytes(CHECKOUT.joinpath(name).read_bytes())


def test_the_wheel_holds_the_package_and_all_files_it_needs_and_no_tests(installed: Installed) -> None:
    tree = installed.tree
    package = [path for path in tree.joinpath("valbench_dagster").rglob("*") if path.is_file()]
    packed = [*(path for path in tree.joinpath("sql").rglob("*") if path.is_file()), *(tree / name for name in PACKED)]
    expected = {path.relative_to(tree).as_posix(): path for path in package}
    expected |= {f"valbench_dagster/packaged/{path.relative_to(tree).as_posix()}": path for path in packed}
    with zipfile.ZipFile(installed.wheel) as wheel:
        held = {name: wheel.read(name) for name in wheel.namelist() if not name.split("/")[0].endswith(".dist-info")}
    assert sorted(held) == sorted(expected)
    assert [name for name, path in expected.items() if held[name] != path.read_bytes()] == []
    # That the lists above are not empty of what matters: one file of each kind.
    assert {
        "valbench_dagster/patterns.toml",
        "valbench_dagster/prompts/LOCK.toml",
        "valbench_dagster/prompts/judge_v3/v1.system.md",
        "valbench_dagster/sample/sample-20260101-pages-articles.xml",
        "valbench_dagster/packaged/sql/tables/pairs.sql",
        "valbench_dagster/packaged/roster.toml",
        "valbench_dagster/packaged/dagster.yaml",
        "valbench_dagster/packaged/workspace.yaml",
    } <= set(held)


def test_the_package_is_imported_from_the_wheel_and_the_checkout_is_not_on_the_path(installed: Installed) -> None:
    code = (
        "import sys, valbench_dagster, importlib.metadata as metadata\n"
        "from valbench_dagster.project_files import package_file, project_file\n"
        "held = metadata.distribution('valbench_dagster').locate_file('')\n"
        "files = project_file('sql'), project_file('roster.toml'), package_file('sample')\n"
        "print(*(valbench_dagster.__file__, held, *files), sep='\\n')\n"
        "print(*sys.path, sep='\\n', file=sys.stderr)\n"
    )
    child = installed.run("where", "python", "-P", "-c", code)  # without the working directory, as `valbench`
    places = [Path(line).resolve() for line in child.printed().splitlines()]
    assert len(places) == 5
    assert [place for place in places if not place.is_relative_to(installed.environment.resolve())] == []
    path = [Path(line).resolve() for line in child.stderr.read_text(encoding="utf-8").splitlines()]
    assert CHECKOUT not in path


def test_the_demo_and_init_work_in_an_empty_folder_and_a_second_demo_changes_nothing(installed: Installed) -> None:
    first = installed.run("first", "valbench", "demo")
    folder = installed.environment.parent / "empty"
    assert [path.name for path in folder.iterdir()] == ["data"]
    printed = printed_leaderboard(first.printed())
    assert len(printed) == 12
    # The respondents that hold every rate between them: keeps one side of every pair, endorses all, refuses all.
    rates = {model: printed["stand-in-v3", f"{model} (stand-in)"] for model in ("aligned", "opposed", "refuser")}
    assert [row["PAC v3"] for row in rates.values()] == ["100.00", "0.00", "100.00"]
    assert [row["REF"] for row in rates.values()] == ["0.00", "0.00", "100.00"]
    assert {row["coverage"] for row in printed.values()} == {"1.00"}
    home = Home(folder / "data")
    held = home.asked(), home.facts(), home.reports()
    tables = home.tables()

    placed = installed.run("init", "valbench", "init").printed().split()
    assert sorted(placed) == sorted(["placed", "placed", "placed", *PACKED])
    assert [name for name in PACKED if (folder / name).read_bytes() != (installed.tree / name).read_bytes()] == []
    kept = installed.run("init-again", "valbench", "init").printed().split()
    assert sorted(kept) == sorted(["kept", "kept", "kept", *PACKED])

    second = installed.run("second", "valbench", "demo")  # now with the roster that was placed
    assert second.printed() == first.printed()
    assert (home.asked(), home.facts(), home.reports()) == held
    assert differing(home.tables(), tables) == []
    assert list(folder.parent.joinpath("person").rglob("*")) == [], "nothing is written to a person's own folder"
