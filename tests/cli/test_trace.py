"""`trace`: what a file holds, fingerprints that travel, and what is said of files that are none."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import lorakit
from lorakit.preview.demo_model import DemoModel
from tests.cli.conftest import Cli

Tensors = dict[str, torch.Tensor]


class Files:
    """The demo's model, what it was made from, and merges of it."""

    def __init__(self, folder: Path, demo: DemoModel) -> None:
        self.folder, self.rdbt, self.edition = folder, demo.checkpoint, demo.lora_edition
        self.loras = demo.checkpoint.parent / "loras"
        self.anima = self._fused("anima", self.rdbt, [(self.edition, -1.0)])
        # Somebody merges RDBT at a half, and a style, into Anima.
        self.mix = self._fused("mix", self.anima, [(self.edition, 0.5), (self.lora("ink"), 0.8)])

    def lora(self, name: str) -> Path:
        return self.loras / f"{name}.safetensors"

    def _fused(self, name: str, base: Path, stack: list[tuple[Path, float]]) -> Path:
        path = self.folder / f"{name}.safetensors"
        fused = lorakit.fuse(base, stack)
        save_file({key: fused[key].contiguous() for key in fused}, path)
        return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, demo: DemoModel) -> Files:
    return Files(tmp_path_factory.mktemp("models"), demo)


@pytest.fixture
def knowing(cli: Cli, files: Files) -> Cli:
    """The command line, with Anima, RDBT and the styles in its catalog."""
    assert cli("base", "add", files.anima, "--as", "anima").code == 0
    added = cli("base", "add", files.rdbt, "--name", "rdbt", "--as", "rdbt", "--on", "anima")
    assert added.code == 0
    assert cli("add", files.loras).code == 0
    return cli


def traces(document: Any) -> dict[str, Any]:
    return {trace["name"]: trace for trace in document["traces"]}


def squeezed(text: str) -> str:
    """Without line breaks and columns."""
    return " ".join(text.split())


def test_a_checkpoint_is_told_apart(knowing: Cli, files: Files) -> None:
    ran = knowing("trace", files.mix)
    assert ran.code == 0
    said = squeezed(ran.out)
    assert "mix.safetensors holds" in said
    assert re.search(r"ink at strength 0\.\d\d and rdbt at strength 0\.\d\d\.", said)
    assert "next to anima" in said
    assert "not held" in said
    assert all(len(line) <= 80 for line in ran.lines)
    assert ran.err == ""


def test_the_document(knowing: Cli, files: Files) -> None:
    document = knowing("trace", files.mix, "--json").document
    assert document["schema"] == "lorakit/trace/1"
    assert (document["kind"], document["dtype"], document["blocks"]) == ("checkpoint", "BF16", 8)
    assert document["sampled_values"] > 50_000
    assert document["undecided_modules"] == []
    found = traces(document)
    assert found["rdbt"]["outcome"] == "contains"
    assert found["rdbt"]["strength"] == pytest.approx(0.5, abs=0.03)
    assert found["rdbt"]["error"] < 0.03
    assert found["rdbt"]["z"] > 5
    assert found["rdbt"]["model"] == "rdbt"
    assert len(found["rdbt"]["content"]) == 64
    assert found["ink"]["strength"] == pytest.approx(0.8, abs=0.05)
    kinds = {null["kind"] for null in found["ink"]["nulls"]}
    assert kinds == {"sign-flipped", "rank-permuted"}
    assert all(null["largest"] < 0.2 for null in found["ink"]["nulls"])
    assert found["ink"]["blocks"]
    assert found["ink"]["components"][0]["name"] == "dit"
    assert found["neon"]["outcome"] == "absent"
    assert "mix.safetensors holds" in document["sentence"]


def test_quiet_names_what_is_there(knowing: Cli, files: Files) -> None:
    assert set(knowing("trace", files.mix, "-q").lines) == {"rdbt", "ink", "anima"}
    assert knowing("trace", files.lora("mosaic"), "-q").out == ""


