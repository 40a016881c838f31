from __future__ import annotations

import numpy as np
import pytest

from ratchet.errors import PairingError, StatisticsError
from ratchet.stats.labels import (
    confusion_matrix,
    count_labels,
    exact_match,
    f1_difference,
    f1_interval,
    f1_of_totals,
    jaccard,
    label_table,
    single,
)

# scikit-learn's documentation of f1_score: macro 0.266..., micro 0.333...
TRUTH, GUESS = single([0, 1, 2, 0, 1, 2]), single([0, 2, 1, 0, 0, 1])


def test_macro_and_micro_f1_of_the_scikit_learn_example() -> None:
    sums = count_labels(TRUTH, GUESS).totals().sum(axis=0)[None, :]
    assert f1_of_totals(sums, average="macro")[0] == pytest.approx(0.26666667)
    assert f1_of_totals(sums, average="micro")[0] == pytest.approx(0.33333333)


def test_labels_that_a_resample_lacks_are_left_out_of_the_mean() -> None:
    sums = np.array([[3.0, 0.0, 1.0, 0.0, 0.0, 0.0]])
    assert f1_of_totals(sums)[0] == pytest.approx(6 / 7)


def test_sample_jaccard_of_the_scikit_learn_example_and_the_declared_empty_value() -> None:
    # scikit-learn's documentation of jaccard_score: samples 0.5833.
    truth, guess = [{1, 2}, {0, 1}], [{0, 1, 2}, {0}]
    assert jaccard(truth, guess).mean() == pytest.approx(0.5833, abs=1e-4)
    assert jaccard([set()], [set()]).tolist() == [1.0]
    assert jaccard([set()], [set()], empty=0.0).tolist() == [0.0]
    assert jaccard([set()], [{"a"}]).tolist() == [0.0]


def test_exact_match_needs_the_whole_set() -> None:
    assert exact_match([{"a", "b"}, {"a"}], [["b", "a"], []]).tolist() == [1.0, 0.0]


def test_the_label_table_counts_each_label() -> None:
    table = {row.label: row for row in label_table([{"a", "b"}, {"a"}], [{"a"}, {"c"}])}
    assert (table["a"].tp, table["a"].fp, table["a"].fn, table["a"].support) == (1, 0, 1, 2)
    assert (table["a"].precision, table["a"].recall, table["a"].jaccard) == (1.0, 0.5, 0.5)
    assert (table["c"].recall, table["c"].precision) == (None, 0.0)


def test_an_unreadable_label_is_a_miss_and_no_false_positive() -> None:
    row = label_table(single(["a"]), single([None]))[0]
    assert (row.fn, row.fp) == (1, 0)
    labels, matrix = confusion_matrix(["a", "b"], ["a", None])
    assert matrix[labels.index("b"), labels.index(None)] == 1


def test_intervals_of_f1_cover_and_pair() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 300)
    before = np.where(rng.random(300) < 0.7, truth, (truth + 1) % 3)
    after = np.where(rng.random(300) < 0.5, truth, before)
    names = [single(labels.tolist()) for labels in (truth, before, after)]
    one, other = f1_interval(names[0], names[1]), f1_interval(names[0], names[2])
    change = f1_difference(names[0], names[1], names[2])
    assert change.estimate == pytest.approx(other.estimate - one.estimate)
    assert change.low > 0
    assert change.high - change.low < one.high - one.low + other.high - other.low


def test_labels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(PairingError, match="2 expected and 1 predicted"):
        exact_match([{1}, {2}], [{1}])
    with pytest.raises(StatisticsError, match="is the string 'abc'"):
        jaccard([{"a"}], ["abc"])
    with pytest.raises(StatisticsError, match="'z' is not among"):
        count_labels([{"z"}], [{"a"}], labels=["a"])
