"""The workshop on a CUDA device, which is pretended: the CPU's numbers, and nothing of two places in one operation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import lorakit
from lorakit.adapters.adapter import Adapter
from lorakit.errors import BadUsage, LorakitError
from lorakit.fusion.devices import choose_device, full_float32, same_kind
from lorakit.merging.checking.comparing import compare
from lorakit.merging.extracting.extract import extract
from lorakit.merging.methods.table import METHODS
from lorakit.strengths import Strength
from tests.fusion.test_devices import every_algorithm
from tests.merging.test_merge import BASE, WIDE, Q
from tests.models import memory_adapter, random_lora
from tests.pretend_cuda import pretend_cuda

# The pretended device is that of one thread.
pytestmark = pytest.mark.usefixtures("one_core")

Entry = tuple[Adapter, float | Strength]


def plain(seed: int) -> Adapter:
    return memory_adapter(random_lora([Q, WIDE], 2, rank=4, seed=seed))


def assert_same(found: Adapter, wanted: Adapter) -> None:
    """Bit by bit, all in main memory."""
    one, other = (lorakit.fuse(BASE, [(made, 1.0)]).by_canonical_name() for made in (found, wanted))
    assert found.modules.keys() == wanted.modules.keys()
    for name in wanted.modules:
        assert torch.equal(one[f"{name}.weight"], other[f"{name}.weight"]), name


@pytest.mark.parametrize("method", METHODS)
def test_a_merge_by_every_method(method: str) -> None:
    entries: list[Entry] = [(plain(1), 0.6), (plain(2), -0.5)]
    settings: list[dict[str, Any]] = [{}, {"rank": 3}]
    for options in settings:
        wanted = lorakit.merge(entries, method=method, **options)
        with pretend_cuda():
            assert_same(lorakit.merge(entries, method=method, device="cuda", **options), wanted)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("sum", {}),
        ("sum", {"energy": 0.9}),
        ("sum", {"full_diffs": True}),
        ("ties", {}),
        ("core", {}),
    ],
)
def test_a_merge_of_every_algorithm(tmp_path: Path, method: str, options: dict[str, Any]) -> None:
    one, other = every_algorithm(tmp_path)
    entries: list[Entry] = [(one, 0.6), (plain(1), 0.5), (other, 0.7)]
    wanted = lorakit.merge(entries, method=method, base=BASE, **options)
    with pretend_cuda():
        assert_same(
            lorakit.merge(entries, method=method, base=BASE, device="cuda", **options), wanted
        )


def checkpoints(folder: Path) -> tuple[Path, Path]:
    """A checkpoint and its base, with one matrix that is large enough not to be decomposed whole."""
    generator = torch.Generator().manual_seed(0)
    base = {key: tensor.float() for key, tensor in BASE.items()}
    base[f"net.{WIDE}.weight"] = torch.randn(256, 192, generator=generator) * 0.02
    tuned = dict(base)
    for name in (Q, WIDE):
        out, inner = base[f"net.{name}.weight"].shape
        change = torch.randn(out, 40, generator=generator) @ torch.randn(
            40, inner, generator=generator
        )
        tuned[f"net.{name}.weight"] = base[f"net.{name}.weight"] + 1e-4 * change
    paths = folder / "tuned.safetensors", folder / "base.safetensors"
    for path, tensors in zip(paths, (tuned, base), strict=True):
        save_file(tensors, path)
    return paths


@pytest.mark.parametrize("options", [{}, {"rank": 3}, {"energy": 0.9}], ids=str)
def test_an_extraction(tmp_path: Path, options: dict[str, Any]) -> None:
    pair = checkpoints(tmp_path)
    wanted = extract(*pair, **options)
    with pretend_cuda():
        found = extract(*pair, device="auto", **options)
    assert found.report.to_dict() == wanted.report.to_dict()
    for name, module in wanted.adapter.modules.items():
        like = torch.zeros(())
        assert torch.equal(found.adapter.modules[name].delta(like), module.delta(like)), name


def test_a_comparison_of_every_algorithm(tmp_path: Path) -> None:
    entries: list[Entry] = [(one, 0.5) for one in (*every_algorithm(tmp_path), plain(1), plain(2))]
    base = {key: tensor.float() for key, tensor in BASE.items()}
    wanted = compare(entries, base)
    with pretend_cuda():
        found = compare(entries, base, device="cuda")
    assert found.measured.names == wanted.measured.names
    assert torch.equal(found.measured.grams, wanted.measured.grams)
    assert torch.equal(found.measured.chance, wanted.measured.chance)
    assert found.measured.overlap == wanted.measured.overlap


def test_the_workshop_takes_cuda_or_the_cpu_and_no_device_without_float64() -> None:
    with pretend_cuda():
        assert choose_device("auto", in_float64=True) == "cuda"
        assert choose_device("cuda:0") == "cuda:0"
        assert same_kind("cuda:3") == "cuda"
        with pytest.raises(LorakitError, match="no device 'cuda:1' here"):
            choose_device("cuda:1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.cuda.is_available", lambda: False)
        patch.setattr("torch.backends.mps.is_available", lambda: True)
        assert (choose_device("auto"), choose_device("auto", in_float64=True)) == ("mps", "cpu")
        assert (same_kind("cuda"), same_kind("cpu"), same_kind("mps")) == ("cpu", "cpu", "cpu")
        with pytest.raises(LorakitError, match="float64"):
            choose_device("mps", in_float64=True)
    with pytest.raises(BadUsage, match="'gpu' is not a device"):
        lorakit.merge([(plain(1), 1.0)], device="gpu")


def test_products_are_whole_whatever_the_program_has_asked_for() -> None:
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        with full_float32():
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.gpu
@GPU
def test_a_gpu_compares_as_the_cpu_does(tmp_path: Path) -> None:
    entries: list[Entry] = [(one, 0.5) for one in (*every_algorithm(tmp_path), plain(1), plain(2))]
    base = {key: tensor.float() for key, tensor in BASE.items()}
    found, wanted = (compare(entries, base, device=device) for device in ("cuda", "cpu"))
    norms = wanted.measured.grams.diagonal(dim1=1, dim2=2).sqrt()
    error = (found.measured.grams - wanted.measured.grams).abs()
    # A millionth of both norms, as measuring.py states.
    assert bool((error <= 1e-6 * norms[:, :, None] * norms[:, None, :] + 1e-30).all())


@pytest.mark.gpu
@GPU
@pytest.mark.parametrize("options", [{"rank": 2}, {"energy": 0.9}], ids=str)
def test_a_gpu_resizes_as_the_cpu_does(options: dict[str, Any]) -> None:
    found, wanted = (
        lorakit.merge([(plain(1), 1.0)], device=device, **options) for device in ("cuda", "cpu")
    )
    like = torch.zeros(())
    for name, module in wanted.modules.items():
        change = module.delta(like)
        # Found in float64 from the same factors, and rounded to float32 once.
        torch.testing.assert_close(
            found.modules[name].delta(like), change, rtol=0, atol=2e-6 * float(change.abs().max())
        )


@pytest.mark.gpu
@GPU
def test_a_gpu_extracts_as_the_cpu_does(tmp_path: Path) -> None:
    pair = checkpoints(tmp_path)
    found, wanted = (extract(*pair, device=device) for device in ("cuda", "cpu"))
    assert found.report.total.ranks == wanted.report.total.ranks
    assert found.report.total.retained == pytest.approx(wanted.report.total.retained, rel=1e-6)
    like = torch.zeros(())
    for name, module in wanted.adapter.modules.items():
        change = module.delta(like)
        error = (found.adapter.modules[name].delta(like) - change).norm() / change.norm()
        assert float(error) < 1e-4, name