def test_an_adapter_is_told_apart(knowing: Cli, files: Files) -> None:
    found = traces(knowing("trace", files.edition, "--json").document)
    assert found["rdbt"]["outcome"] == "contains"
    assert found["rdbt"]["strength"] == pytest.approx(1, abs=0.05)
    # The styles were trained alike, and none is a merge of another.
    for name in ("ink", "wash", "neon", "mosaic"):
        document = knowing("trace", files.lora(name), "--json").document
        assert document["kind"] == "adapter"
        assert {t["outcome"] for t in document["traces"]} == {"absent"}
        assert name not in traces(document)


def test_of_a_large_collection_a_few_are_listed_and_one_reason_is_given_once(
    knowing: Cli, files: Files, tmp_path: Path
) -> None:
    many, tensors = tmp_path / "many", load_file(files.loras / "ink.safetensors")
    many.mkdir()
    for number in range(12):
        torch.manual_seed(number)
        other = {k: v * torch.randn_like(v) if v.ndim == 2 else v for k, v in tensors.items()}
        save_file(other, many / f"other-{number}.safetensors")
    assert knowing("merge", "ink", "wash", "-o", many / "both.safetensors").code == 0
    for layout in ("kohya", "diffusers"):
        written = many / f"both-{layout}.safetensors"
        assert (
            knowing("convert", many / "both.safetensors", "--layout", layout, "-o", written).code
            == 0
        )
    assert knowing("add", many).code == 0
    shutil.copy(many / "both.safetensors", tmp_path / "found.safetensors")
    ran = knowing("trace", tmp_path / "found.safetensors")
    assert len(traces(knowing("trace", many / "both.safetensors", "--json").document)) >= 16
    assert "both (or both-diffusers and both-kohya, which are alike)" in squeezed(ran.out)
    # Eight adapters, and the base.
    assert len([line for line in ran.lines if " not held " in line]) == 9
    assert re.search(r"and \d adapters more, not held", ran.out)
    assert "What it shares with wash, ink is explained by both." in squeezed(ran.out)


def test_a_name_of_the_catalog_is_a_file_too(knowing: Cli) -> None:
    assert knowing("trace", "rdbt", "--with", "anima", "-q").lines == ["anima"]
    assert knowing("trace", "ink", "--with", "rdbt", "-q").out == ""


def test_what_is_named_alone_is_looked_for(knowing: Cli, files: Files) -> None:
    document = knowing("trace", files.mix, "--with", "ink", "--with", "rdbt", "--json").document
    assert set(traces(document)) == {"ink", "rdbt"}
    # The others still serve for comparison.
    assert traces(document)["rdbt"]["strength"] == pytest.approx(0.5, abs=0.03)
    content = traces(document)["rdbt"]["content"]
    again = knowing("trace", files.mix, "--with", f"sha256:{content[:12]}", "--json").document
    assert set(traces(again)) == {"rdbt"}
    knowing("trace", files.mix, "--with", "nobody").failed_with(1, "nobody", "trace known")


def test_every_weight_gives_a_smaller_error(knowing: Cli, files: Files) -> None:
    sampled = traces(knowing("trace", files.mix, "--with", "rdbt", "--json").document)["rdbt"]
    ran = knowing("trace", files.mix, "--with", "rdbt", "--deep", "--json")
    deep = traces(ran.document)["rdbt"]
    assert deep["outcome"] == "contains"
    assert "weights of" in deep["how"]
    assert deep["error"] < sampled["error"]
    assert abs(deep["strength"] - 0.5) < 4 * deep["error"]
    knowing("trace", files.edition, "--deep").failed_with(2, "an adapter")


