from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.conftest import Cli
from tests.cli.running import environment

QUICK = ("--size", "64x64", "--steps", "2", "--device", "cpu", "-p", "@ink, @wash, a sea")
SMALL = ("ink:0.8", "--x", "strength:ink=0.5,1", *QUICK)


def pictures(folder: Path) -> dict[str, int]:
    """Every finished picture with the time it was written."""
    return {path.name: path.stat().st_mtime_ns for path in (folder / "pictures").glob("*[0-9].png")}


def test_a_grid_is_a_sheet_a_page_and_pictures(ready: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "[red] grid"
    ran = ready("grid", *SMALL, "--y", "seed=1,2", "-o", folder)
    assert ran.code == 0, ran.err
    assert ran.lines[0] == "6 pictures, 6 rendered now  (cpu)"
    assert ran.lines[1:] == [str(folder / "sheet.png"), str(folder / "index.html")]
    assert sorted(path.name for path in folder.iterdir()) == [
        "grid.json",
        "index.html",
        "pictures",
        "sheet.png",
    ]
    with Image.open(folder / "sheet.png") as sheet:
        assert sheet.width > 3 * 64
        assert sheet.height > 2 * 64
    again = ready("grid", *SMALL, "--y", "seed=1,2", "-o", folder)
    assert again.lines[0] == "6 pictures, 0 rendered now, 6 there before  (cpu)"


def test_json_says_what_every_cell_is(ready: Cli, tmp_path: Path) -> None:
    ran = ready("grid", *SMALL, "-o", tmp_path / "grid", "--json")
    document = ran.document
    assert ran.err == ""
    assert document["schema"] == "lorakit/grid/1"
    assert [(cell["column"], cell["stack"]) for cell in document["cells"]] == [
        ("no adapter", ""),
        ("ink 0.5", "ink:0.5"),
        ("ink 1", "ink:1"),
    ]
    assert all(Path(cell["path"]).is_file() for cell in document["cells"])
    assert document["rendered"] == {
        "pictures": 3,
        "bases": 1,
        "fuses": 3,
        "prompts": 1,
        "passes": 6,
    }
    resumed = ready("grid", "--resume", tmp_path / "grid", "--json").document
    assert resumed["rendered"]["pictures"] == 0
    assert [cell["rendered"] for cell in resumed["cells"]] == [False] * 3
    quiet = ready("grid", "--resume", tmp_path / "grid", "-q")
    assert quiet.lines == [cell["path"] for cell in document["cells"]]


def test_a_dry_run_counts_and_writes_nothing(ready: Cli, tmp_path: Path) -> None:
    words = ("grid", *SMALL, "--y", "cfg=1,2", "-o", tmp_path / "grid", "--dry-run")
    document = ready(*words, "--json").document
    assert document["cells"] == document["pictures"] == 6
    assert document["to_do"] == {"pictures": 6, "bases": 1, "fuses": 3, "prompts": 1, "passes": 18}
    assert document["seconds"] is None
    assert not (tmp_path / "grid").exists()
    ready(*words[:-1])
    assert "Nothing is left to do." in ready(*words).out
    (tmp_path / "grid" / "pictures" / "row2-column3.png").unlink()
    left = ready(*words, "--json").document
    assert (left["finished"], left["to_do"]["passes"]) == (5, 4)
    assert left["seconds"] > 0


def test_without_an_output_the_next_free_folder_is_taken(
    ready: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "grid-0001").mkdir()
    assert ready("grid", "", "--x", "seed=1", *QUICK, "-q").lines == [
        "grid-0002/pictures/picture.png"
    ]


def test_another_grid_is_refused_before_any_work(ready: Cli, tmp_path: Path) -> None:
    ready("grid", *SMALL, "-o", tmp_path / "grid")
    before = pictures(tmp_path / "grid")
    ran = ready("grid", *SMALL, "--y", "seed=1,2", "-o", tmp_path / "grid")
    ran.failed_with(2, "holds another request", "strength:ink=0.5,1")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("kept")
    ready("grid", *SMALL, "-o", tmp_path / "mine").failed_with(2, "notes.txt", "-o")
    ready("grid", "--resume", tmp_path / "mine").failed_with(4, "grid.json")
    assert pictures(tmp_path / "grid") == before
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("ink",), "axes"),
        (("ink", "--x", "strenght=1"), "no axis"),
        (("ink", "--x", "seed=1", "--y", "seed=2"), "same thing"),
        (("ink", "--x", "strength:neon=1"), "neon"),
        (("ink", "--x", "size=100x100"), "multiple of 16"),
        (("ink", "--x", "cfg=0.5"), "CFG"),
        (("ink", "--x", "steps=0,1"), "steps"),
        (("ink", "--x", "seed=-1"), "Seed"),
        (("ink", "--x", "denoise=0.5"), "image"),
        (("ink", "--x", "seed=1", "--resume", "x"), "--resume"),
        (("ink", "--x", "seed=1", "--recipe", "x"), "recipe"),
        (("ink", "--x", "seed=1", "-p", "a", "-p", "b"), "an axis"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_makes_no_grid_is_refused_before_anything_is_looked_up(
    cli: Cli, words: tuple[str, ...], said: str
) -> None:
    # The catalog is empty: to get as far as the base would be another error.
    cli("grid", *words).failed_with(2, said)


def test_what_is_not_there_is_named(ready: Cli, tmp_path: Path) -> None:
    target = ("-o", tmp_path / "grid")
    ready("grid", "", "--x", "adapter=ink,gouache", *target).failed_with(1, "gouache")
    ready("grid", "", "--x", "adapter=goua*", *target).failed_with(1, "goua*")
    ready("grid", "ink", "--x", "base=demo,nothing", *target).failed_with(1, "nothing")
    missing = ready("grid", *SMALL, *target, "--components", tmp_path)
    assert missing.code == 1
    assert f"Looked in '{tmp_path}'" in missing.err
    ready("grid", *SMALL, *target, "--device", "toaster").failed_with(2, "toaster")
    # Nothing was made, so no folder is left behind.
    assert not (tmp_path / "grid").exists()


def test_advice_is_said_once_and_strict_makes_it_an_error(ready: Cli, tmp_path: Path) -> None:
    words = ("grid", "ink", "--x", "seed=1-3", "--dry-run", "-p", "a sea", "-o", tmp_path / "grid")
    advice = [line for line in ready(*words).err.splitlines() if line.startswith("Advice:")]
    assert len(advice) == 1
    assert "@ink" in advice[0]
    ready(*words, "--strict").failed_with(1, "@ink")
    assert ready(*words, "--add-triggers").err == ""


def test_every_adapter_has_its_own_trigger_word(ready: Cli, tmp_path: Path) -> None:
    words = (
        "grid",
        "",
        "--x",
        "adapter=ink,wash",
        *QUICK[:-1],
        "a sea",
        "--add-triggers",
        "--json",
    )
    cells = ready(*words, "-o", tmp_path / "grid").document["cells"]
    prompts = [cell["settings"]["prompt"] for cell in cells]
    assert prompts == ["a sea", "@ink, a sea", "@wash, a sea"]


def start(home: Path, *words: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "lorakit", "grid", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(home, {"OMP_NUM_THREADS": "1"}),
        text=True,
        # A shell that runs the tests in the background has them ignore the signal, and children too.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.default_int_handler),
    )


def wait_for(folder: Path, count: int) -> None:
    deadline = time.monotonic() + 120
    while len(pictures(folder)) < count:
        assert time.monotonic() < deadline, "no pictures came"
        time.sleep(0.01)


MANY = ("ink:0.8", "--x", "strength:ink=0.5,1", "--y", "seed=1-40", *QUICK)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals differ")
def test_ctrl_c_leaves_a_sheet_and_says_how_to_go_on(demo_home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "grid"
    with start(demo_home, *MANY, "-o", folder) as running:
        wait_for(folder, 3)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert (running.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert f"`lorakit grid --resume {folder}` goes on." in err
    done = pictures(folder)
    assert 3 <= len(done) < 120
    said = int(re.search(r"(\d+) of 120 pictures finished", err)[1])  # type: ignore[index]
    # The signal may come between a picture and the note of it, which is then made again.
    assert said in (len(done), len(done) - 1)
    with Image.open(folder / "sheet.png") as sheet:
        sheet.load()
    page = (folder / "index.html").read_text()
    assert page.count("data:image/png") == said
    assert "not rendered yet" in page
    assert sorted(p.name for p in folder.iterdir()) == [
        "grid.json",
        "index.html",
        "pictures",
        "sheet.png",
    ]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals differ")
def test_a_killed_grid_goes_on_where_it_was(ready: Cli, home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "grid"
    words = ("ink:0.8", "--x", "strength:ink=0.5,1", "--y", "seed=1-6", *QUICK, "-o", folder)
    with start(home, *words) as running:
        wait_for(folder, 3)
        running.kill()
    done = pictures(folder)
    assert 3 <= len(done) < 18
    for name in done:
        with Image.open(folder / "pictures" / name) as image:
            image.load()
    ran = ready("grid", *words, "--json")
    assert ran.code == 0, ran.err
    after = pictures(folder)
    assert len(after) == 18
    # The one that was finished while the manifest was written may be made twice.
    kept = [name for name in done if after[name] == done[name]]
    assert len(kept) >= len(done) - 1
    assert ran.document["rendered"]["pictures"] == 18 - len(kept)
    assert len(list((folder / "pictures").iterdir())) == 18


def test_a_folder_that_cannot_be_made_is_one_sentence(ready: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    ready("grid", *SMALL, "-o", tmp_path / "file" / "grid", "--json").failed_with(1, "file/grid")


def test_a_kept_stack_shows_the_cells_that_were_made_with_it(ready: Cli, tmp_path: Path) -> None:
    assert ready("stack", "ink:0.8 wash:0.5", "--keep", "evening").code == 0
    folder = tmp_path / "grid"
    words = ("grid", "evening", "--x", "strength:ink=0.5,0.8", *QUICK, "-o", folder, "--json")
    cells = ready(*words).document["cells"]
    (meant,) = (cell["path"] for cell in cells if cell["stack"] == "ink:0.8 wash:0.5")
    assert ready("stack", "--show", "evening", "-q").lines == [meant]
    # Nothing was rendered anew, and nothing is counted twice.
    assert ready("grid", "--resume", folder).code == 0
    assert ready("stack", "--show", "evening", "-q").lines == [meant]
