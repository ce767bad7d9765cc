"""A study of texts from end to end: prompting and training, report, saved model; and what is refused before it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.report.reading.archive import freeze, thaw
from harness.serving.predict import load
from harness.tasks.text_generation.data import WRITTEN
from harness.tasks.text_generation.metrics import METRICS
from tests.helpers import tiny_writers
from tests.helpers.tiny_writers import TEMPLATE, WORDS

Main = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny decoder with a chat template."""
    return tiny_writers.saved(tmp_path_factory.mktemp("writer"), tiny_writers.decoder, TEMPLATE)


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny encoder-decoder."""
    return tiny_writers.saved(tmp_path_factory.mktemp("translator"), tiny_writers.encoder_decoder, None)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prompts with one or two references."""
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    pairs = [(one, other) for one in WORDS[:6] for other in WORDS[6:]]
    lines = [
        json.dumps({"attributes": f"{one}, {other}", "texts": [f"{one} {other}", f"{other} {one}"][: 1 + number % 2]})
        for number, (one, other) in enumerate(pairs)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def own(path: Path) -> tuple[str, ...]:
    """The model of a directory."""
    return ("model=own", f"model.path={path}", "model.name=tiny", "device=cpu")


def test_a_study_of_texts(writer: Path, rows: Path, tmp_path: Path, main: Main) -> None:
    """Cells that prompt stand beside cells that train; runs store what they wrote, and saved models write it."""
    code, printed = main(
        "-m", "study=texts", "task=text_generation", f"task.path={rows}", "task.doc_to_text='Say: {{attributes}}'",
        "task.completion=texts", "task.chat=true", "task.name=texts", "task.generate.max_new_tokens=5", *own(writer),
        "method=zero_shot,few_shot,lora", "train.epochs=1", "train.batch_size=8", "tune.trials=1", "confirm.seeds=2",
        "keep=all", "launch.kind=inline", "task.metric=exact_match",
    )  # fmt: skip
    assert code == 0, printed
    study = tmp_path / "runs" / "texts"
    read = {}
    for method in ("zero_shot", "few_shot", "lora"):
        confirmed = sorted(study.glob(f"runs/*.{method}/confirm-*/record.json"))
        assert len(confirmed) == 2
        record = json.loads(confirmed[0].read_text(encoding="utf-8"))
        assert record["data"]["family"] == "text_generation"
        assert (record["cost"]["params_trainable"] > 0) == (method == "lora")
        assert record["cost"]["latency_p50_seconds"] > 0
        read[method] = record["cost"]["prompt_tokens"]
        table = pd.read_parquet(confirmed[0].parent / "predictions.parquet").query("split == 'test'")
        for metric, value in record["metrics"]["test"].items():
            assert table[f"score_{metric}"].mean() == pytest.approx(value, abs=1e-6)
        prompts = [text.removeprefix("user: Say: ") for text in table["prompt"]]
        answers = load(confirmed[0].parent / "model", device="cpu").predict(prompts)
        assert answers == table["prediction"].tolist()
    assert read["few_shot"] > 3 * read["zero_shot"] == 3 * read["lora"]  # four examples in every prompt
    page = (tmp_path / "reports" / "texts" / "index.html").read_text(encoding="utf-8")
    assert "lowest scores" in page and "written by other cells" in page
    freeze(study, tmp_path / "texts.zip")
    frozen = thaw(tmp_path / "texts.zip")
    slim = pd.read_parquet(next(frozen.glob("runs/*.lora/confirm-*/predictions.parquet")))
    assert set(slim.columns) == {"split", "id", "label", "written_tokens", "cut", "score_exact_match"}
    assert not {*slim["label"]} & {*table["label"]}
    trial = json.loads(next(study.glob("runs/*.lora/trial*/record.json")).read_text(encoding="utf-8"))
    assert "train.lr" in trial["hyperparameters"] and "train.head_lr" not in trial["hyperparameters"]


def test_an_encoder_decoder(translator: Path, rows: Path, tmp_path: Path, main: Main) -> None:
    """The same rows through an encoder and a decoder; a run with its model."""
    code, printed = main(
        "task=text_generation", f"task.path={rows}", "task.prompt=attributes", "task.completion=texts",
        "task.name=texts", "task.generate.max_new_tokens=5", *own(translator), "method=lora", "train.epochs=1",
    )  # fmt: skip
    assert code == 0, printed
    [file] = tmp_path.glob("runs/single/runs/*/*/predictions.parquet")
    table = pd.read_parquet(file).query("split == 'test'")
    assert load(file.parent / "model", device="cpu").predict(table["prompt"].tolist()) == table["prediction"].tolist()


def test_multiple_choice(writer: Path, tmp_path: Path, main: Main) -> None:
    """The likeliest of the given answers is taken; the right one may be named by its place."""
    path = tmp_path / "questions.jsonl"
    lines = [
        {"q": f"Where is {w}?", "options": ["here", "there", f"{w} road"], "right": n % 3} for n, w in enumerate(WORDS)
    ]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    code, printed = main(
        "task=text_generation", f"task.path={path}", "task.prompt=q", "task.completion=right", "task.choices=options",
        "task.chat=true", "task.name=questions", "task.metric=acc", *own(writer), "method=zero_shot",
    )  # fmt: skip
    assert code == 0, printed
    [file] = tmp_path.glob("runs/single/runs/*/*/predictions.parquet")
    table = pd.read_parquet(file)
    assert table["score_acc"].notna().all() and table["score_acc_norm"].notna().all()  # validation rows, too
    table = table.query("split == 'test'")
    assert table["prediction"].isin(["here", "there", *(f"{word} road" for word in WORDS)]).all()
    assert table["score_acc"].tolist() == (table["prediction"] == table["label"]).astype(float).tolist()


def test_row_scores_are_influences() -> None:
    """Their standard error is that of a bootstrap over rows, for the ratio of two sums."""
    draw = np.random.default_rng(0)
    found = np.zeros(300, dtype=WRITTEN)
    found["tokens"] = draw.integers(1, 40, 300)
    found["nll"] = found["tokens"] * draw.gamma(4.0, 0.5, 300)
    targets = np.array([("",)] * 300, dtype=object)
    for name in ("loss", "perplexity"):
        metric = METRICS[name]
        scores = metric.per_row(targets, found)
        assert scores.mean() == pytest.approx(metric.value(targets, found))
        samples = [metric.value(targets, found[draw.integers(0, 300, 300)]) for _ in range(800)]
        assert scores.std() / np.sqrt(300) == pytest.approx(np.std(samples), rel=0.12)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "needs the columns of its rows"),
        (("task.prompt=attributes", "task.completion=texts", "task.metric=acc"), "name their column with task.choices"),
        (("task.prompt=attributes",), "has no completion"),
        (("task.prompt=attributes", "task.completion=answer"), "has no column 'answer'"),
        (("task.doc_to_text='Say it'", "task.completion=texts"), "names no column"),
        (("task.doc_to_text='{{attribute}}'", "task.completion=texts"), "Did you mean attributes?"),
        (("task.doc_to_text='{{attributes'", "task.completion=texts"), "is no Jinja template"),
        (("task.prompt=attributes", "task.completion=texts", "task.messages=texts"), "exactly one of"),
        (("task.messages=texts",), "has no role and content"),
        (("task.text=attributes", "task.metric=exact_match"), "use task.metric=loss or perplexity"),
        (("task.prompt=attributes", "task.completion=texts", "method=linear_probe"), "is for text_classification"),
        (("task.prompt=attributes", "task.completion=texts", "train.r_drop=1"), "two predictions of a class"),
        (("task.prompt=attributes", "task.completion=texts", "augment=noise"), "copies texts with a label"),
        (("task.prompt=attributes", "task.completion=texts", "model=minilm"), "is an architecture of encoders"),
        (
            ("task.prompt=attributes", "task.completion=texts", "task.generate.max_new_tokens=400"),
            "task.generate.max_new_tokens=400 is beyond the 256 tokens that model=tiny reads",
        ),
        (("task.prompt=attributes", "task.completion=texts", "task.metric=slot_accuracy"), "name their column with"),
    ],
)
def test_what_is_refused(arguments: tuple[str, ...], told: str, writer: Path, rows: Path, main: Main) -> None:
    """With the rule and the way out."""
    model = () if any(each.startswith("model=") for each in arguments) else own(writer)
    code, printed = main("task=text_generation", f"task.path={rows}", "task.name=texts", *model, *arguments)
    assert code != 0 and told in " ".join(printed.split()) and "Traceback" not in printed, printed


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ([{"role": "human", "content": "a"}], "unknown role 'human'"),
        ([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}], "do not alternate"),
        ([{"role": "user", "content": "a"}], "the last message is not the assistant's"),
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": " "}], "last message is empty"),
        ([{"role": "user", "content": "a"}, {"role": "system", "content": "b"}], "a system message is not the first"),
    ],
)
def test_broken_conversations(
    messages: list[dict[str, str]], told: str, translator: Path, tmp_path: Path, main: Main
) -> None:
    """Each kind of break is told with its rows."""
    good = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    path = tmp_path / "talks.jsonl"
    path.write_text("\n".join(json.dumps({"talk": each}) for each in [good, messages, good]), encoding="utf-8")
    code, printed = main(
        "task=text_generation", f"task.path={path}", "task.messages=talk", "task.name=talks", *own(translator)
    )
    assert code == 2 and told in printed and "row 2 of 3" in printed, printed


def test_messages_need_a_chat_template(translator: Path, tmp_path: Path, main: Main) -> None:
    """Of the model, or of one's own."""
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    path = tmp_path / "talks.jsonl"
    lines = [{"talk": [{**talk[0], "content": f"a{number}"}, talk[1]]} for number in range(12)]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    code, printed = main(
        "task=text_generation", f"task.path={path}", "task.messages=talk", "task.name=talks", *own(translator)
    )
    assert code == 2 and "has no chat template" in printed, printed
