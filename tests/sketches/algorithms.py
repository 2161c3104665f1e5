"""An adapter file of every algorithm, for one layer of the small model."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import save_file

import lorakit
from lorakit.adapters.adapter import Adapter
from tests.sketches.factories import IN, LAYER, OUT, RANK

_LORA: Mapping[str, tuple[int, ...]] = {
    "lora_A.weight": (RANK, IN),
    "lora_B.weight": (OUT, RANK),
}
_LOHA: Mapping[str, tuple[int, ...]] = {
    **{f"hada_w{i}_a": (OUT, RANK) for i in (1, 2)},
    **{f"hada_w{i}_b": (RANK, IN) for i in (1, 2)},
}
# Shapes of each algorithm's parts.
PARTS: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "lora": _LORA,
    "lora with alpha": {**_LORA, "alpha": ()},
    "lora with a core": {**_LORA, "lora_mid.weight": (RANK, RANK, 1, 1)},
    "loha": _LOHA,
    "loha with a core": {
        **{f"hada_w{i}_a": (RANK, OUT) for i in (1, 2)},
        **{f"hada_w{i}_b": (RANK, IN) for i in (1, 2)},
        **{f"hada_t{i}": (RANK, RANK, 1, 1) for i in (1, 2)},
    },
    "lokr": {"lokr_w1": (4, 8), "lokr_w2": (OUT // 4, IN // 8)},
    "lokr of factors": {
        "lokr_w1_a": (4, 2),
        "lokr_w1_b": (2, 8),
        "lokr_w2_a": (OUT // 4, RANK),
        "lokr_w2_b": (RANK, IN // 8),
        "alpha": (),
    },
    "lokr with a core": {
        "lokr_w1": (4, 8),
        "lokr_w2_a": (RANK, OUT // 4),
        "lokr_w2_b": (RANK, IN // 8),
        "lokr_t2": (RANK, RANK, 1, 1),
    },
    "full": {"diff": (OUT, IN)},
    "lora and full": {**_LORA, "diff": (OUT, IN)},
}
# These depend on the weight that they change.
ON_WEIGHT: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "dora": {**_LORA, "dora_scale": (OUT, 1)},
    "doha": {**_LOHA, "dora_scale": (1, IN)},
    "glora": {
        "a1.weight": (IN, RANK),
        "a2.weight": (RANK, IN),
        "b1.weight": (OUT, RANK),
        "b2.weight": (RANK, IN),
    },
    "tlora": {
        "q_layer.weight": (RANK, IN),
        "p_layer.weight": (OUT, RANK),
        "lambda_layer": (1, RANK),
    },
    "oft": {"oft_blocks": (OUT // 4, 4, 4)},
    "boft": {"oft_blocks": (2, OUT // 4, 4, 4), "rescale": (OUT, 1)},
    "oftv2": {"oft_R.weight": (IN // 4, 6)},
    "ia3": {"weight": (IN,), "on_input": ()},
    "set": {"set_weight": (OUT, IN)},
    "set and full": {"set_weight": (OUT, IN), "diff": (OUT, IN)},
}
ALL = {**PARTS, **ON_WEIGHT}


@cache
def adapter(algo: str) -> Adapter:
    """The adapter of an algorithm, read from a file."""
    generator = torch.Generator().manual_seed(len(algo))
    stem = f"diffusion_model.{LAYER}"
    tensors = {
        f"{stem}.{part}": torch.randn(shape, generator=generator) * 0.1
        for part, shape in ALL[algo].items()
    }
    if algo == "ia3":
        tensors[f"{stem}.on_input"] = torch.tensor(True)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "adapter.safetensors"
        save_file(tensors, path)
        return lorakit.load_adapter(path)
