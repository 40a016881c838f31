"""One more example in a dataset: a new version of it, in a file of its own beside the old one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ratchet import codec, datasets
from ratchet.errors import CodecError, DatasetError
from ratchet.records import Dataset, Example, Json, Trace
from ratchet.reports.texts import as_text
from ratchet.web import dataset_rows

if TYPE_CHECKING:
    from ratchet.stores.sqlite import SQLiteStore

FOLDER = "datasets"
"""Where new datasets are written, in the project's folder."""
MOST_BYTES = 64 * 2**20
"""Of a file that a page copies; a larger one is the command line's."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_VERSION = re.compile(r"-v\d+$")


def add(
    store: SQLiteStore,
    trace: Trace,
    *,
    root: Path,
    to: Dataset | None,
    name: str = "",
    input: Json,
    expected: Json,
    by: str,
) -> Dataset:
    """The version that now holds this example as well: the ref `datasets/<name>` names it.

    Args:
        to: The version to start from; None starts a new dataset called `name`.

    Raises:
        DatasetError: The file stands outside the project, is too large, or already holds this trace.
    """
    made_by = f"add: trace {trace.id}" + (f", by {by}" if by else "")
    if to is None:
        file = _new_file(root, name)
        example = _example(trace, trace.example_id or f"trace-{trace.id[:12]}", input, expected, by)
        dataset = datasets.save([example], file, name=name, made_by=made_by)
    else:
        if why := dataset_rows.refusal(to, root):
            raise DatasetError(why)
        size = Path(to.path).stat().st_size
        if size > MOST_BYTES:
            raise DatasetError(
                f"has {size / 2**20:,.0f} MiB; the page copies {MOST_BYTES // 2**20} MiB at most. "
                "Add the example to the file by hand, and load it again",
                file=to.path,
            )
        example = _example(trace, _free_id(to, trace), input, expected, by)
        file = _next_file(Path(to.path), root)
        dataset = datasets.save(_with(to, example), file, name=to.name, parent=to, made_by=made_by)
    datasets.register(store, dataset, by=by)
    return dataset


def _example(trace: Trace, id: str, input: Json, expected: Json, by: str) -> Example:
    origin = {"trace": trace.id, "run": trace.run_id, "arm": trace.arm, "example": trace.example_id, "by": by}
    return Example(
        id=id,
        input=input,
        expected=expected,
        metadata={"origin": {name: value for name, value in origin.items() if value}},
        group=trace.group,
    )


def _with(dataset: Dataset, example: Example) -> Iterator[Example]:
    yield from datasets.examples(dataset)
    yield example


def _free_id(dataset: Dataset, trace: Trace) -> str:
    """The example's own id where the dataset has none like it, else one named after the trace."""
    wanted = [*([trace.example_id] if trace.example_id else []), f"trace-{trace.id[:12]}"]
    taken = {example.id for example in datasets.examples(dataset) if example.id in wanted}
    for id_ in wanted:
        if id_ not in taken:
            return id_
    raise DatasetError(
        f"already holds this trace, as {wanted[-1]!r}; another of its repeats has another id",
        file=dataset.path,
    )


def _new_file(root: Path, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise DatasetError(
            f"{name!r} is no name for a dataset: expected letters, digits, dots, dashes and underscores, 64 at most"
        )
    file = root / FOLDER / f"{name}.jsonl"
    _inside(file, root)
    if file.exists():
        raise DatasetError("is there already; choose it in the list, or another name", file=file)
    return file


def _next_file(path: Path, root: Path) -> Path:
    """`tickets.jsonl`, `tickets-v2.jsonl`, `tickets-v3.jsonl`: the first that isn't there."""
    ending = "".join(path.suffixes)
    stem = _VERSION.sub("", path.name.removesuffix(ending))
    number = 2
    while (file := path.with_name(f"{stem}-v{number}{ending}")).exists():
        number += 1
    _inside(file, root)
    return file


def _inside(file: Path, root: Path) -> None:
    if not file.parent.resolve().is_relative_to(root.resolve()):
        raise DatasetError(f"stands outside the project's folder {root}; nothing is written there", file=file)


def edited(text: str | None, original: Json, what: str) -> Json:
    """The value that a form's field says: JSON where the original was no text; None where it was and is empty.

    Raises:
        DatasetError: It isn't JSON.
    """
    if text is None:
        return original
    text = text.replace("\r\n", "\n")
    if original is None or isinstance(original, str):
        return text or None
    if text.strip() == as_text(original).strip():
        return original
    try:
        return codec.parse(text)
    except CodecError as error:
        raise DatasetError(f"{what} must stay JSON, as it was: {error}") from None
