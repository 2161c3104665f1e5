"""Imports go one way, and each room brings only the libraries that are its own."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import lorakit

PACKAGE = Path(lorakit.__file__).parent
# From the bottom up. A room may import those before it and itself.
ROOMS = (
    "counting",
    "errors",
    "paths",
    "mounts",
    "formats",
    "adapters",
    "sketches",
    "spectrum",
    "db",
    "catalog",
    "tracing",
    "licenses",
    "network",
    "bases",
    "strengths",
    "stack",
    "sharing",
    "fusion",
    "gate",
    "merging",
    "preview",
    "suggesting",
    "report",
    "cli",
)
# What a room may import beside the standard library and the rooms below it.
LIBRARIES = {
    "adapters": {"safetensors", "torch"},
    "sketches": {"numpy", "torch"},
    "spectrum": {"torch"},
    "db": {"alembic", "sqlalchemy"},
    "catalog": {"platformdirs", "sqlalchemy", "yaml"},
    "tracing": {"numpy", "safetensors", "torch"},
    "licenses": {"packaging", "yaml"},
    "network": {"huggingface_hub"},
    "fusion": {"safetensors", "torch", "triton"},  # PyTorch for CUDA brings Triton along
    "gate": {"torch"},
    "merging": {"numpy", "torch"},
    "preview": {
        "PIL",
        "accelerate",
        "diffusers",
        "huggingface_hub",
        "safetensors",
        "torch",
        "torchvision",
        "transformers",
    },
    "report": {"jinja2"},
    "cli": {"PIL", "rich", "textual_image", "typer"},
}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE) + [
    PACKAGE / f"{room}.py" for room in ROOMS if (PACKAGE / f"{room}.py").exists()
]


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports: at its top, in a function, or for the type checker alone.

    An import for the type checker counts like any other: it says that a room knows of another.
    """
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            # `from lorakit import formats` means the room, `from lorakit import __version__` the root.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_room_has_its_place() -> None:
    there = {
        path.name.removesuffix(".py")
        for path in PACKAGE.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert there - {"__init__", "__main__"} == set(ROOMS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_nothing_is_imported_from_above(path: Path) -> None:
    place = ROOMS.index(room_of(path))
    for name in imported(path):
        first, _, rest = name.partition(".")
        if first == "lorakit" and rest != "__version__":
            room = rest.split(".")[0]
            assert ROOMS.index(room) <= place, f"{path} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_room_imports_its_own_libraries_only(path: Path) -> None:
    others = {name.split(".")[0] for name in imported(path)} - sys.stdlib_module_names - {"lorakit"}
    assert others <= LIBRARIES.get(room_of(path), set())


def test_the_root_imports_nothing_until_it_is_used() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    top = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert top == ["from __future__ import annotations", "from typing import TYPE_CHECKING"]


def test_every_public_name_can_be_had() -> None:
    for name in lorakit.__all__:
        assert getattr(lorakit, name).__name__ == name
    with pytest.raises(AttributeError):
        _ = lorakit.nothing


def test_no_room_hides_a_public_name() -> None:
    promised = {"inspect", "load_adapter", "fuse", "merge", "trace"} | set(lorakit.__all__)
    assert promised & set(ROOMS) == set()
    assert [path for path in PACKAGE.iterdir() if path.stem in promised] == []
