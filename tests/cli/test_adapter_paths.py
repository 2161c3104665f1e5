"""An ADAPTER given as a path: PEFT's folder stands for its file, and a path that leads nowhere is said to."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import lorakit
from tests.cli.conftest import Cli
from tests.fusion.test_peft_oracle import CONFIGS, merged_by_peft, module_of

peft = pytest.importorskip("peft")

READING = (
    ("inspect",),
    ("check",),
    ("check", "--balance"),
    ("stack",),
    ("stack", "--plan"),
    ("merge", "--dry-run"),
    ("resize", "--rank", "2", "--dry-run"),
    ("convert", "--layout", "kohya", "--dry-run"),
    ("prune", "--blocks", "0", "--dry-run"),
    ("similar",),
    ("license", "show"),
    ("trace",),
)
WORDS = ("license", "show")


def words(verb: tuple[str, ...], path: object) -> tuple[object, ...]:
    """The path behind the verb and its subcommand, before the options."""
    first = 2 if verb[:2] == WORDS else 1
    return (*verb[:first], path, *verb[first:])


@pytest.fixture
def ink(tmp_path: Path, models: Path) -> Path:
    """A folder as PEFT saves it, with rsLoRA, of an adapter for the test's base."""
    base = load_file(models / "base.safetensors")
    torch.manual_seed(0)
    model = peft.get_peft_model(module_of(base), CONFIGS["rslora"]())
    merged_by_peft(model, tmp_path / "rs ink")
    return tmp_path / "rs ink"


@pytest.mark.filterwarnings("ignore")
def test_every_verb_takes_a_folder_of_peft_like_its_file(stocked: Cli, ink: Path) -> None:
    file = ink / "adapter_model.safetensors"
    for verb in READING:
        of_folder, of_file = (stocked(*words(verb, f"{path}")) for path in (ink, file))
        assert (of_folder.code, of_file.code) == (0, 0), (verb, of_folder.err, of_file.err)
        told = [
            "".join(ran.out.split()).replace(f"/{file.name}", "") for ran in (of_folder, of_file)
        ]
        assert told[0] == told[1], verb
    assert not list(ink.parent.glob("rs ink-*"))
    document = stocked("check", f"{ink}:0.5", "--json").document
    assert [one["name"] for one in document["entries"]] == ["rs ink"]
    stocked("stack", ink, "--save", ink.parent / "my stack.toml")
    saved = stocked("check", ink.parent / "my stack.toml", "--json").document
    assert [one["name"] for one in saved["entries"]] == ["rs ink"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["lora", "rslora", "dora"])
def test_the_config_beside_is_read_for_folder_and_file(
    stocked: Cli, models: Path, tmp_path: Path, name: str
) -> None:
    base = load_file(models / "base.safetensors")
    torch.manual_seed(0)
    model = peft.get_peft_model(module_of(base), CONFIGS[name]())
    folder = tmp_path / "out"
    merged = merged_by_peft(model, folder)
    wanted = sum(
        float((merged[key] - base[f"net.{key}"].double()).square().sum()) for key in merged
    )
    for path in (folder, folder / "adapter_model.safetensors"):
        document = stocked("check", path, "--json").document
        assert document["entries"][0]["size_at_1"] == pytest.approx(wanted**0.5, rel=1e-5)
        assert (
            lorakit.load_adapter(path).modules.keys() == lorakit.load_adapter(folder).modules.keys()
        )
    shutil.copy(folder / "adapter_model.safetensors", tmp_path / "alone.safetensors")
    alone = stocked("check", tmp_path / "alone.safetensors", "--json").document
    if name != "dora":
        assert alone["entries"][0]["size_at_1"] != pytest.approx(wanted**0.5, rel=0.1)


@pytest.mark.filterwarnings("ignore")
def test_in_the_catalog_it_goes_by_the_name_of_its_folder(stocked: Cli, ink: Path) -> None:
    stocked("note", ink, "--rating", "5").failed_with(1, "lorakit add")
    assert stocked("add", ink).code == 0
    assert "rs ink" in stocked("ls", "-q").out.splitlines()
    assert stocked("note", ink, "--rating", "5").code == 0
    assert stocked("ls", "rating:5", "-q").out.splitlines() == ["rs ink"]


@pytest.mark.parametrize("path", ["f/missing.safetensors", "./missing", "missing.safetensors"])
def test_a_path_that_leads_nowhere_is_no_name(stocked: Cli, path: str) -> None:
    for verb in (*READING, ("verify",), ("note",), ("strength",)):
        ran = stocked(*words(verb, path))
        assert ran.code in (1, 4), verb
        assert path.removeprefix("./") in ran.err
        assert "There is no file" in ran.err, (verb, ran.err)


def test_a_folder_that_holds_no_adapter_is_said_to_be_one(stocked: Cli, models: Path) -> None:
    for verb in (("check",), ("merge", "--dry-run"), ("convert", "--dry-run"), ("similar",)):
        ran = stocked(*words(verb, models))
        assert ran.code == 1
        assert "is a folder" in ran.err, verb
