from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ratchet import datasets, prompts
from ratchet.errors import ConfigError
from ratchet.llm_validator import PreparedRun, load, to_runs
from ratchet.ports import Request
from ratchet.providers import bedrock, gemini, ollama
from ratchet.records import Prompt, Variant

from .conftest import Folder, Json, article, tool


def prepared(folder: Folder, *configs: Json, environ: dict[str, str] | None = None) -> list[PreparedRun]:
    files = [folder.config(value, f"config-{number}.json") for number, value in enumerate(configs)]
    return to_runs([load(file) for file in files], environ=environ or {})


def only(folder: Folder, value: Json, environ: dict[str, str] | None = None) -> tuple[PreparedRun, Variant]:
    (run,) = prepared(folder, value, environ=environ)
    (variant,) = run.arms.values()
    return run, variant


def test_configs_with_equal_task_and_dataset_become_arms_of_one_run_the_first_the_baseline(
    folder: Folder,
) -> None:
    first = article()
    second = tool(client_config={"client_name": "anthropic", "model_name": "claude-haiku"})
    third = article(task_config={"name": "another"})
    twin = article()
    one, other = prepared(folder, first, second, third, twin)
    assert list(one.arms) == ["openai-gpt-4o-mini", "anthropic-claude-haiku", "openai-gpt-4o-mini-2"]
    assert (one.baseline, one.options.baseline) == ("openai-gpt-4o-mini", "openai-gpt-4o-mini")
    assert list(other.arms) == ["openai-gpt-4o-mini"]
    assert other.task.name == "another"


def test_another_dataset_or_inference_only_makes_another_run(folder: Folder) -> None:
    folder.write("other.csv", "i,ticket,category\n0,x,y\n")
    configs = [article(), article(dataset_config={"data_path": "other.csv"}), article(inference_only=True)]
    assert len(prepared(folder, *configs)) == 3


def test_parallelism_sanity_test_and_streaming_become_options(folder: Folder) -> None:
    run, variant = only(
        folder,
        article(
            dataset_config={"sanity_test": True}, controller_config={"use_streaming": True, "parallelism": 7}
        ),
    )
    assert (run.options.concurrency, run.options.limit) == (7, 3)
    assert variant.stream
    assert "sanity_test: only the first 3 rows" in run.notes


@pytest.mark.parametrize(
    ("client", "model"),
    [
        ("openai", "openai/m"),
        ("anthropic", "anthropic/m"),
        ("bedrock", "bedrock/m"),
        ("together", "together/m"),
        ("vertex", "vertex/m"),
        ("anyscale", "anyscale/m"),
        ("local", "ollama/m"),
    ],
)
@pytest.mark.parametrize("spelling", [article, tool])
def test_every_client_has_its_provider(folder: Folder, client: str, model: str, spelling: Json) -> None:
    key = "name" if spelling is article else "client_name"
    _, variant = only(folder, spelling(client_config={key: client, "model_name": "m"}))
    assert variant.model == model


def test_a_client_of_type_local_may_have_any_name(folder: Folder) -> None:
    config = tool(
        client_config={
            "client_name": "llama",
            "client_type": "local",
            "model_base_url": "http://localhost:9/api/chat",
            "model_name": "llama3:8b",
        }
    )
    _, variant = only(folder, config)
    assert (variant.model, variant.base_url) == ("ollama/llama3:8b", "http://localhost:9/api/chat")


def test_an_unknown_client_names_the_known_ones(folder: Folder) -> None:
    with pytest.raises(ConfigError, match=r"config-0\.json:6.*no client 'opnai'.*Did you mean 'openai'"):
        prepared(folder, article(client_config={"name": "opnai"}))


def test_the_environment_points_a_file_elsewhere_untouched(folder: Folder) -> None:
    environ = {"OPENAI_BASE_URL": "http://127.0.0.1:1/v1", "OLLAMA_BASE_URL": "http://127.0.0.1:2"}
    run, variant = only(folder, article(client_config={"base_url": "https://example.org/v1"}), environ)
    assert variant.base_url == "http://127.0.0.1:1/v1"
    assert any(
        "OPENAI_BASE_URL is set" in note and "not at https://example.org/v1" in note for note in run.notes
    )
    local = {"name": "local", "base_url": "http://localhost:11434/api/chat"}
    _, variant = only(folder, article(client_config=local), environ)
    assert variant.base_url == "http://127.0.0.1:2/api/chat"
    _, variant = only(folder, article(client_config=local))
    assert variant.base_url == "http://localhost:11434/api/chat"


