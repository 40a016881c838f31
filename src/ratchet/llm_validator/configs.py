"""The one-file-a-run JSON of llm-validator becomes an `OlderConfig`; both spellings are read, mixed too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from ratchet import codec, policy
from ratchet.errors import ConfigError, did_you_mean, dotted
from ratchet.llm_validator import placed_json
from ratchet.records import Extraction, Json

MAX_FILE_BYTES = 16 * 2**20
DEFAULT_PARALLELISM = 12
SANITY_ROWS = 3

Place = tuple[str | int, ...]

# names of the published article, beside those of the tool
_CLIENT_NAMES = {"client_name": "name", "client_type": "type", "model_base_url": "base_url"}
_KNOWN: dict[str, tuple[str, ...]] = {
    "": (
        "project", "inference_only", "task_config", "client_config", "prompt_config", "evaluator_config",
        "dataset_config", "controller_config",
    ),
    "task_config": ("name",),
    "client_config": (
        "name", "type", "base_url", "client_name", "client_type", "model_base_url", "model_name", "model_type",
        "model_options",
    ),
    "prompt_config": ("name", "path", "version", "tenant"),
    "evaluator_config": ("metrics",),
    "dataset_config": ("data_path", "label_col", "sanity_test"),
    "controller_config": ("parallelism", "use_streaming", "save_path", "save_inference", "extraction_config"),
    "controller_config.extraction_config": ("type", "args"),
}  # fmt: skip
_METRIC_KEYS = ("type", "aspect", "name", "kwargs")
METRIC_TYPES = ("cost", "latency", "accuracy", "security", "stability")
EXTRACTIONS = ("json_key", "nested_key", "split", "custom_answer")
_SECRET_KEYS = ("api_key", "apikey", "api_token", "access_token", "secret", "password", "authorization")


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Who answers: a client's name as the older tool has it, and its model."""

    name: str
    type: str = ""
    model_name: str
    base_url: str | None = None
    model_options: Mapping[str, Json] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One entry of `evaluator_config.metrics`; `place` leads to it in the file."""

    type: str
    aspect: str = ""
    name: str = ""
    kwargs: Mapping[str, Json] = field(default_factory=dict[str, Any])
    place: Place = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OlderConfig:
    """One llm-validator file. Paths are as written: `find_file` resolves them."""

    path: Path
    project: str
    task: str
    client: Client
    prompt_path: str
    prompt_name: str
    data_path: str
    label_column: str | None = None
    sanity_test: bool = False
    inference_only: bool = False
    metrics: tuple[Metric, ...] = ()
    parallelism: int = DEFAULT_PARALLELISM
    streaming: bool = False
    save_path: str | None = None
    save_inference: bool = False
    extraction: Extraction | None = None
    warnings: tuple[str, ...] = ()
    """Each once: unknown keys, keys that stand twice, secrets left out."""
    data: Mapping[str, Json] = field(default_factory=dict[str, Any])
    """The file's content, secrets masked."""
    lines: Mapping[Place, int] = field(default_factory=dict[Place, int], repr=False)

    def error(self, message: str, *place: str | int) -> ConfigError:
        """An error at this place of the file, or at the nearest one above it that the file has."""
        return placed_error(message, self.path, self.lines, place)


def placed_error(message: str, path: Path, lines: Mapping[Place, int], place: Place) -> ConfigError:
    """A ConfigError that names file, line and key."""
    line = next((lines[place[:n]] for n in range(len(place), -1, -1) if place[:n] in lines), None)
    return ConfigError(message, file=path, line=line, key=dotted(place) or None)


def load(path: str | Path, *, root: Path | None = None) -> OlderConfig:
    """The config in this file.

    Args:
        root: Folder that a relative path starts from; the working directory by default.

    Raises:
        ConfigError: It can't be read, or something in it is wrong; names file, line and key.
    """
    file = (root or Path.cwd()) / Path(path).expanduser()
    try:
        parsed = placed_json.parse(_text(file))
    except ConfigError as error:
        raise ConfigError(error.message, file=file, line=error.line) from None
    return _Reader(file, parsed).config()


