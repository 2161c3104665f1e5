"""LyCORIS's own names: its files go there and back, and its own loader reads what is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import lorakit
from lorakit.errors import NotFusable
from lorakit.formats.header import read_header
from lorakit.formats.layouts import WRITABLE, WritableLayout

lycoris = pytest.importorskip("lycoris")
from lycoris.wrapper import (  # noqa: E402 - after importorskip
    LycorisNetwork,
    create_lycoris_from_weights,
)

from tests.fusion.test_lycoris_oracle import Dit, quick_collections  # noqa: E402

__all__ = ["quick_collections"]
pytestmark = pytest.mark.filterwarnings("ignore")

ALGOS: dict[str, dict[str, Any]] = {
    "lora": {"network_module": "lora"},
    "dora": {"network_module": "lora", "dora_wd": True},
    "loha": {"network_module": "loha"},
    "lokr": {"network_module": "lokr", "factor": 4},
    "oft": {"network_module": "diag-oft"},
    "boft": {"network_module": "boft"},
    "glora": {"network_module": "glora"},
    "ia3": {"network_module": "ia3"},
    "full": {"network_module": "full"},
    "tlora": {"network_module": "tlora"},
}
# What only LyCORIS's names and kohya's can spell, and ComfyUI's besides.
HELD: dict[str, set[WritableLayout]] = {
    "lora": set(WRITABLE),
    "dora": set(WRITABLE),
    "loha": {"kohya", "comfy", "peft", "onetrainer", "lycoris"},
    "lokr": {"kohya", "comfy", "peft", "onetrainer", "lycoris"},
    **{name: {"kohya", "comfy", "lycoris"} for name in ("oft", "boft", "glora", "full")},
    **{name: {"kohya", "lycoris"} for name in ("ia3", "tlora")},
}


def trained(path: Path, name: str) -> tuple[Dit, Path]:
    """A model, and the file of a network that LyCORIS's wrapper put round it."""
    torch.manual_seed(0)
    dit = Dit()
    LycorisNetwork.apply_preset({"target_module": ["Linear"], "target_name": []})
    network = LycorisNetwork(dit, 1.0, 4, 4, 2.0, 2.0, **ALGOS[name])
    network.apply_to()
    generator = torch.Generator().manual_seed(1)
    for tensor in network.parameters():
        tensor.data.add_(torch.randn(tensor.shape, generator=generator) * 0.02)
    save_file({key: t.contiguous() for key, t in network.state_dict().items()}, path)
    network.restore()
    return dit, path


def changed(dit: nn.Module, path: Path) -> dict[str, torch.Tensor]:
    """What the model's layers give with the network that LyCORIS reads from the file at `path`."""
    network, _ = create_lycoris_from_weights(1.0, str(path), dit)
    assert len(network.loras) == 6
    network.apply_to()
    with torch.no_grad():
        found = {
            name: layer(torch.eye(layer.in_features))
            for name, layer in dit.named_modules()
            if isinstance(layer, nn.Linear) and name.startswith("blocks.")
        }
    network.restore()
    return found


@pytest.mark.parametrize("name", ALGOS)
def test_what_lycoris_saved_goes_there_and_back(tmp_path: Path, name: str) -> None:
    dit, source = trained(tmp_path / "source.safetensors", name)
    before = load_file(source)
    assert all(key.startswith("lycoris_") for key in before)
    assert lorakit.inspect(source).unused_keys == ()
    # LyCORIS 4.1.3 cannot read its own IA3 back.
    wanted = {} if name == "ia3" else changed(dit, source)
    for layout in WRITABLE:
        there = tmp_path / layout / "adapter_model.safetensors"
        there.parent.mkdir()
        if layout not in HELD[name]:
            with pytest.raises(NotFusable, match=f"the layout {layout}"):
                lorakit.load_adapter(source).save(there, layout=layout)
            continue
        lorakit.load_adapter(source).save(there, layout=layout)
        back = tmp_path / f"{layout}-back.safetensors"
        lorakit.load_adapter(there).save(back, layout="lycoris")
        after = load_file(back)
        assert after.keys() == before.keys()
        for key, tensor in before.items():
            assert after[key].dtype == tensor.dtype
            assert torch.equal(after[key], tensor), (layout, key)
        assert content_of(back) == content_of(source)
        found = changed(dit, back) if wanted else {}
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[key], value) for key, value in wanted.items())


def test_lycoris_reads_what_came_from_another_layout(tmp_path: Path) -> None:
    """Without the record of the names of before: what kohya's trainers wrote, under LyCORIS's own names."""
    dit, source = trained(tmp_path / "source.safetensors", "lokr")
    wanted = changed(dit, source)
    kohya = {k.replace("lycoris_", "lora_unet_"): t for k, t in load_file(source).items()}
    save_file(kohya, tmp_path / "kohya.safetensors")
    there = tmp_path / "there.safetensors"
    lorakit.load_adapter(tmp_path / "kohya.safetensors").save(there, layout="lycoris")
    found = changed(dit, there)
    assert all(torch.equal(found[key], value) for key, value in wanted.items())


def content_of(path: Path) -> bytes:
    """The bytes after the header."""
    return path.read_bytes()[read_header(path).data_offset :]
