"""Recorded launches: re-fusing a whole group again costs one call instead of many."""

from __future__ import annotations

from collections.abc import Callable

import torch

from lorakit.fusion.live_resident import Resident, fuse_rows, refresh_coefficients


class Recordings:
    """The CUDA graphs of an engine, one per group, made when a group is re-fused a second time.

    The strengths lie in a device buffer that a graph reads, so one recording serves every change.
    """

    def __init__(self) -> None:
        self._graphs: dict[str, torch.cuda.CUDAGraph] = {}
        self._warm: set[str] = set()

    @staticmethod
    def suit(resident: Resident) -> bool:
        """Whether this group's work can be recorded: all on a GPU, and products alone."""
        return resident.live.is_cuda and resident.pristine.is_cuda and not resident.dense

    def fuse_group(self, resident: Resident, scratch: torch.Tensor) -> None:
        """Re-fuse every row of the group, directly the first time, by its recording afterwards."""
        name = f"{resident.group.name} {resident.group.shape} {resident.group.stored}"

        def work() -> None:
            refresh_coefficients(resident)
            fuse_rows(resident, slice(0, len(resident.group.tensors)), scratch)

        if name not in self._warm:
            # Loads kernels and makes library handles, which a recording may not do.
            work()
            self._warm.add(name)
            return
        if name not in self._graphs:
            self._graphs[name] = _record(work, resident.live.device)
        self._graphs[name].replay()


def _record(work: Callable[[], None], device: torch.device) -> torch.cuda.CUDAGraph:
    """Record `work`. By hand, since `torch.cuda.graph` collects garbage before every recording."""
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize(device)
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call, unused-ignore]
    with torch.cuda.stream(stream):
        graph.capture_begin()
        try:
            work()
        finally:
            graph.capture_end()
    return graph
