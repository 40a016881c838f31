from __future__ import annotations

import pytest

from ratchet.errors import ConfigError
from ratchet.llm_validator import load
from ratchet.llm_validator.configs import OlderConfig
from ratchet.records import Extraction

from .conftest import Folder, Json, article, tool


def loaded(folder: Folder, value: Json) -> OlderConfig:
    return load(folder.config(value))


def test_both_spellings_say_the_same(folder: Folder) -> None:
    one, other = loaded(folder, article()), loaded(folder, tool())
    for field in ("name", "model_name", "base_url", "model_options"):
        assert getattr(one.client, field) == getattr(other.client, field)
    assert (one.project, one.task, one.prompt_name) == (other.project, other.task, other.prompt_name)
    assert one.warnings == other.warnings == ()


def test_spellings_may_be_mixed_but_not_contradict_each_other(folder: Folder) -> None:
    mixed = loaded(folder, article(client_config={"model_base_url": "http://localhost:1/v1"}))
    assert mixed.client.base_url == "http://localhost:1/v1"
    with pytest.raises(ConfigError, match="client_name: is 'anthropic', but name is 'openai'"):
        loaded(folder, article(client_config={"client_name": "anthropic"}))


def test_what_is_left_out_has_the_older_tools_defaults(folder: Folder) -> None:
    config = loaded(folder, article(controller_config=None, evaluator_config=None))
    assert config.parallelism == 12
    assert (config.streaming, config.save_inference, config.save_path) == (False, False, None)
    assert (config.inference_only, config.sanity_test, config.metrics) == (False, False, ())


def test_an_unknown_key_warns_once_with_its_line_and_the_nearest_name(folder: Folder) -> None:
    config = loaded(folder, article(controller_config={"paralelism": 3}))
    (warning,) = config.warnings
    assert "config.json:38, controller_config.paralelism: is not known, and ignored" in warning
    assert "Did you mean 'parallelism'?" in warning


def test_a_key_that_stands_twice_warns_and_the_last_one_counts(folder: Folder) -> None:
    text = (
        folder.config(article())
        .read_text()
        .replace('"project": "bank",', '"project": "x",\n  "project": "bank",')
    )
    config = load(folder.write("config.json", text))
    assert config.project == "bank"
    assert config.warnings[0].endswith("config.json:3, project: stands twice; the last one counts")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"controller_config": {"parallelism": 0}},
            "controller_config.parallelism: found 0, expected a whole number",
        ),
        (
            {"controller_config": {"use_streaming": "yes"}},
            "use_streaming: found 'yes', expected true or false",
        ),
        ({"dataset_config": {"data_path": None}}, "dataset_config.data_path: is missing or empty"),
        ({"dataset_config": {"data_path": 3}}, "dataset_config.data_path: found 3, expected text"),
        ({"prompt_config": {"name": None, "nam": "classify"}}, "prompt_config.name: is missing or empty"),
        ({"client_config": {"name": None}}, "client_config: names no client"),
        ({"client_config": {"model_name": ""}}, "client_config.model_name: is missing"),
        (
            {"client_config": {"model_options": [1]}},
            "client_config.model_options: found [1], expected an object",
        ),
        (
            {"controller_config": {"save_path": "a\0b"}},
            "save_path: 'a\\x00b' holds a character that no text may hold",
        ),
        ({"task_config": "tickets"}, "task_config: found 'tickets', expected an object"),
        ({"evaluator_config": {"metrics": {}}}, ""),
        (
            {"evaluator_config": {"metrics": [{"type": "latencey"}]}},
            "metrics[0].type: 'latencey', expected one of",
        ),
        ({"evaluator_config": {"metrics": [{"aspect": "qa"}]}}, "metrics[0].type: is missing or empty"),
        ({"evaluator_config": {"metrics": ["cost"]}}, "metrics[0]: found 'cost', expected an object"),
        (
            {"controller_config": {"extraction_config": {"type": "json_kee", "args": {}}}},
            "Did you mean 'json_key'?",
        ),
        (
            {"controller_config": {"extraction_config": {"type": "split", "args": {"delimiter": ","}}}},
            "extraction_config.args: extraction 'split' needs the argument 'index'",
        ),
    ],
)
def test_a_wrong_value_names_file_line_key_and_what_is_expected(
    folder: Folder, changes: dict[str, Json], says: str
) -> None:
    if not says:
        assert (
            loaded(folder, article(**changes)).metrics == ()
        )  # an empty object is an empty list to many writers
        return
    with pytest.raises(ConfigError) as caught:
        loaded(folder, article(**changes))
    assert says in str(caught.value)
    assert caught.value.file == str(folder.path / "config.json")
    assert caught.value.line is not None
    assert caught.value.line > 1


@pytest.mark.parametrize(
    ("type", "args"),
    [
        ("json_key", {"key": "label"}),
        ("nested_key", {"keys": ["a", "b"]}),
        ("split", {"delimiter": "Answer:", "index": 1}),
        ("custom_answer", {"primary_key": "a", "fallback_key": "b"}),
    ],
)
def test_each_extraction_is_read(folder: Folder, type: str, args: dict[str, Json]) -> None:
    config = loaded(folder, article(controller_config={"extraction_config": {"type": type, "args": args}}))
    assert config.extraction == Extraction(kind=type, args=args)


def test_a_file_that_is_no_json_names_file_and_line(folder: Folder) -> None:
    path = folder.write("broken.json", '{\n  "project": "x",\n}\n')
    with pytest.raises(ConfigError, match=r"broken\.json:3: not JSON: a comma before the closing '}'"):
        load(path)
    with pytest.raises(ConfigError, match=r"missing\.json: can't be read: No such file"):
        load("missing.json")
    (folder.path / "latin.json").write_bytes(b'{"project":\n "caf\xe9"}')
    with pytest.raises(ConfigError, match=r"latin\.json:2: byte 0xe9 is not UTF-8"):
        load("latin.json")
    with pytest.raises(ConfigError, match=r"list\.json:1: found \[\], expected an object"):
        load(folder.write("list.json", "[]"))


def test_a_key_in_the_file_is_left_out_everywhere_and_said(folder: Folder) -> None:
    config = loaded(folder, article(client_config={"model_options": {"api_key": "sk-planted-0123456789"}}))
    assert "model_options.api_key: is left out: keys are read from the environment only" in config.warnings[0]
    assert "planted" not in repr(config)
