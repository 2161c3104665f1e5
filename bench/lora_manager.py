"""LoRA Manager for ComfyUI as a server without ComfyUI, asked over its own HTTP interface.

Of its checkout only `standalone.py` is started and only what its pages ask for is used. Settings, cache
and logs lie in a folder of the benchmark's; nothing is written into the checkout.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

_DRIVER = Path(__file__).with_name("lora_manager_driver.py")
_NAME = "ComfyUI-LoRA-Manager"
# Its modules, and where it will look for settings.
_PROBE = (
    "import aiohttp, aiosqlite, platformdirs, platform; "
    f"print(platformdirs.user_config_dir({_NAME!r}, appauthor=False)); "
    "print(platform.python_version())"
)
_PATIENCE_S, _ASK_AGAIN_S = 3600.0, 0.1
_LAST_LINES = 5


class PeerFailure(Exception):
    """Why LoRA Manager could not be measured, in a sentence."""


@dataclass(frozen=True)
class Peer:
    """A checkout that can be started."""

    checkout: Path
    python: str
    # The commit where Git tells, else the version that its pyproject.toml states.
    version: str


@dataclass(frozen=True)
class Server:
    """A server that has been started."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    started: float

    def ask(self, path: str, **query: object) -> dict[str, Any]:
        """What it answers on `/api/lm/loras/PATH`; `PeerFailure` where it does not."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE_S)
        try:
            connection.request("GET", f"/api/lm/loras/{path}?{urlencode(query)}")
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise PeerFailure(f"LoRA Manager answered {answer.status} on {path}: {text[:200]!r}.")
        found: dict[str, Any] = json.loads(text)
        return found

    def wait_for(self, count: int) -> float:
        """Seconds from its start until its list has `count` adapters."""
        while True:
            if self.process.poll() is not None:
                last = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
                raise PeerFailure(f"LoRA Manager ended: {' / '.join(last[-_LAST_LINES:])}")
            known = self._known()
            taken = time.perf_counter() - self.started
            if known == count:
                return taken
            if taken > _PATIENCE_S:
                raise PeerFailure(f"LoRA Manager listed {known} of {count} files after an hour.")
            time.sleep(_ASK_AGAIN_S)

    def _known(self) -> int | None:
        try:
            return int(self.ask("list", page_size=1)["total"])
        except (OSError, HTTPException):
            # It does not listen yet.
            return None

    def peak_memory(self) -> int:
        """The most resident memory that it had so far, in bytes; 0 where the system does not tell."""
        try:
            text = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        except OSError:
            return 0
        found = re.search(r"VmHWM:\s+(\d+) kB", text)
        return int(found[1]) * 1024 if found else 0


def find_peer(checkout: Path, python: str) -> Peer:
    """The peer at `checkout`; `PeerFailure` where it cannot be run as it is."""
    if not (checkout / "standalone.py").is_file():
        raise PeerFailure(f"{checkout} is no checkout of LoRA Manager: it has no standalone.py.")
    if (checkout / "settings.json").exists():
        raise PeerFailure(
            f"{checkout} is in use: it has a settings.json, which its server would move. "
            "Give a checkout of its own."
        )
    return Peer(checkout.absolute(), python, f"{_commit(checkout)}, Python {_probe(python)[1]}")


@contextmanager
def running(peer: Peer, home: Path, files: Path) -> Iterator[Server]:
    """Start it on the folder `files`, with all that it keeps under `home`; end it afterwards."""
    variables = _variables(home)
    empty = home / "empty"
    empty.mkdir(parents=True)
    paths = {"loras": [files], "checkpoints": [empty], "unet": [empty], "embeddings": [empty]}
    settings = Path(_probe(peer.python, variables)[0]) / "settings.json"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"folder_paths": paths}, default=str), encoding="utf-8")
    port = _free_port()
    words = [peer.python, str(_DRIVER), str(peer.checkout / "standalone.py")]
    words += ["--host", "127.0.0.1", "--port", str(port), "--log-level", "WARNING"]
    log = home / "log.txt"
    with log.open("wb") as out:
        started = time.perf_counter()
        process = subprocess.Popen(words, env=variables, cwd=home, stdout=out, stderr=out)
    try:
        yield Server(process, port, log, started)
    finally:
        process.kill()
        process.wait()


def _variables(home: Path) -> dict[str, str]:
    folders = {
        f"XDG_{name}_HOME": str(home / name) for name in ("CONFIG", "CACHE", "DATA", "STATE")
    }
    # Beside `home`, so that a second start need not compile again.
    compiled = {"PYTHONPYCACHEPREFIX": str(home.with_name("compiled"))}
    own = {"HOME": str(home), **compiled, **folders}
    return {**os.environ, **own}


def _probe(python: str, variables: dict[str, str] | None = None) -> list[str]:
    words = [python, "-c", _PROBE]
    try:
        done = subprocess.run(words, env=variables, capture_output=True, text=True, check=False)
    except OSError as error:
        raise PeerFailure(f"{python} cannot be started: {error.strerror}.") from error
    if done.returncode:
        last = (done.stderr.strip() or "no reason").splitlines()[-1]
        raise PeerFailure(
            f"{python} lacks what LoRA Manager needs ({last}). Install its requirements.txt, and "
            "name that Python with --lora-manager-python."
        )
    return done.stdout.splitlines()


def _commit(checkout: Path) -> str:
    # A folder without a repository of its own may lie in somebody else's.
    if (checkout / ".git").exists():
        words = ["git", "-C", str(checkout), "rev-parse", "--short=12", "HEAD"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return f"commit {done.stdout.strip()}"
    try:
        found = re.search(
            r'^version = "(.+)"', (checkout / "pyproject.toml").read_text("utf-8"), re.M
        )
    except OSError:
        found = None
    return f"version {found[1]}" if found else "of an unknown version"


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
