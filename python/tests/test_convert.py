"""Tables of pandas and pyarrow, and `supervision.Detections`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from courtside import Results, read_results

from .conftest import HEAD, peak_growth_kib, text_of
from .test_results import DETECTIONS, PLAIN, write

COLUMNS = ["frame", "track_id", "x", "y", "width", "height", "confidence", "prompt"]


def test_a_table_of_pandas(tmp_path: Path) -> None:
    table = read_results(write(tmp_path, PLAIN)).to_pandas()
    assert list(table.columns) == COLUMNS
    assert [str(kind) for kind in table.dtypes] == ["int64"] * 2 + ["float64"] * 5 + ["int64"]
    rows = [(d.frame, d.track_id, *d.bbox, d.confidence, d.prompt) for d in DETECTIONS]
    assert list(table.itertuples(index=False, name=None)) == rows
    table.loc[0, "x"] = 1.0  # the table is the user's own
    assert table["x"][0] == 1.0


def test_a_table_of_arrow(tmp_path: Path) -> None:
    table = read_results(write(tmp_path, PLAIN)).to_arrow()
    assert table.column_names == COLUMNS
    rows = [dict(zip(COLUMNS, (d.frame, d.track_id, *d.bbox, d.confidence, d.prompt))) for d in DETECTIONS]
    assert table.to_pylist() == rows
    table.validate(full=True)


def test_a_table_needs_memory_for_its_columns_alone(tmp_path: Path) -> None:
    path = write(tmp_path, f'{HEAD},"detections":[{text_of(200_000)}]}}')
    work = f"""
table = courtside.read_results({str(path)!r}).to_arrow()
assert table.num_rows == 200_000 and table.column_names == {COLUMNS[:-1]!r}"""
    # Eight columns of eight bytes are 12.8 MB; as objects, the detections would be 100 MB.
    assert peak_growth_kib("import courtside, pyarrow", work) < 24 * 1024


def test_detections_of_supervision(tmp_path: Path) -> None:
    results = read_results(write(tmp_path, PLAIN))
    first = results.to_supervision(0)
    assert first.xyxy.tolist() == [[412.5, -8, 473.75, 135], [1, 2, 4, 6]]
    assert first.tracker_id.tolist() == [1, 3]
    assert first.class_id.tolist() == [0, 1]
    assert first.confidence.tolist() == pytest.approx([0.9731, 1.0])
    # A frame without detections, the last one, one after the end, and back to the first.
    assert [len(results.to_supervision(frame)) for frame in (1, 4, 4, 9, 0, 3, 4)] == [0, 1, 1, 0, 2, 0, 1]


@pytest.mark.parametrize(
    ("module", "extra", "convert"),
    [
        ("pandas", "pandas", Results.to_pandas),
        ("pyarrow", "arrow", Results.to_arrow),
        ("supervision", "supervision", lambda results: results.to_supervision(0)),
    ],
)
def test_a_missing_library_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, extra: str, convert: Callable[[Results], object]
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"pip install 'courtside\[{extra}\]'"):
        convert(read_results(write(tmp_path, PLAIN)))
