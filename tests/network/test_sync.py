"""`lorakit sync` against a server that holds what Civitai would."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from lorakit.catalog import Catalog
from lorakit.cli.main import run
from lorakit.licenses.claims import joined
from lorakit.licenses.keeping import kept
from tests.catalog.factories import write_adapter
from tests.cli.running import Ran, environment
from tests.network.server import CLOSED, IDS, MODELS, Civitai, LocalServer, Reply, as_json, model

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def sync(*words: str) -> Ran:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(["sync", *words])
    return Ran(code, out.getvalue(), err.getvalue())


def shown(catalog: Catalog, name: str = "ink") -> dict[str, Any]:
    """What Civitai is on record with, but for the time it was asked."""
    facts = catalog.facts(catalog.resolve(name).tensor_sha256)
    return {
        field: one.value
        for field, records in facts.items()
        for one in records
        if one.source == "civitai" and not field.startswith("asked")
    }


def terms(catalog: Catalog, name: str = "ink") -> str:
    claims, _ = kept(catalog, catalog.resolve(name).tensor_sha256)
    return str(joined(claims).share_merges)


def test_what_civitai_knows_is_kept_as_its_word(
    catalog: Catalog, site: Civitai, civitai: LocalServer, ink: str
) -> None:
    site.models = [model(7, ink)]
    ran = sync("--json")
    assert (ran.code, ran.err) == (0, "")
    found = ran.document
    assert found["schema"] == "lorakit/sync/1"
    assert [(one["name"], one["model"], one["version"]) for one in found["found"]] == [
        ("ink", 7, 70)
    ]
    assert found["unknown"] == ["wash"]
    assert shown(catalog) == {
        "title": "Ink 7",
        "description": "Brush & ink.",
        "trigger_words": ["sumi-e", "ink wash"],
        "base_model": "Anima",
        "author": "inker",
        "page": "https://civitai.com/models/7?modelVersionId=70",
        "nsfw": False,
    }
    assert catalog.tags(catalog.resolve("ink").tensor_sha256) == ("ink", "style")
    assert terms(catalog) == "allow"
    assert shown(catalog, "wash") == {}


def test_hashes_and_numbers_are_all_that_is_sent(
    catalog: Catalog, site: Civitai, civitai: LocalServer, ink: str
) -> None:
    site.models = [model(7, ink)]
    sync()
    asked, models = civitai.asked
    hashes = sorted(record.file_sha256.upper() for record in catalog.adapters())
    assert (asked.method, asked.path, asked.json, asked.query) == ("POST", IDS, hashes, {})
    assert (models.method, models.path, models.body) == ("GET", MODELS, b"")
    assert models.query == {"ids": ["7"], "limit": ["100"], "nsfw": ["true"]}
    assert "authorization" not in asked.headers
    assert "cookie" not in asked.headers


def test_what_was_asked_of_late_is_not_asked_again(
    catalog: Catalog, site: Civitai, civitai: LocalServer, ink: str, tmp_path: Path
) -> None:
    site.models = [model(7, ink)]
    sync()
    civitai.asked.clear()
    assert sync("--json").document["recent"] == ["ink", "wash"]
    assert civitai.asked == []
    catalog.add([write_adapter(tmp_path / "new.safetensors", 9)])
    assert sync("--json").document["unknown"] == ["new"]
    assert len(civitai.asked[0].json) == 1
    site.models[0]["name"] = "Ink, renamed"
    assert sync("ink", "--all", "--json").document["changed"] == 1
    assert shown(catalog)["title"] == "Ink, renamed"
    # Another server was not asked yet.
    assert sync("--server", "http://127.0.0.1:9", "--dry-run", "-q").lines == ["ink", "new", "wash"]


def test_one_run_is_one_step_that_undo_takes_back_but_for_terms(
    catalog: Catalog, site: Civitai, civitai: LocalServer, ink: str
) -> None:
    site.models = [model(7, ink, CLOSED)]
    catalog.set_fact(catalog.resolve("ink").tensor_sha256, "title", "mine")
    step = sync("--json").document["step"]
    assert [(one.id, one.command) for one in catalog.steps(1)] == [(step, "sync")]
    content = catalog.resolve("ink").tensor_sha256
    assert [one.value for one in catalog.facts(content)["title"]] == ["mine", "Ink 7"]
    catalog.undo()
    assert shown(catalog) == {}
    assert catalog.tags(content) == ()
    assert terms(catalog) == "deny"
    # And nothing says any more that it was asked.
    assert sync("--dry-run", "-q").lines == ["ink", "wash"]


def test_a_run_without_news_is_no_step_and_stands_in_no_way(
    catalog: Catalog, site: Civitai, civitai: LocalServer, ink: str
) -> None:
    site.models = [model(7, ink, CLOSED)]
    step = sync("--json").document["step"]
    for words in ((), ("--licenses-only",)):
        again = sync("--all", "--json", *words).document
        assert (again["step"], again["changed"]) == (None, 0)
        assert civitai.asked
    assert [one.id for one in catalog.steps()] == [step]
    # It counts as asked all the same, and the step is undone and done again as if it had not been.
    assert sync("--dry-run", "-q").lines == []
    undone = catalog.undo()
    assert shown(catalog) == {}
    assert sync("--dry-run", "-q").lines == ["ink", "wash"]
    catalog.undo(undone.number)
    assert shown(catalog)["title"] == "Ink 7"
    # A server that knows nothing has no news, either.
    site.models = []
    assert sync("wash", "--all", "--json").document["step"] is None


def test_terms_alone_leave_everything_else_and_do_not_count_as_asked(
    catalog: Catalog, site: Civitai, civitai: LocalServer, ink: str
) -> None:
    site.models = [model(7, ink, CLOSED)]
    assert sync("--licenses-only").code == 0
    assert shown(catalog) == {}
    assert terms(catalog) == "deny"
    assert sync("--licenses-only", "--dry-run", "-q").lines == []
    assert sync("--dry-run", "-q").lines == ["ink", "wash"]
    sync()
    assert shown(catalog)["title"] == "Ink 7"


def test_a_dry_run_sends_nothing(catalog: Catalog, civitai: LocalServer) -> None:
    ran = sync("--dry-run", "--json")
    assert ran.document["hashes"] == sorted(one.file_sha256 for one in catalog.adapters())
    assert civitai.asked == []
    assert catalog.steps() == []


def test_a_deleted_model_is_a_remark_and_loses_nothing(
    catalog: Catalog, site: Civitai, civitai: LocalServer, ink: str
) -> None:
    site.models = [model(7, ink, CLOSED)]
    sync()
    before = shown(catalog)
    site.deleted = {7}
    ran = sync("--all", "--json")
    assert ran.code == 0
    assert "model 7 was deleted" in ran.document["remarks"][0]
    assert "model 7 was deleted" in ran.err
    assert shown(catalog) == before
    assert terms(catalog) == "deny"


def test_hashes_that_nobody_asked_for_match_nothing(
    catalog: Catalog, site: Civitai, civitai: LocalServer, ink: str
) -> None:
    site.models = [model(7, "ab" * 32)]
    numbers = {"modelVersionId": 70, "modelId": 7}
    odd: list[Any] = [
        {**numbers, "hash": EMPTY.upper()},
        {**numbers, "hash": "AB" * 32},
        {**numbers, "hash": ""},
        {**numbers, "hash": None},
        {**numbers, "hash": ink[:12]},
        {"modelVersionId": True, "modelId": 7, "hash": ink},
        {"modelVersionId": 70, "modelId": "7", "hash": ink},
        {"modelVersionId": 1 << 99, "modelId": -7, "hash": ink},
        {"hash": ink},
        "nonsense",
        None,
    ]
    site.listed = odd
    found = sync("--json").document
    assert found["found"] == []
    assert found["unknown"] == ["ink", "wash"]
    assert civitai.to(MODELS) == []


def test_a_version_that_lists_other_files_gives_no_facts_and_no_permission(
    catalog: Catalog, site: Civitai, civitai: LocalServer, ink: str
) -> None:
    site.models = [model(7, "ab" * 32), model(8, "cd" * 32, CLOSED)]
    listed = {"modelVersionId": 70, "modelId": 7, "hash": ink.upper()}
    site.listed = [listed]
    ran = sync("--json")
    assert "lists other files" in ran.document["remarks"][0]
    assert shown(catalog) == {}
    assert terms(catalog) == "unknown"
    # A refusal is taken over all the same.
    site.listed = [{**listed, "modelVersionId": 80, "modelId": 8}]
    sync("--all")
    assert shown(catalog) == {}
    assert terms(catalog) == "deny"


def twins(ink: str, *, first: dict[str, Any], second: dict[str, Any]) -> list[dict[str, Any]]:
    """Two models with the same file; the first has the lower number and is the younger."""
    young = model(7, ink, version={"publishedAt": "2026-05-01T00:00:00.000Z"})
    old = model(8, ink, CLOSED, version={"publishedAt": "2026-01-01T00:00:00.000Z"})
    young["modelVersions"][0]["files"][0].update(first)
    old["modelVersions"][0]["files"][0].update(second)
    return [young, old]


@pytest.mark.parametrize(
    ("first", "second", "taken", "why"),
    [
        ({}, {"name": "upload.safetensors"}, 7, "by the name"),
        ({"name": "a.bin"}, {"name": "folder\\INK.safetensors"}, 8, "by the name"),
        ({}, {"sizeKB": 99999.5}, 7, "by its size"),
        ({}, {}, 8, "the oldest"),
    ],
)
def test_of_several_versions_one_is_chosen_and_said_and_the_strictest_terms_hold(
    catalog: Catalog,
    site: Civitai,
    civitai: LocalServer,
    ink: str,
    first: dict[str, Any],
    second: dict[str, Any],
    taken: int,
    why: str,
) -> None:
    size = catalog.resolve("ink").file_size / 1024
    site.models = twins(ink, first={"sizeKB": size, **first}, second={"sizeKB": size, **second})
    found = sync("--json").document
    assert found["found"][0]["model"] == taken
    assert len(found["remarks"]) == 1
    assert why in found["remarks"][0]
    assert shown(catalog)["title"] == f"Ink {taken}"
    assert terms(catalog) == "deny"


def test_absent_permissions_permit_nothing(
    catalog: Catalog, site: Civitai, civitai: LocalServer, ink: str
) -> None:
    site.models = [model(7, ink, {})]
    sync()
    assert shown(catalog)["title"] == "Ink 7"
    assert terms(catalog) == "unknown"


def test_what_is_odd_in_an_answer_is_left_out(
    catalog: Catalog, site: Civitai, civitai: LocalServer, ink: str
) -> None:
    odd = {"trainedWords": [None, "", 3, "good"], "baseModel": ["Anima"]}
    site.models = [
        model(
            7, ink, name=None, tags=["ok", "a,b", "", "\x00", 5, "x" * 999], creator=[], version=odd
        )
    ]
    site.models[0]["description"] = "half \ud800 of it"
    assert sync().code == 0
    assert shown(catalog)["trigger_words"] == ["good"]
    assert "title" not in shown(catalog)
    assert "ok" in catalog.tags(catalog.resolve("ink").tensor_sha256)


def test_many_hashes_go_in_few_questions(
    catalog: Catalog,
    site: Civitai,
    civitai: LocalServer,
    ink: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lorakit.network.asking.MOST_HASHES", 1)
    wash = catalog.resolve("wash").file_sha256
    site.models = [model(7, ink), model(8, wash)]
    assert len(sync("--json").document["found"]) == 2
    assert [one.path for one in civitai.asked] == [IDS, MODELS, IDS, MODELS]


def test_what_was_answered_before_a_failure_is_kept_and_the_rest_asked_next_time(
    catalog: Catalog,
    site: Civitai,
    civitai: LocalServer,
    ink: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lorakit.network.asking.MOST_MODELS", 1)
    wash = catalog.resolve("wash").file_sha256
    site.models = [model(7, ink), model(8, wash)]
    answer = civitai.rule
    civitai.rule = lambda asked: (
        as_json({}, 403) if asked.query.get("ids") == ["8"] else answer(asked)
    )
    ran = sync("--json")
    assert ran.code == 1
    assert ran.err.startswith("Error: ")
    assert "403" in ran.document["trouble"]
    assert ran.document["unanswered"] == ["wash"]
    assert shown(catalog)["title"] == "Ink 7"
    civitai.rule = answer
    civitai.asked.clear()
    assert [one["name"] for one in sync("--json").document["found"]] == ["wash"]


@pytest.mark.parametrize("name", ["LORAKIT_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_is_a_refusal_and_sends_nothing(
    catalog: Catalog, civitai: LocalServer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "1")
    sync().failed_with(1, name, "nothing was sent")
    assert civitai.asked == []
    assert sync("--dry-run").code == 0


def test_an_answer_of_another_kind_is_one_sentence(catalog: Catalog, civitai: LocalServer) -> None:
    odd: list[Any] = [{"items": []}, "text", 3, None]
    for body in odd:
        civitai.first = [as_json(body)]
        ran = sync()
        assert ran.code == 1
        assert "answers the question" in ran.err
    assert catalog.steps() == []


def test_the_key_is_sent_to_the_server_and_kept_nowhere(
    catalog: Catalog,
    site: Civitai,
    civitai: LocalServer,
    ink: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CIVITAI_API_KEY", "topsecretkey")
    site.models = [model(7, ink)]
    ran = sync("--json")
    assert {one.headers["authorization"] for one in civitai.asked} == {"Bearer topsecretkey"}
    civitai.first = [as_json({}, 401)]
    failed = sync("--all")
    assert failed.code == 1
    assert "topsecretkey" not in ran.out + ran.err + failed.out + failed.err
    stored = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert stored
    assert not any(b"topsecretkey" in path.read_bytes() for path in stored)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_ctrl_c_keeps_what_is_there(
    catalog: Catalog, site: Civitai, civitai: LocalServer, ink: str, tmp_path: Path
) -> None:
    site.models = [model(7, ink)]
    reached, go_on = threading.Event(), threading.Event()

    def stuck() -> None:
        reached.set()
        go_on.wait(20)

    answer = civitai.rule
    civitai.rule = lambda asked: (
        Reply(200, b"[]", before=stuck) if asked.path == MODELS else answer(asked)
    )
    with subprocess.Popen(
        [sys.executable, "-m", "lorakit", "sync", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(tmp_path / "home"),
        text=True,
    ) as running:
        assert reached.wait(20)
        time.sleep(0.1)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=20)
    go_on.set()
    assert running.returncode == 130
    assert "Traceback" not in err
    assert "kept" in err
    found = json.loads(out)
    # Nothing lists wash, which was answered; what ink is was not.
    assert (found["unknown"], found["unanswered"]) == (["wash"], ["ink"])
    civitai.rule = answer
    assert sync("--json").document["recent"] == ["wash"]
    assert shown(catalog)["title"] == "Ink 7"
