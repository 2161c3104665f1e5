"""What only a process shows: pipes, encodings, colours, signals."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from tests.catalog.factories import write_adapter
from tests.cli.running import environment, process
from tests.factories import USUAL_SHAPES, lora_tensors, write_safetensors

ESCAPE = "\x1b"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def style(tmp_path: Path) -> Path:
    """An adapter whose report needs characters beyond ASCII."""
    tensors = lora_tensors("kohya", USUAL_SHAPES, 4, alpha=2.0)
    metadata = {"modelspec.title": "墨絵 été"}
    return write_safetensors(tmp_path / "墨絵.safetensors", tensors, metadata)


def test_exit_codes_leave_the_process(home: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"")
    assert process(home, "ls").code == 0
    process(home, "inspect", "nothing").failed_with(1)
    assert process(home, "stak").code == 2
    process(home, "inspect", tmp_path / "bad.safetensors").failed_with(4)


def test_names_go_from_one_command_to_the_next(home: Path, folder: Path) -> None:
    added = process(home, "add", "-", "-q", stdin=str(folder))
    assert (added.code, added.out) == (0, "ink\nwash\n")
    ran = process(home, "inspect", "-", "--json", stdin=added.out)
    assert len(ran.document["adapters"]) == 2


@pytest.mark.parametrize(
    "words", [("ls",), ("ls", "--json"), ("ls", "-q"), ("--help",), ("--version",)]
)
def test_a_closed_pipe_brings_no_traceback(
    home: Path, folder: Path, words: tuple[str, ...]
) -> None:
    process(home, "add", folder)
    with subprocess.Popen(
        [sys.executable, "-m", "lorakit", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(home),
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == b""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
def test_closed_streams_bring_no_traceback(home: Path, folder: Path) -> None:
    for closed in (">&-", "<&-", "<&- >&-"):
        done = subprocess.run(
            ["sh", "-c", f'"$0" -m lorakit add "$1" {closed}', sys.executable, str(folder)],
            stderr=subprocess.PIPE,
            env=environment(home),
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
    assert process(home, "ls", "-q").out == "ink\nwash\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_stdout_is_an_error(home: Path, folder: Path) -> None:
    process(home, "add", folder)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "lorakit", "ls", "-q"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(home),
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr


def test_a_terminal_without_unicode_gets_ascii(home: Path, style: Path) -> None:
    ran = process(home, "inspect", style, env={"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"})
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.isascii()
    assert "#" * 28 in ran.out
    assert "x 560" in ran.out
    assert "\\u58a8" in ran.out


def test_json_stays_json_in_any_encoding(home: Path, style: Path) -> None:
    plain = process(home, "inspect", style, "--json").document
    ascii_only = {"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    ran = process(home, "inspect", style, "--json", env=ascii_only)
    assert ran.out.isascii()
    assert ran.document == plain
    assert plain["adapters"][0]["metadata"]["modelspec.title"] == "墨絵 été"


def test_bytes_on_stdin_that_are_no_text_are_one_sentence(home: Path) -> None:
    ran = process(
        home, "inspect", "-", stdin=b"ink\xff\n", env={"PYTHONIOENCODING": "utf-8:strict"}
    )
    ran.failed_with(1, "ink")


@pytest.mark.parametrize(
    "env", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=["piped", "NO_COLOR", "TERM=dumb"]
)
def test_no_escape_codes_reach_a_pipe(home: Path, folder: Path, env: dict[str, str]) -> None:
    for words in (("--help",), ("add", folder), ("ls",), ("inspect", "ink"), ("inspect", "no")):
        ran = process(home, *words, env=env)
        assert ESCAPE not in ran.out + ran.err


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(
    ("env", "coloured"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
    ],
    ids=["plain", "NO_COLOR", "TERM=dumb"],
)
def test_colour_on_a_terminal_can_be_switched_off(
    home: Path, env: dict[str, str], coloured: bool
) -> None:
    shown = on_terminal([sys.executable, "-m", "lorakit", "inspect", "no"], environment(home, env))
    assert "Error:" in shown
    assert ("\x1b[1;31m" in shown) == coloured
    assert (ESCAPE in shown) == coloured


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_long_work_shows_a_bar_that_vanishes(home: Path) -> None:
    work = (
        "import time\n"
        "from lorakit.cli.output import Output\n"
        "with Output.of('preview').progress('Rendering') as update:\n"
        "    update(0, 0, 'loading [red]'); time.sleep(1.7)\n"
        "    update(1, 4, 'denoising ' + 'x' * 200); time.sleep(0.5)\n"
    )
    env = environment(home, {"TERM": "xterm"})
    shown = on_terminal([sys.executable, "-c", work], env)
    assert "Rendering" in shown
    assert "loading [red]" in shown
    assert "25%" in shown
    assert "denoising" in shown
    # The last thing said is to go up one line and wipe it.
    assert shown.rstrip().endswith("\x1b[1A\x1b[2K")
    # A bar of more than one line would leave its other lines behind.
    assert shown.count("\x1b[1A\x1b[2K") <= 2


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_short_work_shows_no_bar(home: Path, folder: Path) -> None:
    env = environment(home, {"TERM": "xterm", "NO_COLOR": "1"})
    shown = on_terminal([sys.executable, "-m", "lorakit", "add", str(folder)], env)
    assert "2: ink, wash" in shown
    assert "Reading" not in shown


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ")
def test_ctrl_c_in_a_long_add_leaves_a_sound_catalog(home: Path, tmp_path: Path) -> None:
    many = tmp_path / "many"
    many.mkdir()
    # Zeros that take no room on disk, but time to hash: seconds in all, a moment each.
    tensors = lora_tensors("kohya", USUAL_SHAPES, 64)
    for number in range(40):
        write_safetensors(many / f"{number}.safetensors", tensors, {"n": str(number)})
    with subprocess.Popen(
        [sys.executable, "-m", "lorakit", "add", many],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(home),
        text=True,
        # A shell that runs the tests in the background has them ignore the signal, and children too.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.default_int_handler),
    ) as running:
        deadline = time.monotonic() + 60
        while not (home / "catalog.db").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.3)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert (running.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert "goes on from there" in err
    write_adapter(tmp_path / "one.safetensors")
    assert process(home, "add", tmp_path / "one.safetensors").code == 0
    names = [a["name"] for a in json.loads(process(home, "ls", "--json").out)["adapters"]]
    assert "one" in names


def on_terminal(command: list[str], env: dict[str, str]) -> str:
    """What `command` writes to a terminal of 80 columns."""
    import fcntl
    import os
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env):
        os.close(theirs)
        found = b""
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # Linux's way to say that the other side is closed.
                break
            if not piece:
                break
            found += piece
    os.close(ours)
    return found.decode()
