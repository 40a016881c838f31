"""Coroutines driven from synchronous code, in scripts, signal handlers and notebooks."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from typing import Any, TypeVar

from ratchet.engine import Control

Result = TypeVar("Result")


def drive(start: Callable[[Control], Coroutine[Any, Any, Result]]) -> Result:
    """Run a coroutine to its end: here, or in a thread of its own where a loop is already running (notebooks)."""
    control = Control()
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        with interruptible(control):
            return _in_new_loop(start(control))
    box: list[Any] = []
    thread = threading.Thread(target=lambda: box.append(_caught(start(control))), name="ratchet-run")
    thread.start()
    try:
        thread.join()
    except KeyboardInterrupt:
        control.stop()
        thread.join()
    result, error = box[0]
    if error is not None:
        raise error
    return result


def _caught(work: Coroutine[Any, Any, Result]) -> tuple[Result | None, BaseException | None]:
    try:
        return _in_new_loop(work), None
    except BaseException as error:
        return None, error


def _in_new_loop(work: Coroutine[Any, Any, Result]) -> Result:
    try:
        import uvloop
    except ImportError:  # Windows
        return asyncio.run(work)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


@contextmanager
def interruptible(control: Control) -> Generator[None]:
    """Ctrl-C asks the run to stop rather than breaking it off, while this is entered in the main thread.

    So does SIGTERM, which schedulers and containers send before they kill, unless the program handles it itself.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {signal.SIGINT: signal.getsignal(signal.SIGINT)}
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        before[signal.SIGTERM] = signal.SIG_DFL

    def interrupt(*_: object) -> None:
        if control.engine is None:  # nothing is under way yet
            raise KeyboardInterrupt
        control.stop()

    for number in before:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
