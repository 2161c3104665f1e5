"""People with the same files under other names: each has a folder, a catalog, and a base."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lorakit.bases import choose_base
from lorakit.catalog import Catalog
from lorakit.formats.hashing import hash_file
from lorakit.formats.header import read_header
from lorakit.sharing.shared import Settings, SharedBase, SharedEntry, SharedStack, share
from lorakit.stack import ResolvedEntry, Stack, resolve_stack
from lorakit.strengths import Strength
from tests.catalog.factories import write_safetensors

MODULES = ("unet_blocks_0_self_attn_q_proj", "unet_blocks_27_mlp_layer1")
TEXT = "te_layers_3_self_attn_q_proj"
SETTINGS = Settings("@ink, a sea", 'red: blue, "green"', 832, 1216, 18, 1.5, 7, 3.0)


@dataclass(frozen=True)
class Machine:
    """Somebody's catalog."""

    catalog: Catalog
    folder: Path

    def shared(self, text: str, settings: Settings | None = SETTINGS) -> SharedStack:
        """A stack of this machine, as its recipes tell it."""
        return share(choose_base(self.catalog, None), self.resolved(Stack.parse(text)), settings)

    def resolved(self, stack: Stack) -> tuple[ResolvedEntry, ...]:
        return resolve_stack(stack, self.catalog)


def write_lora(path: Path, seed: int, *, text: bool = False, title: str = "") -> Path:
    """A kohya LoRA of two modules of the transformer, and one of the text encoder if wanted."""
    tensors: dict[str, tuple[int, ...]] = {}
    for module in (*MODULES, *((TEXT,) if text else ())):
        tensors[f"lora_{module}.lora_down.weight"] = (4, 8)
        tensors[f"lora_{module}.lora_up.weight"] = (8, 4)
    return write_safetensors(path, tensors, seed, {"modelspec.title": title} if title else {})


@contextmanager
def machine(folder: Path, adapters: Mapping[str, int], base: str) -> Iterator[Machine]:
    """A machine whose adapters are called as said, each with the tensors of its seed.

    Seeds from 100 on also touch the text encoder.
    """
    for name, seed in adapters.items():
        write_lora(folder / "files" / f"{name}.safetensors", seed, text=seed >= 100)
    file = write_safetensors(folder / f"{base}.safetensors", {"weight": (8, 8)}, 9, {})
    hashes = hash_file(file, read_header(file).data_offset)
    with Catalog.open(folder / "catalog.db") as catalog:
        catalog.add([folder / "files"])
        catalog.add_base(
            file,
            name=base,
            model="rdbt",
            prefix="",
            blocks=28,
            dtype="BF16",
            components=None,
            file_sha256=hashes.file_sha256,
            tensor_sha256=hashes.tensor_sha256,
        )
        yield Machine(catalog, folder)


def in_memory(strength: Strength, *, text: bool = True, name: str = "ink") -> SharedStack:
    """One adapter of that strength on a base, without any file."""
    modules = [
        "blocks.0.self_attn.q_proj",
        "blocks.20.mlp.layer1",
        "llm_adapter.blocks.0.mlp.0",
        *(["text_encoder.layers.3.self_attn.q_proj"] if text else []),
    ]
    digest = ("0123456789abcdef" * 4, "fedcba9876543210" * 4)
    entry = SharedEntry(
        name, Path(f"loras/{name}.safetensors"), strength, *digest, tuple(modules), 28
    )
    base = SharedBase("rdbt", Path("rdbt.safetensors"), "ab" * 32, "cd" * 32)
    return SharedStack(base, (entry,), SETTINGS)
