"""How an adapter was spelled before it was written in another layout: the record that leads back.

Keys that a trainer spells in its own way, and alphas where the new layout keeps them in a config, stand
in the header as `lorakit.spelling`, so that the way back restores the same tensors under the same names.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SPELLING_KEY = "lorakit.spelling"

# dtype code, shape and the bytes in hexadecimal; None for a module that had no alpha as a tensor.
AlphaForm = tuple[str, tuple[int, ...], str] | None


@dataclass(frozen=True)
class WayBack:
    """What the layout called `layout` had: `keys` from the usual spelling to the one that was there,
    `alphas` by module, and the text of the PEFT config that stood in its header.

    `usual` is the form of alpha of all modules that are not named.
    """

    layout: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)
    alphas: Mapping[str, AlphaForm] = field(default_factory=dict)
    usual: AlphaForm = None
    config: str | None = None

    def alpha_of(self, module: str) -> AlphaForm:
        """The form in which the alpha of `module` was kept."""
        return self.alphas.get(module, self.usual)

    def encode(self) -> dict[str, str]:
        """The entry of the header; `read_way_back` reads it."""
        document: dict[str, Any] = {"layout": self.layout}
        if self.keys:
            document["keys"] = dict(self.keys)
        if self.usual is not None:
            document["alpha"] = list(self.usual)
        if self.alphas:
            document["alphas"] = {m: list(f) if f else None for m, f in self.alphas.items()}
        if self.config is not None:
            document["config"] = self.config
        return {SPELLING_KEY: json.dumps(document, separators=(",", ":"))}


def way_back(
    layout: str,
    keys: Mapping[str, str],
    alphas: Mapping[str, AlphaForm],
    config: str | None = None,
) -> WayBack:
    """The record for a file of `layout`, with the most frequent form of alpha named once."""
    counts = Counter(alphas.values())
    usual = counts.most_common(1)[0][0] if counts else None
    others = {module: form for module, form in alphas.items() if form != usual}
    return WayBack(layout, dict(keys), others, usual, config)


def read_way_back(metadata: Mapping[str, str]) -> WayBack | None:
    """The record in a header; None where there is none, or none that can be read."""
    text = metadata.get(SPELLING_KEY)
    try:
        found = json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not isinstance(found.get("layout"), str):
        return None
    keys, alphas, config = found.get("keys", {}), found.get("alphas", {}), found.get("config")
    try:
        return WayBack(
            found["layout"],
            {str(new): str(old) for new, old in keys.items()},
            {str(module): _form(form) for module, form in alphas.items()},
            _form(found.get("alpha")),
            config if isinstance(config, str) else None,
        )
    except (AttributeError, TypeError, ValueError):
        return None


def _form(value: object) -> AlphaForm:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 3:
        raise ValueError("no form of an alpha")
    dtype, shape, raw = value
    bytes.fromhex(raw)
    return str(dtype), tuple(int(side) for side in shape), str(raw)
