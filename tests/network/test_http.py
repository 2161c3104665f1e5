"""Politeness and suspicion on the wire."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from email.utils import formatdate

import pytest

from lorakit.errors import BadUsage, Unreachable
from lorakit.network.http import Limits, Server, ask, server_at
from tests.network.server import LocalServer, Reply, as_json, serving

QUICK = Limits(silence=0.3, answer=0.6, retries=2, backoff=0.01, longest_wait=2.0)
KEY = "civitai-secret"


@pytest.fixture
def local() -> Iterator[LocalServer]:
    with serving(lambda asked: as_json({"fine": True})) as running:
        yield running


@pytest.fixture
def waits() -> list[str]:
    return []


@pytest.fixture
def server(local: LocalServer, waits: list[str]) -> Server:
    return replace(server_at(local.address, KEY, waits.append), limits=QUICK)


def refused(server: Server, *words: str) -> Unreachable:
    with pytest.raises(Unreachable) as caught:
        ask(server, "/x")
    for word in words:
        assert word in caught.value.message
    assert KEY not in f"{caught.value.message} {caught.value.hint}"
    return caught.value


def test_a_question_brings_key_and_name_and_nothing_else(
    local: LocalServer, server: Server
) -> None:
    assert ask(server, "/x", ["a"]) == {"fine": True}
    (one,) = local.asked
    assert (one.method, one.json) == ("POST", ["a"])
    assert one.headers["authorization"] == f"Bearer {KEY}"
    assert one.headers["user-agent"].startswith("lorakit/")
    sent = {"host", "connection", "accept-encoding", "accept", "user-agent", "authorization"}
    assert one.headers.keys() == sent | {"content-type", "content-length"}


def test_the_key_is_in_no_text_of_the_server(server: Server) -> None:
    assert KEY not in repr(server)
    assert KEY not in str(server)


def test_too_many_questions_are_asked_again_when_the_server_says(
    local: LocalServer, server: Server, waits: list[str]
) -> None:
    local.first = [as_json({}, 429, Retry_After="1")]
    started = time.monotonic()
    assert ask(server, "/x") == {"fine": True}
    assert time.monotonic() - started >= 1
    assert len(waits) == 1
    assert "429" in waits[0]


def test_a_date_in_retry_after_is_understood(local: LocalServer, server: Server) -> None:
    local.first = [as_json({}, 503, Retry_After=formatdate(time.time() - 5, usegmt=True))]
    assert ask(server, "/x") == {"fine": True}
    local.first = [as_json({}, 503, Retry_After=formatdate(time.time() + 900, usegmt=True))]
    refused(server, "asks to wait")


def test_a_wait_beyond_the_cap_is_not_waited_for(local: LocalServer, server: Server) -> None:
    local.first = [as_json({}, 429, Retry_After="3600")]
    started = time.monotonic()
    refused(server, "429", "3600 s")
    assert time.monotonic() - started < 1
    assert len(local.asked) == 1


def test_failures_are_retried_a_few_times_only(local: LocalServer, server: Server) -> None:
    local.first = [Reply(502)] * 2
    assert ask(server, "/x") == {"fine": True}
    local.asked.clear()
    local.first = [Reply(500)] * 9
    refused(server, "500")
    assert len(local.asked) == QUICK.retries + 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 418])
def test_a_refusal_is_not_repeated(local: LocalServer, server: Server, status: int) -> None:
    local.first = [as_json({"error": "no"}, status)] * 3
    refused(server, str(status))
    assert len(local.asked) == 1


@pytest.mark.parametrize(
    "body",
    [b"<html>Just a moment...</html>", b"", b'{"items": [', b"\xff\xfe", b"[" * 99_999, b"NaN"],
)
def test_what_is_no_json_is_one_sentence(local: LocalServer, server: Server, body: bytes) -> None:
    local.first = [Reply(200, body)]
    refused(server, "no JSON")


def test_a_body_that_is_cut_off_is_asked_for_again(local: LocalServer, server: Server) -> None:
    # What arrived would be valid JSON by itself.
    local.first = [Reply(200, b"[]", length=100)]
    assert ask(server, "/x") == {"fine": True}
    local.first = [Reply(200, b"[]", length=100)] * 9
    refused(server, "broke off")


def test_a_silent_server_is_left(local: LocalServer, server: Server) -> None:
    local.first = [Reply(before=lambda: time.sleep(0.5))] * 3
    started = time.monotonic()
    refused(server, "does not answer")
    assert time.monotonic() - started < 3


def test_an_answer_that_drips_is_left(server: Server) -> None:
    import socket
    import threading

    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip() -> None:
            with listening.accept()[0] as peer:
                peer.recv(9999)
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
                try:
                    for _ in range(40):
                        peer.sendall(b" ")
                        time.sleep(0.05)
                except OSError:
                    pass

        thread = threading.Thread(target=drip)
        thread.start()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        limits = replace(QUICK, retries=0)
        refused(replace(server, address=address, limits=limits), "too slowly")
        thread.join()


def test_a_flood_is_not_taken_in(local: LocalServer, server: Server) -> None:
    local.first = [Reply(200, b"[" + b"1," * 5000)]
    refused(replace(server, limits=replace(QUICK, most_bytes=1000)), "more than 1000 bytes")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_nothing_follows_a_redirect_to_another_host(
    local: LocalServer, server: Server, status: int
) -> None:
    with serving(lambda asked: as_json({"stolen": True})) as other:
        local.first = [Reply(status, headers={"Location": f"{other.address}/x"})] * 2
        refused(server, other.address, "nothing was sent")
        with pytest.raises(Unreachable):
            ask(server, "/x", ["hash"])
        assert other.asked == []


def test_a_redirect_on_the_same_host_is_followed(local: LocalServer, server: Server) -> None:
    local.first = [Reply(302, headers={"Location": "/y"})]
    assert ask(server, "/x") == {"fine": True}
    assert [one.path for one in local.asked] == ["/x", "/y"]


def test_a_circle_of_redirects_ends(local: LocalServer, server: Server) -> None:
    local.first = [Reply(302, headers={"Location": "/x"})] * 50
    refused(server, "302")


def test_nobody_there_is_one_sentence(server: Server) -> None:
    refused(replace(server, address="http://127.0.0.1:9"), "cannot be reached")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "civitai.com",
        "ftp://civitai.com",
        "https://",
        "https://civitai.com:x",
        "https://[",
        "http://h?a=b",
    ],
)
def test_what_is_no_address_is_a_usage_error(address: str) -> None:
    with pytest.raises(BadUsage):
        server_at(address, None, print)


def test_secrets_in_an_address_are_refused_and_not_repeated() -> None:
    with pytest.raises(BadUsage) as caught:
        server_at("https://me:hunter2@civitai.com", None, print)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "schlüssel"])
def test_a_key_that_cannot_be_one_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(BadUsage) as caught:
        server_at("https://civitai.com", key, print)
    assert key not in str(caught.value)


def test_the_key_is_not_sent_without_encryption() -> None:
    with pytest.raises(BadUsage, match="without encryption"):
        server_at("http://civitai.com", KEY, print)
    assert server_at("https://civitai.com/", f" {KEY}\n", print).key == KEY
    assert server_at("http://civitai.com", "", print).key is None
