"""Keeping the libraries' chatter off a person's terminal."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging import CRITICAL

# diffusers logs the traceback of an exception that it then raises.
_NOTHING = CRITICAL + 1


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silence the log lines and progress bars of diffusers and transformers, and put them back.

    They report normal operation (weights loaded, a config key ignored) to a person who asked for
    a picture; what matters comes as an exception.
    """
    import diffusers.utils.logging as diffusers_logging
    import transformers.utils.logging as transformers_logging

    before = [
        (log, log.get_verbosity(), log.is_progress_bar_enabled())
        for log in (diffusers_logging, transformers_logging)
    ]
    try:
        for log, _, _ in before:
            log.set_verbosity(_NOTHING)
            _switch(log.disable_progress_bar)
        yield
    finally:
        for log, verbosity, bar in before:
            log.set_verbosity(verbosity)
            if bar:
                _switch(log.enable_progress_bar)


def _switch(change: Callable[[], None]) -> None:
    # huggingface_hub warns where the environment has fixed the switch for good; that is as well.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        change()
