"""Adapters into files: what the header says, what rounding does, and what is not written."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import lorakit
from lorakit.adapters.adapter import Adapter
from lorakit.adapters.lora import LoraModule
from lorakit.adapters.pieces import pieces_in, pieces_of
from lorakit.catalog import Catalog
from lorakit.errors import BadFile, BadUsage, LorakitError, Refused
from lorakit.formats.ancestry import INGREDIENTS_KEY, read_ancestry
from lorakit.formats.header import read_header
from lorakit.formats.peft_folder import WEIGHTS_NAME
from lorakit.merging.merge_to_file import MergePlan, merge_to_file
from lorakit.merging.provenance import made, read_made
from lorakit.merging.rounding import balanced, in_dtype, rounding
from lorakit.merging.writing import WrittenAdapter, own_dtype, write_adapter
from lorakit.stack import Stack, resolve_stack
from tests.merging.conftest import entry
from tests.models import lora_file, memory_adapter, random_lora, usual_names

FREE = {"modelspec.license": "CC0-1.0"}


@pytest.fixture
def sources(tmp_path: Path) -> list[Path]:
    """Two adapters that anybody may merge."""
    return [
        lora_file(
            tmp_path / f"{name}.safetensors",
            random_lora(usual_names(2), 2, seed=seed),
            metadata=FREE,
        )
        for seed, name in enumerate(("one", "two"))
    ]


def write(
    catalog: Catalog, adapter: Adapter, sources: list[Path], output: Path, **options: object
) -> WrittenAdapter:
    words: dict[str, object] = {"layout": "comfy", "dtype": "bf16", **options}
    record = made("merge", method="sum", options={}, layout="comfy", dtype="bf16", seed=3)
    return write_adapter(
        catalog,
        lambda: adapter,
        kind="merged adapter",
        what="a test",
        ingredients=[entry(path) for path in sources],
        output=output,
        made=record,
        **words,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("dtype", ["bf16", "fp16", "fp32"])
def test_the_stated_error_is_the_one_that_was_made(
    empty_catalog: Catalog, sources: list[Path], tmp_path: Path, dtype: str
) -> None:
    merged = lorakit.merge([(sources[0], 0.8), (sources[1], -0.0003)])
    done = write(empty_catalog, merged, sources, tmp_path / "out.safetensors", dtype=dtype)
    read = lorakit.load_adapter(done.written.path)
    gap = whole = 0.0
    for name, module in merged.modules.items():
        like = torch.zeros((), dtype=torch.float64)
        exact, found = module.delta(like), read.modules[name].delta(like)
        gap += float((found - exact).square().sum())
        whole += float(exact.square().sum())
    assert done.rounding.error == pytest.approx((gap / whole) ** 0.5, rel=1e-4, abs=1e-12)
    assert (done.rounding.error == 0) == (dtype == "fp32")
    assert done.rounding.unmeasured == 0
    assert done.size == done.written.path.stat().st_size


def test_the_header_says_what_it_is_made_of_and_how(
    empty_catalog: Catalog, sources: list[Path], tmp_path: Path
) -> None:
    for path in sources:
        # A model of no published size, which only the header tells.
        save_file(load_file(path), path, {**FREE, "lorakit.base_blocks": "6"})
    merged = lorakit.merge([(path, 1.0) for path in sources])
    done = write(empty_catalog, merged, sources, tmp_path / "out.safetensors")
    assert lorakit.inspect(done.written.path).model_blocks == 6
    metadata = read_header(done.written.path).metadata
    assert [ancestor.name for ancestor in read_ancestry(metadata)] == ["one", "two"]
    found = read_made(metadata)
    assert found == made("merge", method="sum", options={}, layout="comfy", dtype="bf16", seed=3)
    again = write(empty_catalog, merged, sources, tmp_path / "again.safetensors")
    assert again.written.content == done.written.content


def test_a_refusal_computes_nothing_and_leaves_nothing(
    empty_catalog: Catalog, sources: list[Path], tmp_path: Path
) -> None:
    silent = lora_file(tmp_path / "silent.safetensors", random_lora(usual_names(2), 2, seed=5))

    def never() -> Adapter:
        raise AssertionError("computed for a refusal")

    for layout, output in (("comfy", "out.safetensors"), ("peft", "folder")):
        with pytest.raises(Refused, match="silent"):
            write_adapter(
                empty_catalog,
                never,
                kind="merged adapter",
                what="a test",
                ingredients=[entry(sources[0]), entry(silent)],
                output=tmp_path / output,
                layout=layout,  # type: ignore[arg-type]
                dtype=None,
                made={},
            )
        assert not (tmp_path / output).exists()


def test_peft_gets_a_folder_with_its_config(
    empty_catalog: Catalog, sources: list[Path], tmp_path: Path
) -> None:
    merged = lorakit.merge([(path, 1.0) for path in sources])
    done = write(empty_catalog, merged, sources, tmp_path / "folder", layout="peft")
    assert done.config is not None
    assert {path.name for path in (tmp_path / "folder").iterdir()} == {
        WEIGHTS_NAME,
        "adapter_config.json",
        "adapter_model.NOTICE.txt",
    }
    with pytest.raises(BadUsage, match=r"adapter_config\.json exists"):
        write(empty_catalog, merged, sources, tmp_path / "folder", layout="peft")
    with pytest.raises(BadUsage, match="another name"):
        write(empty_catalog, merged, sources, tmp_path / "x.safetensors", layout="peft")
    write(empty_catalog, merged, sources, tmp_path / "folder", layout="peft", overwrite=True)


def test_numbers_that_the_dtype_cannot_hold_are_no_file(
    empty_catalog: Catalog, sources: list[Path], tmp_path: Path
) -> None:
    large = LoraModule(torch.full((32, 1), 1e5), torch.full((1, 32), 1e5), 1.0)
    adapter = memory_adapter({"blocks.0.self_attn.q_proj": large})
    with pytest.raises(LorakitError, match="too large for"):
        write(empty_catalog, adapter, sources, tmp_path / "out.safetensors", dtype="fp16")
    with pytest.raises(BadUsage, match="no dtype 'int8'"):
        write(empty_catalog, adapter, sources, tmp_path / "out.safetensors", dtype="int8")
    assert not list(tmp_path.glob("out*"))


def test_components_are_made_even_without_any_loss() -> None:
    torch.manual_seed(0)
    up, down = torch.randn(24, 5) * 1e-6, torch.randn(5, 16) * 1e4
    up[:, 4] = 0
    even_up, even_down = balanced(up, down)
    assert torch.equal(even_up @ even_down, up @ down)
    ratios = even_up.norm(dim=0)[:4] / even_down.norm(dim=1)[:4]
    assert bool(((ratios > 0.5) & (ratios < 2)).all())


def test_a_factor_may_pass_the_range_of_its_dtype_on_the_way_to_even_sizes() -> None:
    up, down = torch.full((8, 1), 6e-8).half(), torch.full((1, 8), 60_000.0).half()
    even_up, even_down = balanced(up, down)
    torch.testing.assert_close(even_up @ even_down, up.float() @ down.float())
    assert max(float(even_up.max()), float(even_down.max())) < 1


@pytest.mark.parametrize("algo", ["loha", "lokr", "convolution", "tucker"])
def test_rounding_is_measured_for_other_algorithms_too(tmp_path: Path, algo: str) -> None:
    torch.manual_seed(0)
    stem = "lora_unet_blocks_0_mlp_layer1"
    shapes: dict[str, dict[str, tuple[int, ...]]] = {
        "loha": {
            "hada_w1_a": (128, 3),
            "hada_w1_b": (3, 32),
            "hada_w2_a": (128, 3),
            "hada_w2_b": (3, 32),
        },
        "lokr": {"lokr_w1": (8, 4), "lokr_w2_a": (16, 2), "lokr_w2_b": (2, 8)},
        "convolution": {"lora_up.weight": (128, 3, 1, 1), "lora_down.weight": (3, 32, 1, 1)},
        "tucker": {
            "lora_up.weight": (128, 3, 1, 1),
            "lora_down.weight": (3, 32, 1, 1),
            "lora_mid.weight": (3, 3, 1, 1),
        },
    }
    tensors = {f"{stem}.{part}": torch.randn(shape) for part, shape in shapes[algo].items()}
    save_file({**tensors, f"{stem}.alpha": torch.tensor(1.0)}, tmp_path / "a.safetensors")
    exact = pieces_in(tmp_path / "a.safetensors")
    rounded = in_dtype(exact, torch.bfloat16)
    spelled = {"up": "lora_up.weight", "down": "lora_down.weight", "mid": "lora_mid.weight"}
    parts = rounded.modules["blocks.0.mlp.layer1"].parts
    save_file(
        {f"{stem}.{spelled.get(part, part)}": tensor for part, tensor in parts.items()},
        tmp_path / "b.safetensors",
    )
    like = torch.zeros((), dtype=torch.float64)
    one, other = (
        lorakit.load_adapter(tmp_path / f"{name}.safetensors").modules["blocks.0.mlp.layer1"]
        for name in "ab"
    )
    whole = one.delta(like)
    gap = float((other.delta(like) - whole).norm() / whole.norm())
    found = rounding(exact, rounded)
    assert found.unmeasured == 0
    assert found.error == pytest.approx(gap, rel=1e-4)
    assert gap > 1e-3


def test_rounding_of_what_is_too_large_for_float32_is_a_number() -> None:
    torch.manual_seed(0)
    large = LoraModule(torch.randn(32, 2) * 1e25, torch.randn(2, 32) * 1e25, 1.0)
    exact = pieces_of(memory_adapter({"blocks.0.self_attn.q_proj": large}))
    assert 1e-3 < rounding(exact, in_dtype(exact, torch.bfloat16)).error < 4e-3


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_change_that_is_not_finite_is_no_figure_but_a_fault(tmp_path: Path, value: float) -> None:
    modules = random_lora(usual_names(1), 1)
    modules["blocks.0.mlp.layer1"].up[0, 0] = value
    exact = pieces_in(lora_file(tmp_path / "ink.safetensors", modules))
    with pytest.raises(BadFile, match=r"ink\.safetensors holds values in blocks\.0\.mlp\.layer1"):
        rounding(exact, in_dtype(exact, torch.bfloat16))


@pytest.mark.parametrize("dtype", ["fp16", "bf16", "fp32"])
def test_eight_bit_factors_are_merged_and_written_as_any_other(
    empty_catalog: Catalog, sources: list[Path], tmp_path: Path, dtype: str
) -> None:
    tensors = load_file(sources[0])
    small = {k: t.to(torch.float8_e4m3fn) if t.ndim else t for k, t in tensors.items()}
    save_file(small, sources[0], FREE)
    alone = lorakit.merge([(sources[0], 0.5)])
    done = write(empty_catalog, alone, sources[:1], tmp_path / "out.safetensors", dtype=dtype)
    # Every 8-bit float is one of the wider ones, too.
    assert done.rounding.error == 0
    like = torch.zeros((), dtype=torch.float64)
    read = lorakit.load_adapter(done.written.path)
    for name, module in lorakit.load_adapter(sources[0]).modules.items():
        torch.testing.assert_close(read.modules[name].delta(like), 0.5 * module.delta(like))
    again = in_dtype(pieces_in(sources[0]), torch.float16)
    assert rounding(pieces_in(sources[0]), again).error == 0


def test_what_is_said_of_many_modules_is_said_once(
    empty_catalog: Catalog, sources: list[Path], tmp_path: Path
) -> None:
    alone = lorakit.merge([(sources[0], 0.7)])
    done = write(empty_catalog, alone, sources[:1], tmp_path / "out.safetensors", dtype="fp32")
    (said,) = done.remarks
    assert said.startswith("alpha is rounded to float32 (2.79999995): blocks.0.")
    assert said.endswith(f" and {len(usual_names(2)) - 1} more")


def test_the_dtype_of_the_sources_is_that_of_their_factors(tmp_path: Path) -> None:
    """Alphas in float32 say nothing of it, and bf16 beside fp16 takes a wider one."""
    reports = {}
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        modules = random_lora(usual_names(1), 1, dtype=dtype)
        path = lora_file(tmp_path / f"{dtype}.safetensors", modules)
        reports[dtype] = lorakit.inspect(path, hashes=False)
    assert own_dtype([reports[torch.bfloat16]]) == "bf16"
    assert own_dtype([reports[torch.float16]]) == "fp16"
    assert own_dtype([reports[torch.bfloat16], reports[torch.float16]]) == "fp32"
    assert own_dtype(list(reports.values())) == "fp32"


def test_a_merge_of_a_merge_says_at_which_strength_everything_went_in(
    empty_catalog: Catalog, sources: list[Path], tmp_path: Path
) -> None:
    first, second, third = (tmp_path / f"{name}.safetensors" for name in ("first", "second", "mix"))
    merge_all(empty_catalog, f"{sources[0]}:0.7 {sources[1]}:-0.3@kinds=mlp:0.5", first)
    merge_all(empty_catalog, f"{first}:0.5", second)
    merge_all(empty_catalog, f"{second}:2 {sources[0]}", third)
    mix, one = read_ancestry(read_header(third).metadata)
    assert (mix.name, mix.strength, one.strength) == ("second", "2", "1")
    within = next(found for found in mix.ancestors if found.name == "first")
    assert within.strength == "0.5"
    strengths = {found.name: found.strength for found in within.ancestors}
    assert strengths == {"one": "0.7", "two": "-0.3@kinds=mlp:0.5"}
    # What an adapter was made for was not merged into it, however often it is merged itself.
    made_for = {found.relation for one in within.ancestors for found in one.ancestors}
    assert made_for
    assert all(relation and relation.startswith("was made for") for relation in made_for)


def test_entries_of_one_file_and_how_each_merge_was_made_are_carried_on(
    empty_catalog: Catalog, sources: list[Path], tmp_path: Path
) -> None:
    first, second = (tmp_path / f"{name}.safetensors" for name in ("first", "second"))
    merge_all(
        empty_catalog, f"{sources[0]}:0.7 {sources[1]}:0.5 {sources[0]}:-0.2@blocks=0:2", first
    )
    merge_all(empty_catalog, f"{first}:0.5 {first}:0.25", second)
    one, other = read_ancestry(read_header(second).metadata)
    assert (one.strength, other.strength) == ("0.5", "0.25")
    # What it was made from stands with the first entry of a file.
    assert not other.ancestors
    within = [(found.name, found.strength) for found in one.ancestors]
    assert within == [("one", "0.7"), ("two", "0.5"), ("one", "-0.2@blocks=0:2")]
    assert one.made is not None
    assert json.loads(one.made) == read_made(read_header(first).metadata)
    # Twice as many entries a time, and each file tells a little more than the one before.
    sizes, deeper = [], second
    for number in range(6):
        deeper, before = tmp_path / f"deeper{number}.safetensors", deeper
        merge_all(empty_catalog, f"{before}:0.5 {before}:0.25", deeper)
        sizes.append(len(read_header(deeper).metadata[INGREDIENTS_KEY]))
    grown = [after - before for before, after in pairwise(sizes)]
    assert max(grown) < 1.2 * min(grown)
    strengths = [one.strength for one in read_ancestry(read_header(deeper).metadata)[0].everyone()]
    assert strengths.count("0.7") == strengths.count("-0.2@blocks=0:2") == 1


def merge_all(catalog: Catalog, stack: str, output: Path) -> None:
    """Merge a stack of paths into a file."""
    entries = resolve_stack(Stack.parse(stack), None)
    merge_to_file(catalog, MergePlan(entries, stack), output)
