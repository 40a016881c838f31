"""The demo from an empty folder to a summary: files, a server, a run."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ratchet import codec, projects, runs, yaml12
from ratchet.demo import folders
from ratchet.ports import Store
from ratchet.progress import Progress
from ratchet.projects import Job, Project
from ratchet.records import Json, Run, Variant
from ratchet.simulated.answers import load_answers
from ratchet.simulated.models import load_model
from ratchet.simulated.server import SimulatedServer, serve_in_thread

TASK = "clean_code"
LABELS = ("dry", "srp", "magic_constants", "naming")
FAULTS = ("429:0.01,retry=ms,after=0.2", "500:0.006", "503:0.004,retry=ms,after=0.1")
"""What goes wrong on the way, as it does with real servers: a few refusals that a retry gets over."""
PROVIDER = "simulated/"

_REASONS = {
    "dry": "the same steps are written out in several places",
    "srp": "one function does several jobs that belong apart",
    "magic_constants": "numbers with a meaning of their own have no name",
    "naming": "names do not say what they stand for",
}


def prepare(folder: Path) -> Project:
    """The demo's project, laid in this folder: dataset, prompt, answer key, ratchet.yaml.

    Raises:
        ConfigError: Other files are in the way; none is overwritten.
    """
    files = {**folders.shipped("case"), **folders.schema()}
    programs: Any = yaml12.load(files["programs.yaml"])
    files["answers.jsonl"] = b"".join(codec.dumps(answer(row)) + b"\n" for row in programs)
    folders.lay(
        folder,
        files,
        hint="\n  `ratchet run` in it tries what it holds; `ratchet demo OTHER-FOLDER` lays a fresh one.",
    )
    return projects.load(folder / projects.FILE_NAME)


def answer(program: Mapping[str, Json]) -> dict[str, Json]:
    """A row of the answer key: what a model that knows answers, and what one answers that errs by one label."""
    labels: list[str] = program["labels"]
    fewer = [[label for label in labels if label != left_out] for left_out in labels]
    more = [
        [label for label in LABELS if label in labels or label == added]
        for added in LABELS
        if added not in labels
    ]
    return {
        "contains": program["program"],
        "answer": _said(labels),
        "wrong": [_said(each) for each in (*fewer, *more)],
        "difficulty": program["difficulty"],
    }


def _said(labels: Sequence[str]) -> Json:
    return {"labels": list(labels), "reasons": {label: _REASONS[label] for label in labels}}


def run(
    project: Project,
    store: Store,
    *,
    limit: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Run:
    """The task tried on all variants, the simulated ones over HTTP from a server that ends with the run."""
    job = projects.job(project, TASK)
    with served(project, job) as arms:
        options = runs.Options(
            concurrency=job.concurrency or 32,
            seed=job.seed,
            limit=limit,
            use_cache=False,  # a second demo should show times again
            baseline=job.baseline,
            name="demo",
        )
        return runs.run(
            job.task, arms, options=options, store=store, root=project.root, on_progress=on_progress
        )


@contextmanager
def served(project: Project, job: Job) -> Generator[dict[str, Variant]]:
    """The job's arms, its simulated models behind a server on a free port of this machine."""
    simulated = {name: v for name, v in job.arms.items() if (v.model or "").startswith(PROVIDER)}
    profiles = [
        load_model(_model(variant), settings=variant.options.get("profile")).profile
        for variant in simulated.values()
    ]
    answers = sorted(
        {str(project.root / path) for v in simulated.values() if (path := v.options.get("answers"))}
    )
    with serve_in_thread(
        SimulatedServer(profiles=profiles, answers=load_answers(*answers), faults=FAULTS, seed=job.seed)
    ) as server:
        base_url = server.base_url("openai")
        yield {
            name: variant.replace(
                model=f"openai/{_model(variant)}",
                base_url=base_url,
                options={},
                api_key_env="RATCHET_DEMO_KEY",  # not the user's own key
            )
            if name in simulated
            else variant
            for name, variant in job.arms.items()
        }


def _model(variant: Variant) -> str:
    return (variant.model or "").removeprefix(PROVIDER)
