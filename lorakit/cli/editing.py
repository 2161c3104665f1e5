"""A text, edited in the person's own editor."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from lorakit.errors import BadUsage, LorakitError


def edited(text: str, name: str) -> str:
    """`text` as it is when the editor is closed; `name` is that of the file the person sees.

    The editor is that of VISUAL or EDITOR. Raises `BadUsage` where neither is set, and `LorakitError`
    where it cannot be run or fails: then nothing was edited.
    """
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not command:
        raise BadUsage(
            "No editor is set.", hint="Set EDITOR, or give the text: lorakit note NAME --text TEXT"
        )
    with TemporaryDirectory(prefix="lorakit-") as folder:
        path = Path(folder) / name
        path.write_text(text, encoding="utf-8")
        try:
            done = subprocess.run(
                [*shlex.split(command, posix=sys.platform != "win32"), str(path)], check=False
            )
            if done.returncode:
                raise LorakitError(f"The editor {command!r} ended with code {done.returncode}.")
            return path.read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise LorakitError(f"The editor {command!r} cannot be used: {error}.") from error
