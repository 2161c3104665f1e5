"""What Hugging Face answers about repositories that are held here in memory."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from tests.network.server import Asked, Reply, as_json

_ABOUT = re.compile(r"/api/models/(?P<name>[^/]+/[^/]+)(?:/revision/(?P<revision>.+))?")
_FILE = re.compile(r"/(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")


@dataclass
class Hub:
    """Repositories by name, each with its files at one commit; `gated` ones refuse."""

    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: tuple[str, ...] = ("main",)
    gated: set[str] = field(default_factory=set)
    wrong_hashes: bool = False

    def __call__(self, asked: Asked) -> Reply:
        path = unquote(asked.path)
        about, file = _ABOUT.fullmatch(path), _FILE.fullmatch(path)
        found = about or file
        if found is None or found["name"] not in self.repositories:
            return self._error(404, "RepoNotFound", "Repository not found")
        name = found["name"]
        if name in self.gated:
            return self._error(403, "GatedRepo", "Access is restricted")
        if (found["revision"] or "main") not in (*self.branches, self.commit(name)):
            return self._error(404, "RevisionNotFound", "Invalid rev id")
        if about:
            return as_json(self._info(name))
        assert file is not None
        return self._file(asked, name, file["file"])

    def commit(self, name: str) -> str:
        files = sorted((path, _sha256(data)) for path, data in self.repositories[name].items())
        return hashlib.sha1(repr(files).encode()).hexdigest()

    def _info(self, name: str) -> dict[str, object]:
        siblings = []
        for path, data in self.repositories[name].items():
            entry: dict[str, object] = {
                "rfilename": path,
                "size": len(data),
                "blobId": hashlib.sha1(data).hexdigest(),
            }
            if path.endswith(".safetensors"):
                sha256 = "0" * 64 if self.wrong_hashes else _sha256(data)
                entry["lfs"] = {"sha256": sha256, "size": len(data), "pointerSize": 134}
            siblings.append(entry)
        return {
            "_id": "1",
            "id": name,
            "modelId": name,
            "author": name.partition("/")[0],
            "sha": self.commit(name),
            "private": False,
            "gated": False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "siblings": siblings,
        }

    def _file(self, asked: Asked, name: str, path: str) -> Reply:
        data = self.repositories[name].get(path)
        if data is None:
            return self._error(404, "EntryNotFound", "Entry not found")
        headers = {"ETag": f'"{_sha256(data)}"', "X-Repo-Commit": self.commit(name)}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", asked.headers.get("range", ""))
        if wanted:
            start, end = int(wanted[1]), int(wanted[2] or len(data) - 1)
            part = data[start : end + 1]
            headers["Content-Range"] = f"bytes {start}-{start + len(part) - 1}/{len(data)}"
            return Reply(206, part, headers)
        return Reply(200, data, headers)

    def _error(self, status: int, code: str, message: str) -> Reply:
        return Reply(status, b"", {"X-Error-Code": code, "X-Error-Message": message})


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
