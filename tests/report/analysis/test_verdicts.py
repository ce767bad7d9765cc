"""What a report concludes from per-example predictions: intervals, verdicts, and which cell to choose."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml
from pyarrow import parquet

from harness.errors import HarnessError
from harness.report.cells.cell_summary import rows
from harness.report.cells.row_predictions import read_predictions
from harness.report.cells.settings import Settings
from harness.report.reading.predictions import Unreadable
from harness.report.reading.study import load
from tests.report.analysis.compared import judged, make, words
from tests.report.conftest import Builder


def test_the_cheapest_of_the_cells_shown_to_be_as_good_is_recommended(study: Builder) -> None:
    """The probe is half a point below the best and surely within two; zero-shot is surely worse, although cheaper."""
    make(study, {"full": (0.9, 40.0), "lora": (0.899, 25.0), "probe": (0.895, 0.1), "zero": (0.6, 0.0)})
    found = judged(study, Settings(margin=0.02))
    assert words(found) == {"full": "not worse", "lora": "not worse", "probe": "not worse", "zero": "worse"}
    (question,) = found.questions
    assert question.recommended is not None and question.recommended.cell.method == "probe"
    assert "choose probe" in found.summary[0] and "lowest training time (0.10 s) of the 3 cells" in found.summary[0]
    assert "less than 2.0 points below the best" in found.summary[0]


def test_unresolved_never_justifies_a_choice(study: Builder) -> None:
    """Cells that the data cannot tell apart by the margin are named, with the gap that it could have told."""
    make(study, {"full": (0.9, 40.0), "lora": (0.897, 25.0)}, seeds=3)
    found = judged(study, Settings(margin=0.0001))
    assert set(words(found).values()) == {"unresolved"}
    (question,) = found.questions
    assert question.recommended is None
    assert "no cell can be recommended" in found.summary[0] and "Not resolved are full and lora" in found.summary[0]


def test_one_seed_speaks_of_models_only(study: Builder) -> None:
    """With one seed nothing is known of the methods, and the sentence says so."""
    make(study, {"full": (0.9, 40.0), "zero": (0.6, 0.0)}, seeds=1)
    found = judged(study)
    assert words(found) == {"full": "better", "zero": "worse"}
    assert "for these trained models, not for the methods" in found.summary[0]


def test_another_cost_another_choice(study: Builder) -> None:
    """The cost that counts decides among equals; one that is not known cannot."""
    make(study, {"full": (0.9, 40.0), "probe": (0.899, 0.1)})
    assert judged(study, Settings(margin=0.02)).questions[0].recommended is not None
    unknown = judged(study, Settings(margin=0.02, cost="energy_joules"))
    assert unknown.questions[0].recommended is None and "energy of a training run" in unknown.summary[0]
    served = judged(study, Settings(margin=0.02, cost="ownership_seconds", requests_per_month=1000.0))
    assert served.questions[0].recommended is None  # tuning is not known: it left no run


def test_intervals_follow_the_metric(study: Builder) -> None:
    """The interval lies around the mean test score."""
    make(study, {"full": (0.9, 40.0), "probe": (0.85, 0.1)})
    found = judged(study)
    for row, judgement in zip(found.questions[0].rows, found.questions[0].judgements, strict=True):
        assert judgement.interval is not None and row.test_mean is not None
        assert judgement.interval.low < row.test_mean < judgement.interval.high
        assert judgement.interval.mean == pytest.approx(row.test_mean)


def test_missing_predictions_are_told(study: Builder) -> None:
    """A cell whose predictions are gone keeps its score, has no verdict, and a note says why."""
    make(study, {"full": (0.9, 40.0), "probe": (0.85, 0.1), "zero": (0.6, 0.0)})
    next(study.directory.glob("runs/*zero/c2/predictions.parquet")).unlink()
    found = judged(study)
    assert words(found)["zero"] is None and words(found)["full"] == "better"
    assert any("zero is not compared: c2/predictions.parquet is missing" in note for note in found.notes)


def test_nothing_is_recommended_while_the_best_is_not_compared(study: Builder) -> None:
    """What was not compared with the best is not shown to be as good."""
    make(study, {"full": (0.9, 40.0), "probe": (0.85, 0.1), "zero": (0.6, 0.0)})
    next(study.directory.glob("runs/*full/c2/predictions.parquet")).unlink()
    found = judged(study)
    assert words(found) == {"full": None, "probe": "better", "zero": "worse"}
    assert found.questions[0].recommended is None
    assert "no cell can be recommended: full could not be compared" in found.summary[0]


def test_other_test_rows_are_not_compared(study: Builder, tmp_path: Path) -> None:
    """Scores on other rows are no evidence against each other."""
    make(study, {"full": (0.9, 40.0), "probe": (0.85, 0.1), "lora": (0.89, 9.0)})
    for record in study.directory.glob("runs/*probe/*/record.json"):
        study.predictions(record, ["card"] * 400, ["card"] * 400)
    found = judged(study)
    assert words(found)["probe"] is None
    assert any("it met other test rows than" in note for note in found.notes)


def test_damaged_predictions(study: Builder) -> None:
    """A file that is no Parquet is told as such."""
    make(study, {"full": (0.9, 40.0)})
    for file in study.directory.glob("runs/*/c1/predictions.parquet"):
        file.write_bytes(b"PAR1 no more")
    (row,) = rows(load(study.directory))
    with pytest.raises(Unreadable, match="cannot be read"):
        read_predictions(row)


def test_looks_are_replayed(study: Builder) -> None:
    """Where a study planned looks, its verdicts are those of the looks, and the report says how far they went."""
    make(
        study, {"full": (0.9, 40.0), "zero": (0.6, 0.0)}, seeds=5, confirm={"seeds": [1, 2, 3], "looks": [3, 5]}
    )  # fmt: skip
    found = judged(study)
    assert words(found) == {"full": "better", "zero": "worse"}
    assert "looks planned at 3 and 5 seeds a cell; every verdict was reached after 1 look" in found.questions[0].looks


def test_settings_that_cannot_be() -> None:
    """Every wrong value is told at once, with the alternatives."""
    with pytest.raises(HarnessError) as error:
        Settings(margin=-1, confidence=2, cost="train_second").check()
    assert len(error.value.problems) == 3 and "train_seconds" in str(error.value)
    with pytest.raises(HarnessError, match="number of requests"):
        Settings(cost="ownership_dollars").check()


def test_rows_of_a_group_are_not_independent(study: Builder) -> None:
    """Where predictions tell which rows belong together, the groups are the sample, and intervals are wider."""
    make(study, {"full": (0.9, 40.0), "probe": (0.85, 0.1)}, seeds=2)
    alone = judged(study).questions[0].judgements[0].interval
    files = sorted(study.directory.glob("runs/*/*/predictions.parquet"))
    first = parquet.read_table(files[0])
    right = np.array(first["label"]) == np.array(first["prediction"])
    rows = np.arange(len(right))
    groups = pa.array(np.where(right, rows // 50, 1000 + rows // 500).astype(str))  # of one outcome each
    for path in files:
        parquet.write_table(parquet.read_table(path).append_column("group", groups), path)
    grouped = judged(study).questions[0].judgements[0].interval
    assert alone is not None and grouped is not None
    assert grouped.high - grouped.low > 1.5 * (alone.high - alone.low)


def test_replicates_are_pooled_into_one_question(study: Builder) -> None:
    """Runs of two tunings are two samples of the method, so what one tuning found weighs less; one verdict a cell."""
    make(study, {"full": (0.9, 40.0), "probe": (0.88, 0.1)}, seeds=4)
    alone = judged(study).questions[0]
    for path in study.directory.glob("runs/*/c*/record.json"):
        replicate = int(path.parent.name in ("c3", "c4"))
        text = path.read_text(encoding="utf-8").replace('"replicate": 0', f'"replicate": {replicate}')
        path.write_text(text, encoding="utf-8")
    content = yaml.safe_load((study.directory / "sweep.yaml").read_text(encoding="utf-8"))
    content["confirm"] |= {"vary": ["seed", "tuning"], "replicates": 2}
    (study.directory / "sweep.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    pooled = judged(study).questions[0]
    assert pooled.comparison is not None and alone.comparison is not None
    assert (pooled.comparison.replicates, alone.comparison.replicates) == ((2, 2), (1, 1))
    assert [len(row.seeds) for row in pooled.rows] == [4, 4]
    assert "one tuning run" not in pooled.recommendation


def test_a_metric_that_no_interval_covers_has_none(study: Builder) -> None:
    """Calibration error is estimated too high, so it has a note in place of an interval; verdicts stay."""
    make(study, {"full": (0.9, 40.0), "probe": (0.85, 0.1)}, seeds=2, metric="ece")
    found = judged(study)
    assert [judgement.interval for judgement in found.questions[0].judgements] == [None, None]
    assert any(note.startswith("ECE has no interval here: ") for note in found.notes)
    assert words(found) == {"full": "better", "probe": "worse"}
