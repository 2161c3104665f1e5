"""Every figure of `lorakit check` against numpy and scipy, from tensors as the files hold them.

Nothing of lorakit but the command line is used: names are spelled by the tests' own tables, changes are formed in
full in float64, directions come from scipy, and what chance gives is drawn by lot.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file

from lorakit.preview.demo_model import DemoModel
from tests.cli.conftest import Cli, cli, demo, home
from tests.factories import LAYOUTS
from tests.models import tiny_base_file, tiny_shapes

linalg = pytest.importorskip("scipy.linalg")

__all__ = ["cli", "demo", "home"]

Array = NDArray[np.float64]
Changes = Mapping[str, Array]
SHARE = 0.99
KINDS = ("self_attn", "cross_attn", "mlp", "adaln")


def tensors(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="pt") as file:
        return {
            key: np.asarray(file.get_tensor(key).double().numpy(), np.float64)
            for key in file.keys()  # noqa: SIM118
        }


def changes(path: Path, modules: Sequence[str]) -> dict[str, Array]:
    """What the adapter at `path` changes at strength 1, by the formulas of its trainers."""
    held = tensors(path)
    found = {}
    for module in modules:
        for spell in LAYOUTS.values():
            stem = spell(module)
            parts = {
                k.removeprefix(f"{stem}."): t for k, t in held.items() if k.startswith(f"{stem}.")
            }
            if parts:
                found[module] = change(parts)
    return found


def change(parts: Mapping[str, Any]) -> Any:
    alpha = float(parts["alpha"]) if "alpha" in parts else None

    def scale(rank: int) -> float:
        return 1.0 if alpha is None else alpha / rank

    if "diff" in parts:
        return np.asarray(parts["diff"], dtype=np.float64)
    if "lokr_w1" in parts:
        second = parts["lokr_w2_a"] @ parts["lokr_w2_b"]
        return np.kron(parts["lokr_w1"], second) * scale(parts["lokr_w2_b"].shape[0])
    if "hada_w1_a" in parts:
        one, other = (parts[f"hada_w{n}_a"] @ parts[f"hada_w{n}_b"] for n in "12")
        return one * other * scale(parts["hada_w1_b"].shape[0])
    down, up = (
        next(t for key, t in parts.items() if key in names)
        for names in (
            ("lora_down.weight", "lora_A.weight"),
            ("lora_up.weight", "lora_B.weight"),
        )
    )
    return up @ down * scale(down.shape[0])


def base_weights(path: Path) -> dict[str, Array]:
    """The linear layers: matrices, but for the embedding."""
    return {
        key.removeprefix("net.").removesuffix(".weight"): tensor
        for key, tensor in tensors(path).items()
        if tensor.ndim == 2 and "embed.weight" not in key
    }


def kind(module: str) -> str:
    if not module.startswith("blocks."):
        return module.split(".")[0]
    inner = module.split(".")[2]
    return "adaln" if inner.startswith("adaln") else inner


def block(module: str) -> str:
    return module.split(".")[1] if module.startswith("blocks.") else ""


def inner(one: Changes, other: Changes, modules: Sequence[str]) -> float:
    return math.fsum(float((one[m] * other[m]).sum()) for m in modules if m in one and m in other)


def norm(of: Mapping[str, Array], modules: Sequence[str]) -> float:
    return math.sqrt(math.fsum(float((of[m] ** 2).sum()) for m in modules if m in of))


class Given:
    """A stack: the changes of its files, their strengths, and the base."""

    def __init__(self, files: Sequence[tuple[Path, float]], base: Path) -> None:
        self.weights = base_weights(base)
        self.changes = [changes(path, list(self.weights)) for path, _ in files]
        self.strengths = [strength for _, strength in files]
        self.modules = [m for m in self.weights if any(m in one for one in self.changes)]

    def sum(self, strengths: Sequence[float]) -> dict[str, Array]:
        pairs = list(zip(self.changes, strengths, strict=True))
        return {m: sum(w * c[m] for c, w in pairs if m in c) for m in self.modules}  # type: ignore[misc]

    def cosine(self, i: int, j: int, modules: Sequence[str]) -> float | None:
        one, other = self.changes[i], self.changes[j]
        sizes = norm(one, modules) * norm(other, modules)
        if not sizes:
            return None
        sign = np.sign(self.strengths[i] * self.strengths[j])
        return float(sign) * inner(one, other, modules) / sizes


def directions(delta: Array) -> tuple[Array, Array]:
    """The leading singular vectors that hold `SHARE` of the energy."""
    u, s, v = np.linalg.svd(delta, full_matrices=False)
    held = np.cumsum(s**2)
    count = int(np.searchsorted(held, SHARE * held[-1])) + 1
    return u[:, :count], v[:count].T


def few(delta: Array) -> bool:
    """Whether no more than 128 directions, nor a quarter of those there are, hold the change."""
    return bool(directions(delta)[0].shape[1] <= min(128, min(delta.shape) // 4))


def agreement(one: Array, other: Array) -> float:
    """The mean squared cosine of the principal angles."""
    return float(np.mean(np.cos(linalg.subspace_angles(one, other)) ** 2))


def drawn(size: int, one: int, other: int, draw: np.random.Generator) -> float:
    """The same of spans drawn at random."""
    spans = (np.linalg.qr(draw.standard_normal((size, count)))[0] for count in (one, other))
    cosines = linalg.svdvals(next(spans).T @ next(spans))
    return float(np.mean(cosines**2))


def close(found: float | None, wanted: float | None, rel: float = 2e-5) -> None:
    if wanted is None:
        assert found is None
    else:
        assert found == pytest.approx(wanted, rel=rel, abs=1e-9)


def check_groups(document: Mapping[str, Any], given: Given) -> None:
    by: list[tuple[str, Callable[[str], str]]] = [
        ("all", lambda m: "all"),
        ("kinds", kind),
        ("blocks", block),
    ]
    for name, key in by:
        seen = set()
        for group in document["groups"][name]:
            seen.add(group["name"])
            modules = [m for m in given.weights if key(m) == group["name"]]
            many = range(len(given.changes))
            gram = [
                [inner(given.changes[i], given.changes[j], modules) for j in many] for i in many
            ]
            roots = np.sqrt(np.diag(gram))
            assert np.abs(np.array(group["gram"]) - gram).max() <= 1e-5 * roots.max() ** 2
            for at in many:
                close(
                    group["sizes"][at], abs(given.strengths[at]) * norm(given.changes[at], modules)
                )
                for other in many:
                    found, wanted = group["cosines"][at][other], given.cosine(at, other, modules)
                    assert (found is None) == (wanted is None)
                    if wanted is not None:
                        assert abs(found - wanted) < 1e-5
            close(group["sum"], norm(given.sum(given.strengths), modules), 1e-4)
            close(group["base_size"], norm(given.weights, modules))
        changed = {key(m) for m in given.modules}
        assert seen == changed - {""}


def check_entries(document: Mapping[str, Any], given: Given) -> None:
    whole = norm(given.weights, list(given.weights))
    for at, entry in enumerate(document["entries"]):
        one, strength = given.changes[at], abs(given.strengths[at])
        size = norm(one, given.modules)
        close(entry["size_at_1"], size)
        close(entry["size"], strength * size)
        close(entry["relative"], strength * size / whole)
        close(entry["relative_touched"], strength * size / norm(given.weights, list(one)))
    wanted = norm(given.sum(given.strengths), given.modules)
    close(document["sum"]["size"], wanted, 1e-4)
    close(document["sum"]["relative"], wanted / whole, 1e-4)


def check_pairs(document: Mapping[str, Any], given: Given, others: Sequence[str]) -> None:
    """`others` are the entries that are no LoRA: their directions are compared where few hold them."""
    names = [entry["name"] for entry in document["entries"]]
    for pair in document["pairs"]:
        i, j = names.index(pair["one"]), names.index(pair["other"])
        one, other = given.changes[i], given.changes[j]
        cosine = given.cosine(i, j, given.modules)
        close(pair["cosine"], cosine, 1e-4)
        close(pair["cosine_at_1"], at_one(given, i, j), 1e-4)
        common = [m for m in given.modules if m in one and m in other]
        assert pair["common_modules"] == len(common)
        stored_otherwise = [at for at in (i, j) if names[at] in others]
        common = [m for m in common if all(few(given.changes[at][m]) for at in stored_otherwise)]
        if not common:
            assert pair["outputs"] is None
            assert pair["inputs"] is None
            continue
        for side, name in enumerate(("outputs", "inputs")):
            spans = [(directions(one[m])[side], directions(other[m])[side]) for m in common]
            found = pair[name]
            assert found["modules"] == len(common)
            close(found["overlap"], float(np.mean([agreement(*two) for two in spans])), 1e-3)
            ranks = [(len(a), a.shape[1], b.shape[1]) for a, b in spans]
            if i == 0:
                close(found["chance"], drawn_agreement(ranks), 0.03)
            close(found["times_chance"], found["overlap"] / found["chance"], 1e-9)


def at_one(given: Given, i: int, j: int) -> float:
    one, other = given.changes[i], given.changes[j]
    return inner(one, other, given.modules) / (
        norm(one, given.modules) * norm(other, given.modules)
    )


def drawn_agreement(ranks: Sequence[tuple[int, int, int]]) -> float:
    """The mean agreement of spans drawn at random, for (size, dimension, dimension) of each module."""
    draw = np.random.default_rng(0)
    # The mean of p q squared cosines is off by √(2 / (p q)) of itself; so many make one per cent of it.
    found = [
        np.mean([drawn(size, p, q, draw) for _ in range(1 + 20_000 // (p * q * len(ranks)))])
        for size, p, q in ranks
    ]
    return float(np.mean(found))


def check_meetings(document: Mapping[str, Any], given: Given) -> None:
    """Where two entries fight, by the written rule: beyond 0.05, four standard errors of strangers, and
    twice what modules would give whose signs were drawn by lot."""
    names = [entry["name"] for entry in document["entries"]]
    found = {
        (one["one"], one["other"], one["where"], tuple(one["names"])): one
        for one in document["meetings"]
    }
    wanted: set[tuple[str, str, str, tuple[str, ...]]] = set()
    for pair in document["pairs"]:
        i, j = names.index(pair["one"]), names.index(pair["other"])
        if pair["relation"] in ("same", "scaled", "relative"):
            continue
        for one in KINDS:
            modules = [m for m in given.modules if kind(m) == one]
            if stands_out(given, i, j, modules):
                wanted.add((names[i], names[j], "kinds", (one,)))
        blocks = sorted({int(block(m)) for m in given.modules if block(m)})
        of = {b: [m for m in given.modules if block(m) == str(b)] for b in blocks}
        signs = {b: sign for b in blocks if (sign := stands_out(given, i, j, of[b]))}
        for run in runs(signs):
            wanted.add((names[i], names[j], "blocks", tuple(map(str, run))))
    assert found.keys() == wanted
    for (one, other, where, names_there), told in found.items():
        i, j = names.index(one), names.index(other)
        key = kind if where == "kinds" else block
        modules = [m for m in given.modules if key(m) in names_there]
        close(told["cosine"], given.cosine(i, j, modules), 1e-3)
        only = [w if at in (i, j) else 0.0 for at, w in enumerate(given.strengths)]
        sizes = [abs(given.strengths[at]) * norm(given.changes[at], modules) for at in (i, j)]
        close(told["effect"], norm(given.sum(only), modules) / math.hypot(*sizes) - 1, 1e-3)
        assert told["apart"] == (told["cosine"] < 0)


def runs(signs: Mapping[int, int]) -> Iterator[list[int]]:
    run: list[int] = []
    for number in sorted(signs):
        if run and (number != run[-1] + 1 or signs[number] != signs[run[-1]]):
            yield run
            run = []
        run.append(number)
    if run:
        yield run


def stands_out(given: Given, i: int, j: int, modules: Sequence[str]) -> int:
    """The sign of a cosine that stands out, else 0."""
    one, other = given.changes[i], given.changes[j]
    common = [m for m in modules if m in one and m in other]
    sizes = norm(one, modules) * norm(other, modules)
    if not common or not sizes:
        return 0
    total, chance, turns = 0.0, 0.0, 0.0
    for m in common:
        a, b = one[m], other[m]
        product = float((a * b).sum())
        total += product
        turns += product**2
        chance += max(
            float((a**2).sum() * (b**2).sum()) / a.size,
            float(((b @ a.T) ** 2).sum()) / a.shape[0],
            float(((b.T @ a) ** 2).sum()) / a.shape[1],
        )
    least = max(0.05 * sizes, 4 * math.sqrt(chance), 2 * math.sqrt(turns))
    return 0 if abs(total) <= least else 1 if total > 0 else -1


def check_balance(document: Mapping[str, Any], given: Given) -> None:
    balanced = document["balance"]["strengths"]
    sizes = [abs(w) * norm(c, given.modules) for w, c in zip(balanced, given.changes, strict=True)]
    # Strengths are proposed to two digits.
    assert max(sizes) / min(sizes) < 1.06
    for proposed, stated in zip(balanced, given.strengths, strict=True):
        assert np.sign(proposed) == np.sign(stated)
    now = max(
        abs(w) * norm(c, given.modules) for w, c in zip(given.strengths, given.changes, strict=True)
    )
    close(norm(given.sum(balanced), given.modules), now, 0.03)


def check_all(document: Mapping[str, Any], given: Given, others: Sequence[str]) -> None:
    check_entries(document, given)
    check_groups(document, given)
    check_pairs(document, given, others)
    check_meetings(document, given)
    check_balance(document, given)


@pytest.mark.slow
def test_the_demos_adapters(cli: Cli, demo: DemoModel) -> None:
    loras = demo.checkpoint.parent / "loras"
    words = {"ink": 0.8, "wash": -0.5, "neon": 1.0, "mosaic": 0.6}
    stack = [f"{loras / f'{name}.safetensors'}:{w}" for name, w in words.items()]
    ran = cli("check", *stack, "--base", demo.checkpoint, "--json")
    assert ran.code == 0, ran.err
    files = [(loras / f"{name}.safetensors", w) for name, w in words.items()]
    given = Given(files, demo.checkpoint)
    assert {one["where"] for one in ran.document["meetings"]} == {"kinds", "blocks"}
    check_all(ran.document, given, ["mosaic"])
    wide = [one["module"] for one in ran.document["spread_out"]]
    assert wide == [m for m, delta in given.changes[3].items() if not few(delta)]
    assert 0 < len(wide) < 20


def written(path: Path, parts: Mapping[str, torch.Tensor]) -> Path:
    save_file({key: tensor.contiguous() for key, tensor in parts.items()}, path)
    return path


def made(folder: Path, seed: int, algo: str, like: Changes | None = None) -> Path:
    """A random adapter of a small model, in its trainer's key names; `like` is pulled against in a block."""
    draw = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw) * 0.1

    parts: dict[str, torch.Tensor] = {}
    for module, (out, inside) in tiny_shapes(3).items():
        if "adaln" in module:
            continue
        stem = LAYOUTS["lycoris" if algo == "loha" else "comfy"](module)
        if algo == "lora":
            parts |= {
                f"{stem}.lora_A.weight": random(4, inside),
                f"{stem}.lora_B.weight": random(out, 4),
            }
            parts[f"{stem}.alpha"] = torch.tensor(3.0)
        elif algo == "loha":
            parts |= {f"{stem}.hada_w{n}_a": random(out, 2) for n in "12"}
            parts |= {f"{stem}.hada_w{n}_b": random(2, inside) for n in "12"}
            parts[f"{stem}.alpha"] = torch.tensor(2.0)
        elif algo == "few":
            noise = random(out, inside) * 0.001
            parts[f"{stem}.diff"] = random(out, 3) @ random(3, inside) + noise
            if like is not None and block(module) == "1":
                parts[f"{stem}.diff"] -= 0.7 * torch.from_numpy(like[module]).float()
        else:
            parts[f"{stem}.diff"] = random(out, inside) * 0.1
    return written(folder / f"{algo}{seed}.safetensors", parts)


