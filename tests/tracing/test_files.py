"""`lorakit.trace`: files against files, without a catalog."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import lorakit
from lorakit.errors import BadFile, BadUsage, NotFound
from lorakit.formats.hashing import hash_file
from lorakit.formats.header import read_header
from lorakit.sketches.fingerprint import Fingerprint, to_bytes
from lorakit.sketches.reading import sketch_checkpoint
from lorakit.tracing.report import TraceReport
from tests.gate.relatives import (
    ancestor,
    edition,
    extracted,
    rdbt,
    style,
    style_factors,
    with_rdbt,
    yume,
)
from tests.tracing.files import Form, write_adapter, write_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models")
    write_checkpoint(path / "anima.safetensors", ancestor())
    write_checkpoint(path / "yume.safetensors", yume())
    write_checkpoint(path / "rdbt.safetensors", rdbt(), Form(prefix="net."))
    write_checkpoint(path / "mix.safetensors", with_rdbt(0.4, (0.8, style(1))), Form("fp16"))
    write_adapter(path / "ink.safetensors", style_factors(1))
    write_adapter(path / "wash.safetensors", style_factors(2), "comfy")
    write_adapter(path / "edition.safetensors", edition(), "diffusers")
    write_adapter(path / "taken.safetensors", extracted(with_rdbt(0.5)))
    return path


def strengths(report: TraceReport) -> dict[str, float]:
    return {t.finding.known.name: round(t.finding.strength or 0, 2) for t in report.found}


def test_a_checkpoint_against_models_and_adapters(folder: Path) -> None:
    names = ("rdbt", "ink", "wash")
    report = lorakit.trace(
        folder / "mix.safetensors",
        folder / "anima.safetensors",
        [folder / f"{name}.safetensors" for name in names],
    )
    assert isinstance(report, TraceReport)
    assert (report.kind, report.dtype, report.blocks) == ("checkpoint", "F16", 28)
    assert strengths(report) == {"rdbt": 0.4, "ink": 0.8}
    assert {trace.finding.known.name for trace in report.traces} == set(names)
    assert "rdbt at strength 0.40" in report.sentence
    kinds = {nulls.kind for trace in report.found for nulls in trace.nulls}
    assert kinds == {"sign-flipped", "rank-permuted"}


def test_paths_may_be_text_and_several_bases_are_told_apart(folder: Path) -> None:
    bases = [str(folder / "yume.safetensors"), str(folder / "anima.safetensors")]
    report = lorakit.trace(str(folder / "mix.safetensors"), bases, [folder / "rdbt.safetensors"])
    assert strengths(report) == {"rdbt": 0.4}
    reference = report.found[0].finding.reference
    assert reference is not None
    assert reference.name == "anima"


def test_an_adapter_against_models_and_adapters(folder: Path) -> None:
    report = lorakit.trace(
        folder / "taken.safetensors",
        folder / "anima.safetensors",
        [folder / "rdbt.safetensors", folder / "edition.safetensors", folder / "ink.safetensors"],
    )
    assert report.kind == "adapter"
    assert {trace.finding.known.name for trace in report.found} == {"rdbt", "edition"}
    assert "which is alike) at strength 0.50" in report.sentence


def test_without_a_base_a_relative_stays_undecided(folder: Path) -> None:
    report = lorakit.trace(folder / "mix.safetensors", None, [folder / "rdbt.safetensors"])
    assert [trace.finding.outcome for trace in report.open] == ["undecided"]
    report = lorakit.trace(folder / "edition.safetensors", None, [folder / "edition.safetensors"])
    assert strengths(report) == {"edition": 1.0}


def test_a_fingerprint_takes_the_place_of_weights(folder: Path, tmp_path: Path) -> None:
    rdbt_file = folder / "rdbt.safetensors"
    content = hash_file(rdbt_file, read_header(rdbt_file).data_offset).tensor_sha256
    mark = tmp_path / "published.fingerprint"
    mark.write_bytes(to_bytes(Fingerprint("base", "theirs", content, sketch_checkpoint(rdbt_file))))
    report = lorakit.trace(folder / "mix.safetensors", folder / "anima.safetensors", [mark])
    assert strengths(report) == {"theirs": 0.4}
    # A fingerprint may be the suspect, too.
    report = lorakit.trace(mark, folder / "anima.safetensors", [rdbt_file])
    assert report.traces[0].finding.outcome == "same"


def test_what_cannot_be_traced_is_said(folder: Path, tmp_path: Path) -> None:
    base, rdbt_file = folder / "anima.safetensors", folder / "rdbt.safetensors"
    with pytest.raises(BadUsage, match="nothing to look for"):
        lorakit.trace(base, None, [])
    with pytest.raises(NotFound, match="nowhere"):
        lorakit.trace(tmp_path / "nowhere.safetensors", base, [rdbt_file])
    text = tmp_path / "text.safetensors"
    text.write_text("not a model", encoding="utf-8")
    for paths in ((text, base, [rdbt_file]), (rdbt_file, text, [rdbt_file]), (base, base, [text])):
        with pytest.raises(BadFile, match="text"):
            lorakit.trace(*paths)


def test_the_room_does_not_hide_the_function() -> None:
    # Importing a module sets its name in its package, which is another one than the function's.
    code = (
        "import lorakit, lorakit.tracing.trace\n"
        "assert 'trace' not in vars(lorakit)\n"
        "assert 'torch' not in __import__('sys').modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert lorakit.trace.__module__ == "lorakit.tracing.files"
