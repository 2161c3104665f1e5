"""`base add`: content, sketch and descent, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorakit.catalog import Catalog
from lorakit.sketches.fingerprint import Fingerprint, from_bytes, to_bytes
from lorakit.sketches.reading import sketch_checkpoint
from tests.cli.conftest import Cli
from tests.models import tiny_base_file
from tests.sketches.factories import assert_same, named, saved, weights


def test_a_base_is_registered_with_its_content_and_sketch(cli: Cli, models: Path) -> None:
    base = models / "base.safetensors"
    added = cli("base", "add", base, "--as", "rdbt", "--json").document["base"]
    assert len(added["tensor_sha256"]) == 64
    assert added["tensor_sha256"] != added["file_sha256"]
    with Catalog.open() as catalog:
        (record,) = catalog.sketches()
        assert (record.kind, record.content) == ("base", added["tensor_sha256"])
        assert (record.name, record.model) == ("base", "rdbt")
        kept = from_bytes(catalog.sketch_data(record), "kept")
    assert_same(kept.sketch, sketch_checkpoint(base).values)


def test_what_a_base_was_made_from(cli: Cli, models: Path) -> None:
    anima = tiny_base_file(models / "anima.safetensors", seed=1)
    ancestor = cli("base", "add", anima, "--as", "anima", "--json").document["base"]
    base = models / "base.safetensors"
    ran = cli("base", "add", base, "--on", "ani")
    assert "made from     anima" in ran.out
    # Said once, it stays, and holds for the same content under another name.
    for words in ((), ("--name", "again")):
        added = cli("base", "add", base, "--json", *words).document["base"]
        assert added["parent"] == ancestor["tensor_sha256"]
    with Catalog.open() as catalog:
        sketch = catalog.sketch(added["tensor_sha256"], "base")
    assert sketch is not None
    assert sketch.parent == ancestor["tensor_sha256"]
    assert cli("base", "ls").out.count("made from") == 2


def test_a_model_that_is_known_by_its_fingerprint_may_be_the_parent(cli: Cli, models: Path) -> None:
    with Catalog.open() as catalog:
        catalog.keep_sketch(
            "f" * 64, "fingerprint", name="far-away", model=None, parent=None, data=b""
        )
    ran = cli("base", "add", models / "base.safetensors", "--on", "far-away")
    assert "made from     far-away" in ran.out
    assert cli("base", "ls", "--json").document["bases"][0]["parent"] == "f" * 64


def test_descent_without_end_is_refused(cli: Cli, models: Path) -> None:
    base = models / "base.safetensors"
    cli("base", "add", base, "--on", "nobody").failed_with(1, "nobody")
    assert cli("base", "add", base, "--name", "one").code == 0
    cli("base", "add", base, "--name", "two", "--on", "one").failed_with(2, "same model")
    other = tiny_base_file(models / "other.safetensors", seed=2)
    assert cli("base", "add", other, "--on", "one").code == 0
    cli("base", "add", base, "--name", "one", "--on", "other").failed_with(2, "made from it")
    assert cli("base", "ls", "-q").out == "one\nother\n"


@pytest.mark.parametrize("name", ["", "  ", "a\tb", "two\nlines", "a\u200bb", "\x1b[31m"])
def test_names_that_cannot_be_typed_are_refused(cli: Cli, models: Path, name: str) -> None:
    ran = cli("base", "add", models / "base.safetensors", "--name", name)
    ran.failed_with(2, "cannot be a name")
    assert cli("base", "ls", "-q").out == ""


def test_a_file_with_an_odd_name_gets_a_name_all_the_same(cli: Cli, models: Path) -> None:
    path = (models / "base.safetensors").rename(models / "my\nbase.safetensors")
    assert cli("base", "add", path, "-q").out == "my_base\n"


@pytest.mark.parametrize(
    "source",
    ["/nosuch/dir", "./nosuch", "~/nosuch/dir", "a/b/c", "nosuch", "C:\\models", "", "a\0b"],
)
def test_a_folder_of_components_that_is_not_there_is_refused(
    cli: Cli, models: Path, source: str
) -> None:
    ran = cli("base", "add", models / "base.safetensors", "--components", source)
    ran.failed_with(1, "does not exist")
    assert cli("base", "ls", "-q").out == ""


def test_components_are_a_folder_or_a_repository(cli: Cli, models: Path) -> None:
    base = models / "base.safetensors"
    cli("base", "add", base, "--components", base).failed_with(1, "is a file")
    for source, kept in ((str(models), str(models)), ("some-one/Anima-1.0", "some-one/Anima-1.0")):
        added = cli("base", "add", base, "--components", source, "--json").document["base"]
        assert added["components"] == kept
    assert cli("base", "add", base, "--json").document["base"]["components"] == kept


def test_a_fingerprint_is_not_a_base(cli: Cli, models: Path) -> None:
    made = Fingerprint("base", "rdbt", "a" * 64, sketch_checkpoint(models / "base.safetensors"))
    path = models / "rdbt-fingerprint.safetensors"
    path.write_bytes(to_bytes(made))
    cli("base", "add", path).failed_with(4, "fingerprint", f"lorakit trace learn {path}")


def test_matrices_that_cannot_be_sampled_bring_a_warning(cli: Cli, models: Path) -> None:
    tensors = {key: tensor for key, tensor in named(weights()).items() if "layer2" not in key}
    tensors |= {f"net.blocks.{n}.mlp.layer2.weight": weights()["final_layer.linear"].char() for n in range(2)}  # fmt: skip
    ran = cli("base", "add", saved(models / "odd.safetensors", tensors))
    assert ran.code == 0
    assert ran.err.startswith("Warning: ")
    assert "2 of 17" in ran.err
    assert "blocks.0.mlp.layer2" in ran.err
