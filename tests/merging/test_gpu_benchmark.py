"""The script that holds the workshop on a GPU against the CPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench import gpu_workshop
from bench.gpu_workshop import Row
from tests.pretend_cuda import pretend_cuda

# The pretended device is that of one thread.
pytestmark = pytest.mark.usefixtures("one_core")

ROOT = Path(__file__).resolve().parents[2]
# What the machine with the GPU need not have.
ABSENT = (
    "sqlalchemy",
    "alembic",
    "typer",
    "rich",
    "diffusers",
    "transformers",
    "peft",
    "platformdirs",
)


def test_every_part_runs_on_a_pretended_device_and_agrees_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OUT", str(tmp_path))
    with pretend_cuda():
        assert gpu_workshop.main(["--tiny"]) == 0
    said = capsys.readouterr().out
    assert (tmp_path / "gpu_workshop.md").read_text(encoding="utf-8") == said
    rows = [line.split(" | ") for line in said.splitlines() if line.startswith("| ")][2:]
    assert len(rows) == 14
    assert {row[3] for row in rows} == {"0.0e+00"}


def test_it_needs_torch_and_no_part_of_the_rest(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {ABSENT!r}: raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "from bench.gpu_workshop import main\n"
        "sys.exit(main(['--tiny', '--device', 'cpu']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "| extract |" in done.stdout


def test_results_that_disagree_end_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    for apart, code in ((1e-9, 0), (1e-3, 1), (float("nan"), 1), (float("inf"), 1)):
        rows = [Row("merge", 1.0, 1.0, apart, 1e-5)]
        monkeypatch.setattr(gpu_workshop, "run", lambda *given, rows=rows: (rows, []))
        assert gpu_workshop.main(["--tiny", "--device", "cpu"]) == code
