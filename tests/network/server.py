"""A server on this machine that speaks as Civitai does, and misbehaves on request."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

IDS = "/api/v1/model-versions/by-hash/ids"
MODELS = "/api/v1/models"


@dataclass
class Asked:
    """A request as it came in."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Reply:
    """An answer; `length` is what is claimed of it, where that is not true."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None
    before: Callable[[], object] = lambda: None


def as_json(value: object, status: int = 200, **headers: str) -> Reply:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply(status, json.dumps(value).encode(), named)


class LocalServer:
    """Answers with `rule`, after what is in `first`, and remembers what it was asked."""

    def __init__(self, rule: Callable[[Asked], Reply]) -> None:
        self.rule = rule
        self.first: list[Reply] = []
        self.asked: list[Asked] = []
        self.address = ""

    def to(self, path: str) -> list[Asked]:
        return [one for one in self.asked if one.path == path]

    def reply(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        return self.first.pop(0) if self.first else self.rule(asked)


@contextmanager
def serving(rule: Callable[[Asked], Reply]) -> Iterator[LocalServer]:
    local = LocalServer(rule)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = local.reply(
                Asked(self.command, parts.path, parse_qs(parts.query), headers, body)
            )
            reply.before()
            try:
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                length = len(reply.body) if reply.length is None else reply.length
                self.send_header("Content-Length", str(length))
                if reply.length is not None:
                    self.close_connection = True
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(reply.body)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        do_GET = do_POST = do_HEAD = answer

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    httpd.block_on_close = False
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    local.address = f"http://127.0.0.1:{httpd.server_address[1]}"
    try:
        yield local
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


@dataclass
class Civitai:
    """What the site holds: models as `GET /api/v1/models` gives them; `listed` adds to hash lookups."""

    models: list[dict[str, Any]] = field(default_factory=list)
    listed: list[dict[str, Any]] = field(default_factory=list)
    deleted: set[int] = field(default_factory=set)

    def __call__(self, asked: Asked) -> Reply:
        if asked.path == IDS and asked.method == "POST":
            return as_json(self._ids(set(asked.json)))
        if asked.path == MODELS:
            wanted = {int(one) for one in asked.query["ids"][0].split(",")}
            shown = [one for one in self.models if one["id"] in wanted - self.deleted]
            return as_json({"items": shown, "metadata": {"nextCursor": None}})
        return as_json({"error": "Not found"}, 404)

    def _ids(self, hashes: set[str]) -> list[dict[str, Any]]:
        own = [
            {"modelVersionId": version["id"], "modelId": model["id"], "hash": sha256}
            for model in self.models
            for version in model["modelVersions"]
            for file in version["files"]
            if (sha256 := file["hashes"].get("SHA256")) in hashes
        ]
        return own + self.listed


OPEN = {
    "allowNoCredit": True,
    "allowCommercialUse": ["Image", "RentCivit", "Rent", "Sell"],
    "allowDerivatives": True,
    "allowDifferentLicense": True,
}
CLOSED = {
    "allowNoCredit": False,
    "allowCommercialUse": ["Image"],
    "allowDerivatives": False,
    "allowDifferentLicense": False,
}


def model(
    number: int, sha256: str, flags: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """A model with one version, `number * 10`, whose file has this hash."""
    version = {
        "id": number * 10,
        "name": "v1",
        "baseModel": "Anima",
        "createdAt": "2026-03-01T00:00:00.000Z",
        "publishedAt": "2026-03-02T00:00:00.000Z",
        "trainedWords": ["sumi-e", "ink wash"],
        "description": None,
        "files": [
            {
                "id": number * 100,
                "name": "ink.safetensors",
                "sizeKB": 1.0,
                "type": "Model",
                "hashes": {"SHA256": sha256.upper(), "AutoV2": sha256[:10].upper()},
            }
        ],
        "images": [{"url": "http://127.0.0.1:1/x.jpeg", "nsfwLevel": 1}],
        **more.pop("version", {}),
    }
    return {
        "id": number,
        "name": f"Ink {number}",
        "description": "<p>Brush &amp; ink.</p>",
        "type": "LORA",
        "nsfw": False,
        "nsfwLevel": 1,
        "tags": ["style", "ink"],
        "mode": None,
        "creator": {"username": "inker", "image": None},
        **(OPEN if flags is None else flags),
        "modelVersions": [version],
        **more,
    }
