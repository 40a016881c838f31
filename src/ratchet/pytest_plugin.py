"""A pytest plugin: tests that ask for the verdict on a task of ratchet.yaml. It does nothing until one does.

    from ratchet.pytest_plugin import assert_ships

    @pytest.mark.ratchet("tickets")
    def test_the_challenger_may_ship(verdict):
        assert_ships(verdict)

The task runs once a session, also under xdist: the workers share a lock and the run in the store.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, cast

import pytest

from ratchet.errors import PlanError, RatchetError, UnknownNameError

if TYPE_CHECKING:
    from ratchet.evidence import Evidence
    from ratchet.ports import Store
    from ratchet.projects import Job, Project
    from ratchet.records import Verdict
    from ratchet.summaries import Summary

Policy = Literal["pass", "fail", "skip"]
POLICIES = ("pass", "fail", "skip")
_MARK = "ratchet(task, *, baseline, candidate, against, file, limit, use_cache, force): run a task of ratchet.yaml, once a session"
_ARGUMENTS = ("task", "baseline", "candidate", "against", "file", "limit", "use_cache", "force")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What a test asks for; tests that differ in `baseline` and `candidate` alone share one run."""

    file: Path
    task: str | None = None
    baseline: str | None = None
    candidate: str | None = None
    against: str | None = None
    limit: int | None = None
    use_cache: bool = True
    force: bool = False

    @property
    def run_name(self) -> str:
        from ratchet import codec

        arm = self.candidate if self.against else None
        wanted = [str(self.file), self.task, self.against, arm, self.limit, self.use_cache, self.force]
        return codec.content_id(wanted)[:24]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    verdict: Verdict
    text: str
    """The sentence, then a line a check."""

    @property
    def sentence(self) -> str:
        return self.text.partition("\n")[0]


@dataclass(slots=True)
class _Session:
    """What this process has read so far."""

    verdicts: dict[_Wanted, _Found] = field(default_factory=dict["_Wanted", "_Found"])
    summaries: dict[str, Summary] = field(default_factory=dict[str, "Summary"])


_SESSION = pytest.StashKey[_Session]()
_FOUND = pytest.StashKey[_Found]()

# --- what tests use -----------------------------------------------------------------------------------------


def assert_ships(verdict: Verdict) -> None:
    """Nothing where the verdict is ship.

    Raises:
        AssertionError: It is not; the message has the sentence and a line a check.
    """
    __tracebackhide__ = True
    if verdict.outcome != "ship":
        raise AssertionError(describe(verdict))


def assert_passes(verdict: Verdict, metric: str) -> None:
    """Nothing where every check of this metric passed (or only reports).

    Raises:
        AssertionError: One did not; the message has a line for each that didn't.
        UnknownNameError: No check is about this metric.
    """
    __tracebackhide__ = True
    results = [result for result in verdict.results if result.check.metric == metric]
    if not results:
        raise UnknownNameError(
            "checked metric", metric, dict.fromkeys(r.check.metric for r in verdict.results)
        )
    bad = [result for result in results if result.outcome not in ("passed", "reported")]
    if bad:
        raise AssertionError("\n".join(_lines(verdict.replace(results=tuple(bad)))))


def describe(verdict: Verdict, evidence: Evidence | None = None) -> str:
    """The verdict's sentence, then a line a check, then its warnings."""
    from ratchet.reports import views

    verdict = _with_names(verdict)
    warnings = [f"  warning: {warning}" for warning in verdict.warnings]
    return "\n".join([views.sentence(verdict, evidence), *_lines(verdict, evidence), *warnings])


def _lines(verdict: Verdict, evidence: Evidence | None = None) -> list[str]:
    from ratchet.reports import views

    return [
        "  " + " ".join(filter(None, [
            f"{item.result.check.dimension}: {item.title}, {item.rule}: {item.result.outcome};",
            item.estimate, item.span, f"n = {item.result.n:,}",
            f"({item.result.reason})" if item.result.reason else "",
        ]))
        for item in views.lines(verdict, evidence)
    ]  # fmt: skip


def _with_names(verdict: Verdict) -> Verdict:
    """The verdict with the arms' names where reports look for them."""
    names = {side: verdict.inputs.get(side, getattr(verdict, side)) for side in ("baseline", "candidate")}
    return verdict.replace(inputs={**verdict.inputs, "arms": names})


