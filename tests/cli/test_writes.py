"""What rendering writes: pictures, manifests, pages and the catalog. Never a file of merged weights.

The rule is watched in three ways. An audit hook sees every file that Python opens for writing. The system
itself refuses files larger than a picture of these tests, also to libraries that write without Python. And
what is there in the end, in the temporary folder too, is looked through.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lorakit.preview.demo_model import DemoModel
from tests.cli.running import environment

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs limits on file sizes")

LARGEST = 300_000  # bytes; the smallest adapter of the demo has twice as many, its checkpoint 5 MB
QUICK = ("--size", "64x64", "--steps", "2", "--device", "cpu", "-p", "@ink, a sea")
RENDERING = (
    ("preview", "ink:0.8@steps=0-0 wash:0.5", *QUICK, "-o", "out.png"),
    ("grid", "ink:0.8", "--x", "strength:ink=0.5,1", "--y", "seed=1,2", *QUICK, "-o", "grid"),
    ("ab", "run", "ink:0.8", "wash", *QUICK, "--blind", "-o", "ab"),
)
EXPECTED = re.compile(
    r"out\.png|(?:(?:grid|ab)/pictures/)?\.lorakit-\d+\.part|(?:grid|ab)/pictures/[\w-]+(?:\.part)?\.png"
    r"|grid/(?:grid\.json|sheet\.png|index\.html)(?:\.part)?|ab/(?:ab\.json|index\.html)(?:\.part)?"
    r"|home/catalog\.(?:db(?:-wal|-shm|\S*lock)?|folders\.json|seen\.json)"
)

# Runs command lines with the hook in place, and reports on stderr what was opened for writing.
HARNESS = """
import json, os, resource, sys, tempfile
tempfile.gettempdir()  # once in a process it tries whether the folder can be written to
written = []
def hook(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        if isinstance(path, int):
            return
        writes = any(sign in (mode or "") for sign in "wax+")
        if writes or (flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            written.append(os.fsdecode(path))
    elif event == "sqlite3.connect":
        written.append(os.fsdecode(arguments[0]))
    elif event in ("os.truncate", "os.link", "os.symlink", "subprocess.Popen", "os.exec", "os.fork", "os.posix_spawn"):
        written.append(f"{event} {arguments[0]}")
sys.addaudithook(hook)
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
problem = ""
try:
    exec(sys.argv[2])
except Exception as error:
    problem = repr(error)
print(json.dumps({"written": written, "problem": problem}), file=sys.stderr)
"""


def watched(home: Path, work: Path, script: str) -> tuple[set[str], dict[str, int], str]:
    """What `script` opens for writing, as paths within `work`; the files that are there in the end, with
    their sizes; and the error it ended with."""
    (work / "temporary").mkdir(parents=True)
    own = {"TMPDIR": str(work / "temporary"), "HOME": str(work), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", HARNESS, str(LARGEST), script],
        env=environment(home, {**own, "OMP_NUM_THREADS": "1"}),
        cwd=work,
        capture_output=True,
        text=True,
        check=True,
    )
    report = json.loads(done.stderr.splitlines()[-1])
    plain = (re.sub(r"^file://|\?mode=\w+(?:&\w+=\w+)*$", "", name) for name in report["written"])
    opened = {name.removeprefix(f"{work}/") for name in plain} - {"/dev/null"}
    files = [path for path in work.rglob("*") if path.is_file()]
    there = {path.relative_to(work).as_posix(): path.stat().st_size for path in files}
    return opened, there, report["problem"]


@pytest.mark.slow
def test_rendering_writes_no_merged_weights(
    demo: DemoModel, demo_home: Path, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    shutil.copytree(demo_home, work / "home")
    runs = "; ".join(f"assert run({list(words)!r}) == 0" for words in RENDERING)
    opened, there, problem = watched(
        work / "home", work, f"from lorakit.cli.main import run; {runs}"
    )
    assert problem == ""
    assert {name for name in opened if not EXPECTED.fullmatch(name)} == set()
    assert {name for name in there if not EXPECTED.fullmatch(name)} == set()
    # The hook was at work: it saw the manifest and the page.
    assert {"grid/grid.json.part", "grid/index.html.part", "ab/ab.json.part"} <= opened
    # The catalog came with the home; the limit held for what was added to it.
    made = {name: size for name, size in there.items() if not name.startswith("home/")}
    assert max(made.values()) <= LARGEST < demo.checkpoint.stat().st_size


@pytest.mark.parametrize(
    "script",
    [
        "open('merged.bin', 'wb').write(bytes(9))",
        "import os; os.open('merged.bin', os.O_CREAT | os.O_RDWR); os.unlink('merged.bin')",
        "import tempfile; tempfile.TemporaryFile().write(b'x')",
        "import tempfile; tempfile.NamedTemporaryFile(suffix='.part').write(b'x')",
        # These write without Python: one file too small for the limit, and one too large.
        "import numpy; from safetensors.numpy import save_file;"
        "save_file({'w': numpy.zeros(9)}, 'merged.safetensors')",
        "import numpy; from safetensors.numpy import save_file;"
        "save_file({'w': numpy.zeros(400_000)}, 'merged.safetensors')",
    ],
    ids=["open", "os.open", "TemporaryFile", "NamedTemporaryFile", "small", "large"],
)
def test_the_watch_sees_every_way_to_write(tmp_path: Path, script: str) -> None:
    opened, there, problem = watched(tmp_path / "home", tmp_path / "work", script)
    odd = {name for name in {*opened, *there} if not EXPECTED.fullmatch(name)}
    assert odd or "too large" in problem.lower()
    assert max(there.values(), default=0) <= LARGEST
