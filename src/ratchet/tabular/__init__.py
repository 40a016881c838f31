"""Recorded results become evidence: files of any tool or paper are judged without a run.

    evidence = tabular.load(["gpt4.csv"], Spec(by="model", scores=("correct",)), arms=("march", "june"))

Layouts: one file an arm; one long file with a column that names the arm (`by`); one wide file with a column an arm
(`wide`). `cells` says what a cell means, `specs` which column plays which part, `descriptions` puts arms in numbers
without comparing them. Retrieval runs against judgements are in `rankings`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ratchet.errors import ConfigError, PlanError, UnknownNameError
from ratchet.evidence import Evidence
from ratchet.tabular.loading import Loaded, read_tables
from ratchet.tabular.pairing import alone, evidence_of
from ratchet.tabular.specs import Filter, PassAtK, Spec, Wide

__all__ = ["Filter", "Loaded", "PassAtK", "Spec", "Wide", "arm_files", "load", "load_alone"]


def load(
    paths: Sequence[str | Path], spec: Spec, *, arms: Sequence[str] = (), root: Path | None = None
) -> Evidence:
    """The evidence that these files hold, of arms that answered the same examples.

    Args:
        paths: One file an arm, else files whose rows belong together. `name=path` names the arm.
        arms: The arms to read, the baseline first; empty reads all, in the order of the files.
        root: Folder that scorers of one's own are looked up from.

    Raises:
        DatasetError: A bad file, column, row or cell: with file, line, column and value.
        PairingError: The arms can't be paired: a duplicate row, other contents, too many missing rows.
        PlanError: There are fewer than two arms.
    """
    loaded = read_tables(arm_files(paths, spec), spec, only=frozenset(arms), paired=True, root=root)
    names = list(arms) or list(loaded.tables)
    if len(names) < 2:
        raise PlanError(
            f"found one arm, {names[0]!r}; expected two or more: a second file, a column that names the arm "
            "(--by COLUMN), or a column an arm (--scores A,B)"
        )
    return _named(spec, evidence_of(loaded, spec, names))


def load_alone(
    paths: Sequence[str | Path], spec: Spec, *, root: Path | None = None
) -> Mapping[str, Evidence]:
    """Each arm by itself: their examples need not be the same, and nothing counts as missing."""
    loaded = read_tables(arm_files(paths, spec), spec, paired=False, root=root)
    found = {name: alone(loaded, name, spec) for name in loaded.tables}
    _named(spec, *found.values())
    return found


def _named(spec: Spec, *found: Evidence) -> Evidence:
    """The first of these; a metric that only the spec knows is refused."""
    metrics = {name: None for each in found for arm in each.arms.values() for name in arm.columns}
    for name in (*sorted(spec.lower_is_better), *spec.dimensions):
        if name not in metrics:
            raise UnknownNameError("metric", name, metrics)
    return found[0]


def arm_files(paths: Sequence[str | Path], spec: Spec) -> list[tuple[str, Path]]:
    """The name and path of each file: the name given, else the file's own without its extension."""
    named: list[tuple[str | None, Path]] = []
    for given in paths:
        text = str(given)
        name, mark, rest = text.partition("=")
        if mark and name and not Path(text).exists():
            named.append((name, Path(rest)))
        else:
            named.append((None, Path(text)))
    if not named:
        raise PlanError("no file was given; expected one or more")
    if spec.arms and not spec.wide and len(spec.arms) != len(named):
        raise ConfigError(f"{len(spec.arms)} arms are named and {len(named)} files given; expected as many")
    stems = [_stem(path) for _, path in named]
    if len(set(stems)) < len(stems):  # base/results.csv and head/results.csv
        stems = [
            f"{path.absolute().parent.name}/{stem}" for stem, (_, path) in zip(stems, named, strict=True)
        ]
    names = [
        (spec.arms[place] if spec.arms and not spec.wide else None) or name or stems[place]
        for place, (name, _) in enumerate(named)
    ]
    by_file = not spec.wide and spec.by is None and len(named) > 1
    if by_file and len(set(names)) < len(names):
        raise ConfigError(
            f"two files are arms of one name, in {', '.join(names)}; name them: old=PATH new=PATH"
        )
    return [(name, path) for name, (_, path) in zip(names, named, strict=True)]


def _stem(path: Path) -> str:
    name = path.name
    for end in (".gz", path.with_suffix("").suffix if name.endswith(".gz") else path.suffix):
        name = name.removesuffix(end) if end else name
    return name or path.name