@pytest.fixture
def verdict(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Verdict:
    """The verdict on the task that the test's `@pytest.mark.ratchet` names; the task runs once a session."""
    return _found(request, tmp_path_factory).verdict


@pytest.fixture
def ratchet_summary(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """The summary of the same run: per arm its scores, cost, times and failures."""
    wanted = _wanted(request)
    session = request.config.stash.setdefault(_SESSION, _Session())
    with _failing():
        run_id = _run_once(wanted, _folder(request.config, tmp_path_factory))
        if run_id not in session.summaries:
            from ratchet import summaries

            with _store(wanted) as store:
                run = store.run(run_id)
                if run is None:
                    raise PlanError(f"run {run_id} has gone from the store")
                session.summaries[run_id] = summaries.summarise(run, store)
        return session.summaries[run_id]


def _found(request: pytest.FixtureRequest, factory: pytest.TempPathFactory) -> _Found:
    wanted = _wanted(request)
    session = request.config.stash.setdefault(_SESSION, _Session())
    if wanted not in session.verdicts:
        with _failing():
            session.verdicts[wanted] = _judge(wanted, _run_once(wanted, _folder(request.config, factory)))
    found = session.verdicts[wanted]
    item = cast("pytest.Item", request.node)
    item.stash[_FOUND] = found
    item.user_properties.append(("ratchet", found.sentence))
    return found


def _wanted(request: pytest.FixtureRequest) -> _Wanted:
    node = cast("pytest.Item", request.node)
    mark = node.get_closest_marker("ratchet")
    if mark is None:
        _fail('this fixture needs a task: @pytest.mark.ratchet("TASK")')
    unknown = [name for name in mark.kwargs if name not in _ARGUMENTS]
    if len(mark.args) > 1 or unknown:
        _fail(
            f"@pytest.mark.ratchet takes a task and {', '.join(_ARGUMENTS[1:])}; got {[*mark.args, *unknown]}"
        )
    given: dict[str, Any] = {**({"task": mark.args[0]} if mark.args else {}), **mark.kwargs}
    file = given.pop("file", None)
    if file is None:
        from ratchet import projects

        file = projects.find(node.path.parent)
        if file is None:
            _fail(f"there is no ratchet.yaml in {node.path.parent} or above; file= names another place")
    return _Wanted(file=(node.config.rootpath / file).resolve(), **given)


def _fail(message: str) -> NoReturn:
    pytest.fail(message, pytrace=False)


@contextmanager
def _failing() -> Generator[None]:
    """Ratchet's errors as failures without a traceback: their message says what to do."""
    try:
        yield
    except RatchetError as error:
        from ratchet.policy import redact

        pytest.fail(redact(f"{type(error).__name__}: {error}"), pytrace=False)


# --- one run a session --------------------------------------------------------------------------------------


def _folder(config: pytest.Config, factory: pytest.TempPathFactory) -> Path:
    """A folder of this session, the same for all of its xdist workers."""
    base = factory.getbasetemp()
    return base.parent if hasattr(config, "workerinput") else base


def _run_once(wanted: _Wanted, folder: Path) -> str:
    """The id of this session's run; whoever comes first runs it, the others wait and read.

    Raises:
        RatchetError: It could not run. Who comes later gets the same error, and pays nothing again.
    """
    note = folder / f"ratchet-{wanted.run_name}.json"
    with _alone(note.with_suffix(".lock")):
        if not note.exists():
            from ratchet.policy import redact

            try:
                outcome = _execute(wanted)
            except RatchetError as error:
                outcome = {"error": redact(f"{type(error).__name__}: {error}")}
            partial = note.with_suffix(".partial")
            partial.write_text(json.dumps(outcome), encoding="utf-8")
            partial.replace(note)
        outcome = json.loads(note.read_text(encoding="utf-8"))
    if "same" in outcome:
        pytest.skip(outcome["same"])
    if "error" in outcome:
        _fail(outcome["error"])
    return outcome["run"]


def _execute(wanted: _Wanted) -> dict[str, str]:
    from ratchet import powers, runs

    project, job, same = _job(wanted)
    if same:
        return {"same": f"what {job.task.name} ships is the same at {wanted.against} and here"}
    options = runs.Options(
        concurrency=job.concurrency or 16, seed=job.seed, limit=wanted.limit, budget=job.budget,
        use_cache=wanted.use_cache, baseline=job.baseline, name=f"pytest {job.task.name}",
    )  # fmt: skip
    with _store(wanted) as store:
        place = runs.place(store, project.root)
        planned = runs.plan(job.task, job.arms, options=options, place=place)
        # as `ratchet run`: a plan whose own checks can't be decided costs nothing
        partial = wanted.limit is not None or wanted.force
        try:
            powers.refuse_or_warn(planned.run.task, planned.examples, arms=len(job.arms), only_warn=partial)
        except PlanError as error:
            raise PlanError(str(error).replace("--force", "force=True in the marker")) from None
        run = runs.drive(lambda control: runs.execute(planned, options=options, place=place, control=control))
        state = next((row for row in store.runs() if row.id == run.id), None)
        if state is not None and state.reason == "interrupted":
            raise KeyboardInterrupt
        if state is None or (state.state != "finished" and not state.reason.startswith("the budget ")):
            raise PlanError(f"run {run.id} did not finish: {state.reason if state else 'it has gone'}")
    return {"run": run.id}


def _job(wanted: _Wanted) -> tuple[Project, Job, bool]:
    """The project, the job with its arms ready, and whether there is nothing to try."""
    import dataclasses

    from ratchet import projects

    project = projects.load(wanted.file)
    _read_env(project.root)
    if wanted.against is None:
        job = projects.job(project, wanted.task)
        return project, dataclasses.replace(job, arms=projects.ready(project, job.arms)), False
    from ratchet import against

    change = against.change(project, wanted.task, wanted.against, candidate=wanted.candidate)
    return project, change.job, change.same


def _read_env(root: Path) -> None:
    if (root / ".env").is_file():
        from dotenv import load_dotenv

        load_dotenv(root / ".env", override=False)


@contextmanager
def _store(wanted: _Wanted) -> Generator[Store]:
    from ratchet import projects, stores

    store = stores.open_store(os.environ.get("RATCHET_STORE") or projects.load(wanted.file).store)
    try:
        yield store
    finally:
        store.close()


def _judge(wanted: _Wanted, run_id: str) -> _Found:
    from ratchet import verdicts
    from ratchet.evidence import from_runs

    with _store(wanted) as store:
        run = store.run(run_id)
        if run is None:
            raise PlanError(f"run {run_id} has gone from the store")
        evidence = from_runs(store, run)
    candidate = wanted.candidate if wanted.against is None else None
    found = verdicts.decide(evidence, baseline=wanted.baseline, candidate=candidate)
    found = found.replace(created_at=time.time())
    return _Found(verdict=found, text=describe(found, evidence))


@contextmanager
def _alone(path: Path) -> Generator[None]:
    """Nobody else is in here; a process that dies leaves it free."""
    with path.open("a+b") as file:
        if sys.platform == "win32":
            import msvcrt

            while True:
                try:
                    msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
                    break
                except OSError:  # it gives up after ten seconds; a run takes longer
                    continue
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


# --- hooks --------------------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    help_text = "What a failed assertion on an inconclusive verdict does: pass, fail or skip [fail]."
    parser.addini("ratchet_inconclusive", help_text, default="fail")
    parser.getgroup("ratchet").addoption(
        "--ratchet-inconclusive", choices=POLICIES, default=None, help=help_text
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARK)
    if _policy(config) not in POLICIES:
        raise pytest.UsageError(f"ratchet_inconclusive = {_policy(config)!r}, expected {', '.join(POLICIES)}")


def _policy(config: pytest.Config) -> Policy:
    return config.getoption("--ratchet-inconclusive") or config.getini("ratchet_inconclusive")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """A failed assertion about a verdict says why; on an inconclusive one the policy decides."""
    try:
        return (yield)
    except AssertionError as error:
        found = item.stash.get(_FOUND, None)
        if found is None or found.verdict.outcome == "ship":
            raise
        policy = _policy(item.config)
        if found.verdict.outcome == "inconclusive" and policy != "fail":
            if policy == "skip":
                pytest.skip(found.sentence)
            return None
        _explain(error, found)
        raise


def _explain(error: AssertionError, found: _Found) -> None:
    """Put the verdict's sentence and its checks before what the assertion said."""
    said = str(error)
    if said.startswith(found.sentence.partition(":")[0] + ":"):  # of assert_ships
        said = ""
    elif said.startswith("Verdict("):  # `assert …, verdict`: a long repr
        said = "".join(said.partition("\nassert ")[1:]).lstrip("\n")
    error.args = ("\n".join(filter(None, [found.text, said])),)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A line a verdict, whichever worker it was reached in."""
    reports = [report for group in terminalreporter.stats.values() for report in group]
    properties = [pair for report in reports for pair in getattr(report, "user_properties", ())]
    sentences = dict.fromkeys(value for name, value in properties if name == "ratchet")
    if sentences:
        terminalreporter.section("ratchet")
        for sentence in sentences:
            terminalreporter.line(str(sentence))
