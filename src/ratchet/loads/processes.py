"""A load test from start to end, in this process or spread over several, merged as if one had seen it all.

Processes are spawned, so nothing is inherited by accident; each takes the shots whose index it owns and starts at the
same instant of the machine's monotonic clock.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import perf_counter_ns
from typing import Any, TypeVar, cast

import numpy as np

from ratchet import variants
from ratchet.errors import ConfigError, RatchetError
from ratchet.loads import health, records, targets
from ratchet.loads.driving import Drive, Driver, Part
from ratchet.loads.records import ErrorCount, Measured, Shots, Tick
from ratchet.records import Variant

Result = TypeVar("Result")
_LEAD_S = 0.1
"""From the moment all are ready to second 0."""
_START_LIMIT_S = 60.0
_STOPS = (signal.SIGINT, signal.SIGTERM)
"""Ctrl-C, and what schedulers and containers send before they kill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What a process is sent."""

    arms: Mapping[str, Variant]
    shots: Shots
    drive: Drive
    part: int
    parts: int
    environ: Mapping[str, str] | None = field(repr=False)
    root: Path | None
    ticking: bool


def measure(
    arms: Mapping[str, Variant],
    shots: Shots,
    drive: Drive,
    *,
    processes: int = 1,
    apart: bool = False,
    environ: Mapping[str, str] | None = None,
    root: Path | None = None,
    report: Callable[[Tick], None] | None = None,
) -> Measured:
    """One load test; Ctrl-C ends it early with what there is.

    Args:
        arms: What is called; `Shot.arm` counts them in this order.
        shots: With more than one process it must be picklable, and so must the arms.
        apart: Keep the generator out of this process even where it is one, so that what `report` draws costs it
            nothing.
        environ: Where keys are looked up; `os.environ` by default.
        report: Called twice a second, in the calling thread or the one that drives.

    Raises:
        ConfigError: An arm can't be called, or the load can't leave this machine.
        RatchetError: A process ended before it gave its part.
    """
    if drive.mode == "closed" and drive.users < processes:
        raise ConfigError(
            f"{drive.users} users can't be spread over {processes} processes: lower --processes"
        )
    if processes > 1 or apart:
        _check_importable(arms)
    notes = health.check_limits(processes=processes, users=drive.users if drive.mode == "closed" else None)
    aimed = targets.aim_all(arms, environ=environ, root=root)
    notes = (*notes, *targets.notes(aimed))
    jobs = [
        _Job(
            arms=arms, shots=shots, drive=drive, part=part, parts=processes, environ=environ, root=root,
            ticking=report is not None,
        )
        for part in range(processes)
    ]  # fmt: skip
    if processes == 1 and not apart:
        began, parts = _here(jobs[0], report)
    else:
        began, parts = _Crew(jobs, report).run()
    return _merged(parts, drive, began, notes)


def _check_importable(arms: Mapping[str, Variant]) -> None:
    for name, variant in arms.items():
        if not variants.importable(variant):
            raise ConfigError(
                f"arm {name!r} calls {variant.target!r}, which another process can't find: put the function at the top "
                "of a module, or use one process"
            )


def _merged(parts: Sequence[Part], drive: Drive, began: float, notes: tuple[str, ...]) -> Measured:
    samples = records.merge([part.samples for part in parts])
    vitals = records.merge_vitals([part.vitals for part in parts])
    errors: Counter[ErrorCount] = Counter()
    for part in parts:
        for error in part.errors:
            errors[replace(error, count=0)] += error.count
    return Measured(
        samples=samples,
        vitals=vitals,
        health=health.judge(samples, vitals, drive.mode, notes=notes),
        mode=drive.mode,
        started_at=began,
        elapsed_s=float(np.max(samples.last_byte_s, initial=0.0)),
        errors=tuple(replace(error, count=count) for error, count in errors.most_common()),
        ended="interrupted" if any(part.interrupted for part in parts) else "done",
    )


def _users_of(drive: Drive, part: int, parts: int) -> int:
    return drive.users // parts + (part < drive.users % parts)


async def _drive(job: _Job, agree: Callable[[Driver], int], report: Callable[[Tick], None] | None) -> Part:
    """Prepare, agree on second 0 (on `perf_counter_ns`) and on how to be stopped, drive."""
    driver = Driver(
        targets.aim_all(job.arms, environ=job.environ, root=job.root),
        job.shots(job.part, job.parts),
        job.drive,
        users=_users_of(job.drive, job.part, job.parts),
        report=report,
    )
    await driver.prepare()
    return await driver.run(agree(driver))


def _run(work: Coroutine[Any, Any, Result]) -> Result:
    try:
        import uvloop
    except ImportError:  # Windows
        return asyncio.run(work)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


# in this process


def _here(job: _Job, report: Callable[[Tick], None] | None) -> tuple[float, list[Part]]:
    def agree(driver: Driver) -> int:
        if threading.current_thread() is threading.main_thread() and sys.platform != "win32":
            for number in _STOPS:
                asyncio.get_running_loop().add_signal_handler(number, driver.stop)
        return perf_counter_ns() + int(_LEAD_S * 1e9)

    began = time.time() + _LEAD_S
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        with _signals_kept():
            return began, [_run(_drive(job, agree, report))]
    box: list[Part | BaseException] = []  # a notebook's loop is running

    def work() -> None:
        try:
            box.append(_run(_drive(job, agree, report)))
        except BaseException as error:
            box.append(error)

    thread = threading.Thread(target=work, name="ratchet-load")
    thread.start()
    thread.join()
    if isinstance(box[0], BaseException):
        raise box[0]
    return began, [box[0]]


# in processes of their own


class _Crew:
    """Starts the processes, gives them their second 0, adds up their ticks and gathers their parts."""

    def __init__(self, jobs: Sequence[_Job], report: Callable[[Tick], None] | None) -> None:
        self._jobs = jobs
        self._report = report
        self._pipes: list[Connection] = []
        self._processes: list[BaseProcess] = []
        self._ticks: list[Tick | None] = [None] * len(jobs)
        self._fresh = [False] * len(jobs)
        self._parts: list[Part | None] = [None] * len(jobs)

    def run(self) -> tuple[float, list[Part]]:
        context = multiprocessing.get_context("spawn")
        try:
            for job in self._jobs:
                ours, theirs = cast("tuple[Connection, Connection]", context.Pipe())
                process = context.Process(target=_work, args=(theirs,), name=f"ratchet-load-{job.part}")
                with _one_thread():
                    process.start()
                theirs.close()
                self._pipes.append(ours)
                self._processes.append(process)
                ours.send(job)
            for number in range(len(self._jobs)):
                self._expect_ready(number)
            start_ns = perf_counter_ns() + int(_LEAD_S * 1e9)
            began = time.time() + _LEAD_S
            for pipe in self._pipes:
                pipe.send(start_ns)
            with _stopping(self._pipes):
                self._listen()
            return began, [part for part in self._parts if part is not None]
        finally:
            for pipe in self._pipes:
                pipe.close()
            for process in self._processes:
                process.join(timeout=5.0)
                if process.is_alive():
                    process.kill()
                    process.join()

    def _expect_ready(self, number: int) -> None:
        if not self._pipes[number].poll(_START_LIMIT_S):
            raise RatchetError(f"process {number} of the load test was not ready within {_START_LIMIT_S:g} s")
        message = self._receive(number)
        if message != "ready":
            raise RatchetError(f"process {number} of the load test said {message!r}, expected 'ready'")

    def _receive(self, number: int) -> object:
        try:
            message: object = self._pipes[number].recv()
        except (EOFError, ConnectionResetError):
            self._processes[number].join(timeout=5.0)
            code = self._processes[number].exitcode
            raise RatchetError(
                f"process {number} of the load test ended with {code} before it gave its results. Either memory is short, "
                "or a script calls this outside of `if __name__ == '__main__':`"
            ) from None
        if isinstance(message, BaseException):
            raise message
        return message

    def _listen(self) -> None:
        open_pipes = {pipe: number for number, pipe in enumerate(self._pipes)}
        while open_pipes:
            for pipe in wait(list(open_pipes)):
                number = open_pipes[pipe]  # pyright: ignore[reportArgumentType]
                message = self._receive(number)
                if isinstance(message, Part):
                    self._parts[number] = message
                    del open_pipes[self._pipes[number]]
                elif isinstance(message, Tick):
                    self._ticks[number] = message
                    self._fresh[number] = True
                    self._say_when_all_have()

    def _say_when_all_have(self) -> None:
        """Report the sum once every process that still drives has said something since the last time."""
        fresh, parts = self._fresh, self._parts
        known = [tick for tick in self._ticks if tick is not None]
        waiting = any(part is None and not told for part, told in zip(parts, fresh, strict=True))
        if self._report is None or waiting or not known:
            return
        self._report(
            Tick(
                elapsed_s=max(tick.elapsed_s for tick in known),
                sent=sum(tick.sent for tick in known),
                in_flight=sum(tick.in_flight for tick in known),
                done=sum(tick.done for tick in known),
                failed=sum(tick.failed for tick in known),
                arm=np.concatenate([tick.arm for tick in known]),
                ttft_s=np.concatenate([tick.ttft_s for tick in known]),
                e2e_s=np.concatenate([tick.e2e_s for tick in known]),
                error=np.concatenate([tick.error for tick in known]),
            )
        )
        # counts stand until the next tick; what ended is told once
        none, codes = np.zeros(0), np.zeros(0, np.int64)
        self._fresh = [False] * len(parts)
        self._ticks = [
            tick and replace(tick, arm=codes, ttft_s=none, e2e_s=none, error=codes) for tick in self._ticks
        ]


@contextmanager
def _signals_kept() -> Generator[None]:
    """What stood on the signals that stop a test stands there again afterwards."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _STOPS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _stopping(pipes: Sequence[Connection]) -> Generator[None]:
    """Ctrl-C tells every process to stop, once; a second one breaks off."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with _signals_kept():
        before = {number: signal.getsignal(number) for number in _STOPS}

        def interrupt(*_: object) -> None:
            for number, handler in before.items():
                signal.signal(number, handler)
            for pipe in pipes:
                with suppress(OSError):  # one that is through hears nothing more
                    pipe.send("stop")

        for number in _STOPS:
            signal.signal(number, interrupt)
        yield


@contextmanager
def _one_thread() -> Generator[None]:
    """Numeric libraries in the process that starts now use no threads: they would only take cores from it."""
    name = "OPENBLAS_NUM_THREADS"
    before = os.environ.get(name)
    os.environ.setdefault(name, "1")
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)


def _work(pipe: Connection) -> None:
    """The body of a process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is asked, and tells
    try:
        job: _Job = pipe.recv()

        def agree(driver: Driver) -> int:
            pipe.send("ready")
            start_ns: int = pipe.recv()
            loop = asyncio.get_running_loop()

            def heard() -> None:  # "stop", or the parent is gone
                loop.remove_reader(pipe.fileno())
                driver.stop()

            if sys.platform != "win32":
                loop.add_reader(pipe.fileno(), heard)
            return start_ns

        pipe.send(_run(_drive(job, agree, pipe.send if job.ticking else None)))
    except EOFError:  # the parent is gone
        return
    except Exception as error:
        said = str(error) if isinstance(error, RatchetError) else f"{type(error).__name__}: {error}"
        pipe.send(ConfigError(said) if isinstance(error, ConfigError) else RatchetError(said))
    finally:
        pipe.close()
