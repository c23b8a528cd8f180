"""The clips table: rows and columns, on disk and back."""

import time

import pytest
from easyanimate_core import MediaError
from easyanimate_data.preparation.table import ClipTable, key_of, read_table, write_table


def make_table():
    table = ClipTable()
    table.extend([{"source": "n10.mp4", "file_path": "clips/n10.mp4/n10_0.mp4", "start": 0.0}])
    table.extend([{"source": "n2.mp4", "file_path": None, "error": "split: broken"}])
    table.extend(
        [{"source": "n1.mp4", "file_path": f"clips/n1.mp4/n1_{k}.mp4", "start": 5.0 - k, "mine": k} for k in range(2)]
    )
    return table


def test_rows_are_in_natural_order_and_columns_grow():
    table = make_table()
    table.sort()
    assert [key_of(row) for row in table] == [
        "clips/n1.mp4/n1_1.mp4",
        "clips/n1.mp4/n1_0.mp4",
        "n2.mp4",
        "clips/n10.mp4/n10_0.mp4",
    ]
    assert table.column("mine") == [1, 0, None, None]
    table.update(3, {"score": 0.5, "scores": [1.0, 2.0]})
    assert table.row(3)["score"] == 0.5
    assert table.row(0)["scores"] is None


def test_the_file_keeps_everything(tmp_path):
    table = make_table()
    table.update(0, {"scores": [1.0, 2.5], "caption": "一个红色的圆形"})
    write_table(tmp_path / "clips.parquet", table)
    again = read_table(tmp_path / "clips.parquet")
    assert again.columns == table.columns
    assert [path.name for path in tmp_path.iterdir()] == ["clips.parquet"]


def test_rows_can_be_dropped():
    table = make_table()
    table.drop_rows([0, 2])
    assert [row["source"] for row in table] == ["n2.mp4", "n1.mp4"]
    assert table.find_kept() == [1]


def test_other_files_are_refused(tmp_path):
    (tmp_path / "clips.parquet").write_text("no table")
    with pytest.raises(MediaError, match="cannot be read"):
        read_table(tmp_path / "clips.parquet")
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table({"source": ["a.mp4"]}), tmp_path / "clips.parquet")
    with pytest.raises(MediaError, match="file_path"):
        read_table(tmp_path / "clips.parquet")


def test_names_that_are_naturally_equal_do_not_mix():
    rows = [
        {"source": source, "file_path": f"{source}_{k}", "start": k} for source in ("1.mp4", "01.mp4") for k in (0, 4)
    ]
    for order in (rows, rows[::-1]):
        table = ClipTable()
        table.extend(order)
        table.sort()
        assert table.column("file_path") == ["01.mp4_0", "01.mp4_4", "1.mp4_0", "1.mp4_4"]


def test_columns_of_other_programs_stay(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    path = tmp_path / "clips.parquet"
    own = {
        "source": ["a.mp4", "b.mp4"],
        "file_path": ["a", "b"],
        "big": pa.array([2**64 - 1, None], pa.uint64()),
        "map": pa.array([[("key", 1)], None], pa.map_(pa.string(), pa.int64())),
        "day": pa.array([19000, None], pa.date32()),
        "nested": [{"a": [1, 2]}, None],
    }
    parquet.write_table(pa.table(own), path)
    before = parquet.read_table(path).to_pydict()
    write_table(path, read_table(path))
    assert {name: parquet.read_table(path).to_pydict()[name] for name in own} == before


def test_a_column_of_different_kinds_is_refused(tmp_path):
    table = make_table()
    table.update(0, {"colour": "red"})
    table.update(1, {"colour": 0.5})
    with pytest.raises(MediaError, match=r"column colour[\s\S]*--replace"):
        write_table(tmp_path / "clips.parquet", table)
    assert not list(tmp_path.iterdir())


def test_a_row_costs_the_same_in_a_long_table():
    """Work that grew with the length of the table would be quadratic over all rows."""

    def measure(length):
        table = ClipTable({"source": ["a.mp4"] * length})
        table.update(0, {"start": 0.5, "end": 1.0})  # makes the columns
        begin = time.process_time()
        for row in range(1000):
            table.update(row, {"start": 0.5, "end": 1.0})
        return time.process_time() - begin

    assert measure(1_000_000) < 50 * measure(1_000)  # a thousand times as much if every row were looked at
