"""PEFT's folders: `adapter_config.json` beside `adapter_model.safetensors`, taken like the file."""

from __future__ import annotations

from pathlib import Path, PurePath

from lorakit.paths import is_file

CONFIG_NAME = "adapter_config.json"
WEIGHTS_NAME = "adapter_model.safetensors"


def adapter_file(path: Path) -> Path:
    """`path`, or the weights in it where it is a folder of PEFT's; whether they are there is not looked at."""
    return path / WEIGHTS_NAME if is_file(path / CONFIG_NAME) else path


def is_adapter_file(path: Path) -> bool:
    """Whether `path` is a file, or a folder of PEFT's with its weights."""
    return is_file(adapter_file(path))


def called(path: PurePath) -> str:
    """What people call the adapter at `path`: the file without its ending, or PEFT's folder."""
    return path.parent.name if path.name == WEIGHTS_NAME and path.parent.name else path.stem
