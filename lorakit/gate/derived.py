"""Files whose values come from other models' weights: what would be written, before it is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lorakit.formats.header import DTYPE_BITS
from lorakit.licenses.policy import Verdict

if TYPE_CHECKING:
    import torch

# A checkpoint holds the base's weights; the others hold what came of weights: the difference of two
# checkpoints, a base's norms divided out of a DoRA, several adapters in one, or one in another form.
Kind = Literal[
    "checkpoint", "merged adapter", "extracted adapter", "dora conversion", "re-encoded adapter"
]

# (done, total, what is being worked on)
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class LazyTensor:
    """A tensor to be written: its safetensors dtype code and shape, and how to compute it on the CPU.

    `load` is called once, when the tensor's turn has come, and what it returns is let go at once.
    """

    dtype: str
    shape: tuple[int, ...]
    load: Callable[[], torch.Tensor]

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return prod(self.shape) * DTYPE_BITS[self.dtype] // 8


@dataclass(frozen=True)
class Derived:
    """A file that would hold weights of others, or what was computed from them.

    `kind` is what it is, `what` a phrase for the person and the audit ("ink:0.8 merged into rdbt"); it
    may name local paths and stands in no file. `open`
    is called only when the file may be written, so that nothing is read or computed for a refusal, and
    gives the tensors by name. `metadata` are entries of the header beside those that the gate writes,
    asked for once the tensors are known.
    `stack` is the stack it is made of, as text, where there is one: a refusal says how to share that.
    """

    kind: Kind
    what: str
    open: Callable[[], Mapping[str, LazyTensor]]
    metadata: Mapping[str, str] | Callable[[], Mapping[str, str]] = field(default_factory=dict)
    stack: str = ""

    def entries(self) -> Mapping[str, str]:
        """The entries of the header that it brings."""
        return self.metadata() if callable(self.metadata) else self.metadata


@dataclass(frozen=True)
class Written:
    """What was written: the file, the notice beside it, the verdict that allowed it, and its place in the audit.

    `content` is the SHA-256 of the file's bytes after its header.
    """

    path: Path
    notice: Path
    verdict: Verdict
    content: str
    audit: str
