"""A small collection in a catalog, of which galleries are made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image

from lorakit.adapters.lora import LoraModule
from lorakit.catalog import Catalog
from lorakit.catalog.covers import cover_path
from lorakit.report.exhibits import Exhibit, gather
from lorakit.report.gallery_page import gallery_page
from tests.models import lora_file, random_lora, usual_names

NASTY = "</script><img src=x onerror=alert(1)>&\"'"


def add_collection(catalog: Catalog, folder: Path) -> None:
    """ink (rated, tagged, with a cover), its half, and wash, of rank 8."""
    folder.mkdir(exist_ok=True)
    names = usual_names(3)
    ink = random_lora(names, 3)
    half = {n: LoraModule(m.up * 0.5, m.down, m.scale) for n, m in ink.items()}
    lora_file(folder / "ink.safetensors", ink, metadata={"modelspec.license": "CC-BY-4.0"})
    lora_file(folder / "ink-half.safetensors", half, "comfy")
    wash = random_lora(names[:10], 3, rank=8, seed=1)
    lora_file(folder / "wash.safetensors", wash, metadata={"modelspec.title": NASTY})
    assert len(catalog.add([folder]).added) == 3
    content = catalog.resolve("ink").tensor_sha256
    catalog.set_fact(content, "rating", 4)
    catalog.set_fact(content, "notes", "Only for me.")
    catalog.set_fact(content, "strength", {"value": 0.75, "min": 0.5, "max": 1.0})
    catalog.tag([content], add=["line art", NASTY.replace(",", "")])
    cover_path(content).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (640, 640), "teal").save(cover_path(content))


def exhibits_of(
    catalog: Catalog, warn: Callable[[str], None] = lambda message: None
) -> list[Exhibit]:
    torch.set_num_threads(1)
    return gather(catalog, catalog.adapters(), warn=warn)


def write_gallery(catalog: Catalog, path: Path) -> Path:
    """As its owner sees it."""
    path.write_text(gallery_page(exhibits_of(catalog), private=True), encoding="utf-8")
    return path
