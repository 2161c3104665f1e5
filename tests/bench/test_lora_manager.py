"""Running LoRA Manager beside the catalog: what is refused, and how its server is spoken to.

The server here is a stand-in of the same outside: the place of its settings, its options, two answers.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench import catalog
from bench.lora_manager import PeerFailure, find_peer, running

STAND_IN = """
import argparse, json, os, socket
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from platformdirs import user_config_dir

parser = argparse.ArgumentParser()
parser.add_argument("--host")
parser.add_argument("--port", type=int)
parser.add_argument("--log-level")
options = parser.parse_args()
settings = Path(user_config_dir("ComfyUI-LoRA-Manager", appauthor=False)) / "settings.json"
(folder,) = json.loads(settings.read_text())["folder_paths"]["loras"]
try:
    socket.getaddrinfo("localhost", 80)
    socket.getaddrinfo("example.org", 80)
    outside = True
except socket.gaierror as error:
    outside = "benchmark" not in str(error)


class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.split("?")[0]
        known = path == "/api/lm/loras/list"
        self.send_response(200 if known else 404)
        self.end_headers()
        found = sorted(path.name for path in Path(folder).iterdir())
        answer = {"total": len(found), "items": found, "asked": self.path, "outside": outside}
        self.wfile.write(json.dumps(answer).encode() if known else b"not here")


HTTPServer((options.host, options.port), Answers).serve_forever()
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like a checkout, and a Python that has what it needs."""
    stubs = tmp_path / "stubs"
    stubs.mkdir()
    for name in ("aiohttp", "aiosqlite"):
        (stubs / f"{name}.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(stubs))
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "standalone.py").write_text(STAND_IN)
    (folder / "pyproject.toml").write_text('[project]\nversion = "1.2.1"\n')
    return folder


def test_its_server_is_started_on_the_files_alone(checkout: Path, tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    for name in ("ink", "wash"):
        (files / f"{name}.safetensors").touch()
    peer = find_peer(checkout, sys.executable)
    assert peer.version.startswith("version 1.2.1, Python 3.")
    before = sorted(checkout.rglob("*"))
    with running(peer, tmp_path / "home", files) as server:
        assert 0 < server.wait_for(2) < 60
        found = server.ask("list", page=1, search="in k")
        assert found["items"] == ["ink.safetensors", "wash.safetensors"]
        assert found["asked"].endswith("/list?page=1&search=in+k")
        assert not found["outside"]
        if sys.platform == "linux":
            assert 5e6 < server.peak_memory() < 1e9
        with pytest.raises(PeerFailure, match="answered 404 on scan: b'not here'"):
            server.ask("scan")
    assert server.process.poll() is not None
    assert sorted(checkout.rglob("*")) == before


def test_a_server_that_ends_is_a_failure_with_its_last_words(
    checkout: Path, tmp_path: Path
) -> None:
    (checkout / "standalone.py").write_text("raise SystemExit('no port for me')")
    peer = find_peer(checkout, sys.executable)
    with (
        running(peer, tmp_path / "home", tmp_path) as server,
        pytest.raises(PeerFailure, match="LoRA Manager ended: no port for me"),
    ):
        server.wait_for(1)


def test_what_cannot_be_run_is_refused_before_anything_is_measured(
    checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        catalog.main(["--lora-manager", str(tmp_path)])
    assert ended.value.code == 2
    assert "is no checkout of LoRA Manager: it has no standalone.py." in capsys.readouterr().err
    with pytest.raises(PeerFailure, match="cannot be started"):
        find_peer(checkout, str(tmp_path / "python"))
    (tmp_path / "stubs" / "aiohttp.py").write_text("raise ImportError('no aiohttp')")
    with pytest.raises(PeerFailure, match=r"lacks what .* \(ImportError: no aiohttp\)"):
        find_peer(checkout, sys.executable)
    # Its server would move the file to where settings lie, which is a folder of ours.
    (checkout / "settings.json").write_text("{}")
    with pytest.raises(PeerFailure, match="is in use"):
        find_peer(checkout, sys.executable)
