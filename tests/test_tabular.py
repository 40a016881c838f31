"""Recorded results of any tool or paper become evidence."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ratchet import scores, tabular
from ratchet.errors import (
    ConfigError,
    DatasetError,
    PairingError,
    PlanError,
    StatisticsError,
    UnknownNameError,
)
from ratchet.tabular import Spec, specs
from ratchet.tabular.descriptions import describe


def csv_file(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def jsonl_file(path: Path, rows: Sequence[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def values(evidence: Any, arm: str, metric: str) -> list[float | None]:
    return [None if v != v else v for v in evidence.arms[arm].columns[metric].values.tolist()]


def two(folder: Path, base: str, cand: str) -> list[Path]:
    return [csv_file(folder / "base.csv", base), csv_file(folder / "cand.csv", cand)]


# --- layouts


def test_two_files_are_two_arms_paired_by_id_whatever_their_order_and_format(tmp_path: Path) -> None:
    base = jsonl_file(tmp_path / "old.jsonl", [{"id": 1, "score": 1}, {"id": 2, "score": 0}])
    cand = csv_file(tmp_path / "new.csv", "id,score\n2,1\n1,0\n")
    found = tabular.load([base, cand], Spec())
    assert found.examples == ("1", "2")
    assert list(found.arms) == ["old", "new"]
    assert values(found, "old", "score") == [1, 0]
    assert values(found, "new", "score") == [0, 1]
    assert found.arms["old"].columns["score"].kind == "bool"


def test_long_and_wide_files_and_one_file_an_arm_hold_the_same(tmp_path: Path) -> None:
    files = tabular.load(two(tmp_path, "id,s\na,1\nb,0.5\n", "id,s\na,0\nb,1\n"), Spec(scores=("s",)))
    long = csv_file(tmp_path / "long.csv", "m,id,s\nbase,a,1\ncand,a,0\nbase,b,.5\ncand,b,1\n")
    wide = csv_file(tmp_path / "wide.csv", "id,base,cand\na,1,0\nb,.5,1\n")
    by_long = tabular.load([long], Spec(by="m", scores=("s",)))
    by_wide = tabular.load([wide], Spec(wide=(specs.wide_of("s=base,cand"),)))
    for arm in ("base", "cand"):
        assert values(files, arm, "s") == values(by_long, arm, "s") == values(by_wide, arm, "s")


def test_every_format_gives_the_same_numbers_also_packed(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"id": "a", "m": "x", "ok": True}, {"id": "a", "m": "y", "ok": False}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "r.parquet")
    jsonl_file(tmp_path / "r.jsonl", rows)
    (tmp_path / "r.json").write_text(json.dumps(rows))
    csv_file(tmp_path / "r.tsv", "id\tm\tok\na\tx\ttrue\na\ty\tfalse\n")
    (tmp_path / "r.csv.gz").write_bytes(gzip.compress(b"id,m,ok\na,x,pass\na,y,fail\n"))
    for name in ("r.parquet", "r.jsonl", "r.json", "r.tsv", "r.csv.gz"):
        found = tabular.load([tmp_path / name], Spec(by="m", scores=("ok",)))
        assert (values(found, "x", "ok"), values(found, "y", "ok")) == ([1.0], [0.0]), name
        assert found.arms["x"].columns["ok"].kind == "bool"


def test_only_the_arms_asked_for_are_read_in_the_order_asked(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "f.csv", "m,id,s\nx,1,1\ny,1,1\nz,1,1\n")
    assert list(tabular.load([path], Spec(by="m", scores=("s",)), arms=("z", "x")).arms) == ["z", "x"]
    with pytest.raises(UnknownNameError, match=r"no arm named 'yy'(.|\n)*Did you mean 'y'"):
        tabular.load([path], Spec(by="m", scores=("s",)), arms=("x", "yy"))


def test_files_of_one_name_take_their_folder_s_and_an_explicit_name_wins(tmp_path: Path) -> None:
    for name in ("base", "head"):
        (tmp_path / name).mkdir()
        csv_file(tmp_path / name / "r.csv", "id,score\n1,1\n")
    paths = [tmp_path / "base" / "r.csv", tmp_path / "head" / "r.csv"]
    assert list(tabular.load(paths, Spec()).arms) == ["base/r", "head/r"]
    assert list(tabular.load([f"old={paths[0]}", f"new={paths[1]}"], Spec()).arms) == ["old", "new"]


def test_a_compound_id_doesn_t_confuse_its_parts(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "f.csv", "t,i,a,b\nx/1,2,1,1\nx,1/2,0,0\n")
    found = tabular.load([path], Spec(id=("t", "i"), wide=(specs.wide_of("a,b"),)))
    assert len(set(found.examples)) == 2


def test_rows_are_kept_by_where(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "f.csv", "id,t,a,b\n1,x,1,0\n2,y,1,0\n3,z,1,0\n")
    spec = Spec(wide=(specs.wide_of("a,b"),), where=(specs.filter_of("t!=x|z"),))
    assert tabular.load([path], spec).examples == ("2",)


def test_slices_and_groups_belong_to_the_examples(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "f.csv", "id,lang,doc,a,b\n1,de,d1,1,0\n2,en,d1,1,0\n3,en,d2,1,0\n")
    found = tabular.load([path], Spec(wide=(specs.wide_of("a,b"),), group="doc", slices=("lang",)))
    assert found.grouped
    assert found.groups.tolist() == [0, 0, 1]
    assert found.slices == {"lang": ("de", "en", "en")}


# --- cells


@pytest.mark.parametrize(
    ("yes", "no"), [("true", "FALSE"), ("Yes", "no"), ("pass", "fail"), ("1", "0"), ("1.0", "0.0")]
)
def test_passes_and_fails_have_many_spellings(tmp_path: Path, yes: str, no: str) -> None:
    found = tabular.load(two(tmp_path, f"id,score\n1,{yes}\n2,{no}\n", "id,score\n1,1\n2,0\n"), Spec())
    assert values(found, "base", "score") == [1, 0]
    assert found.arms["base"].columns["score"].kind == "bool"


def test_a_column_is_numbers_in_all_arms_as_soon_as_one_value_is(tmp_path: Path) -> None:
    found = tabular.load(two(tmp_path, "id,score\n1,1\n2,0\n", "id,score\n1,0.5\n2,0\n"), Spec())
    assert found.arms["base"].columns["score"].kind == "number"


def test_words_and_other_numbers_in_one_column_are_refused_with_both_places(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"cand\.csv:3, column 'score': found '0\.5', but line 2 says 'pass'"
    ):
        tabular.load(two(tmp_path, "id,score\n1,pass\n2,fail\n", "id,score\n1,1\n2,0.5\n"), Spec())


@pytest.mark.parametrize("cell", ["1.2s", "$0.03", "95%", "12 ms", '"1,234"', "3 tokens"])
def test_a_number_with_a_unit_is_refused(tmp_path: Path, cell: str) -> None:
    with pytest.raises(DatasetError, match=r"cand\.csv:2, column 'score'.*plain number, without unit"):
        tabular.load(two(tmp_path, "id,score\n1,1\n", f"id,score\n1,{cell}\n"), Spec())


@pytest.mark.parametrize("cell", ["maybe", "inf", "1_000"])
def test_a_bad_cell_names_file_line_column_and_value(tmp_path: Path, cell: str) -> None:
    with pytest.raises(DatasetError, match=rf"cand\.csv:2, column 'score': found '{cell}'; expected"):
        tabular.load(two(tmp_path, "id,score\n1,1\n", f"id,score\n1,{cell}\n"), Spec())


def test_missing_values_are_missing_and_not_zero(tmp_path: Path) -> None:
    text = "id,score,cost_usd\n1,NA,0.1\n2,1,\n"
    found = tabular.load(two(tmp_path, text, "id,score,cost_usd\n1,1,1\n2,0,1\n"), Spec())
    assert values(found, "base", "score") == [None, 1]
    assert values(found, "base", "cost_usd") == [0.1, None]
    assert not found.arms["base"].failed.any()


def test_a_list_in_a_cell_is_repeats_in_json_and_in_csv(tmp_path: Path) -> None:
    base = jsonl_file(tmp_path / "a.jsonl", [{"id": 1, "score": [1, 0, 1]}])
    cand = csv_file(tmp_path / "b.csv", 'id,score\n1,"[True, False, False]"\n')
    found = tabular.load([base, cand], Spec())
    assert values(found, "a", "score") == [1, 0, 1]
    assert values(found, "b", "score") == [1, 0, 0]
    assert found.arms["a"].repeat.tolist() == [0, 1, 2]


def test_lists_of_different_lengths_in_one_row_are_refused(tmp_path: Path) -> None:
    path = jsonl_file(tmp_path / "a.jsonl", [{"id": 1, "a": [1, 0], "b": [1]}])
    with pytest.raises(DatasetError, match="lists of one length"):
        tabular.load_alone([path], Spec(scores=("a", "b")))


def test_milliseconds_are_read_as_seconds_by_the_column_s_name(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "a.csv", "id,m,total_ms\n1,x,1500\n1,y,500\n")
    found = tabular.load([path], Spec(by="m", facts={"latency_s": "total_ms"}))
    assert values(found, "x", "latency_s") == [1.5]


# --- failures


@pytest.mark.parametrize("code", ["429", "timeout", "true"])
def test_a_row_with_an_error_failed_and_what_stands_beside_it_is_no_measurement(
    tmp_path: Path, code: str
) -> None:
    cand = f"id,score,ttft_s,error_code\n1,1,0.0,{code}\n2,1,0.5,\n"
    found = tabular.load(two(tmp_path, "id,score,ttft_s\n1,1,1\n2,1,1\n", cand), Spec())
    assert found.arms["cand"].failed.tolist() == [True, False]
    assert values(found, "cand", "ttft_s") == [None, 0.5]
    assert found.arms["cand"].error_kinds == {code: 1}


@pytest.mark.parametrize("code", ["", "0", "200", "204", "ok", "None", "false", "null"])
def test_no_error_has_many_spellings(tmp_path: Path, code: str) -> None:
    found = tabular.load(two(tmp_path, "id,score\n1,1\n", f"id,score,error\n1,1,{code}\n"), Spec())
    assert not found.arms["cand"].failed.any()


def test_json_rows_may_have_an_error_only_where_there_was_one(tmp_path: Path) -> None:
    rows = [{"id": n, "score": 1} for n in range(300)] + [{"id": 300, "error": {"type": "timeout"}}]
    found = tabular.load_alone([jsonl_file(tmp_path / "a.jsonl", rows)], Spec())
    assert found["a"].arms["a"].error_kinds == {"timeout": 1}


def test_a_row_that_holds_nothing_failed(tmp_path: Path) -> None:
    found = tabular.load(two(tmp_path, "id,score\n1,1\n2,1\n", "id,score\n1,1\n2,\n"), Spec())
    assert found.arms["cand"].failed.tolist() == [False, True]


def test_missing_rows_above_the_share_are_refused_and_below_count_as_failed(tmp_path: Path) -> None:
    base = "id,score\n" + "".join(f"{n},1\n" for n in range(100))
    cand = "id,score\n" + "".join(f"{n},1\n" for n in range(97))
    with pytest.raises(
        PairingError, match=r"arm 'cand' lacks 3 of 100 rows \(3\.0%\), as of '97', '98', '99'"
    ):
        tabular.load(two(tmp_path, base, cand), Spec())
    found = tabular.load(two(tmp_path, base, cand), Spec(max_missing=0.03))
    assert found.arms["cand"].failed.sum() == 3
    assert found.arms["cand"].error_kinds == {"missing": 3}
    assert "count as failed" in found.warnings[0]


# --- refusals


def test_a_duplicate_row_is_refused_with_both_lines(tmp_path: Path) -> None:
    with pytest.raises(PairingError, match=r"arm 'base' has two rows for example 'a': lines 2 and 4"):
        tabular.load(two(tmp_path, "id,score\na,1\nb,1\na,0\n", "id,score\na,1\nb,1\n"), Spec())


def test_repeats_are_told_apart_by_their_column_or_numbered(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "f.csv", "id,run,score\na,10,1\na,9,0\nb,9,1\nb,10,1\n")
    by_column = tabular.load_alone([path], Spec(repeat="run", scores=("score",)))["f"]
    assert values(by_column, "f", "score") == [0, 1, 1, 1]
    numbered = tabular.load_alone([path], Spec(number_repeats=True, scores=("score",)))["f"]
    assert values(numbered, "f", "score") == [1, 0, 1, 1]
    csv_file(path, "id,run,score\na,10,1\na,9,0\na,9,1\n")
    with pytest.raises(PairingError, match="example 'a' and repeat '9': lines 3 and 4"):
        tabular.load_alone([path], Spec(repeat="run", scores=("score",)))


def test_other_contents_under_one_id_are_refused_and_ids_survive_other_wording_if_told(
    tmp_path: Path,
) -> None:
    paths = two(tmp_path, "id,question,score\n1,2+2?,1\n", "id,question,score\n1,2+3?,1\n")
    with pytest.raises(
        PairingError, match=r"example '1' has other content at .*base\.csv:2 and at .*cand\.csv:2"
    ):
        tabular.load(paths, Spec())
    assert tabular.load(paths, Spec(ignore_content=True)).examples == ("1",)


def test_an_expected_value_alone_is_no_content_that_makes_two_examples_one(tmp_path: Path) -> None:
    text = "id,expected,score\n1,Yes,1\n2,Yes,0\n"
    found = tabular.load(two(tmp_path, text, text), Spec())
    assert found.contents == ("", "")


def test_an_unknown_column_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"column 'scor': there is no such column.*Did you mean 'score'"):
        tabular.load(two(tmp_path, "id,score\n1,1\n", "id,score\n1,1\n"), Spec(scores=("scor",)))
    path = jsonl_file(tmp_path / "a.jsonl", [{"id": 1, "score": 1}])
    with pytest.raises(DatasetError, match="no row has this column"):
        tabular.load_alone([path], Spec(scores=("scor",)))


def test_without_an_id_or_a_score_the_columns_are_listed(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "f.csv", "n,x\n1,1\n")
    with pytest.raises(ConfigError, match=r"Columns there are: n, x.*--id"):
        tabular.load_alone([path], Spec(scores=("x",)))
    with pytest.raises(ConfigError, match=r"Columns there are: n, x.*--score"):
        tabular.load_alone([path], Spec(by_row=True))


def test_one_arm_is_not_enough(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="found one arm, 'f'"):
        tabular.load([csv_file(tmp_path / "f.csv", "id,score\n1,1\n")], Spec())


# --- texts and stability


def test_texts_are_extracted_and_scored_by_any_scorer(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "f.csv", "id,target,a,b\n1,Yes,Yes,so the answer is Yes.\n2,No,Yes,no idea\n")
    spec = Spec(
        wide=(specs.wide_of("text=a,b"),),
        expected="target",
        scorers=(scores.resolve("exact_match"),),
        arm_extraction={"b": specs.extraction_of(r"regex=the answer is (.*?)\.?$")},
    )
    found = tabular.load([path], spec)
    assert values(found, "a", "exact_match") == [1, 0]
    assert found.arms["b"].answers == ("Yes", None)
    assert found.arms["b"].unparsable.tolist() == [False, True]
    assert found.arms["a"].columns["exact_match"].by.startswith("exact_match@")


def test_labels_of_a_classification_reach_the_evidence(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "f.csv", "id,target,a,b\n1,spam,spam,ham\n2,ham,ham,ham\n")
    spec = Spec(
        wide=(specs.wide_of("text=a,b"),), expected="target", scorers=(scores.resolve("classification"),)
    )
    labels = tabular.load([path], spec).arms["b"].columns["classification"].labels
    assert labels == ((frozenset({"ham"}), frozenset({"spam"})), (frozenset({"ham"}), frozenset({"ham"})))


def test_a_scorer_that_calls_a_model_is_refused(tmp_path: Path) -> None:
    judge = scores.resolve({"judge": {"prompt": "Good? {output}", "model": "openai/gpt-4o"}})
    with pytest.raises(ConfigError, match="'judge' calls a model"):
        tabular.load_alone(
            [csv_file(tmp_path / "f.csv", "id,output\n1,x\n")], Spec(text="output", scorers=(judge,))
        )


def test_agreement_needs_all_repeats_equal_and_a_missing_answer_equals_nothing(tmp_path: Path) -> None:
    rows = [{"id": "a", "out": ["x", "x"]}, {"id": "b", "out": ["x", "y"]}, {"id": "c", "out": [None, None]}]
    found = describe(tabular.load_alone([jsonl_file(tmp_path / "f.jsonl", rows)], Spec(agreement=("out",))))
    assert found["arms"]["f"]["agreement"]["out"] == {"same": 1, "examples": 3, "share": 1 / 3, "repeats": 2}


def test_agreement_over_other_numbers_of_repeats_is_refused(tmp_path: Path) -> None:
    base = jsonl_file(tmp_path / "a.jsonl", [{"id": 1, "score": [1, 1, 1]}])
    cand = jsonl_file(tmp_path / "b.jsonl", [{"id": 1, "score": [1, 1]}])
    with pytest.raises(PairingError, match="--max-repeats 2"):
        tabular.load([base, cand], Spec(stability=True))
    found = tabular.load([base, cand], Spec(stability=True, max_repeats=2))
    assert values(found, "a", "agreement.score") == [1, 1]
    with pytest.raises(StatisticsError, match="agreement needs repeats"):
        tabular.load([base, cand], Spec(stability=True, max_repeats=1))


def test_pass_at_k_is_the_unbiased_form(tmp_path: Path) -> None:
    path = jsonl_file(tmp_path / "f.jsonl", [{"id": 1, "score": [1, 0, 0, 0]}])
    spec = Spec(measures=(specs.measure_of("pass@2"), specs.measure_of("pass^2")))
    columns = tabular.load_alone([path], spec)["f"].arms["f"].columns
    assert np.unique(columns["score.pass@2"].values).tolist() == [0.5]
    assert np.unique(columns["score.pass^2"].values).tolist() == [0.0]


# --- descriptions


def test_quantiles_with_failures_are_infinite_where_too_many_failed(tmp_path: Path) -> None:
    text = "id,m,latency_s,error\n" + "".join(f"{n},x,1.0,{'429' if n < 6 else ''}\n" for n in range(100))
    found = describe(tabular.load_alone([csv_file(tmp_path / "f.csv", text)], Spec(by="m")))
    metric = found["arms"]["x"]["metrics"]["latency_s"]
    assert metric["p95"] == 1.0
    assert metric["with_failures"]["p50"] == 1.0
    assert metric["with_failures"]["p95"] is None


def test_an_unparsable_answer_has_not_passed(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "f.csv", "id,target,out\n1,Y,is Y\n2,Y,nothing\n")
    spec = Spec(
        text="out", scorers=(scores.resolve("exact_match"),), extraction=specs.extraction_of("regex=is (.*)")
    )
    metric = describe(tabular.load_alone([path], spec))["arms"]["f"]["metrics"]["exact_match"]
    assert (metric["mean"], metric["passes"], metric["of"]) == (0.5, 1, 2)


# --- the small languages


def test_a_check_is_a_rule_a_metric_and_settings() -> None:
    check = specs.check_of("no_worse score margin_pp=2")
    assert (check.rule, check.metric, check.margin) == ("no_worse", "score", 0.02)
    assert (
        specs.check_of("at_most wait limit=3", lower_is_better=frozenset({"wait"})).higher_is_better is False
    )
    with pytest.raises(ConfigError, match=r"no rule 'no_worst'.*Did you mean 'no_worse'"):
        specs.check_of("no_worst score")
    with pytest.raises(ConfigError, match="no setting 'margins'"):
        specs.check_of("no_worse score margins=2")


@pytest.mark.parametrize("text", ["pass@0", "pass", "best@3"])
def test_an_unknown_measure_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="pass@K"):
        specs.measure_of(text)


def test_what_ratchet_exports_can_be_read_back(tmp_path: Path) -> None:
    text = (
        "trace_id,arm,example_id,repeat,group,output,latency_s,cost_usd,cached,error,score.exact_match\n"
        "t1,a,1,0,,x,1.0,0.1,False,,True\nt2,b,1,0,,x,2.0,0.2,True,,False\n"
    )
    found = tabular.load([csv_file(tmp_path / "run.csv", text)], Spec())
    assert list(found.arms) == ["a", "b"]
    assert values(found, "b", "exact_match") == [0]
    assert found.arms["b"].cached.tolist() == [True]


# --- many rows


def _many(path: Path, odd: str = "") -> Path:
    rows = [f"{n},{m},{n % 2},{n % 7}.5" for n in range(9000) for m in ("x", "y")]
    return csv_file(path, "id,m,score,cost_usd\n" + "\n".join(rows) + "\n" + odd)


def test_rows_read_together_and_one_by_one_give_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ratchet.tabular import batches

    path = _many(tmp_path / "f.csv")
    fast = tabular.load([path], Spec(by="m", scores=("score",)))
    monkeypatch.setattr(batches, "add_batch", lambda *_: False)
    slow = tabular.load([path], Spec(by="m", scores=("score",)))
    assert fast.examples == slow.examples
    for arm in ("x", "y"):
        assert values(fast, arm, "score") == values(slow, arm, "score")
        assert values(fast, arm, "cost_usd") == values(slow, arm, "cost_usd")
        assert fast.arms[arm].columns["score"].kind == slow.arms[arm].columns["score"].kind == "bool"


def test_a_bad_cell_far_down_names_its_own_line(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"f\.csv:18002, column 'score': found 'oops'"):
        tabular.load([_many(tmp_path / "f.csv", "9000,x,oops,1\n")], Spec(by="m", scores=("score",)))
    with pytest.raises(
        DatasetError, match=r"f\.csv:18003, column 'score': found '0\.5', but line 18002 says 'pass'"
    ):
        tabular.load(
            [_many(tmp_path / "f.csv", "9000,x,pass,1\n9001,x,0.5,1\n")], Spec(by="m", scores=("score",))
        )


def test_shuffled_rows_hold_the_same_evidence(tmp_path: Path) -> None:
    import random

    lines = _many(tmp_path / "a.csv").read_text().splitlines()
    rows = lines[1:]
    random.Random(1).shuffle(rows)
    shuffled = csv_file(tmp_path / "b.csv", "\n".join([lines[0], *rows]) + "\n")
    one, two_ = (
        tabular.load([path], Spec(by="m", scores=("score",)), arms=("x", "y"))
        for path in (tmp_path / "a.csv", shuffled)
    )
    for arm in ("x", "y"):
        a = dict(zip(one.examples, values(one, arm, "cost_usd"), strict=True))
        assert a == dict(zip(two_.examples, values(two_, arm, "cost_usd"), strict=True))
