"""Run by LoRA Manager's own Python: start its server, and let it reach nothing but this machine.

    python lora_manager_driver.py CHECKOUT/standalone.py --host 127.0.0.1 --port 8188

It imports nothing of lorakit's, which that Python need not have.
"""

from __future__ import annotations

import runpy
import socket
import sys

_HERE = ("127.0.0.1", "localhost", None)
_resolve = socket.getaddrinfo


def _resolve_here(host: object, *arguments: object, **options: object) -> object:
    # At start it asks for a list of language models, which has no place in a timed run.
    if host not in _HERE:
        raise socket.gaierror(socket.EAI_NONAME, "the benchmark has no network")
    return _resolve(host, *arguments, **options)  # type: ignore[arg-type]


if __name__ == "__main__":
    socket.getaddrinfo = _resolve_here  # type: ignore[assignment]
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