def test_without_the_ancestor_it_says_what_to_register(cli: Cli, files: Files) -> None:
    assert cli("base", "add", files.rdbt, "--name", "rdbt", "--as", "rdbt").code == 0
    ran = cli("trace", files.mix)
    said = squeezed(ran.out)
    assert "Not decided" in said
    assert "register the very model that rdbt was made from (anima" in said
    document = cli("trace", files.mix, "--json").document
    assert traces(document)["rdbt"]["outcome"] == "undecided"
    assert "open is rdbt" in document["sentence"]


def test_an_empty_catalog_says_so(cli: Cli, files: Files) -> None:
    assert "no model is registered" in cli("trace", files.mix).out
    assert "lorakit base add" in cli("trace", "known").out


@pytest.mark.parametrize(
    ("name", "content", "code", "words"),
    [
        ("text.safetensors", b"not a model at all", 4, ["safetensors"]),
        ("empty.safetensors", b"", 4, ["too short"]),
        ("model.gguf", b"GGUF" + bytes(100), 4, ["model.gguf"]),
    ],
)
def test_files_that_are_none(
    cli: Cli, tmp_path: Path, name: str, content: bytes, code: int, words: list[str]
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    cli("trace", path).failed_with(code, *words)


def test_another_model_is_neither(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"encoder.layer.weight": torch.zeros(4, 4)}, path)
    ran = cli("trace", path)
    ran.failed_with(4, "not an Anima checkpoint", "Nor is it an adapter")


