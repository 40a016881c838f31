from __future__ import annotations

import pytest

from ratchet import codec
from ratchet.errors import ConfigError
from ratchet.llm_validator import PreparedRun, load, to_runs
from ratchet.llm_validator.judging import function_calling
from ratchet.records import Example, Prompt, Trace

from .conftest import Folder, Json, article


def run_of(folder: Folder, *metrics: Json, **changes: Json) -> PreparedRun:
    config = article(evaluator_config={"metrics": list(metrics)}, **changes)
    (run,) = to_runs([load(folder.config(config))], environ={})
    return run


def accuracy(aspect: str, **kwargs: Json) -> Json:
    return {"type": "accuracy", "aspect": aspect, "name": aspect, "kwargs": kwargs}


JUDGE = {"client_name": "anthropic", "model_name": "claude-judge", "model_options": {"temperature": 0}}


@pytest.mark.parametrize(
    ("aspect", "kwargs", "names"),
    [
        ("classification-all", {}, ["correctness"]),
        ("codegen", JUDGE, ["code_quality"]),
        ("code-generation", JUDGE, ["code_quality"]),
        ("function-calling", {}, ["function_calling"]),
        ("cosine-similarity", {}, ["cosine_similarity"]),
        ("regex", {"patterns": ["a", "b"]}, ["regex_any"]),
        ("regex_all", {"patterns": ["a", "b"]}, ["regex_all"]),
        ("JSON field comparison", {"match": "any"}, ["json_field_any"]),
        ("valid-json", {}, ["valid_json"]),
        ("json_structure", {}, ["json_structure"]),
        ("rouge_l", {}, ["rouge_l"]),
    ],
)
def test_every_aspect_has_its_scorers(folder: Folder, aspect: str, kwargs: Json, names: list[str]) -> None:
    run = run_of(folder, accuracy(aspect, **kwargs))
    assert [scorer.name for scorer in run.task.scorers] == names
    assert run.warnings == ()


def test_the_name_serves_where_there_is_no_aspect(folder: Folder) -> None:
    run = run_of(folder, {"type": "accuracy", "name": "valid_json"})
    assert [scorer.name for scorer in run.task.scorers] == ["valid_json"]


def test_an_unknown_aspect_names_the_known_ones(folder: Folder) -> None:
    with pytest.raises(
        ConfigError, match=r"metrics\[0\]\.aspect: 'clasification-all' .*Did you mean 'classification-all'"
    ):
        run_of(folder, accuracy("clasification-all"))


def test_an_aspect_that_needs_a_label_says_so(folder: Folder) -> None:
    folder.write("data.csv", ",ticket\n0,x\n")
    with pytest.raises(
        ConfigError, match=r"compares with the label: name its column in dataset_config\.label_col"
    ):
        run_of(folder, accuracy("classification-all"), dataset_config={"label_col": None})


def test_a_judge_without_a_prompt_has_ours_and_the_notes_say_so(folder: Folder) -> None:
    run = run_of(folder, accuracy("codegen", **JUDGE))
    (scorer,) = run.task.scorers
    assert "the judge of codegen has Ratchet's built-in prompt" in run.notes
    assert scorer.settings["model"] == "anthropic/claude-judge"
    assert scorer.settings["params"] == {"temperature": 0}


def test_a_judge_without_a_model_is_the_model_under_test_and_the_notes_say_so(folder: Folder) -> None:
    run = run_of(folder, accuracy("codegen"))
    assert run.task.scorers[0].settings["model"] == "openai/gpt-4o-mini"
    assert any("no judge is named for codegen" in note and "itself under test" in note for note in run.notes)


def test_arms_without_a_judge_of_their_own_are_judged_by_the_baseline(folder: Folder) -> None:
    metrics = {"metrics": [accuracy("codegen")]}
    configs = [
        article(evaluator_config=metrics),
        article(evaluator_config=metrics, client_config={"model_name": "b"}),
    ]
    (run,) = to_runs([load(folder.config(c, f"{n}.json")) for n, c in enumerate(configs)], environ={})
    assert [scorer.settings["model"] for scorer in run.task.scorers] == ["openai/gpt-4o-mini"]
    assert run.warnings == ()


@pytest.mark.parametrize("version", ["prompt_version", "prompt_verions"])
def test_a_named_judge_prompt_is_used_and_both_spellings_of_its_version_are_known(
    folder: Folder, version: str
) -> None:
    folder.write(
        "judges.yaml", "- name: strict\n  user: {value: 'Rate {generated_code_answer} for {user_request}'}\n"
    )
    kwargs = {**JUDGE, "prompt_name": "strict", "prompt_path": "judges.yaml", version: "2"}
    run = run_of(folder, accuracy("codegen", **kwargs))
    prompt = codec.decode(Prompt, dict(run.task.scorers[0].settings["prompt"]))
    assert (prompt.name, prompt.messages[0]["content"]) == (
        "strict",
        "Rate {generated_code_answer} for {user_request}",
    )
    assert run.warnings == ()
    assert not any("built-in" in note for note in run.notes)


