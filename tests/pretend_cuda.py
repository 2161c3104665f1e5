"""A CUDA device that is not there: tensors that say "cuda:0", hold their numbers in main memory and obey CUDA's rules.

It refuses what CUDA refuses: tensors of both places in one operation (but a CPU number in arithmetic), NumPy,
random numbers of another device's generator, and while a graph is recorded anything that waits for the device.
It computes what the CPU computes, so code that is right gives the CPU's bits.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing

CUDA = torch.device("cuda:0")
_aten = torch.ops.aten
_ACROSS = {_aten.copy_.default, _aten._to_copy.default}
# A CUDA tensor takes places that lie in main memory; the other way round is refused.
_PLACES = {_aten.index.Tensor, _aten.index_put_.default, _aten.index_put.default}
_WAITING = {_aten._local_scalar_dense.default, _aten.equal.default, _aten.nonzero.default}


class PretendTensor(torch.Tensor):
    """A tensor on the pretended device; `held` has its numbers."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> PretendTensor:
        made: PretendTensor = torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=CUDA,
        )
        made.held = held
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        return _run(func, tuple(args), kwargs or {})

    def data_ptr(self) -> int:
        return self.held.data_ptr()

    def __repr__(self) -> str:  # type: ignore[override]
        return f"{self.held!r} on {CUDA}"


class _Calls(TorchFunctionMode):
    """The calls that never come to an operation: `torch.tensor`, `tolist`, and "cuda" without a number."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        args, kwargs = _each(_numbered, tuple(args)), _each(_numbered, kwargs or {})
        if func is torch.Tensor.tolist and isinstance(args[0], PretendTensor):
            return args[0].cpu().tolist()
        if func is torch.tensor and kwargs.get("device") == CUDA:
            return torch.tensor(*args, **{**kwargs, "device": "cpu"}).to(CUDA)
        return func(*args, **kwargs)


def _each(change: Callable[[Any], Any], given: Any) -> Any:
    """`given` with every leaf of its lists, tuples and dictionaries changed."""
    if isinstance(given, list):
        return [_each(change, one) for one in given]
    if isinstance(given, dict):
        return {key: _each(change, one) for key, one in given.items()}
    if type(given) is tuple:
        return tuple(_each(change, one) for one in given)
    return change(given)


def _tensors(given: Any) -> Iterator[torch.Tensor]:
    if isinstance(given, torch.Tensor):
        yield given
    elif isinstance(given, list | tuple):
        for one in given:
            yield from _tensors(one)


def _numbered(one: Any) -> Any:
    return CUDA if isinstance(one, str | torch.device) and str(one) == "cuda" else one


class _Pretending(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Makes `device="cuda"` mean the pretended device."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        return _run(func, tuple(args), kwargs or {})


def _run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    given = [*_tensors(args), *_tensors([*kwargs.values()])]
    on_cuda = any(isinstance(tensor, PretendTensor) for tensor in given)
    if on_cuda and func not in _ACROSS:
        _require_together(func, given)
    wanted = kwargs.get("device")
    to_cuda = on_cuda if wanted is None else torch.device(wanted).type == "cuda"
    if to_cuda and kwargs.get("generator") is not None:
        raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")
    if func is _aten.copy_.default:
        to_cuda = isinstance(args[0], PretendTensor)
    plain_args, plain_kwargs = _each(_held, args), _each(_held, kwargs)
    if wanted is not None:
        plain_kwargs["device"] = torch.device("cpu")
    plain_kwargs.pop("pin_memory", None)
    work = Graph.recording
    if work is not None and on_cuda:
        found = work.record(func, plain_args, plain_kwargs, waits=not to_cuda)
    else:
        found = func(*plain_args, **plain_kwargs)
    if not to_cuda:
        return found
    wrapped = _each(lambda x: PretendTensor(x) if isinstance(x, torch.Tensor) else x, found)
    return return_and_correct_aliasing(func, args, kwargs, wrapped)  # type: ignore[no-untyped-call]


def _held(one: Any) -> Any:
    return one.held if isinstance(one, PretendTensor) else one


def _require_together(func: Any, given: Sequence[torch.Tensor]) -> None:
    strangers = [tensor for tensor in given if not isinstance(tensor, PretendTensor)]
    if torch.Tag.pointwise in func.tags:
        strangers = [tensor for tensor in strangers if tensor.ndim]
    if func in _PLACES and isinstance(given[0], PretendTensor):
        strangers = [tensor for tensor in strangers if tensor.dtype.is_floating_point]
    if strangers:
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, cuda:0 and "
            f"cpu! ({func})"
        )


class Graph:
    """A recording: while it is made nothing is computed, and its replay computes into the same memory."""

    recording: Graph | None = None

    def __init__(self) -> None:
        self._steps: list[Callable[[], None]] = []

    def capture_begin(self) -> None:
        assert Graph.recording is None
        Graph.recording = self

    def capture_end(self) -> None:
        Graph.recording = None

    def replay(self) -> None:
        for step in self._steps:
            step()

    def record(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], *, waits: bool
    ) -> Any:
        if waits or func in _WAITING:
            raise RuntimeError(f"operation not permitted when stream is capturing ({func})")
        if func.is_view:
            return func(*args, **kwargs)
        if func._schema.is_mutable:
            self._steps.append(lambda: func(*args, **kwargs))
            return kwargs.get("out", args[0])
        made = func(*args, **kwargs)
        assert isinstance(made, torch.Tensor)

        def again() -> None:
            made.copy_(func(*args, **kwargs))

        self._steps.append(again)
        return made.fill_(torch.nan if made.is_floating_point() else 0)


class _Stream:
    def __init__(self, device: object = None) -> None:
        pass


@contextmanager
def _stream(stream: _Stream) -> Iterator[None]:
    yield


@contextmanager
def _guarded() -> Iterator[None]:
    """Let C++ switch to the device, which takes the switch of a library for CUDA: the CPU's does nothing."""
    folder = Path(torch.__file__).parent / "lib"
    library = next((path for path in folder.glob("libc10.*") if path.is_file()), None)
    if library is None:
        pytest.skip("PyTorch keeps its devices elsewhere on this system")
    switches = (ctypes.c_void_p * 2).in_dll(
        ctypes.CDLL(str(library)), "_ZN3c104impl26device_guard_impl_registryE"
    )
    before = switches[1]
    switches[1] = switches[0]
    try:
        yield
    finally:
        switches[1] = before


@contextmanager
def pretend_cuda(*, free: int = 80 << 30, total: int = 80 << 30) -> Iterator[None]:
    """One CUDA device, for this thread, with so many bytes of memory."""
    answers: dict[str, Any] = {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "synchronize": lambda device=None: None,
        "empty_cache": lambda: None,
        "mem_get_info": lambda device=None: (free, total),
        "memory_reserved": lambda device=None: 0,
        "memory_allocated": lambda device=None: 0,
        "max_memory_allocated": lambda device=None: 0,
        "reset_peak_memory_stats": lambda device=None: None,
        "get_device_name": lambda device=None: "pretended",
        "get_device_capability": lambda device=None: (9, 0),
        "CUDAGraph": Graph,
        "Stream": _Stream,
        "stream": _stream,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, answer in answers.items():
            patch.setattr(torch.cuda, name, answer)
        with _guarded(), _Calls(), _Pretending():  # type: ignore[no-untyped-call]
            yield