def test_a_file_that_was_cut_short(cli: Cli, files: Files, tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    whole = files.mix.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    cli("trace", path).failed_with(4, "cut short")


def test_a_file_that_is_not_there(cli: Cli) -> None:
    cli("trace", "nowhere.safetensors").failed_with(1, "nowhere.safetensors")
    cli("trace", "").failed_with(1, "There is no file")


def test_a_registered_base_that_is_gone_is_passed_over(knowing: Cli, files: Files) -> None:
    # Its sketch is in the catalog, so it is recognised without its file.
    hidden = files.rdbt.rename(files.rdbt.with_suffix(".hidden"))
    try:
        ran = knowing("trace", files.mix, "--json")
        assert traces(ran.document)["rdbt"]["outcome"] == "contains"
    finally:
        hidden.rename(files.rdbt)


def test_a_fingerprint_travels(
    knowing: Cli, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "rdbt.fingerprint"
    terms = ("--share-merges", "deny", "--statement", "No merges.", "--source", "its page")
    written = knowing("trace", "fingerprint", "rdbt", "-o", mark, *terms, "--json").document
    assert written["schema"] == "lorakit/trace-fingerprint/1"
    assert written["bytes"] == mark.stat().st_size < files.rdbt.stat().st_size
    # On another machine.
    monkeypatch.setenv("LORAKIT_HOME", str(tmp_path / "elsewhere"))
    cli = knowing
    assert cli("base", "add", files.anima, "--as", "anima").code == 0
    assert "rdbt is known now" in cli("trace", "learn", mark).out
    document = cli("trace", files.mix, "--json").document
    assert traces(document)["rdbt"]["strength"] == pytest.approx(0.5, abs=0.03)
    known = cli("trace", "known", "--json").document["known"]
    assert [(one["name"], one["made_from"]) for one in known] == [
        ("anima", None),
        ("rdbt", "anima"),
    ]
    assert "rdbt" in cli("trace", "known").out
    assert cli("trace", "known", "-q").lines == ["anima", "rdbt"]
    # The fingerprint may be traced itself.
    assert cli("trace", mark, "-q").lines[0] == "rdbt"


def test_an_adapter_has_a_fingerprint_too(
    knowing: Cli, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "ink.fingerprint"
    assert knowing("trace", "fingerprint", "ink", "-o", mark, "-q").out == f"{mark}\n"
    monkeypatch.setenv("LORAKIT_HOME", str(tmp_path / "elsewhere"))
    assert knowing("base", "add", files.anima, "--as", "anima").code == 0
    learnt = knowing("trace", "learn", mark, "--name", "their-ink", "--json").document
    assert learnt["known"]["holds"] == "change"
    found = traces(knowing("trace", files.mix, "--json").document)
    assert found["their-ink"]["strength"] == pytest.approx(0.8, abs=0.05)
    only = knowing("trace", files.mix, "--with", "their-ink", "--json").document
    assert set(traces(only)) == {"their-ink"}


def test_fingerprints_that_are_none(cli: Cli, knowing: Cli, files: Files, tmp_path: Path) -> None:
    mark = tmp_path / "rdbt.fingerprint"
    assert knowing("trace", "fingerprint", "rdbt", "-o", mark).code == 0
    whole = mark.read_bytes()
    for name, content in {
        "cut": whole[:-100],
        "short": whole[:1000],
        "empty": b"",
        "flipped": whole[:9] + b"\xff" + whole[10:],
    }.items():
        damaged = tmp_path / f"{name}.fingerprint"
        damaged.write_bytes(content)
        cli("trace", "learn", damaged).failed_with(4, damaged.name)
    cli("trace", "learn", files.mix).failed_with(4, "is no fingerprint", "trace fingerprint")
    cli("trace", "learn", tmp_path / "nowhere").failed_with(1, "nowhere")
    cli("trace", "learn", mark, "--as", "nonsense").failed_with(2, "nonsense")


def test_a_fingerprint_never_replaces_a_file_unasked(knowing: Cli, tmp_path: Path) -> None:
    mark = tmp_path / "rdbt.fingerprint"
    mark.write_bytes(b"mine")
    knowing("trace", "fingerprint", "rdbt", "-o", mark).failed_with(2, "exists already")
    assert mark.read_bytes() == b"mine"
    assert knowing("trace", "fingerprint", "rdbt", "-o", mark, "--overwrite").code == 0
    assert mark.read_bytes() != b"mine"
    knowing("trace", "fingerprint", "rdbt", "-o", tmp_path, "--overwrite").failed_with(2, "exists")
    knowing("trace", "fingerprint", "rdbt", "-o", tmp_path / "no" / "x").failed_with(1, "written")
    knowing("trace", "fingerprint", "nobody", "-o", tmp_path / "x").failed_with(1, "nobody")
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [mark.name]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--share-merges", "maybe", "--source", "x"), "one of"),
        (("--share-merges", "deny"), "need a source"),
        (("--statement", "No."), "--share-merges"),
    ],
)
def test_half_of_the_terms_is_refused(
    knowing: Cli, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    mark = tmp_path / "rdbt.fingerprint"
    knowing("trace", "fingerprint", "rdbt", "-o", mark, *words).failed_with(2, said)
    assert not mark.exists()


def test_shards_are_one_checkpoint(knowing: Cli, files: Files, tmp_path: Path) -> None:
    tensors = load_file(files.mix)
    names = sorted(tensors)
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        path = tmp_path / f"mix-0000{number}-of-00002.safetensors"
        save_file({name: tensors[name] for name in part}, path)
    for suspect in (tmp_path, tmp_path / "mix-00001-of-00002.safetensors"):
        found = traces(knowing("trace", suspect, "--json").document)
        assert found["rdbt"]["strength"] == pytest.approx(0.5, abs=0.03)
    (tmp_path / "mix-00002-of-00002.safetensors").unlink()
    knowing("trace", tmp_path).failed_with(4, "00002-of-00002")


def test_help_says_how(cli: Cli) -> None:
    ran = cli("trace", "--help")
    assert ran.code == 0
    for word in ("suspect", "fingerprint", "learn", "known", "lorakit trace"):
        assert word in ran.out
    assert cli("trace", "suspect", "--help").code == 0


def test_a_folder_without_a_model(cli: Cli, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    cli("trace", empty).failed_with(4, "empty")
    shutil.rmtree(empty)
    cli("trace", empty).failed_with(1, "empty")
