"""A study of images from end to end: trials, confirmations, report with thumbnails, saved model, prediction."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from harness.serving.predict import load
from harness.serving.predict import main as predict
from tests.helpers.small_dataset import shorten
from tests.helpers.tiny_images import folders, write

Main = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write("vit", tmp_path_factory.mktemp("vit"))


def test_a_study_of_images(tmp_path: Path, main: Main, vit: Path) -> None:
    """Every part of a study takes images; the saved model predicts a folder, a table and a list of paths."""
    root = folders(tmp_path / "cells", count=30)
    (tmp_path / "cells" / "light" / "29.png").write_bytes((tmp_path / "cells" / "dark" / "29.png").read_bytes() + b" ")
    (root / "noise").mkdir()
    for number in range(8):  # of no class
        Image.effect_noise((20, 20), 90).convert("RGB").save(root / "noise" / f"{number}.png")
    code, printed = main(
        "-m", "study=cells", "task=images", f"task.path={root}", "task.name=cells", "task.oos_label=noise",
        "model=own_image", f"model.path={vit}", "model.name=tiny", "method=linear_probe,lora", "train.epochs=2",
        "tune.trials=2", "tune.sampler=random", "confirm.seeds=2", "keep=all", "launch.kind=inline",
        "augment=[image_flip,mixup]", "axes=[]",
    )  # fmt: skip
    assert code == 0, printed
    confirmed = sorted((tmp_path / "runs/cells").glob("runs/*lora/confirm-*/record.json"))
    assert len(confirmed) == 2
    record = json.loads(confirmed[0].read_text(encoding="utf-8"))
    assert record["data"]["family"] == "image_classification"
    every = pd.read_parquet(confirmed[0].parent / "predictions.parquet")
    assert (every["split"] == "test_outside").sum() == 4 and every["scope_mahalanobis"].notna().all()
    table = every.query("split == 'test'")
    missed = table["label"] != table["prediction"]
    assert table["image"].str.contains("/").all() and (table["thumbnail"].notna() == missed).all()
    page = (tmp_path / "reports/cells/index.html").read_text(encoding="utf-8")
    assert "Hardest test rows" in page and "confusion-" in page and "4 test rows out of scope" in page
    assert "img-src data:" in page  # the page's own policy lets no other images in
    directory = confirmed[0].parent / "model"
    files = sorted(root.rglob("*.png"))[:5]
    found = load(directory).predict([str(each) for each in files])
    output = tmp_path / "out.csv"
    assert predict([str(directory), str(root / "dark"), "--output", str(output)]) == 0
    written = pd.read_csv(output)
    assert list(written.columns) == ["image", "prediction", "probability: dark", "probability: light"]
    assert written["prediction"].tolist()[:5] == found and len(written) == 30
    listing = root / "some.csv"
    listing.write_text("image\n" + "".join(f"{each.relative_to(root)}\n" for each in files), encoding="utf-8")
    assert predict([str(directory), str(listing), "--output", str(output)]) == 0
    assert pd.read_csv(output)["prediction"].tolist() == found
    assert predict([str(directory), str(root / "gone"), "--output", str(output)]) == 2


def test_what_does_not_fit_is_refused_before_compute(tmp_path: Path, main: Main, vit: Path) -> None:
    image = ("task=demo_images", "model=own_image", f"model.path={vit}", "model.name=tiny")
    text = ("task=demo", f"model.path={shorten()}", "model.digests_of=null", "model.digests=null")
    for arguments, said in (
        ((*image, "method=prompt_tuning"), "method=prompt_tuning is for texts"),
        ((*image, "method=zero_shot"), "method=zero_shot is for"),
        ((*image, "augment=eda"), "augment=eda changes texts"),
        ((*image, "train.fgm=0.5"), "train.fgm=0.5 has no meaning"),
        ((*image, "model.pooling=last"), "last is not for images: choose pooler, mean, flatten, cls, model"),
        ((*image, "model.image_size=3"), "from 8 to 4096"),
        ((*image, "model.pooling=mean", "model.layer=9"), "model.layer=9: model=tiny has 2 blocks"),
        ((*image, "model.pooling=mean", "model.layer=1", "method=last_layers"), "its vectors are those of block 1"),
        ((*text, "+model.layer=1"), "model.layer=1 is for models of images"),
        ((*text, "task=demo_images"), "reads texts, and the rows of task=demo_images are images. Models that read"),
        ((*image, "task=demo"), "reads images, and the rows of task=demo are texts. Models that read texts:"),
        ((*text, "augment=mixup"), "augment=mixup changes images"),
        ((*text, "model.pooling=pooler"), "model.pooling=pooler is not for texts"),
    ):
        code, printed = main(*arguments)
        assert code == 2 and said in printed.replace("\n", " "), (arguments, printed)
    assert not (tmp_path / "runs").exists()


def test_thumbnails_and_groups_are_in_the_report(tmp_path: Path) -> None:
    """Hard rows show the picture of each image that was missed."""
    from harness.report.reading.predictions import read_files
    from harness.tasks.image_classification.data import ImageData
    from harness.tasks.image_classification.report.hard_images import hard_images
    from harness.tasks.image_classification.runtime import ImageClassificationRuntime
    from harness.tasks.image_classification.task import ImageClassification

    data = ImageClassification(name="cells", path=str(folders(tmp_path / "cells"))).load()
    assert isinstance(data, ImageData)
    runtime = ImageClassificationRuntime.of_data(data)
    wrong = np.eye(2, dtype=np.float32)[1 - data.test.targets]
    columns, metadata = runtime.stored(data.test, wrong)
    frame = pd.DataFrame(
        {key: list(value) if key != "thumbnail" else value.to_pylist() for key, value in columns.items()}
    )
    frame = frame.assign(split="test", id=data.test.ids, score_accuracy=0.0)
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame, preserve_index=False)
    file = tmp_path / "predictions.parquet"
    pq.write_table(table.replace_schema_metadata(metadata | {"family": "image_classification"}), file)
    found = hard_images(read_files([file], [0], "accuracy", False), [])
    assert len(found.rows) == len(data.test) and found.texts
    assert all(row[0].picture and row[0].picture.startswith("data:image/png;base64,") for row in found.rows)
    assert {row[0].text for row in found.rows} == {data.names[each] for each in data.test.texts}