def test_a_judges_prompt_that_needs_what_is_not_there_is_told_with_its_place(folder: Folder) -> None:
    folder.write("judges.yaml", "- name: strict\n  user: {value: '{generated_cod_answer}'}\n")
    with pytest.raises(ConfigError, match=r"evaluator_config\.metrics\[0\]: .*'generated_cod_answer'"):
        run_of(folder, accuracy("codegen", **JUDGE, prompt_name="strict", prompt_path="judges.yaml"))


def test_a_prompt_path_that_does_not_exist_names_the_key(folder: Folder) -> None:
    with pytest.raises(
        ConfigError, match=r"metrics\[0\]\.kwargs\.prompt_path: there is no file 'gone\.yaml'"
    ):
        run_of(folder, accuracy("codegen", **JUDGE, prompt_path="gone.yaml", prompt_name="x"))


def test_a_prompt_name_without_a_path_is_looked_for_among_the_tasks_prompts(folder: Folder) -> None:
    run = run_of(folder, accuracy("codegen", **JUDGE, prompt_name="classify"))
    assert run.task.scorers[0].settings["prompt"]["name"] == "classify"
    run = run_of(folder, accuracy("codegen", **JUDGE, prompt_name="gone"))
    assert "holds no prompt 'gone'" in run.warnings[0]
    assert "the judge of codegen has Ratchet's built-in prompt" in run.notes


def test_summarization_has_three_judges_each_with_its_own_options(folder: Folder) -> None:
    folder.write("data.csv", ",record,ticket,category\n0,a,b,c\n")
    folder.write("judges.yaml", "- name: acc\n  user: {value: 'A {original_content} {summary}'}\n")
    kwargs = {
        **JUDGE,
        "accuracy_prompt_name": "acc",
        "accuracy_prompt_path": "judges.yaml",
        "accuracy_prompt_verions": "1",
        "quality_model_name": "other-judge",
        "qualty_prompt_name": "x",
    }
    run = run_of(folder, accuracy("summarization", **kwargs))
    found = {scorer.name: scorer.settings for scorer in run.task.scorers}
    assert list(found) == ["accuracy_score", "adherence_score", "quality_score"]
    assert found["accuracy_score"]["prompt"]["name"] == "acc"
    assert found["quality_score"]["model"] == "anthropic/other-judge"
    assert found["adherence_score"]["model"] == "anthropic/claude-judge"
    (warning,) = run.warnings
    assert "kwargs.qualty_prompt_name: is not known, and ignored" in warning
    assert sum("built-in prompt" in note for note in run.notes) == 2


@pytest.mark.parametrize(("aspect", "needs"), [("summarization", "original_content"), ("qa", "context")])
def test_a_column_that_the_judge_needs_is_asked_for_before_any_call(
    folder: Folder, aspect: str, needs: str
) -> None:
    with pytest.raises(ConfigError, match=f"needs the variable '{needs}'"):
        run_of(folder, accuracy(aspect, **JUDGE))


def test_two_files_that_judge_one_aspect_differently_warn_and_the_first_counts(folder: Folder) -> None:
    def config(model: str) -> Json:
        return article(evaluator_config={"metrics": [accuracy("codegen", **{**JUDGE, "model_name": model})]})

    (run,) = to_runs([load(folder.config(config(m), f"{m}.json")) for m in ("a", "b")], environ={})
    assert [scorer.settings["model"] for scorer in run.task.scorers] == ["anthropic/a"]
    assert "code_quality is judged as the first file says" in run.warnings[0]


def test_a_key_among_a_judges_options_goes_nowhere(folder: Folder) -> None:
    kwargs = {**JUDGE, "model_options": {"api_key": "sk-planted-0123456789"}}
    run = run_of(folder, accuracy("codegen", **kwargs))
    assert "planted" not in repr(run)


@pytest.mark.parametrize(
    ("answer", "function", "arguments"),
    [
        ('{"name": "f", "parameters": {"x": 1}}', True, True),
        ("{'name': 'f', 'parameters': {'x': 1}}", True, True),
        ('{"name": "g", "parameters": {"x": 1}}', False, True),
        ('{"name": "f", "parameters": {"x": 2}}', True, False),
        ("no call at all", False, False),
    ],
)
def test_function_calling_reads_json_and_python_literals(
    answer: str, function: bool, arguments: bool
) -> None:
    example = Example(id="1", input={}, expected="{'name': 'f', 'parameters': {'x': 1}}")
    found = function_calling(Trace(id="0" * 32, output=answer, answer=answer), example)
    assert found["function_accuracy"].value is function
    assert found["argument_correctness"].value is arguments