def test_random_adapters_of_every_form(cli: Cli, tmp_path: Path) -> None:
    base = tiny_base_file(tmp_path / "base.safetensors")
    weights = list(base_weights(base))
    lora = made(tmp_path, 1, "lora")
    files = [
        (lora, 0.7),
        (made(tmp_path, 2, "loha"), -3.0),
        (made(tmp_path, 3, "few", changes(lora, weights)), 1.1),
        (made(tmp_path, 4, "full"), 0.5),
    ]
    stack = [f"{path}:{strength}" for path, strength in files]
    document = cli("check", *stack, "--base", base, "--json").document
    given = Given(files, base)
    check_all(document, given, ["loha2", "few3", "full4"])
    assert any(one["apart"] and one["names"] == ["1"] for one in document["meetings"])
    assert {(one["name"], one["module"]) for one in document["spread_out"]} == {
        (path.stem, m)
        for (path, _), changed in zip(files[1:], given.changes[1:], strict=True)
        for m, delta in changed.items()
        if not few(delta)
    }
    assert any("full4" in note and "not compared" in note for note in document["notes"])
    shown = " ".join(cli("check", *stack, "--base", base).out.split())
    assert "full4: the changes of 30 of 30 modules are of full rank" in shown


def test_the_error_of_a_cosine_is_that_of_turning_one_side_at_random(
    cli: Cli, tmp_path: Path
) -> None:
    base = tiny_base_file(tmp_path / "base.safetensors")
    files = [(made(tmp_path, seed, "lora"), 1.0) for seed in (1, 2)]
    document = cli("check", *(path for path, _ in files), "--base", base, "--json").document
    given = Given(files, base)
    draw = np.random.default_rng(0)
    one, other = given.changes
    products = np.zeros((150, 3))
    for m in given.modules:
        a, b = one[m], other[m]
        u, s, v = np.linalg.svd(a, full_matrices=False)
        u, s, v = u[:, :4], s[:4], v[:4]
        for at in range(len(products)):
            left, right = (
                linalg.qr(draw.standard_normal((n, min(4, n))), mode="economic")[0] for n in a.shape
            )
            # Turned at random, a change of rank 4 has four vectors drawn at random.
            products[at] += [
                ((left * s) @ right.T * b).sum(),
                ((left * s) @ v * b).sum(),
                ((u * s) @ right.T * b).sum(),
            ]
    sizes = norm(one, given.modules) * norm(other, given.modules)
    drawn = np.sqrt((products**2).mean(0)) / sizes
    stated = document["pairs"][0]["chance"]
    # Module by module the largest of the three is taken, so it lies a little above each.
    assert drawn.max() * 0.9 < stated < drawn.max() * 1.3


def test_what_rounding_puts_wrong_is_predicted(cli: Cli, demo: DemoModel) -> None:
    loras = demo.checkpoint.parent / "loras"
    for words in ({"ink": 0.8}, {"neon": 1.0, "wash": -0.3}):
        files = [(loras / f"{name}.safetensors", w) for name, w in words.items()]
        stack = [f"{path}:{w}" for path, w in files]
        document = cli("check", *stack, "--base", demo.checkpoint, "--json").document
        given = Given(files, demo.checkpoint)
        whole = given.sum(given.strengths)
        wrong = {
            m: torch.from_numpy(given.weights[m] + whole[m]).to(torch.bfloat16).double().numpy()
            - (given.weights[m] + whole[m])
            for m in given.modules
        }
        lost = norm(wrong, given.modules) / norm(whole, given.modules)
        assert document["sum"]["lost"] == pytest.approx(lost, rel=0.06)
