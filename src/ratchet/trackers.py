"""A run written to an experiment tracker: Weights & Biases or MLflow, each behind its extra."""

from __future__ import annotations

import importlib.util
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from ratchet import codec, policy
from ratchet.errors import MissingExtraError, TrackerError, UnknownNameError
from ratchet.records import Json, Run, Variant

TRACKERS = ("wandb", "mlflow")
_SECRET = re.compile(r"(?i)(api[-_]?key|token$|secret|password|authorization|headers$)")


def log_run(name: str, run: Run, summary: Mapping[str, Json], files: Iterable[Path] = ()) -> str:
    """Write the run to this tracker; where it can be seen, as the tracker says it.

    Keys are never logged: headers, keys and tokens among options are masked.

    Args:
        name: "wandb" (project and mode by WANDB_PROJECT and WANDB_MODE; "offline" needs no account) or "mlflow"
            (server or file by MLFLOW_TRACKING_URI, experiment by MLFLOW_EXPERIMENT_NAME).
        summary: Numbers by name, nested or not; what is no finite number is left out.
        files: Kept beside it as artefacts.

    Raises:
        UnknownNameError: There is no such tracker.
        MissingExtraError: Its package is not installed.
        TrackerError: It refused or could not be reached.
    """
    loggers: Mapping[str, _Log] = {"wandb": _log_wandb, "mlflow": _log_mlflow}
    if name not in loggers:
        raise UnknownNameError("tracker", name, TRACKERS)
    return loggers[name](run, dict(numbers(summary)), [Path(file) for file in files])


def check(name: str) -> None:
    """Nothing, where this tracker can be used; to be called before the run, not after it.

    Raises:
        UnknownNameError, MissingExtraError
    """
    if name not in TRACKERS:
        raise UnknownNameError("tracker", name, TRACKERS)
    if importlib.util.find_spec(name) is None:
        raise MissingExtraError(f"--log {name}", name)


_Log = Callable[[Run, dict[str, float], list[Path]], str]


def numbers(summary: Mapping[str, Json], prefix: str = "") -> Iterator[tuple[str, float]]:
    """The finite numbers in a nested mapping, by their path: "latency/ttft_s/mean"."""
    for key, value in summary.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from numbers(value, f"{name}/")
        elif isinstance(value, (bool, int, float)) and math.isfinite(value):
            yield name, float(value)


def config_of(run: Run) -> dict[str, Json]:
    """What a tracker is told of the run: its task and arms, without secrets."""
    task = run.task
    return {
        "run_id": run.id,
        "task": task.name,
        "dataset": {"id": task.dataset.id, "name": task.dataset.name, "count": task.dataset.count},
        "scorers": [f"{scorer.name}@{scorer.version}" for scorer in task.scorers],
        "repeats": task.repeats,
        "seed": run.seed,
        "limit": run.limit,
        "sample": run.sample,
        "baseline": run.baseline,
        "arms": {name: _arm(variant) for name, variant in run.arms.items()},
        "environment": dict(run.environment),
    }


def _arm(variant: Variant) -> Json:
    return {
        "model": variant.model or variant.target,
        "params": _masked(codec.encode(variant.params)),
        "prompt": getattr(variant.prompt, "name", None),
        "stream": variant.stream,
        "base_url": _masked(variant.base_url),
        "options": _masked(codec.encode(variant.options)),
    }


def _masked(value: Json) -> Json:
    if isinstance(value, Mapping):
        return {
            str(key): policy.MASK if _SECRET.search(str(key)) else _masked(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_masked(item) for item in value]
    return (
        re.sub(r"//[^/@\s]+@", f"//{policy.MASK}@", policy.redact(value)) if isinstance(value, str) else value
    )


def _log_wandb(run: Run, metrics: dict[str, float], files: list[Path]) -> str:
    try:
        import wandb
    except ImportError:
        raise MissingExtraError("--log wandb", "wandb") from None
    try:
        # silent: its lines would mix with ours; save_code: a folder may hold what must not leave it
        settings = wandb.Settings(silent=True, console="off", save_code=False, disable_git=True)
        logged = wandb.init(
            name=run.name or run.id, config=config_of(run), job_type="ratchet", settings=settings
        )
        logged.summary.update(metrics)
        artifact = wandb.Artifact(f"run-{run.id}", type="ratchet-results")
        for file in files:
            artifact.add_file(str(file), name=_artifact_name(file))
        if files:
            logged.log_artifact(artifact)
        where = logged.url or str(Path(logged.dir).parent)
        logged.finish()
    except (wandb.Error, OSError) as error:
        raise TrackerError(_refused("Weights & Biases", error)) from None
    return where


def _artifact_name(file: Path) -> str:
    """The file's folder and name: two arms have files of one name."""
    return f"{file.parent.name}/{file.name}"


def _log_mlflow(run: Run, metrics: dict[str, float], files: list[Path]) -> str:
    try:
        import mlflow
        from mlflow.exceptions import MlflowException
    except ImportError:
        raise MissingExtraError("--log mlflow", "mlflow") from None
    where = ""
    try:
        if folder := _mlflow_folder():
            mlflow.set_tracking_uri(folder)
        with mlflow.start_run(run_name=run.name or run.id) as logged:
            mlflow.set_tag("ratchet.run_id", run.id)
            # a parameter has 6,000 characters at most: the whole goes into a file
            mlflow.log_dict(config_of(run), "config.json")
            mlflow.log_params(
                {f"arm.{_key(name)}": arm.model or arm.target or "" for name, arm in run.arms.items()}
            )
            mlflow.log_metrics({_key(name): value for name, value in metrics.items()})
            for file in files:
                mlflow.log_artifact(str(file), artifact_path=_key(file.parent.name))
            where = f"{mlflow.get_tracking_uri()} run {logged.info.run_id}"
    except (MlflowException, OSError) as error:
        raise TrackerError(_refused("MLflow", error)) from None
    return where


def _mlflow_folder() -> str | None:
    """`./mlruns` as a URI where nothing else is set and MLflow's database has no driver here; else None."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    chosen = None
    if not uri and importlib.util.find_spec("sqlalchemy") is None:  # as with mlflow-skinny alone
        chosen = uri = (Path.cwd() / "mlruns").as_uri()
    if uri and (uri.startswith("file:") or "://" not in uri):
        # MLflow 3 refuses folders unless told that one is meant
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    return chosen


def _key(name: str) -> str:
    """The name in characters that MLflow takes."""
    return re.sub(r"[^\w\-. /]+", "_", name)[:250]


def _refused(tracker: str, error: Exception) -> str:
    return (
        f"{tracker} could not be written to: {policy.redact(str(error))[:500]}\n"
        "  The run itself is complete in the store; log it again when the tracker can be reached."
    )
