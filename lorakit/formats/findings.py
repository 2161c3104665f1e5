"""What a report says beside its figures: problems, which would make fusing wrong, and notes."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

from lorakit.formats import anima
from lorakit.formats.grouping import KeyGroups
from lorakit.formats.header import Header
from lorakit.formats.other_models import OtherModel, strange_layers
from lorakit.formats.peft_config import PeftConfig
from lorakit.formats.variants import model_blocks

# Layouts whose weights may come from PEFT, which keeps alpha elsewhere.
PEFT_LIKE = frozenset({"diffusers", "peft"})


def shape_problems(groups: KeyGroups) -> list[str]:
    """LoRA factors that do not multiply: (out, rank) and (rank, in) must share the rank."""
    problems = []
    for module in groups.modules:
        up, down = module.parts.get("up"), module.parts.get("down")
        if up is None or down is None:
            continue
        fits = len(up.shape) >= 2 and len(down.shape) >= 2 and up.shape[1] == down.shape[0]
        if not fits:
            problems.append(
                f"{module.name}: up {list(up.shape)} and down {list(down.shape)} do not multiply"
            )
    return problems


def alpha_problems(groups: KeyGroups, alphas: Mapping[str, float]) -> list[str]:
    """Alphas that give no scale; LoKr with both factors full ignores its own, whatever it says."""
    problems = []
    for module in groups.modules:
        info = module.parts.get("alpha")
        if info is None or not module.uses_alpha:
            continue
        alpha = alphas.get(module.name)
        if alpha is None:
            problems.append(
                f"{module.name}: alpha is {info.dtype} {list(info.shape)}, not one number"
            )
        elif not isfinite(alpha):
            problems.append(f"{module.name}: alpha is {alpha}")
    return problems


def notes(
    groups: KeyGroups,
    configs: Mapping[str, PeftConfig],
    header: Header,
    other: OtherModel | None = None,
) -> tuple[str, ...]:
    """What to know before using the adapter, in whole sentences; `other` is whose adapter it is instead."""
    found = []
    if other is not None:
        found.append(other.sentence)
    elif not groups.modules:
        count = len(header.tensors)
        called = strange_layers(header.tensors)
        which = (
            "its one tensor patches no" if count == 1 else f"none of its {count} tensors patches a"
        )
        found.append(
            f"No Anima adapter in this file: {which} known module"
            + (f"; they are of {called}." if called else ".")
        )
    without_alpha = sum("alpha" not in m.parts for m in groups.modules)
    if configs and without_alpha:
        found.append(f"Alpha was read from {next(iter(configs.values())).source}.")
    unread = sum(len(config.unread_patterns) for config in configs.values())
    if unread:
        found.append(f"{unread} of the config's alpha patterns cannot be read and are left out.")
    if not configs and without_alpha and groups.layouts[:1] and groups.layouts[0] in PEFT_LIKE:
        found.append(
            "This layout keeps alpha outside the weights and the file brings no adapter config: "
            "scale 1 is assumed."
        )
    highest = max((anima.block_of(m.name) or 0 for m in groups.modules), default=0)
    if model_blocks(highest) is None:
        found.append(f"Block {highest} is beyond every published Anima model (28, 40, 52 blocks).")
    return tuple(found)
