"""The catalog and adapters on a real network folder: a folder of this computer, by its own SSH server."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lorakit.catalog import Catalog
from lorakit.errors import CatalogError
from lorakit.mounts import network_kind
from tests.catalog.factories import write_adapter

_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
_PROGRAMS = {name: shutil.which(name, path=_PATH) for name in ("sshd", "sshfs", "ssh-keygen")}
_UNMOUNT = shutil.which("fusermount3") or shutil.which("fusermount")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(_PROGRAMS.values()) or not _UNMOUNT or not Path("/dev/fuse").exists(),
        reason="needs sshfs, an SSH server and FUSE",
    ),
    pytest.mark.skipif(
        os.name == "posix" and os.geteuid() == 0 and not Path("/run/sshd").is_dir(),
        reason="the SSH server of root needs /run/sshd",
    ),
]


@dataclass
class Server:
    """An SSH server for the folder `shared`, which is to be seen at `mounted`."""

    root: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    children: list[int] = field(default_factory=list)

    @property
    def shared(self) -> Path:
        return self.root / "shared"

    @property
    def mounted(self) -> Path:
        return self.root / "mounted"

    def start(self) -> None:
        for name in ("host", "user"):
            command = [_PROGRAMS["ssh-keygen"], "-q", "-t", "ed25519", "-N", "", "-f", name]
            subprocess.run([str(word) for word in command], cwd=self.root, check=True)
        (self.root / "known").touch()
        settings = (
            f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey {self.root}/host\nPidFile none\n"
            f"AuthorizedKeysFile {self.root}/user.pub\nStrictModes no\nUsePAM no\n"
            "PasswordAuthentication no\nSubsystem sftp internal-sftp\n"
        )
        (self.root / "settings").write_text(settings)
        self.process = subprocess.Popen(
            [str(_PROGRAMS["sshd"]), "-D", "-f", str(self.root / "settings")],
            stderr=subprocess.DEVNULL,
        )
        for _ in range(100):
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        pytest.skip("the SSH server does not start")

    def mount(self) -> None:
        options = (
            f"IdentityFile={self.root}/user,StrictHostKeyChecking=no,BatchMode=yes,"
            f"UserKnownHostsFile={self.root}/known"
        )
        where = f"{getpass.getuser()}@127.0.0.1:{self.shared}"
        words = ["-p", str(self.port), "-o", options, where, str(self.mounted)]
        done = subprocess.run(
            [str(_PROGRAMS["sshfs"]), *words], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")

    def unmount(self) -> None:
        subprocess.run(
            [str(_UNMOUNT), "-u", "-z", str(self.mounted)], capture_output=True, check=False
        )

    def lose(self) -> None:
        """Kill what serves the folder, as when a cable is pulled and the time is up."""
        assert self.process is not None
        inside = [self.process.pid]
        for pid in inside:
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                inside += map(int, task.read_text().split())
        for pid in inside[1:]:
            os.kill(pid, signal.SIGKILL)
        for _ in range(100):
            if not os.path.ismount(self.mounted):
                return
            time.sleep(0.05)

    def stop(self) -> None:
        self.unmount()
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server = Server(tmp_path / "ssh", free.getsockname()[1])
    server.shared.mkdir(parents=True)
    server.mounted.mkdir()
    try:
        server.start()
        server.mount()
        assert network_kind(server.mounted) == "fuse.sshfs"
        yield server
    finally:
        server.stop()


def test_adapters_on_it_are_known_after_every_mount(catalog: Catalog, server: Server) -> None:
    for seed in range(6):
        write_adapter(server.shared / f"{seed % 2}" / f"style{seed}.safetensors", seed)
    folder = server.mounted
    catalog.add([folder])
    content = catalog.resolve("style3").tensor_sha256
    catalog.tag([content], add=["dear"])
    before = [path.stat().st_ino for path in sorted(folder.rglob("*.safetensors"))]

    server.unmount()
    (gone,) = catalog.add([folder]).emptied
    assert (gone.path, gone.adapters, gone.state) == (folder, 6, "is empty")

    server.mount()
    # Files are numbered as they are asked for.
    after = [path.stat().st_ino for path in sorted(folder.rglob("*.safetensors"), reverse=True)]
    assert after[::-1] != before
    read: list[Path] = []
    result = catalog.add([folder], on_progress=lambda path, number, total: read.append(path))
    assert (len(result.known), read, result.emptied) == (6, [], ())
    assert [one.name for one in catalog.find("tag:dear missing:no")] == ["style3"]


def test_a_server_that_goes_while_files_are_read_is_told_once(
    catalog: Catalog, server: Server
) -> None:
    for seed in range(8):
        write_adapter(server.shared / f"style{seed}.safetensors", seed)

    def on_progress(path: Path, number: int, total: int) -> None:
        if number == 4:
            server.lose()

    result = catalog.add([server.mounted], on_progress=on_progress)
    assert [one.path for one in result.failed] == [server.mounted]
    assert "went away while it was read" in result.failed[0].reason
    server.unmount()
    server.mount()
    catalog.add([server.mounted])
    assert [one.missing for one in catalog.adapters()] == [False] * 8


def test_a_catalog_on_it_is_told_when_the_server_goes_and_keeps_what_was_saved(
    server: Server, tmp_path: Path
) -> None:
    ink = write_adapter(tmp_path / "ink.safetensors", 1)
    path = server.mounted / "home" / "catalog.db"
    with Catalog.open(path) as catalog:
        catalog.add([ink])
        content = catalog.resolve("ink").tensor_sha256
        catalog.tag([content], add=["saved"])
        assert not path.with_name("catalog.db-wal").exists()
        server.lose()
        with pytest.raises(CatalogError) as raised:
            catalog.tag([content], add=["lost"])
        assert raised.value.hint
    server.unmount()
    server.mount()
    with Catalog.open(path) as catalog:
        assert catalog.tags(content) == ("saved",)
        assert [one for one in catalog.examine() if one.kind == "database"] == []
