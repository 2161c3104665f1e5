"""`lorakit merge` as it is used: a stack in, a file out, or a refusal with what to do instead."""

from __future__ import annotations

import shlex
from pathlib import Path

from safetensors.torch import load_file, save_file

import lorakit
from lorakit.catalog import Catalog
from tests.cli.conftest import Cli
from tests.models import lora_file, random_lora, usual_names


def test_two_adapters_become_one_file(stocked: Cli, tmp_path: Path) -> None:
    out = tmp_path / "mix.safetensors"
    ran = stocked("merge", "ink:0.8", "wash:-0.5", "-o", out, "--json")
    assert ran.code == 0, ran.err
    document = ran.document
    assert document["schema"] == "lorakit/merge/1"
    assert document["report"]["exact"]
    assert document["rounding_error"] == 0
    assert document["report"]["total"]["rank_out"] == [12, 12]
    report = lorakit.inspect(out)
    assert report.ranks == {12: 30}
    assert report.info.merged_from == "ink, wash"
    assert Path(document["notice"]).is_file()
    # One word or several, quoted or not.
    again = stocked("merge", "ink:0.8 wash:-0.5", "-o", tmp_path / "again.safetensors", "-q")
    assert again.lines == [str(tmp_path / "again.safetensors")]
    shown = stocked("merge", "ink", "wash", "--rank", "4", "-o", out, "--overwrite")
    assert shown.code == 0, shown.err
    assert "kept" in shown.lines[0]
    assert max(map(len, shown.lines)) <= 80
    assert lorakit.inspect(out).ranks == {4: 30}


def test_an_empty_stack_is_no_question_of_licences(stocked: Cli, tmp_path: Path) -> None:
    out = tmp_path / "mix.safetensors"
    stocked("merge", "", "-o", out).failed_with(2, "stack is empty")
    stocked("merge", "", "--dry-run").failed_with(2, "stack is empty")
    stocked("merge", "ink:0", "-o", out).failed_with(2, "Every strength is 0")
    stocked("merge", "ink:0", "wash:0", "--dry-run").failed_with(2, "Every strength is 0")
    assert not out.exists()


def test_a_dry_run_tells_the_verdict_and_writes_nothing(stocked: Cli, tmp_path: Path) -> None:
    ran = stocked("merge", "ink:0.8", "wash:0.5", "--dry-run", "--method", "ties", "--json")
    assert ran.code == 0, ran.err
    assert ran.document["verdict"]["allowed"] is True
    assert ran.document["ranks_in"] == {"12": 30}
    assert ran.document["made"]["method"] == "ties"
    with Catalog.open() as catalog:
        assert catalog.decisions() == []
    assert "method" in stocked("merge", "ink", "wash", "--dry-run").out
    assert not list(tmp_path.rglob("*.NOTICE.txt"))


def test_a_refusal_says_what_to_do_instead_and_that_works(stocked: Cli, tmp_path: Path) -> None:
    silent = lora_file(tmp_path / "silent.safetensors", random_lora(usual_names(3), 3, seed=7))
    dry = stocked("merge", "ink:0.8", f"{silent}:0.5", "--dry-run")
    assert (dry.code, "unknown, which denies" in dry.out) == (0, True)
    ran = stocked("merge", "ink:0.8", f"{silent}:0.5", "-o", tmp_path / "mix.safetensors")
    ran.failed_with(3, "silent", "unknown denies")
    assert not (tmp_path / "mix.safetensors").exists()
    commands = [line for line in ran.err.splitlines() if line.startswith("  lorakit ")]
    (recipe,) = (line for line in commands if "--recipe stack" in line)
    (keep,) = (line for line in commands if "--keep NAME" in line)
    words = shlex.split(recipe)[1:]
    assert stocked(*words[:-1], tmp_path / "mix.toml", "--base", "own").code == 0
    assert stocked(*shlex.split(keep)[1:], "--base", "own").code == 0


def test_bad_input_is_a_sentence(stocked: Cli, models: Path, tmp_path: Path) -> None:
    out = tmp_path / "mix.safetensors"
    (tmp_path / "broken.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    cases: list[tuple[int, tuple[object, ...], str]] = [
        (2, ("ink", "wash"), "no -o FILE"),
        (1, ("ink", "nix", "-o", out), "nix"),
        (2, ("ink:nan", "-o", out), "finite"),
        (2, ("ink", "wash", "-o", out, "--rank", "4", "--energy", "0.9"), "One rule"),
        (2, ("ink", "wash", "-o", out, "--rank", "0"), "rank of 0"),
        (2, ("ink", "wash", "-o", out, "--energy", "2"), "energy of 2"),
        (2, ("ink", "wash", "-o", out, "--method", "avg"), "no method 'avg'"),
        (2, ("ink", "wash", "-o", out, "--method", "ties", "--set", "x=1"), "no option 'x'"),
        (2, ("ink", "wash", "-o", out, "--set", "density"), "no setting"),
        (2, ("ink", "wash", "-o", out, "--layout", "a1111"), "no layout"),
        (2, ("ink", "wash", "-o", out, "--dtype", "int8"), "no dtype"),
        (2, ("ink:0.5@steps=0-8", "wash", "-o", out), "steps"),
        (2, ("ink:0", "wash:0", "-o", out), "Every strength is 0"),
        (4, (tmp_path / "broken.safetensors", "ink", "-o", out), "broken"),
        (2, ("ink", "wash", "-o", models / "ink.safetensors", "--overwrite"), "ingredients"),
        (2, ("ink", "wash", "-o", models / "base.safetensors"), "exists already"),
    ]
    for code, words, said in cases:
        stocked("merge", *map(str, words)).failed_with(code, said)
    assert not out.exists()


def test_one_at_full_strength_stays_what_it_is_and_takes_no_base(
    stocked: Cli, models: Path, tmp_path: Path
) -> None:
    assert (
        stocked("base", "add", models / "base.safetensors", "--name", "two", "--as", "rdbt").code
        == 0
    )
    tensors = load_file(models / "ink.safetensors")
    ups = {key: up for key, up in tensors.items() if key.endswith("lora_up.weight")}
    norms = {
        k.replace("lora_up.weight", "dora_scale"): up.norm(dim=1)[:, None] for k, up in ups.items()
    }
    dora, out = models / "dora.safetensors", tmp_path / "same.safetensors"
    save_file({**tensors, **norms}, dora, {"modelspec.license": "CC0-1.0"})
    assert stocked("add", dora).code == 0
    ran = stocked("merge", "dora", "-o", out)
    assert ran.code == 0, ran.err
    again = load_file(out)
    assert all(bytes(again[key].numpy()) == bytes(norm.numpy()) for key, norm in norms.items())
    assert "bit by bit" in " ".join(stocked("verify", out).out.split())
    assert stocked("merge", "dora:0.5", "-o", tmp_path / "half.safetensors").code == 2