@pytest.mark.parametrize("name", ["max_tokens", "maxTokens", "max_output_tokens", "maxOutputTokens"])
def test_model_options_land_where_the_wire_has_them(folder: Folder, name: str) -> None:
    options = {"temperature": 0.5, name: 9, "own": 1}
    _, variant = only(folder, article(client_config={"model_options": {"max_tokens": None, **options}}))
    params = {key: value for key, value in variant.params.items() if value is not None}
    request = Request(model="m", messages=({"role": "user", "content": "x"},), params=params)
    converse: Json = bedrock.body_of(request)
    assert converse["inferenceConfig"]["maxTokens"] == 9
    assert converse["additionalModelRequestFields"] == {"own": 1}
    google: Json = gemini.body_of(request)
    assert google["generationConfig"]["maxOutputTokens"] == 9
    native: Json = ollama.body_of(request)
    assert native["options"] == {"num_predict": 9, "temperature": 0.5, "own": 1}


def test_bedrocks_own_nesting_is_read_too(folder: Folder) -> None:
    _, variant = only(
        folder,
        article(client_config={"model_options": {"max_tokens": None, "inferenceConfig": {"maxTokens": 5}}}),
    )
    assert variant.params["max_tokens"] == 5


def test_tools_and_response_format_have_their_own_place(folder: Folder) -> None:
    options = {
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "response_format": {"type": "json_object"},
    }
    _, variant = only(folder, article(client_config={"model_options": options}))
    assert variant.tools == tuple(options["tools"])
    assert variant.response_format == {"type": "json_object"}
    assert "tools" not in variant.params


def test_every_column_but_index_and_label_is_a_variable_whatever_its_name(folder: Folder) -> None:
    folder.write(
        "roles.csv", "n,input,id,group,split,expected,target,metadata,ticket,category\n5,a,b,c,d,e,f,g,h,i\n"
    )
    run, _ = only(folder, article(dataset_config={"data_path": "roles.csv"}))
    (example,) = datasets.examples(run.task.dataset)
    assert example.input == {
        "input": "a", "id": "b", "group": "c", "split": "d", "expected": "e", "target": "f", "metadata": "g",
        "ticket": "h",
    }  # fmt: skip
    assert example.expected == "i"


@pytest.mark.parametrize("header", ["", "Unnamed: 0", "n"])
def test_the_first_column_is_the_index_and_no_variable(folder: Folder, header: str) -> None:
    folder.write("data.csv", f"{header},ticket,category\n7,x,y\n7,x,y\n")
    run, _ = only(folder, article())
    examples = list(datasets.examples(run.task.dataset))
    assert [example.input for example in examples] == [{"ticket": "x"}] * 2
    assert len({example.id for example in examples}) == 2


def test_the_label_may_be_absent(folder: Folder) -> None:
    folder.write("data.csv", ",ticket\n0,x\n")
    run, _ = only(folder, article(dataset_config={"label_col": None}))
    (example,) = datasets.examples(run.task.dataset)
    assert example.expected is None


def test_a_label_column_that_is_not_there_names_those_that_are(folder: Folder) -> None:
    with pytest.raises(
        ConfigError, match=r"dataset_config\.label_col: data\.csv has no column 'klass'.*ticket, category"
    ):
        prepared(folder, article(dataset_config={"label_col": "klass"}))


def test_a_prompt_variable_without_a_column_is_told_before_any_call(folder: Folder) -> None:
    with pytest.raises(ConfigError, match=r"config-0\.json:\d+, prompt_config\.name: .*'nothing'.*ticket"):
        prepared(folder, article(prompt_config={"name": "other"}))
    folder.write("data.csv", "ticket,category,x\na,b,c\n")
    with pytest.raises(ConfigError, match="The first column, 'ticket', is the row's index"):
        prepared(folder, article())


def test_a_prompt_name_that_is_not_in_the_file_names_those_that_are(folder: Folder) -> None:
    with pytest.raises(
        ConfigError, match=r"prompt_config\.name: .*no prompt named 'clasify'.*Did you mean 'classify'"
    ):
        prepared(folder, article(prompt_config={"name": "clasify"}))


def test_words_after_a_dollar_are_text(folder: Folder) -> None:
    _, variant = only(folder, article())
    assert isinstance(variant.prompt, Prompt)
    system, user = prompts.render(variant.prompt, {"ticket": "{x} $Label"})
    assert system == {"role": "system", "content": 'Pick $One of the labels, as {"label": …}.'}
    assert user["content"] == "Ticket: {x} $Label"


