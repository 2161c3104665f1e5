"""JSON over HTTP, politely: timeouts, few retries, Retry-After, and never to another host than asked.

The standard library's client, since what is asked of it is two requests and Hugging Face's own client
comes under another name from one release to the next.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPMessage
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

from lorakit import __version__
from lorakit.errors import BadUsage, Unreachable

_CHUNK = 1 << 16
_BUSY = frozenset({429, 500, 502, 503, 504})
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_LATER = "What was answered before is kept; the same command goes on from there."


@dataclass(frozen=True)
class Limits:
    """How patient to be; times in seconds.

    `silence` ends a connection on which nothing comes, `answer` an answer that is not whole by then.
    A request is tried `retries` times more, after `backoff`, twice that, and so on, or after what the
    server asks for up to `longest_wait`. `most_bytes` is the largest answer that is read.
    """

    silence: float = 30.0
    answer: float = 300.0
    retries: int = 3
    backoff: float = 1.0
    longest_wait: float = 60.0
    most_bytes: int = 1 << 28


def _say_nothing(message: str) -> None:
    """Pass over a remark."""


@dataclass(frozen=True)
class Server:
    """A server that may be asked; `on_wait` is told why and how long it is waited for.

    The key is never shown: not in messages, not in this object's own text.
    """

    address: str
    key: str | None = field(default=None, repr=False)
    limits: Limits = Limits()
    on_wait: Callable[[str], None] = _say_nothing

    @property
    def host(self) -> str:
        """Its name, with the port where there is one."""
        return urlsplit(self.address).netloc


def server_at(address: str, key: str | None, on_wait: Callable[[str], None]) -> Server:
    """The server at an address. Raises `BadUsage` for one that is none, or may not have the key."""
    try:
        parts = urlsplit(address.strip())
        named = parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        named = None
    if not named or parts.scheme not in ("http", "https") or parts.query or parts.fragment:
        raise BadUsage(f"{address!r} is no address.", hint="For example: https://civitai.com")
    if parts.username is not None or parts.password is not None:
        raise BadUsage(
            "An address with a name or password in it would be shown and kept.",
            hint="Give the address alone; a key belongs in CIVITAI_API_KEY.",
        )
    key = (key or "").strip() or None
    if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
        raise BadUsage("The API key has characters in it that no key has.", hint="Copy it anew.")
    if key is not None and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise BadUsage(
            f"The API key is not sent to {parts.netloc} without encryption.",
            hint="Use an address that begins with https://, or unset CIVITAI_API_KEY.",
        )
    return Server(f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}", key, on_wait=on_wait)


def ask(server: Server, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON is anything
    """The JSON that the server answers to a GET of `path`, or with a `body` to a POST of it as JSON.

    Raises `Unreachable` for a server that cannot be reached, fails for longer than the limits allow,
    sends elsewhere, refuses, or answers with something that is no JSON.
    """
    limits, tries = server.limits, 0
    while True:
        try:
            return _json(server, _once(server, path, body))
        except _Again as again:
            wait = limits.backoff * 2**tries if again.wait is None else again.wait
            if tries >= limits.retries or wait > limits.longest_wait:
                more = f" and asks to wait {wait:.0f} s" if again.wait is not None else ""
                raise Unreachable(f"{again.reason}{more}.", hint=_LATER) from None
            tries += 1
            server.on_wait(f"{again.reason}; trying again in {wait:.0f} s")
            time.sleep(wait)


class _Again(Exception):
    """A failure that may pass; `wait` is how long the server asks to wait, None where it does not."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait


class _SameHost(HTTPRedirectHandler):
    """Follows a redirect on the same host only: hashes and key were meant for no other."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        if _origin(newurl) != _origin(req.full_url) or req.data is not None:
            fp.close()
            raise Unreachable(
                f"{req.host} sends to {newurl}; nothing was sent there.",
                hint="If that is where it is now, name it with --server.",
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _origin(address: str) -> tuple[str, str]:
    parts = urlsplit(address)
    return parts.scheme.lower(), parts.netloc.lower()


def _opener() -> OpenerDirector:
    return build_opener(_SameHost())


def _once(server: Server, path: str, body: object) -> bytes:
    headers = {"Accept": "application/json", "User-Agent": f"lorakit/{__version__}"}
    if server.key is not None:
        headers["Authorization"] = f"Bearer {server.key}"
    data = None if body is None else json.dumps(body).encode()
    if data is not None:
        headers["Content-Type"] = "application/json"
    request = Request(f"{server.address}{path}", data, headers)
    try:
        with _opener().open(request, timeout=server.limits.silence) as answer:
            return _read(server, answer)
    except HTTPError as error:
        with error:
            raise _failure(server, error.code, error.headers.get("Retry-After")) from None
    except URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise _Again(f"{server.host} does not answer") from None
        reason = getattr(error.reason, "strerror", None) or error.reason
        raise Unreachable(
            f"{server.host} cannot be reached: {reason}.",
            hint="Nothing in the catalog has changed by that.",
        ) from None
    except TimeoutError:
        raise _Again(f"{server.host} does not answer") from None
    except (HTTPException, OSError):
        raise _Again(f"{server.host} broke off") from None


def _read(server: Server, answer: Any) -> bytes:  # noqa: ANN401 - urllib's own kinds of answer
    """The whole body: a part of it might be valid JSON, and would say something else."""
    due = time.monotonic() + server.limits.answer
    wanted = answer.headers.get("Content-Length")
    found = bytearray()
    while chunk := answer.read1(_CHUNK):
        found += chunk
        if len(found) > server.limits.most_bytes:
            raise Unreachable(
                f"{server.host} answers with more than {server.limits.most_bytes} bytes."
            )
        if time.monotonic() > due:
            raise _Again(f"{server.host} answers too slowly")
    if wanted is not None and wanted.isdecimal() and len(found) != int(wanted):
        raise _Again(f"{server.host} broke off")
    return bytes(found)


def _failure(server: Server, status: int, retry_after: str | None) -> Exception:
    if status == 429:
        return _Again(f"{server.host} has had too many questions (429)", _seconds(retry_after))
    if status in _BUSY:
        return _Again(f"{server.host} fails ({status})", _seconds(retry_after))
    if status in (401, 403):
        return Unreachable(
            f"{server.host} refuses to answer ({status}).",
            hint="If CIVITAI_API_KEY is set, check it; else set it to a key of your account.",
        )
    return Unreachable(
        f"{server.host} does not know what it was asked ({status}).",
        hint="Check the address given with --server or LORAKIT_CIVITAI.",
    )


def _seconds(retry_after: str | None) -> float | None:
    """How long Retry-After asks to wait: a number of seconds, or a date (RFC 9110, 10.2.3)."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def _json(server: Server, raw: bytes) -> Any:  # noqa: ANN401 - JSON is anything
    try:
        return json.loads(raw, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise Unreachable(
            f"{server.host} answers with something that is no JSON.",
            hint="A page that asks for a login or a check of the browser looks like that; try later.",
        ) from None


def _refuse(constant: str) -> Any:  # noqa: ANN401 - what the parser's hook asks for
    raise ValueError(f"{constant} is not JSON")
