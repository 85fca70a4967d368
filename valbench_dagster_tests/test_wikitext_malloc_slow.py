"""The tests of wikitext once more with an allocator that marks the bounds of every block: the parser, which is written
in C, writes out of bounds where it is given what it mishandles (wikipedia.md, section 6, issue 352).
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FILES = (
    *("test_headings.py", "test_plain_text.py", "test_wikitext_laws.py", "test_wikitext_hostile.py"),
    *("test_sections.py", "test_patterns.py", "test_plain_miner.py"),
)

# New memory is filled with 0xCD by the debugging allocator, with nothing by the ordinary one.
RUN = """
import ctypes, sys
allocate, free = ctypes.pythonapi.PyMem_Malloc, ctypes.pythonapi.PyMem_Free
allocate.restype, allocate.argtypes, free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
block = allocate(64)
filled = ctypes.string_at(block, 64) == bytes([0xCD]) * 64
free(block)
sys.stdout.write(f"debugging allocator: {filled}\\n")
sys.stdout.flush()
if len(sys.argv) > 1:
    import pytest
    raise SystemExit(pytest.main(["-n", "0", "-p", "no:cacheprovider", *sys.argv[1:]]))
"""


def run(allocator: str | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `RUN` with this `PYTHONMALLOC`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHONMALLOC")}
    if allocator is not None:
        environment["PYTHONMALLOC"] = allocator
    command = [sys.executable, "-c", RUN, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1_500, check=False)


@pytest.mark.slow
@pytest.mark.timeout(1_600)
def test_the_tests_of_wikitext_pass_with_the_debugging_allocator() -> None:
    done = run("debug", *(str(Path(__file__).parent / name) for name in FILES))
    assert "debugging allocator: True\n" in done.stdout
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout[-5_000:]}\n{done.stderr[-5_000:]}"


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_the_debugging_allocator_is_told_from_the_ordinary_one() -> None:
    assert (run("debug").stdout, run(None).stdout) == ("debugging allocator: True\n", "debugging allocator: False\n")
