"""What is built holds one name and everything that belongs to it."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(
    not (ROOT / "pyproject.toml").exists(), reason="runs in a checkout only"
)
NEEDED = (
    "lorakit/py.typed",
    "lorakit/cli/main.py",
    "lorakit/db/models.py",
    "lorakit/db/migrations/env.py",
    "lorakit/db/migrations/versions/r0001_initial.py",
    "lorakit/licenses/known_models.toml",
    "lorakit/preview/recipes.toml",
    "lorakit/preview/demo/demo-rdbt.safetensors",
    "lorakit/preview/demo/components/vae/config.json",
    "lorakit/report/templates/demo.html.j2",
    "lorakit/report/templates/grid.html.j2",
    "lorakit/report/templates/grid.js",
)


def build(kind: str, source: Path, target: Path) -> Path:
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(target)],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (built,) = target.iterdir()
    return built


def ours() -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "lorakit").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def check_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        info = next(name for name in names if name.endswith("/entry_points.txt"))
        assert "lorakit = lorakit.cli.main:main" in archive.read(info).decode()
    assert len(names) == len(set(names))
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"lorakit"}
    assert len(tops) == 2
    held = {name for name in names if name.startswith("lorakit/")}
    assert held >= set(NEEDED)
    assert held == ours()
    assert any(name.endswith("/licenses/LICENSE") for name in names)


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))


def test_the_wheel_holds_one_name_and_all_of_it(tmp_path: Path) -> None:
    check_wheel(build("wheel", ROOT, tmp_path))


def test_the_source_archive_holds_one_name_and_no_link(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    assert not any(member.issym() or member.islnk() for member in members)
    inside = {member.name.split("/", 1)[1] for member in members}
    assert inside >= ours() | {"pyproject.toml", "README.md", "LICENSE"}
    assert not any(name.startswith(("cli/", "db/")) for name in inside)


def test_a_wheel_built_from_the_source_archive_is_the_same(sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    check_wheel(build("wheel", source, tmp_path / "wheel"))


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="archives hold no links")
@pytest.mark.parametrize("name", ["cli", "db"])
def test_the_links_at_the_root_lead_into_the_package(name: str) -> None:
    link = ROOT / name
    assert link.is_symlink()
    assert link.readlink() == Path("lorakit", name)
    assert (link / "__init__.py").is_file()
