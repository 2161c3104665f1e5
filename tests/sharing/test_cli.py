"""`lorakit export --recipe`, and recipes wherever a STACK is asked for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lorakit.preview.demo_model import DemoModel
from lorakit.sharing.writing import RecipeKind
from tests.cli.conftest import Cli

KINDS = list(RecipeKind)
STACK = "ink:0.8 wash:0.5@blocks=0-3:0@kinds=mlp:0.3 mosaic:0.6@steps=0-3"
PICTURE = ("-p", "@ink, a large red star", "--seed", "7", "--size", "64x64", "--steps", "6")
RENAMED = {"ink": "tinte", "wash": "ink", "mosaic": "steine", "neon": "mosaic"}
REBUILT = "tinte:0.8 ink:0.5@blocks=0-3:0@kinds=mlp:0.3 steine:0.6@steps=0-3"


@pytest.fixture
def move(
    ready: Cli, demo: DemoModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], None]:
    """Call it to be on another machine: another catalog, another folder, other names of files."""

    def call() -> None:
        folder = tmp_path / "elsewhere"
        (folder / "loras").mkdir(parents=True)
        for old, new in RENAMED.items():
            file = demo.checkpoint.parent / "loras" / f"{old}.safetensors"
            shutil.copy(file, folder / "loras" / f"{new}.safetensors")
        shutil.copy(demo.checkpoint, folder / "grund.safetensors")
        monkeypatch.setenv("LORAKIT_HOME", str(tmp_path / "other-home"))
        monkeypatch.chdir(folder)
        words = ("--name", "grund", "--as", "rdbt", "--components", demo.components)
        assert ready("base", "add", "grund.safetensors", *words).code == 0
        assert ready("add", "loras").code == 0

    return call


def export(cli: Cli, kind: RecipeKind, folder: Path) -> Path:
    path = folder / f"{kind}{kind.suffix}"
    ran = cli("export", STACK, "--recipe", kind, *PICTURE, "-o", path, "--json")
    assert ran.code == 0, ran.err
    assert (ran.document["schema"], ran.document["recipe"]) == ("lorakit/export/1", str(kind))
    return path


def test_every_kind_is_a_stack_on_another_machine(
    ready: Cli, move: Callable[[], None], tmp_path: Path
) -> None:
    # The base is RDBT, which forbids merges to be shared, and recipes hold none.
    recipes = [export(ready, kind, tmp_path) for kind in KINDS]
    move()
    plans = []
    for recipe in recipes:
        ran = ready("stack", recipe, "--json")
        assert (ran.document["stack"], ran.document["base"]) == (REBUILT, "grund"), recipe
        assert ran.err.count("is called tinte here") == 1
        dry = ready("preview", recipe, "--dry-run", "--json").document
        plans.append((dry["stack"], dry["base"], dry["pictures"]))
    assert all(plan == plans[0] for plan in plans)
    ((picture,),) = (plan[2] for plan in plans[:1])
    assert (picture["prompt"], picture["seed"], picture["width"]) == (PICTURE[1], 7, 64)
    assert picture["steps"] == 6
    recipe = recipes[0]
    cells = ready("grid", recipe, "--x", "seed=1-2", "-p", "a", "--dry-run", "--json").document
    assert cells["pictures"] > 2
    refused = ready("export", recipe, "-o", "merged.safetensors")
    assert refused.code == 3
    assert "RDBT" in refused.err
    again = ready("export", recipe, "--recipe", "comfyui", "-o", "-")
    assert json.loads(again.out)["extra"]["lorakit"]["stack"] == REBUILT


@pytest.mark.slow
def test_a_recipe_makes_the_same_picture_on_another_machine(
    ready: Cli, move: Callable[[], None], tmp_path: Path
) -> None:
    from PIL import Image

    first = tmp_path / "first.png"
    assert ready("preview", STACK, *PICTURE, "--device", "cpu", "-o", first).code == 0
    # The plan is the same for every kind, as the test before has it.
    workflow = export(ready, RecipeKind.COMFYUI, tmp_path)
    move()
    for number, recipe in enumerate((workflow, first)):
        again = tmp_path / f"again-{number}.png"
        ran = ready("preview", recipe, "--device", "cpu", "-o", again)
        assert ran.code == 0, ran.err
        with Image.open(first) as one, Image.open(again) as other:
            assert one.tobytes() == other.tobytes(), recipe


def test_a_base_that_was_asked_for_counts_before_the_recipes(
    stocked: Cli, models: Path, tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    assert stocked("stack", "ink", "--save", path).code == 0
    assert stocked("base", "add", models / "base.safetensors", "--name", "same").code == 0
    assert stocked("stack", path, "--json").document["base"] == "own"
    assert stocked("stack", path, "--base", "same", "--json").document["base"] == "same"


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_overwritten_unasked(stocked: Cli, tmp_path: Path, kind: RecipeKind) -> None:
    path = tmp_path / f"mine{kind.suffix}"
    path.write_text("precious")
    words = ("export", "ink:0.5", "--recipe", kind, "-o", path)
    stocked(*words).failed_with(2, str(path), "--overwrite")
    assert path.read_text() == "precious"
    ran = stocked(*words, "--overwrite", "-q")
    assert (ran.code, ran.lines) == (0, [str(path)])
    assert "ink" in path.read_text()
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".part"] == []


def test_where_a_recipe_can_go(
    stocked: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(kind: str, output: object, *more: str) -> Callable[..., None]:
        return stocked("export", "ink", "--recipe", kind, "-o", str(output), *more).failed_with

    failing("a1111", tmp_path / "a.json")(2, "a.json", ".txt")
    failing("lora-manager", tmp_path / "a.json")(2, ".recipe.json")
    failing("stack", tmp_path / "no" / "a.toml")(1, "no folder")
    failing("whatever", tmp_path / "a.toml")(2, "whatever", "lora-manager")
    failing("stack", "-", "--json")(2, "-o -")
    failing("stack", tmp_path / "a.toml", "--seed", "1-2")(2, "one picture")
    assert list(tmp_path.glob("a.*")) == []
    monkeypatch.setenv("HOME", str(tmp_path))
    assert stocked("export", "ink", "--recipe", "stack", "-o", "~/a.toml").code == 0
    assert (tmp_path / "a.toml").exists()


def test_a_prompt_needs_a_recipe(stocked: Cli, tmp_path: Path) -> None:
    for words in (("-p", "a sea"), ("--seed", "0"), ("--add-triggers",)):
        ran = stocked("export", "ink", *words, "-o", tmp_path / "merged.safetensors")
        ran.failed_with(2, "--recipe")


def test_a_stack_file_has_a_picture_only_where_one_was_meant(stocked: Cli, tmp_path: Path) -> None:
    plain = stocked("export", "ink", "--recipe", "stack", "-o", "-").out
    meant = stocked("export", "ink", "--recipe", "stack", "-o", "-", "--seed", "3").out
    assert "[picture]" not in plain
    assert "seed = 3" in meant


@pytest.mark.parametrize(
    "words",
    [
        ("stack",),
        ("preview", "--dry-run"),
        ("grid", "--x", "seed=1", "--dry-run"),
        ("ab", "run", "ink"),
        ("export", "-o", "x.safetensors"),
        ("export", "--recipe", "stack", "-o", "x.toml"),
    ],
    ids=" ".join,
)
def test_garbage_is_one_sentence_for_every_verb(
    stocked: Cli, tmp_path: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.json").write_text('{"a": 1}')
    stocked(*words, "a.json").failed_with(4, "a.json", "ComfyUI workflows")
    stocked(*words, "none.json").failed_with(1, "none.json")


def test_a_recipe_whose_files_are_not_here_lists_them(
    stocked: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.toml"
    assert stocked("stack", "ink wash", "--save", path).code == 0
    monkeypatch.setenv("LORAKIT_HOME", str(tmp_path / "empty"))
    stocked("stack", path).failed_with(1, "ink (sha256 ", "wash (sha256 ", "base own (sha256 ")