def test_paths_are_looked_for_from_the_working_directory_then_from_the_configs_folder_upwards(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = folder.config(article(), "configs/deep/config.json")
    elsewhere = folder.path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    (run,) = to_runs([load(config)], environ={})
    assert run.task.dataset.path == str(folder.path / "data.csv")
    (elsewhere / "data.csv").write_text(",ticket,category\n0,x,y\n")
    (run,) = to_runs([load(config)], environ={})
    assert run.task.dataset.path == str(elsewhere / "data.csv")
    (folder.path / "prompts.yaml").unlink()
    with pytest.raises(
        ConfigError, match=r"prompt_config\.path: there is no file 'prompts\.yaml' in .*elsewhere"
    ):
        to_runs([load(config)], environ={})


def test_arms_with_different_extractions_keep_their_own(folder: Folder) -> None:
    split: Json = {"extraction_config": {"type": "split", "args": {"delimiter": ":", "index": 0}}}
    (run,) = prepared(
        folder, article(controller_config=split), article(client_config={"model_name": "other"})
    )
    assert run.task.extraction is None
    assert {name: found.kind for name, found in run.task.arm_extraction.items()} == {
        "openai-gpt-4o-mini": "split"
    }
    (same,) = prepared(folder, article(controller_config=split), article(controller_config=split))
    assert same.task.extraction is not None
    assert same.task.extraction.kind == "split"


def test_stability_sets_the_repeats_and_says_so(folder: Folder) -> None:
    run, _ = only(folder, article(evaluator_config={"metrics": [{"type": "stability"}]}))
    assert run.task.repeats == 5
    assert "stability: every row is asked 5 times" in run.notes
    run, _ = only(
        folder, article(evaluator_config={"metrics": [{"type": "stability", "kwargs": {"repeats": 2}}]})
    )
    assert run.task.repeats == 2
    with pytest.raises(ConfigError, match=r"metrics\[0\]\.kwargs\.repeats: found 0"):
        only(folder, article(evaluator_config={"metrics": [{"type": "stability", "kwargs": {"repeats": 0}}]}))


def test_security_is_judged_by_rules_and_by_the_aspect_that_is_named(folder: Folder) -> None:
    metrics: list[Json] = [
        {"type": "security"},
        {"type": "accuracy", "aspect": "classification-all"},
    ]
    run, _ = only(folder, article(evaluator_config={"metrics": metrics}))
    names = [scorer.name for scorer in run.task.scorers]
    assert names == ["no_personal_data", "no_unsafe_markup", "no_secrets", "correctness"]
    assert {scorer.dimension for scorer in run.task.scorers[:3]} == {"security"}
    metrics = [{"type": "security", "aspect": "Prompt Injection", "kwargs": {"marker": "PWNED-8841"}}]
    run, _ = only(folder, article(evaluator_config={"metrics": metrics}))
    assert [(scorer.name, dict(scorer.settings)) for scorer in run.task.scorers] == [
        ("no_injection", {"marker": "PWNED-8841"})
    ]


def test_an_unknown_aspect_of_security_names_the_known_ones(folder: Folder) -> None:
    metrics = [{"type": "security", "aspect": "refusals"}]
    with pytest.raises(
        ConfigError, match=r"metrics\[0\]\.aspect: 'refusals' is no security aspect.*'refusal'"
    ):
        only(folder, article(evaluator_config={"metrics": metrics}))


def test_security_without_the_extra_for_secrets_warns_and_runs_the_rest(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ratchet.scorers.security import secrets

    secrets._detectors.cache_clear()
    monkeypatch.setitem(sys.modules, "detect_secrets.core.plugins.util", None)
    run, _ = only(folder, article(evaluator_config={"metrics": [{"type": "security"}]}))
    assert [scorer.name for scorer in run.task.scorers] == ["no_personal_data", "no_unsafe_markup"]
    assert "ratchet-llm[secrets]" in run.warnings[0]


def test_inference_only_scores_nothing(folder: Folder) -> None:
    metrics = [{"type": "accuracy", "aspect": "classification-all"}]
    run, _ = only(folder, article(inference_only=True, evaluator_config={"metrics": metrics}))
    assert run.task.scorers == ()
    assert run.inference_only


def test_a_folder_or_a_path_with_a_null_byte_is_refused_with_its_key(folder: Folder) -> None:
    for path in (".", "a\0b", "x" * 5000):
        with pytest.raises(ConfigError, match=r"dataset_config\.data_path"):
            prepared(folder, article(dataset_config={"data_path": path}))


def test_the_working_directory_may_be_given(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.config(article())
    monkeypatch.chdir("/")
    (run,) = to_runs([load("config.json", root=tmp_path)], root=tmp_path, environ={})
    assert run.task.dataset.count == 4
