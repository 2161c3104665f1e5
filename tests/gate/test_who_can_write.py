"""Who can write weights at all: read from the code, and watched in a running preview."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import lorakit
from lorakit.gate import Derived, write_derived
from lorakit.preview.demo_model import write_demo_adapters, write_demo_model
from tests.cli.running import environment

PACKAGE = Path(lorakit.__file__).parent
# Whatever turns tensors into bytes for a file: by name, wherever it is mentioned.
WRITERS = {
    "save_file",
    "save_model",
    "save_pretrained",
    "serialize",
    "serialize_file",
    "state_dict_to_file",
    "tobytes",
    "tofile",
    "untyped_storage",
    # Our own.
    "encode_header",
    "raw_bytes",
    "save_adapter",
    "save_lora",
    "write_tensors",
}
# Also as attributes of these modules, where the bare name says too little.
MODULE_WRITERS = {("torch", "save"), ("np", "save"), ("numpy", "save"), ("pickle", "dump")}
ALLOWED = {
    # The makings: a header, the bytes of a tensor, and the two joined for small files.
    "formats/writing.py": {"struct.pack"},
    "adapters/tensor_file.py": {"encode_header", "raw_bytes"},
    # One adapter in another layout, by `Adapter.save`.
    "adapters/saving.py": {"write_tensors"},
    "adapters/adapter.py": {"save_adapter"},
    # A few numbers of a model, by which it is recognised.
    "sketches/fingerprint.py": {"encode_header", "tobytes"},
    # Sums of a sketch, kept in the catalog to find adapters that are alike.
    "tracing/coarse.py": {"tobytes"},
    # Numbers beside a weight that say how it is stored, as they are read.
    "sketches/whole.py": {"tobytes"},
    # The same of two checkpoints, to tell whether they are stored alike.
    "merging/extracting/differences.py": {"tobytes"},
    # Everything that holds weights of others.
    "gate/writing.py": {"encode_header", "raw_bytes"},
}


def writers(source: str) -> set[str]:
    """The ways to write tensors that `source` mentions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            found |= {alias.name for alias in node.names} & WRITERS
        elif isinstance(node, ast.Name) and node.id in WRITERS:
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            if node.attr in WRITERS:
                found.add(node.attr)
            if (owner, node.attr) in MODULE_WRITERS or (owner, node.attr) == ("struct", "pack"):
                found.add(f"{owner}.{node.attr}")
    return found


def test_only_the_modules_named_here_can_write_tensors() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix(): names
        for path in PACKAGE.rglob("*.py")
        if (names := writers(path.read_text(encoding="utf-8")))
    }
    assert found == ALLOWED


@pytest.mark.parametrize(
    "source",
    [
        "from safetensors.torch import save_file as quietly",
        "import safetensors.torch as s\ns.save_file({}, 'x')",
        "import torch\ntorch.save({}, 'x')",
        "import struct\nopen('x', 'wb').write(struct.pack('<Q', 1))",
        "model.save_pretrained('x')",
        "array.tofile('x')",
    ],
)
def test_the_search_finds_a_writer_however_it_is_written(source: str) -> None:
    assert writers(source)


def test_only_one_function_writes_weights_of_others() -> None:
    tree = ast.parse((PACKAGE / "gate" / "writing.py").read_text(encoding="utf-8"))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert [name for name in functions if not name.startswith("_")] == ["write_derived"]
    callers = [name for name, function in functions.items() if "_write" in calls(function)]
    assert callers == ["write_derived"]
    lines = calls(functions["write_derived"])
    order = ["dossiers_of", "verdict_on", "require_writable", "check_output", "_write"]
    assert sorted(order, key=lambda name: lines[name]) == order
    # What is refused is refused before anything of it is opened.
    assert lines["require_writable"] < lines["derived.open"] < lines["_write"]


def test_no_caller_can_bring_a_verdict_or_overrule_one() -> None:
    given = inspect.signature(write_derived).parameters
    assert list(given) == [
        "catalog",
        "derived",
        "ingredients",
        "output",
        "overwrite",
        "on_progress",
    ]
    fields = {field.name for field in dataclasses.fields(Derived)}
    assert fields == {"kind", "what", "open", "metadata", "stack"}


def calls(function: ast.FunctionDef) -> dict[str, int]:
    """The functions that are called in it, with the line of the first call."""
    found = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
    found.sort(key=lambda node: -node.lineno)
    return {ast.unparse(node.func): node.lineno for node in found}


# Runs a preview with every opening for writing noted, and the known writers of tensors blocked.
WATCHED = """
import os, sys, tempfile
import safetensors.torch, torch
import lorakit.adapters.tensor_file

tempfile.gettempdir()  # once in a process it tries whether the folder can be written to

def never(*args, **options):
    raise AssertionError("a preview wrote tensors")

for module, names in ((safetensors.torch, ("save_file", "save_model", "save")), (torch, ("save",)), (lorakit.adapters.tensor_file, ("write_tensors", "raw_bytes"))):
    for name in names:
        setattr(module, name, never)
opened = set()

def watch(event, args):
    if event == "open":
        path, _, flags = args
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and not isinstance(path, int):
            opened.add(os.path.abspath(os.fsdecode(path)))
    elif event == "sqlite3.connect":
        opened.add("sqlite")

sys.addaudithook(watch)
from lorakit.cli.main import run

code = run(sys.argv[1:])
print(*sorted(opened), sep="\\n")
sys.exit(code)
"""


@pytest.mark.slow
def test_a_preview_writes_the_picture_and_nothing_else(tmp_path: Path) -> None:
    model = write_demo_model(tmp_path / "models")
    loras, pictures = tmp_path / "loras", tmp_path / "pictures"
    for folder in (loras, pictures, tmp_path / "tmp"):
        folder.mkdir()
    write_demo_adapters(loras)
    env = environment(
        tmp_path / "home",
        # Every place that a library might write to lies where this test looks.
        {name: str(tmp_path / "tmp") for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "HF_HOME")},
    )

    def lorakit_(*words: object, code: str | None = None) -> str:
        how = ["-c", code] if code else ["-m", "lorakit"]
        done = subprocess.run(
            [sys.executable, *how, *map(str, words)],
            env=env,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    lorakit_("base", "add", model.checkpoint, "--as", "rdbt", "--components", model.components)
    lorakit_("add", loras)
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    picture = pictures / "out.png"
    quick = ("--size", "64x64", "--steps", "1", "--device", "cpu", "-q")
    said = lorakit_("preview", "ink:0.8 wash:0.5", *quick, "-o", picture, code=WATCHED).split()

    assert said[0] == str(picture)
    opened = {Path(name) for name in said[1:] if name != "sqlite"}
    temporary = {path for path in opened if path.parent == pictures and path.suffix == ".part"}
    assert len(temporary) == 1
    # What is opened on the way and holds no data; a temporary file is announced by its folder first.
    harmless = {Path("/dev/null"), pictures}
    assert opened - temporary - harmless == set()
    # Libraries in other languages open files unseen, so look at what is there as well.
    after = {path for path in tmp_path.rglob("*") if path.is_file()}
    catalog = {tmp_path / "home" / f"catalog.db{end}" for end in ("", "-wal", "-shm")}
    assert after - before - catalog == {picture}
    assert picture.stat().st_size < 50_000
