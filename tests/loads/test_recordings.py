from __future__ import annotations

from pathlib import Path

import pytest

from ratchet.errors import ConfigError
from ratchet.loads import recordings
from ratchet.loads.recordings import Sizes


def lay(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("plain.txt", "10\n10.5\n12\n"),
        ("times.csv", "id,Timestamp\na,10\nb,10.5\nc,12\n"),
        ("times.jsonl", '{"created_at": 10}\n{"created_at": 10.5}\n\n{"created_at": 12}\n'),
        ("ms.csv", "timestamp_ms\n10000\n10500\n12000\n"),
    ],
)
def test_arrival_times_are_read_from_every_shape(tmp_path: Path, name: str, text: str) -> None:
    assert recordings.load_times(lay(tmp_path, name, text)) == [10, 10.5, 12]


def test_dates_are_times_also_with_the_seven_digits_of_published_traces(tmp_path: Path) -> None:
    path = lay(
        tmp_path,
        "azure.csv",
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n",
    )
    first, second = recordings.load_times(path)
    assert second - first == pytest.approx(4.314579)
    assert recordings.load_lengths(path) == [
        Sizes(input_tokens=374, output_tokens=44),
        Sizes(input_tokens=396, output_tokens=109),
    ]


def test_a_time_that_is_none_names_file_line_and_column(tmp_path: Path) -> None:
    path = lay(tmp_path, "times.csv", "time\n1\nnoon\n")
    with pytest.raises(ConfigError, match=r"times\.csv:3, time: 'noon' is not a time"):
        recordings.load_times(path)


def test_a_file_without_times_names_the_columns_that_would_do(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"no column of arrival times; expected one of offset_s.*found name"
    ):
        recordings.load_times(lay(tmp_path, "x.jsonl", '{"name": 1}\n'))


def test_lengths_stay_together_and_rows_without_an_answer_are_left_out(tmp_path: Path) -> None:
    path = lay(
        tmp_path,
        "l.jsonl",
        '{"input_length": 6758, "output_length": 500}\n{"input_length": 10, "output_length": 0}\n',
    )
    assert recordings.load_lengths(path) == [Sizes(input_tokens=6758, output_tokens=500)]


@pytest.mark.parametrize("cell", ["-1", "1.5", "many", "1e99"])
def test_a_length_that_is_no_count_names_its_place(tmp_path: Path, cell: str) -> None:
    path = lay(tmp_path, "l.csv", f"input_tokens,output_tokens\n{cell},3\n")
    with pytest.raises(ConfigError, match=r"l\.csv:2, input_tokens: .* expected tokens, a whole number"):
        recordings.load_lengths(path)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        recordings.load_times(tmp_path / "none.csv")
