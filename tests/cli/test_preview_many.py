"""`lorakit preview` for several pictures, and its advice."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.cli.running import environment
from tests.cli.test_preview import record_of

SMALL = ("--size", "64x64", "--steps", "1", "--device", "cpu")


def test_every_combination_is_rendered_and_numbered(ready: Cli, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("@ink, a town\n\n  @ink, a wood \n", encoding="utf-8")
    words = ("-p", "@ink, a sea", "--prompts", tmp_path / "prompts.txt", "--seed", "3,4")
    ran = ready("preview", "ink:0.5", *words, *SMALL, "-o", tmp_path / "out.png", "-q")
    files = [tmp_path / f"out-000{number}.png" for number in range(1, 7)]
    assert ran.lines == [str(path) for path in files]
    made = [record_of(path)["settings"] for path in files]
    assert [(one["prompt"], one["seed"]) for one in made if isinstance(one, dict)] == [
        (prompt, seed)
        for prompt in ("@ink, a sea", "@ink, a town", "@ink, a wood")
        for seed in (3, 4)
    ]


def test_prompts_come_from_stdin_and_sizes_repeat(ready: Cli, tmp_path: Path) -> None:
    words = ("--prompts", "-", "--size", "64x64", "--size", "64x96", "--dry-run", "--json")
    ran = ready("preview", *words, stdin="@ink, one\n@ink, two\n")
    found = [(p["prompt"], p["height"]) for p in ran.document["pictures"]]
    assert found == [("@ink, one", 64), ("@ink, one", 96), ("@ink, two", 64), ("@ink, two", 96)]
    ready("preview", "--prompts", "-", stdin="\n").failed_with(2, "stdin")
    ready("preview", "--prompts", tmp_path / "none.txt").failed_with(1, "none.txt")
    (tmp_path / "odd.txt").write_bytes(b"\xff\xfe\x00")
    ready("preview", "--prompts", tmp_path / "odd.txt").failed_with(4, "odd.txt", "UTF-8")


def test_one_file_in_the_way_stops_all_before_any_is_rendered(ready: Cli, tmp_path: Path) -> None:
    (tmp_path / "out-0002.png").write_bytes(b"kept")
    words = ("--seed", "1-3", *SMALL, "-o", tmp_path / "out.png")
    ready("preview", *words).failed_with(2, "out-0002.png")
    assert [path.name for path in tmp_path.glob("*.png")] == ["out-0002.png"]


def test_a_random_seed_is_recorded(ready: Cli, tmp_path: Path) -> None:
    words = ("-p", "@ink", "--seed", "random", *SMALL, "-o", tmp_path / "a.png", "--json")
    ran = ready("preview", *words)
    settings = record_of(tmp_path / "a.png")["settings"]
    assert isinstance(settings, dict)
    assert settings["seed"] == ran.document["pictures"][0]["settings"]["seed"]


def test_advice_is_said_once_on_stderr_and_changes_nothing(ready: Cli, tmp_path: Path) -> None:
    words = ("--seed", "1,2", *SMALL, "--negative", "blurry", "-o", tmp_path / "a.png")
    ran = ready("preview", "-p", "best quality, a cat", *words)
    assert ran.code == 0
    lines = ran.err.splitlines()
    assert all(line.startswith("Advice: ") for line in lines)
    assert len(lines) == len(set(lines)) == 4
    record = record_of(tmp_path / "a-0001.png")
    assert isinstance(record["settings"], dict)
    assert isinstance(record["advice"], list)
    assert record["settings"]["prompt"] == "best quality, a cat"
    codes = {advice["code"] for advice in record["advice"]}
    assert codes == {"no-style", "quality-tags", "negative-unused", "few-steps"}


def test_strict_makes_advice_an_error_before_anything_is_loaded(
    ready: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loaded(*args: object, **kwargs: object) -> None:
        raise AssertionError("a session was opened")

    monkeypatch.setattr("lorakit.preview.session.open_session", loaded)
    words = ("--strict", "-o", tmp_path / "a.png")
    ready("preview", "-p", "a cat", *words).failed_with(1, "style", "--strict")
    assert list(tmp_path.glob("*.png")) == []
    with pytest.raises(AssertionError, match="opened"):
        ready("preview", "-p", "@ink, a cat", *words)


def test_triggers_are_added_when_asked_for(ready: Cli) -> None:
    words = ("preview", "ink wash:0", "-p", "a sea", "--dry-run", "--json")
    plain = ready(*words).document
    assert plain["pictures"][0]["prompt"] == "a sea"
    assert [advice["code"] for advice in plain["advice"]] == ["missing-trigger"]
    added = ready(*words, "--add-triggers").document
    # The adapter at strength 0 takes no part.
    assert added["pictures"][0]["prompt"] == "@ink, a sea"
    assert added["advice"] == []


def test_a_dry_run_says_what_it_would_do_and_does_nothing(ready: Cli, tmp_path: Path) -> None:
    ran = ready("preview", "ink:0.8", "-p", "@ink", "--seed", "1-2", "--dry-run",
                "-o", tmp_path / "a.png")  # fmt: skip
    assert ran.code == 0
    for word in ("a-0001.png", "a-0002.png", "1024x1024", "ink:0.8", "RDBT"):
        assert word in "".join(ran.lines)
    assert list(tmp_path.glob("*.png")) == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals differ")
def test_ctrl_c_keeps_what_is_finished(demo_home: Path, tmp_path: Path) -> None:
    words = (
        "--seed",
        "1-500",
        "--size",
        "128x128",
        "--steps",
        "4",
        "--device",
        "cpu",
        "-p",
        "@ink",
    )
    with subprocess.Popen(
        [sys.executable, "-m", "lorakit", "preview", *words, "-o", tmp_path / "a.png"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(demo_home),
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.default_int_handler),
    ) as running:
        deadline = time.monotonic() + 120
        while not (tmp_path / "a-0002.png").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert "Traceback" not in err
    finished = sorted(tmp_path.glob("a-*.png"))
    assert 2 <= len(finished) < 500
    said = int(re.search(r"(\d+) of 500", err)[1])  # type: ignore[index]
    # The signal may come between a picture and the note of it.
    assert said in (len(finished), len(finished) - 1)
    assert len(out.splitlines()) == said
    for path in finished:
        assert record_of(path)["schema"] == "lorakit/picture/1"
    assert list(tmp_path.glob("*.part")) == []
