"""What was written is verified to the bit from its header alone; what is not as it should be is explained."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import lorakit
from lorakit.adapters.lora import LoraModule
from tests.cli.conftest import Cli
from tests.models import lora_file, random_lora, tiny_base, usual_names


@pytest.fixture
def made(stocked: Cli, models: Path) -> Path:
    """A merge of both adapters of `models`, ink:0.8 wash:0.5."""
    path = models / "made.safetensors"
    assert stocked("merge", "ink:0.8", "wash:0.5", "-o", path).code == 0
    return path


def rewritten(path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    """`path` with other tensors under the header it has."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file(tensors, path, metadata)
    return path


def changed(path: Path, key_part: str, factor: float) -> Path:
    """`path` with one tensor times `factor`."""
    tensors = {key: tensor.clone() for key, tensor in load_file(path).items()}
    key = next(key for key in tensors if key_part in key)
    tensors[key] *= factor
    return rewritten(path, tensors)


@pytest.mark.parametrize(
    "words",
    [
        ("merge", "ink:0.8", "wash:-0.5@blocks=1:0.5", "--dtype", "bf16"),
        ("merge", "ink", "wash", "--rank", "6", "--layout", "kohya"),
        ("merge", "ink", "wash", "--method", "dare", "--seed", "3", "--rank", "4"),
        ("resize", "wash", "--energy", "0.8"),
        ("convert", "ink", "--layout", "comfy", "--dtype", "fp16"),
        ("convert", "ink", "--blocks", "40"),
        ("prune", "wash", "--blocks", "0-1"),
        ("export", "ink:0.8 wash:-0.3", "--base", "own"),
    ],
    ids=lambda words: "-".join(words[:1] + words[-2:]),
)
def test_every_written_file_is_made_again_to_the_bit(
    stocked: Cli, models: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    out = tmp_path / "out.safetensors"
    ran = stocked(*words, "-o", out)
    assert ran.code == 0, ran.err
    before = sorted(path.name for path in tmp_path.rglob("*"))
    document = stocked("verify", out, "--json").document
    assert document["schema"] == "lorakit/verify/1"
    assert document["outcome"] == "identical", document
    assert document["to_the_bit"] is True
    assert document["values"] > 1000
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_ingredients_are_called_as_in_the_catalog(stocked: Cli, made: Path) -> None:
    assert stocked("note", "ink", "--name", "sumi").code == 0
    assert "sumi:0.8 wash:0.5" in stocked("verify", made).out


def test_an_extraction_is_made_again_from_both_checkpoints(
    stocked: Cli, models: Path, tmp_path: Path
) -> None:
    fused = lorakit.fuse(models / "base.safetensors", [(models / "ink.safetensors", 0.5)])
    save_file({key: tensor.clone() for key, tensor in fused.items()}, models / "tuned.safetensors")
    assert stocked("base", "add", models / "tuned.safetensors", "--as", "anima").code == 0
    out = tmp_path / "out.safetensors"
    assert stocked("extract", "tuned", "--base", "own", "-o", out, "--rank", "3").code == 0
    ran = stocked("verify", out)
    assert (ran.code, "what extract makes of tuned own" in ran.out) == (0, True), ran.err
    assert "bit by bit" in " ".join(ran.out.split())


def test_another_strength_is_named_with_what_it_looks_like(stocked: Cli, made: Path) -> None:
    assert stocked("verify", made, "--recipe", "ink:0.8 wash:0.5", "-q").out == "identical\n"
    ran = stocked("verify", made, "--recipe", "ink:0.79 wash:0.5")
    assert ran.code == 1
    assert "ink looks like 0.8; it should be 0.79" in ran.out
    assert "wash looks" not in ran.out
    entries = stocked("verify", made, "--recipe", "wash:0.5 ink:-0.4", "--json").document["entries"]
    assert [(one["name"], one["differs"]) for one in entries] == [("wash", False), ("ink", True)]
    assert entries[1]["looks_like"] == pytest.approx(0.8, abs=1e-4)


def test_another_recipe_for_the_same_change_is_told_from_another_machine(
    stocked: Cli, made: Path, models: Path
) -> None:
    ran = stocked("verify", made, "--recipe", "wash:0.5 ink:0.8")
    said = " ".join(ran.out.split())
    assert ran.code == 0
    assert "as its header has another recipe for the same change" in said
    assert "entries of its header in another order" in said
    assert "machine" not in said
    same = stocked("verify", made, "--recipe", "ink:0.8 wash:0.5", "--json").document
    assert same["recipe_differs"] == []
    nothing = {
        name: LoraModule(torch.zeros_like(one.up), one.down, 1.0)
        for name, one in random_lora(usual_names(3), 3, rank=1).items()
    }
    zeros = lora_file(models / "zeros.safetensors", nothing)
    words = ("verify", made, "--recipe", f"ink:0.8 wash:0.5 {zeros}:2")
    said = " ".join(stocked(*words).out.split())
    assert "The recipe has what its header does not: zeros:2." in said
    assert "Its change is that of the recipe all the same" in said
    cut = models / "cut.safetensors"
    assert stocked("merge", "ink:0.8", "wash:0.5", "--rank", "6", "-o", cut).code == 0
    document = stocked("verify", cut, *words[2:], "--json").document
    assert document["outcome"] == "rounding"
    assert document["recipe_differs"] == ["The recipe has what its header does not: zeros:2."]
    document = stocked("verify", made, "--recipe", "ink:0.8@kinds=root:0", "--json").document
    assert document["recipe_differs"] == [
        "The recipe has what its header does not: ink:0.8@kinds=root:0.",
        "The recipe lacks what its header has: ink:0.8 wash:0.5.",
    ]


def test_a_checkpoint_is_explained_although_rounding_hides_most_of_it(
    stocked: Cli, models: Path, tmp_path: Path
) -> None:
    save_file(tiny_base(3, dtype=torch.bfloat16, seed=5), models / "half.safetensors")
    assert stocked("base", "add", models / "half.safetensors", "--as", "anima").code == 0
    out = tmp_path / "out.safetensors"
    assert stocked("export", "ink:0.1 wash:0.02", "--base", "half", "-o", out).code == 0
    document = stocked("verify", out, "--recipe", "ink:0.09 wash:0.02", "--json").document
    assert document["outcome"] == "differs"
    ink, wash = document["entries"]
    assert (ink["differs"], wash["differs"]) == (True, False)
    assert ink["looks_like"] == pytest.approx(0.1, abs=4 * ink["standard_error"])
    assert ink["standard_error"] < 0.001
    # Under another prefix, as another program writes it, it is the same checkpoint.
    renamed = {
        f"model.diffusion_model.{k.removeprefix('net.')}": t for k, t in load_file(out).items()
    }
    save_file(renamed, tmp_path / "renamed.safetensors")
    words = ("--recipe", "ink:0.1 wash:0.02", "--base", "half", "-q")
    assert stocked("verify", tmp_path / "renamed.safetensors", *words).out == "identical\n"


def test_a_few_values_rounded_the_other_way_are_equal_within_rounding(
    stocked: Cli, models: Path, tmp_path: Path
) -> None:
    save_file(tiny_base(3, dtype=torch.bfloat16, seed=5), models / "half.safetensors")
    assert stocked("base", "add", models / "half.safetensors", "--as", "anima").code == 0
    out = tmp_path / "out.safetensors"
    assert stocked("export", "ink:0.1", "--base", "half", "-o", out).code == 0
    tensors = {key: tensor.clone() for key, tensor in load_file(out).items()}
    weight = tensors["net.blocks.1.mlp.layer1.weight"].view(torch.int16)
    weight[7, 3] += 1
    weight[9, 9] -= 1
    rewritten(out, tensors)
    document = stocked("verify", out, "--json").document
    assert (document["outcome"], document["differing_values"]) == ("rounding", 2)
    ran = stocked("verify", out)
    assert ran.code == 0
    assert "blocks.1.mlp.layer1" in ran.out
    # The same number of values, moved further, is damage.
    weight[7, 3] += 5
    rewritten(out, tensors)
    ran = stocked("verify", out)
    assert ran.code == 1
    assert "blocks.1.mlp.layer1" in ran.out


def stepped(tensor: torch.Tensor, place: int, steps: int) -> None:
    """Move one value of a float32 tensor by so many float32 steps."""
    tensor.view(-1).view(torch.int32)[place] += steps


def test_one_value_some_steps_off_is_no_rounding(stocked: Cli, made: Path) -> None:
    tensors = {key: tensor.clone() for key, tensor in load_file(made).items()}
    key = next(key for key in tensors if "blocks.1.mlp.layer2" in key)
    largest = int(tensors[key].abs().argmax())
    stepped(tensors[key], largest, -1)
    rewritten(made, tensors)
    assert stocked("verify", made, "-q").out == "rounding\n"
    stepped(tensors[key], largest, -64)
    rewritten(made, tensors)
    ran = stocked("verify", made)
    assert (ran.code, "blocks.1.mlp.layer2" in ran.out) == (1, True)
    (found,) = stocked("verify", made, "--json").document["deviations"]
    assert (found["steps"], found["beyond_a_step"], found["alone"]) == (65, 1, 1)


def test_noise_that_is_everywhere_is_rounding(stocked: Cli, made: Path) -> None:
    generator = torch.Generator().manual_seed(1)
    exact = {key: tensor.clone() for key, tensor in load_file(made).items()}
    noisy = {
        key: tensor + torch.randn(tensor.shape, generator=generator) * tensor.abs().max() * 2e-7
        for key, tensor in exact.items()
    }
    rewritten(made, noisy)
    document = stocked("verify", made, "--json").document
    assert document["outcome"] == "rounding"
    assert sum(one["beyond_a_step"] for one in document["deviations"]) > 10
    # Damage shows through noise.
    key = next(key for key in noisy if "blocks.1.mlp.layer2" in key)
    stepped(noisy[key], int(noisy[key].abs().argmax()), 5000)
    rewritten(made, noisy)
    ran = stocked("verify", made, "--json")
    assert ran.code == 1
    assert [one["key"] for one in ran.document["deviations"] if one["alone"]] == [key]


def test_a_component_that_came_out_the_other_way_round_is_the_same(
    stocked: Cli, tmp_path: Path
) -> None:
    out = tmp_path / "out.safetensors"
    assert stocked("merge", "ink", "wash", "--rank", "6", "-o", out).code == 0
    tensors = {key: tensor.clone() for key, tensor in load_file(out).items()}
    down = next(key for key in tensors if "lora_A" in key)
    tensors[down][2] *= -1
    rewritten(out, tensors)
    assert stocked("verify", out, "-q").out == "differs\n"
    tensors[down.replace("lora_A", "lora_B")][:, 2] *= -1
    rewritten(out, tensors)
    ran = stocked("verify", out)
    assert (ran.code, "within rounding" in " ".join(ran.out.split())) == (0, True)


def test_what_is_only_copied_has_nothing_to_round(stocked: Cli, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    assert stocked("convert", "ink", "--layout", "comfy", "-o", out).code == 0
    tensors = {key: tensor.clone() for key, tensor in load_file(out).items()}
    stepped(next(tensor for tensor in tensors.values() if tensor.ndim == 2), 5, 1)
    rewritten(out, tensors)
    assert stocked("verify", out, "-q").out == "differs\n"


def test_damage_is_found_where_it_is(stocked: Cli, made: Path) -> None:
    changed(made, "blocks.1.mlp.layer2", 1.5)
    document = stocked("verify", made, "--json").document
    assert document["outcome"] == "differs"
    assert [one["module"] for one in document["deviations"]] == ["blocks.1.mlp.layer2"]
    assert document["deviations"][0]["relative_difference"] == pytest.approx(0.5, rel=1e-3)
    tensors = dict(load_file(made))
    gone = next(key for key in tensors if "blocks.2" in key)
    del tensors[gone]
    rewritten(made, {key: tensor.clone() for key, tensor in tensors.items()})
    assert gone in stocked("verify", made).out.replace("\n", "")


def concatenated(folder: Path, ratios: tuple[float, float]) -> Path:
    """Two adapters as kohya's `--concat` joins them: the ratio in both factors, the alpha of the first."""
    parts = [load_file(folder / name) for name in ("one.safetensors", "two.safetensors")]
    out: dict[str, torch.Tensor] = {}
    for key in (key for key in parts[0] if key.endswith(".alpha")):
        stem, alpha = key.removesuffix(".alpha"), parts[0][key]
        scales = [(part[key] / alpha).sqrt() * r for part, r in zip(parts, ratios, strict=True)]
        for side, axis in (("lora_down", 0), ("lora_up", 1)):
            found = [p[f"{stem}.{side}.weight"] * s for p, s in zip(parts, scales, strict=True)]
            out[f"{stem}.{side}.weight"] = torch.cat(found, axis)
        out[key] = alpha
    save_file(out, folder / "joined.safetensors")
    return folder / "joined.safetensors"


def test_what_another_program_halves_is_found_out(stocked: Cli, tmp_path: Path) -> None:
    for seed, name in enumerate(("one", "two")):
        lora_file(tmp_path / f"{name}.safetensors", random_lora(usual_names(3), 3, seed=seed))
    recipe = f"{tmp_path / 'one.safetensors'}:1 {tmp_path / 'two.safetensors'}:1"
    joined = concatenated(tmp_path, (1, 1))
    ran = stocked("verify", joined, "--recipe", recipe)
    assert ran.code == 1
    assert "Every entry has half the strength" in ran.out
    document = stocked("verify", joined, "--recipe", recipe, "--json").document
    assert document["to_the_bit"] is False
    assert document["change"]["gain"] == pytest.approx(0.5, abs=1e-6)
    assert document["change"]["relative_error"] == pytest.approx(0.5, abs=1e-6)
    assert document["change"]["unexplained"] == pytest.approx(0, abs=1e-6)
    # Joined correctly, by any program, it is right.
    tensors = {k: t * 2 if k.endswith(".alpha") else t for k, t in load_file(joined).items()}
    save_file(tensors, joined)
    assert stocked("verify", joined, "--recipe", recipe, "-q").out == "rounding\n"


def test_what_no_strength_explains_is_said(stocked: Cli, made: Path, tmp_path: Path) -> None:
    ran = stocked("verify", made, "--recipe", "ink:0.8")
    assert ran.code == 1
    assert "unexplained" in ran.out
    document = stocked("verify", made, "--recipe", "ink:0.8", "--json").document
    assert document["entries"][0]["differs"] is False
    assert document["change"]["unexplained"] > 0.3


def test_strengths_that_hold_in_other_blocks_are_shown_by_block(stocked: Cli, made: Path) -> None:
    ran = stocked("verify", made, "--recipe", "ink:0.8@blocks=1:0.5 wash:0.5")
    assert ran.code == 1
    said = " ".join(ran.out.split())
    assert (
        "ink looks like this much of its strength: 1 times in block 0, 2 times in block 1" in said
    )
    assert "wash looks" not in said
    assert "unexplained" not in said


def test_verify_says_what_is_missing(
    stocked: Cli, made: Path, models: Path, tmp_path: Path
) -> None:
    stocked("verify", models / "ink.safetensors").failed_with(1, "does not say how it was made")
    stocked("verify", tmp_path / "nothing.safetensors").failed_with(1, "nothing")
    (models / "wash.safetensors").rename(tmp_path / "away.safetensors")
    stocked("verify", made).failed_with(1, "wash", "--recipe")
    words = ("verify", made, "--recipe", f"ink:0.8 {tmp_path / 'away.safetensors'}:0.5", "-q")
    assert stocked(*words).out == "identical\n"
    # A file that is another now is not taken for what it was.
    shutil.copy(models / "ink.safetensors", models / "wash.safetensors")
    stocked("verify", made).failed_with(4, "has changed since it was added")
    broken = made.read_bytes().replace(b"lorakit/made/1", b"lorakit/made/9")
    made.write_bytes(broken)
    stocked("verify", made).failed_with(4, "cannot be read")
    made.write_bytes(broken[:2000])
    stocked("verify", made).failed_with(4)


def test_of_tensors_of_another_shape_the_shapes_are_told(stocked: Cli, made: Path) -> None:
    tensors = {key: tensor.clone() for key, tensor in load_file(made).items()}
    down = next(key for key in tensors if "lora_A" in key or "lora_down" in key)
    up = down.replace("lora_A", "lora_B").replace("lora_down", "lora_up")
    rank, width = tensors[down].shape
    rewritten(made, {**tensors, down: tensors[down][:3].clone(), up: tensors[up][:, :3].clone()})
    ran = stocked("verify", made)
    assert ran.code == 1
    row = next(line for line in ran.lines if f"not {rank}×{width}" in line)
    assert f"3×{width}" in row
    assert row.split()[-1] == f"{rank}×{width}"
    assert f"are not compared: 2 of {len(tensors)}." in " ".join(ran.out.split())
    document = stocked("verify", made, "--json").document
    one = next(one for one in document["deviations"] if one["key"] == down)
    assert (one["shape"], one["expected_shape"]) == ([3, width], [rank, width])
    assert one["largest_difference"] is None