def _text(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ConfigError(f"can't be read: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(f"is larger than {MAX_FILE_BYTES // 2**20} MiB, the most for a config")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"byte {data[error.start]:#04x} is not UTF-8", line=data.count(b"\n", 0, error.start) + 1
        ) from None


def find_file(name: str, config: OlderConfig, *place: str | int, root: Path | None = None) -> Path:
    """Where this file of the config is: looked for in the working directory, then from the config's folder upwards.

    Raises:
        ConfigError: In none of them.
    """
    if "\0" in name or codec.clean_text(name) != name:  # a judge's prompt_path is checked nowhere else
        raise config.error(f"{name[:60]!r} is not a path", *place)
    given = Path(name).expanduser()
    above = config.path.absolute().parent
    folders = [root or Path.cwd(), above, *above.parents]
    for folder in folders:
        try:
            if (folder / given).is_file():
                return (folder / given).absolute()
        except OSError:  # a name too long, or a folder we may not look into
            continue
    looked = "" if given.is_absolute() else f" in {folders[0]}, nor in {above} or a folder above it"
    raise config.error(f"there is no file {name!r}{looked}", *place)


class _Reader:
    """Takes one parsed file apart."""

    def __init__(self, file: Path, parsed: placed_json.Placed) -> None:
        self.file, self.parsed, self.lines = file, parsed, parsed.lines
        self.warnings: list[str] = []
        for place, line in parsed.doubled:
            self.warnings.append(f"{file}:{line}, {dotted(place)}: stands twice; the last one counts")

    def error(self, message: str, *place: str | int) -> ConfigError:
        return placed_error(message, self.file, self.lines, place)

    def warn(self, message: str, *place: str | int) -> None:
        self.warnings.append(str(self.error(message, *place)))

    def config(self) -> OlderConfig:
        top = self.mapping(self.parsed.value)
        sections = {name: self.section(top, name) for name in _KNOWN[""][2:]}
        prompt, dataset, controller = (
            sections[name] for name in ("prompt_config", "dataset_config", "controller_config")
        )
        self.unknown(top, _KNOWN[""])
        return OlderConfig(
            path=self.file,
            project=self.text(top, (), "project") or "llm-validator",
            task=self.text(sections["task_config"], ("task_config",), "name") or self.file.stem,
            inference_only=self.flag(top, (), "inference_only"),
            client=self.client(sections["client_config"]),
            prompt_path=self.needed(prompt, ("prompt_config",), "path"),
            prompt_name=self.needed(prompt, ("prompt_config",), "name"),
            data_path=self.needed(dataset, ("dataset_config",), "data_path"),
            label_column=self.text(dataset, ("dataset_config",), "label_col"),
            sanity_test=self.flag(dataset, ("dataset_config",), "sanity_test"),
            metrics=self.metrics(sections["evaluator_config"]),
            parallelism=self.parallelism(controller),
            streaming=self.flag(controller, ("controller_config",), "use_streaming"),
            save_path=self.text(controller, ("controller_config",), "save_path"),
            save_inference=self.flag(controller, ("controller_config",), "save_inference"),
            extraction=self.extraction(controller),
            warnings=tuple(dict.fromkeys(self.warnings)),
            data=cast("dict[str, Json]", masked(top)),
            lines=self.lines,
        )

    def mapping(self, value: Json, *place: str | int) -> dict[str, Json]:
        if not isinstance(value, dict):
            raise self.error(f"found {_short(value)}, expected an object", *place)
        return cast("dict[str, Json]", value)

    def section(self, top: dict[str, Json], name: str) -> dict[str, Json]:
        if top.get(name) is None:
            return {}
        found = self.mapping(top[name], name)
        self.unknown(found, _KNOWN[name], name)
        return found

    def unknown(self, found: Iterable[str], known: tuple[str, ...], *place: str | int) -> None:
        for key in found:
            if key not in known:
                near = did_you_mean(key, known)
                self.warn(f"is not known, and ignored. Known: {', '.join(known)}.{near}", *place, key)

    def text(self, section: Mapping[str, Json], place: Place, key: str) -> str | None:
        value = section.get(key)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            raise self.error(f"found {_short(value)}, expected text", *place, key)
        if "\0" in value or codec.clean_text(value) != value:
            raise self.error(f"{_short(value)} holds a character that no text may hold", *place, key)
        return value

    def needed(self, section: Mapping[str, Json], place: Place, key: str) -> str:
        value = self.text(section, place, key)
        if value is None:
            near = did_you_mean(key, [name for name in section if name not in _KNOWN.get(dotted(place), ())])
            raise self.error(f"is missing or empty, expected text.{near}", *place, key)
        return value

    def flag(self, section: Mapping[str, Json], place: Place, key: str) -> bool:
        value = section.get(key)
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        if value is not None and not isinstance(value, bool):
            raise self.error(f"found {_short(value)}, expected true or false", *place, key)
        return bool(value)

    def client(self, section: dict[str, Json]) -> Client:
        place: Place = ("client_config",)
        values: dict[str, str | None] = {}
        for tools, articles in _CLIENT_NAMES.items():
            found, other = self.text(section, place, tools), self.text(section, place, articles)
            if found and other and found != other:
                raise self.error(
                    f"is {found!r}, but {articles} is {other!r}: two spellings of one thing", *place, tools
                )
            values[articles] = found or other
        name = values["name"]
        if name is None:
            raise self.error("names no client, expected client_name (or name)", *place)
        options = self.mapping(section.get("model_options") or {}, *place, "model_options")
        return Client(
            name=name,
            type=values["type"] or "",
            base_url=values["base_url"],
            model_name=self.needed(section, place, "model_name"),
            model_options=self.without_secrets(options, (*place, "model_options")),
        )

    def without_secrets(self, found: Mapping[str, Json], place: Place) -> dict[str, Json]:
        kept: dict[str, Json] = {}
        for key, value in found.items():
            if is_secret(key):
                self.warn("is left out: keys are read from the environment only", *place, key)
            else:
                inner = isinstance(value, dict)
                kept[key] = (
                    self.without_secrets(cast("dict[str, Json]", value), (*place, key)) if inner else value
                )
        return kept

    def metrics(self, section: dict[str, Json]) -> tuple[Metric, ...]:
        entries = section.get("metrics") or []
        place: Place = ("evaluator_config", "metrics")
        if not isinstance(entries, list):
            raise self.error(f"found {_short(entries)}, expected a list of metrics", *place)
        return tuple(self.metric(entry, (*place, n)) for n, entry in enumerate(cast("list[Json]", entries)))

    def metric(self, entry: Json, place: Place) -> Metric:
        found = self.mapping(entry, *place)
        self.unknown(found, _METRIC_KEYS, *place)
        kind = self.needed(found, place, "type").strip().lower()
        if kind not in METRIC_TYPES:
            near = did_you_mean(kind, METRIC_TYPES)
            raise self.error(f"{kind!r}, expected one of {', '.join(METRIC_TYPES)}.{near}", *place, "type")
        return Metric(
            type=kind,
            aspect=self.text(found, place, "aspect") or "",
            name=self.text(found, place, "name") or "",
            kwargs=self.without_secrets(
                self.mapping(found.get("kwargs") or {}, *place, "kwargs"), (*place, "kwargs")
            ),
            place=place,
        )

    def parallelism(self, section: Mapping[str, Json]) -> int:
        value = section.get("parallelism")
        if value is None:
            return DEFAULT_PARALLELISM
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 100_000:
            raise self.error(
                f"found {_short(value)}, expected a whole number of 1 or more",
                "controller_config",
                "parallelism",
            )
        return value

    def extraction(self, section: Mapping[str, Json]) -> Extraction | None:
        value = section.get("extraction_config")
        if not value:
            return None
        place: Place = ("controller_config", "extraction_config")
        found = self.mapping(value, *place)
        self.unknown(found, _KNOWN[dotted(place)], *place)
        kind = self.text(found, place, "type")
        if kind is None or kind.lower() in ("none", "default"):
            return None
        if kind not in EXTRACTIONS and ":" not in kind:
            near = did_you_mean(kind, EXTRACTIONS)
            raise self.error(f"{kind!r}, expected one of {', '.join(EXTRACTIONS)}.{near}", *place, "type")
        made = Extraction(kind=kind, args=self.mapping(found.get("args") or {}, *place, "args"))
        try:
            if ":" not in kind:
                from ratchet import extractions

                extractions.compile(made)
        except ConfigError as error:
            raise self.error(error.message, *place, "args") from None
        return made


def is_secret(key: str) -> bool:
    """Whether what stands under this key is never written down."""
    return key.lower().replace("-", "_") in _SECRET_KEYS


def masked(value: Json) -> Json:
    """The value without keys and secrets, for what is written down."""
    if isinstance(value, dict):
        items = cast("dict[str, Json]", value).items()
        return {key: policy.MASK if is_secret(key) else masked(item) for key, item in items}
    if isinstance(value, list):
        return [masked(item) for item in cast("list[Json]", value)]
    return policy.redact(value) if isinstance(value, str) else value


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
