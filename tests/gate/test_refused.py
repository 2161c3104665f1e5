"""What a refused export leaves behind: a line in the audit table, and nothing else."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest

from lorakit.catalog import Catalog
from lorakit.cli.main import run
from lorakit.errors import Refused
from lorakit.gate import export_checkpoint
from lorakit.stack import Stack

# base, stack, and what the refusal must name
REFUSALS = {
    "RDBT as base": ("rdbt", "free:0.8", "rdbt (base, RDBT [Anima])"),
    "RDBT's LoRA edition as base": ("rdbt-lora", "free", "LoRA edition"),
    "RDBT without a stack": ("rdbt", "", "Sharing merges using this model is not allowed"),
    "RDBT at strength 0": ("rdbt", "free:0", "rdbt (base"),
    "an adapter that names no licence": ("own", "free silent", "silent (adapter"),
    "an adapter whose licence denies": ("own", "free:1 closed:0.1", "closed (adapter, CC BY-ND"),
    "an adapter at strength 0": ("own", "closed:0", "closed (adapter"),
}
CASES = pytest.mark.parametrize(("base", "stack", "named"), REFUSALS.values(), ids=list(REFUSALS))


@CASES
def test_a_refusal_writes_nothing_and_says_who_decides(
    catalog: Catalog, files: Path, out: Path, base: str, stack: str, named: str
) -> None:
    before, touched = tree(files), out.stat().st_mtime_ns
    with pytest.raises(Refused) as caught:
        export_checkpoint(catalog, base, Stack.parse(stack), out / "merged.safetensors")
    assert named in caught.value.message
    assert caught.value.exit_code == 3
    assert list(out.iterdir()) == []
    # Not even a file that is gone again: the folder was never written to.
    assert out.stat().st_mtime_ns == touched
    assert tree(files) == before


@CASES
def test_a_refusal_is_in_the_audit_table(
    catalog: Catalog, files: Path, out: Path, base: str, stack: str, named: str
) -> None:
    with pytest.raises(Refused):
        export_checkpoint(catalog, base, Stack.parse(stack), out / "merged.safetensors")
    (decision,) = catalog.decisions()
    assert (decision.action, decision.verdict) == ("export", "refused")
    assert decision.subject["kind"] == "checkpoint"
    assert decision.subject["what"] == f"{Stack.parse(stack)} merged into {base}"
    assert named in " ".join(decision.subject["reasons"])
    first = decision.subject["ingredients"][0]
    assert (first["role"], len(first["sha256"])) == ("base", 64)


def test_a_file_that_nobody_registered_is_unknown_and_refused(
    catalog: Catalog, files: Path, out: Path, tmp_path: Path
) -> None:
    # Even though its twin is registered under terms that allow: nobody has said what this one is.
    path = shutil.copyfile(files / "base.safetensors", tmp_path / "copy.safetensors")
    with pytest.raises(Refused, match="unknown denies"):
        export_checkpoint(catalog, str(path), Stack.parse("free"), out / "merged.safetensors")
    assert list(out.iterdir()) == []
    assert [d.verdict for d in catalog.decisions()] == ["refused"]


def test_the_terms_are_asked_before_the_output_is_looked_at(
    catalog: Catalog, files: Path, out: Path
) -> None:
    (out / "there.safetensors").write_bytes(b"kept")
    for target in (
        out / "nowhere" / "merged.safetensors",
        out / "merged.ckpt",
        out / "there.safetensors",
        files / "base.safetensors",
    ):
        with pytest.raises(Refused):
            export_checkpoint(catalog, "rdbt", Stack.parse("free"), target, overwrite=True)
    assert [path.name for path in out.iterdir()] == ["there.safetensors"]
    assert (out / "there.safetensors").read_bytes() == b"kept"


def test_nothing_is_computed_for_a_refusal(
    catalog: Catalog, files: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: object, **options: object) -> None:
        raise AssertionError("a refused export went on")

    monkeypatch.setattr("lorakit.fusion.base.open_base", never)
    monkeypatch.setattr("lorakit.adapters.loading.load_adapter", never)
    monkeypatch.setattr("lorakit.gate.writing._write", never)
    monkeypatch.setattr("lorakit.gate.writing.check_output", never)
    monkeypatch.setattr("lorakit.gate.writing.require_as_judged", never)
    with pytest.raises(Refused):
        export_checkpoint(catalog, "rdbt", Stack.parse("free"), out / "merged.safetensors")


@pytest.mark.parametrize("flags", [(), ("--overwrite",), ("--json",), ("-q",)], ids=" ".join)
def test_no_option_of_the_command_line_changes_it(
    catalog: Catalog,
    files: Path,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: tuple[str, ...],
) -> None:
    monkeypatch.setenv("LORAKIT_HOME", str(files.parent / "home"))
    copy = shutil.copyfile(files / "base.safetensors", files.parent / "copy.safetensors")
    bases = ("rdbt", str(copy))
    for base in bases:
        words = ["export", "free:0.8", "--base", base, "-o", str(out / "merged.safetensors")]
        assert run([*words, *flags]) == 3
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("Error: Writing merged.safetensors")
        assert "--recipe" in said.err  # what to share instead
    assert list(out.iterdir()) == []
    assert [d.verdict for d in catalog.decisions()] == ["refused"] * len(bases)


def test_there_is_no_option_to_force_it(
    catalog: Catalog, files: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORAKIT_HOME", str(files.parent / "home"))
    words = ["export", "free", "--base", "own", "-o", str(out / "merged.safetensors"), "--force"]
    assert run(words) == 2
    assert list(out.iterdir()) == []


def test_a_refusal_gives_the_commands_that_share_the_stack_without_weights(
    catalog: Catalog, files: Path, out: Path
) -> None:
    stack = Stack.parse('free:0.8 "named":0.5@blocks=0-1:0')
    with pytest.raises(Refused) as caught:
        export_checkpoint(catalog, "rdbt", stack, out / "merged.safetensors")
    commands = [shlex.split(line) for line in str(caught.value.hint).splitlines() if "  " in line]
    assert [words[words.index("--recipe") + 1] for words in commands] == [
        "stack",
        "comfyui",
        "a1111",
        "lora-manager",
    ]
    for words in commands:
        assert words[:2] == ["lorakit", "export"]
        assert Stack.parse(words[2]) == stack
        assert words[words.index("--base") + 1] == "rdbt"
        assert words[-2] == "-o"


@pytest.mark.parametrize("recipe", ["stack", "comfyui", "a1111", "lora-manager"])
def test_these_commands_work_as_they_stand_and_lead_back_to_the_stack(
    catalog: Catalog,
    files: Path,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    recipe: str,
) -> None:
    monkeypatch.setenv("LORAKIT_HOME", str(files.parent / "home"))
    monkeypatch.chdir(out)
    assert run(["export", "free:0.8 named:0.5", "--base", "rdbt", "-o", "merged.safetensors"]) == 3
    lines = capsys.readouterr().err.splitlines()
    (line,) = [line for line in lines if f"--recipe {recipe} " in line]
    assert run([*shlex.split(line)[1:], "-q"]) == 0
    (written,) = out.iterdir()
    capsys.readouterr()
    assert run(["stack", written.name, "--base", "rdbt", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)["plan"]
    assert [(e["name"], e["strength"]) for e in plan["entries"]] == [("free", 0.8), ("named", 0.5)]


def test_what_nothing_says_can_be_put_on_record(
    catalog: Catalog, files: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORAKIT_HOME", str(files.parent / "home"))
    with pytest.raises(Refused) as caught:
        export_checkpoint(catalog, "own", Stack.parse("free silent"), out / "merged.safetensors")
    (line,) = [line for line in str(caught.value.hint).splitlines() if "license set" in line]
    words = line.replace("ANSWER", "allow").replace("WHERE-IT-STANDS", "mine").split()
    assert words[:4] == ["lorakit", "license", "set", "silent"]
    assert run([*words[1:], "-q"]) == 0
    export_checkpoint(catalog, "own", Stack.parse("free silent"), out / "merged.safetensors")


def test_a_registered_base_of_the_same_stem_lends_a_file_no_terms(
    catalog: Catalog, files: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORAKIT_HOME", str(files.parent / "home"))
    stranger = (files / "base.safetensors").rename(files / "own.safetensors")
    words = ["export", "free", "--base", str(stranger), "-o", str(out / "merged.safetensors")]
    assert run(words) == 3
    assert list(out.iterdir()) == []


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
