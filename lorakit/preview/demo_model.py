"""The small trained model that lorakit ships: a base that plays RDBT's part, and adapters for it.

It is of Anima's architecture and has every part that a real model has, of the real classes, so that it
goes through the same doors. It knows one shape on a plain background, at 128 × 128 pixels: "a large red
circle on the left, white background". How it was trained stands in `training/` of the repository, and
in each file's header.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

CHECKPOINT_NAME = "demo-rdbt.safetensors"
LORA_EDITION_NAME = "demo-rdbt-lora.safetensors"
STYLES = ("ink", "wash", "neon", "mosaic")
SIDE = 128
"""The width and height it was trained at, in pixels."""

SHIPPED = Path(__file__).with_name("demo")
"""Where the files lie within the package."""


@dataclass(frozen=True)
class DemoModel:
    """What was written.

    `checkpoint` gives at CFG 1 what the model it was distilled from gives at CFG 4, and `lora_edition`
    is that difference as an adapter: at strength -1 it takes the distillation off again. `components`
    is a diffusers folder of the other parts.
    """

    checkpoint: Path
    lora_edition: Path
    components: Path


def write_demo_model(folder: Path) -> DemoModel:
    """Copy the demo model into `folder`, which is made if need be (about 8 MB)."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (CHECKPOINT_NAME, LORA_EDITION_NAME):
        shutil.copyfile(SHIPPED / name, folder / name)
    components = folder / "components"
    shutil.copytree(SHIPPED / "components", components, dirs_exist_ok=True)
    return DemoModel(folder / CHECKPOINT_NAME, folder / LORA_EDITION_NAME, components)


def write_demo_adapters(folder: Path) -> tuple[Path, ...]:
    """Copy the four style adapters into `folder`: three of LoRA, one of LoKr, in four key layouts."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{style}.safetensors" for style in STYLES]
    return tuple(Path(shutil.copyfile(SHIPPED / name, folder / name)) for name in names)
