"""Sort the keys of an adapter file by module, and name every key that fits nowhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from lorakit.formats.header import Header, TensorInfo
from lorakit.formats.layouts import ParsedKey, parse_key
from lorakit.formats.parts import Algo, algo_of, missing_parts

# The factor whose rows are the rank, by algorithm; of several, the first that is there.
_RANK_PART: Mapping[str, tuple[str, ...]] = {
    "lora": ("down",),
    "loha": ("hada_w1_b",),
    "lokr": ("lokr_w2_b", "lokr_w1_b"),
    "tlora": ("tlora_q",),
}


@dataclass(frozen=True)
class ModuleKeys:
    """The tensors of one module, by part; `path` is the module's name as the file spells it."""

    name: str
    layout: str
    path: str
    algo: Algo
    parts: Mapping[str, TensorInfo]

    @property
    def rank(self) -> int | None:
        """The rank, from shapes alone: metadata may be of another file. None where there is none."""
        for part in _RANK_PART.get(self.algo.name, ()):
            info = self.parts.get(part)
            if info is not None and info.shape:
                return info.shape[0]
        return None

    @property
    def shape(self) -> tuple[int, int] | None:
        """(out, in) of the weight, where the factors tell it."""
        parts = self.parts
        if {"up", "down"} <= parts.keys():
            up, down = parts["up"].shape, parts["down"].shape
            return (up[0], down[1]) if len(up) >= 2 and len(down) >= 2 else None
        if {"hada_w1_a", "hada_w1_b"} <= parts.keys() and "hada_t1" not in parts:
            a, b = parts["hada_w1_a"].shape, parts["hada_w1_b"].shape
            return (a[0], b[1]) if len(a) == len(b) == 2 else None
        return None


@dataclass(frozen=True)
class KeyGroups:
    """All keys of a file: in a module, left over, or claimed twice."""

    modules: tuple[ModuleKeys, ...]
    layouts: tuple[str, ...]
    unused_keys: tuple[str, ...]
    problems: tuple[str, ...]


def group_keys(header: Header) -> KeyGroups:
    """Parse every key of `header`; modules come in the order of the file, layouts by frequency."""
    found: dict[str, dict[str, TensorInfo]] = {}
    spelt: dict[str, ParsedKey] = {}
    layouts: Counter[str] = Counter()
    unused: list[str] = []
    problems: list[str] = []
    for key, info in header.tensors.items():
        parsed = parse_key(key)
        if parsed is None:
            unused.append(key)
            continue
        parts = found.setdefault(parsed.module, {})
        if parsed.part in parts:
            problems.append(f"{key} and {parts[parsed.part].name} name the same part of a module")
            unused.append(key)
            continue
        parts[parsed.part] = info
        spelt.setdefault(parsed.module, parsed)
        layouts[parsed.layout] += 1
    modules = []
    for name, parts in found.items():
        module, lacking = _module(spelt[name], parts)
        if module is None:
            unused.extend(info.name for info in parts.values())
        else:
            modules.append(module)
        if lacking:
            problems.append(
                f"{name} ({next(iter(parts.values())).name}) lacks {', '.join(lacking)}"
            )
    return KeyGroups(
        tuple(modules),
        tuple(layout for layout, _ in layouts.most_common()) if modules else (),
        tuple(unused),
        tuple(problems),
    )


def _module(
    first: ParsedKey, parts: Mapping[str, TensorInfo]
) -> tuple[ModuleKeys | None, tuple[str, ...]]:
    """The module, unless nothing marks it as an adapter's; and the parts it lacks."""
    algo = algo_of(parts)
    if algo is None:
        # An alpha or a magnitude alone is the orphan of something; a bare weight is a checkpoint's.
        orphaned = not parts.keys() <= {"weight"}
        return None, ("the factors it scales",) if orphaned else ()
    module = ModuleKeys(first.module, first.layout, first.path, algo, parts)
    return module, missing_parts(algo, parts)
