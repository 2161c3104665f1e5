"""Running the command line: in this process for its logic, as a process for what only that shows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What a person's shell or a CI service may set, and what would change the output.
LEFT_OUT = (
    "COLUMNS",
    "CLICOLOR_FORCE",
    "FORCE_COLOR",
    "GITHUB_ACTIONS",
    "LORAKIT_DEBUG",
    "NO_COLOR",
    "PY_COLORS",
    "PYTHONIOENCODING",
    "TERMINAL_WIDTH",
    "TTY_COMPATIBLE",
    "TTY_INTERACTIVE",
)


@dataclass(frozen=True)
class Ran:
    """What a run left: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as strict JSON."""
        return json.loads(self.out, parse_constant=_refuse)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    def failed_with(self, code: int, *words: str) -> None:
        """Assert that it ended so, in one sentence for a person, with nothing on stdout."""
        assert self.code == code, self.err
        assert self.out == ""
        assert self.err.startswith("Error: "), self.err
        assert "Traceback" not in self.err
        for word in words:
            assert word in self.err


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def environment(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a process whose catalog is in `home`."""
    kept = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
    return {**kept, "LORAKIT_HOME": str(home), "PYTHONUTF8": "1", **(extra or {})}


def process(
    home: Path,
    *words: str | Path,
    stdin: str | bytes = b"",
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Ran:
    """`python -m lorakit` with `words`, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "lorakit", *map(str, words)],
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        capture_output=True,
        cwd=cwd,
        env=environment(home, env),
        timeout=300,
        check=False,
    )
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())
