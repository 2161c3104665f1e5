"""Several files at a time: each done once whatever becomes of a process, and none left half done."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

from lorakit.errors import LorakitError, NotFusable
from lorakit.gate.derived import Progress
from lorakit.merging.many_files import each_file

# As large as pays for a process beside this one.
LARGE = 300 << 20
Found = tuple[int, int, int]


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    assert torch.get_num_threads() == before
    torch.set_num_threads(before)


def counted(number: int, meeting: Path | None, update: Progress) -> Found:
    """What a job gives, once as many processes have come to the meeting as are to."""
    update(0, 1, "")
    if number == 2:
        raise NotFusable("two", hint="Leave it.")
    if number == 3:
        raise OSError(28, "No space left on device", "three.safetensors")
    logging.getLogger("lorakit").warning("said %s", "here")
    if meeting is not None:
        (meeting / str(os.getpid())).touch()
        _wait_for(lambda: len(list(meeting.iterdir())) == 2)
    return number, torch.get_num_threads(), os.getpid()


def run(
    count: int, size: int, cores: int, meeting: Path | None = None
) -> dict[int, Found | LorakitError]:
    found: dict[int, Found | LorakitError] = {}
    first = 0 if meeting else 20
    jobs = [partial(counted, first + n, meeting) for n in range(count)]
    each_file(jobs, [size] * count, found.__setitem__, cores=cores)
    return found


def test_every_job_is_done_once_and_errors_are_results(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    found = run(12, LARGE, 2, tmp_path)
    assert sorted(found) == list(range(12))
    two, three = found.pop(2), found.pop(3)
    assert isinstance(two, NotFusable)
    assert (two.message, two.hint) == ("two", "Leave it.")
    assert isinstance(three, LorakitError)
    assert three.message == "three.safetensors: No space left on device."
    done = {number: one for number, one in found.items() if not isinstance(one, LorakitError)}
    assert all(number == one[0] for number, one in done.items())
    pids = {one[2] for one in done.values()}
    assert len(pids) == 2
    assert os.getpid() in pids
    # One core each, and all of them for the last.
    assert {one[1] for number, one in done.items() if number < 11} == {1}
    assert done[11][1] == 2
    assert [record.message for record in caplog.records] == ["said here"] * 10


@pytest.mark.parametrize(("count", "size", "cores"), [(3, 1000, 4), (3, 2 << 30, 4), (1, LARGE, 4)])
def test_small_large_and_single_files_are_done_here_with_all_cores(
    count: int, size: int, cores: int
) -> None:
    assert list(run(count, size, cores).values()) == [
        (20 + n, cores, os.getpid()) for n in range(count)
    ]


def test_no_jobs_are_no_trouble() -> None:
    assert run(0, LARGE, 2) == {}


def deadly(number: int, parent: int, meeting: Path, update: Progress) -> int:
    """A job that ends whatever process it is in, but the one that all began in, which waits for that."""
    if os.getpid() != parent:
        (meeting / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    _wait_for(lambda: (meeting / "killed").exists())
    return number


def test_what_a_killed_process_was_doing_is_done_by_another(tmp_path: Path) -> None:
    found: dict[int, int | LorakitError] = {}
    jobs = [partial(deadly, n, os.getpid(), tmp_path) for n in range(9)]
    each_file(jobs, [LARGE] * 9, found.__setitem__, cores=2)
    assert found == {n: n for n in range(9)}


WAITING = """
import sys, time
from functools import partial
from pathlib import Path
from lorakit.merging.many_files import each_file

def job(number, folder, update):
    path = Path(folder) / str(number)
    path.touch()
    if number < 2:
        return number
    try:
        while True:
            update(0, 1, "")
            time.sleep(0.01)
    finally:
        path.rename(path.with_suffix(".left"))

if __name__ == "__main__":
    folder = sys.argv[1]
    try:
        each_file([partial(job, n, folder) for n in range(9)], [300 << 20] * 9, print, cores=2)
    except KeyboardInterrupt:
        print("stopped", flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("how", ["group", "one", "killed"])
def test_whoever_is_interrupted_or_killed_leaves_nobody_at_work(tmp_path: Path, how: str) -> None:
    script = tmp_path / "waiting.py"
    script.write_text(WAITING)
    (tmp_path / "work").mkdir()
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "work")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    _wait_for(lambda: len(list((tmp_path / "work").iterdir())) == 4)
    if how == "group":
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGINT if how == "one" else signal.SIGKILL)
    out, err = process.communicate(timeout=30)
    if how == "killed":
        # Only the other one can leave as it should.
        _wait_for(lambda: len(list((tmp_path / "work").glob("*.left"))) == 1)
    else:
        assert (sorted(out.split("\n")), err) == (["", "0 0", "1 1", "stopped"], "")
        assert sorted(path.name for path in (tmp_path / "work").iterdir()) == [
            "0",
            "1",
            "2.left",
            "3.left",
        ]
    _wait_for(lambda: not _in_session(process.pid))


def _in_session(number: int) -> bool:
    try:
        os.killpg(number, 0)
    except ProcessLookupError:
        return False
    return True


def _wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
