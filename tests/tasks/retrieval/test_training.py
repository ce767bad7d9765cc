"""Batches of training, masked relevant passages, and vectors of passages that follow the weights."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.config.schema import TrainConfig
from harness.data.examples import Examples
from harness.data.tokenization import Tokens
from harness.errors import HarnessError
from harness.models.retrieval.indexes import WordIndex
from harness.models.retrieval.retrieval_network import MASKED, PairedBatch, RetrievalNetwork
from harness.tasks.retrieval.examples import RetrievalExamples
from harness.tasks.retrieval.runtime import RetrievalRuntime
from tests.helpers.tiny_models import VOCABULARY, tiny

CPU = torch.device("cpu")
PASSAGES = 15


def tokens(rows: int, seed: int) -> Tokens:
    draw = np.random.default_rng(seed)
    lengths = draw.integers(3, 8, rows)
    offsets = np.cumsum([0, *lengths], dtype=np.int64)
    return Tokens(draw.integers(3, VOCABULARY, offsets[-1]).astype(np.int32), offsets, None, 0)


def queries(relevant: list[tuple[int, ...]], negatives: list[tuple[int, ...]], hard: int = 1) -> RetrievalExamples:
    targets = np.empty(len(relevant), dtype=object)
    for place, each in enumerate(relevant):
        targets[place] = tuple((passage, 1.0) for passage in each)
    collection = Examples(tokens(PASSAGES, 1), np.arange(PASSAGES), 0)
    return RetrievalExamples(
        tokens(len(relevant), 0), targets, 0, texts=[f"query {n}" for n in range(len(relevant))],
        negatives=tuple(negatives), hard_negatives=hard, passages=collection,
    )  # fmt: skip


def made(examples: RetrievalExamples, rows: list[int]) -> tuple[PairedBatch, list[int]]:
    batch, wanted = examples.training_batch(np.array(rows), CPU, torch.empty(0))
    assert isinstance(batch, PairedBatch)
    return batch, wanted.tolist()


def runtime(relevant: int = 2) -> RetrievalRuntime:
    texts = tuple(f"passage {number}" for number in range(PASSAGES))
    return RetrievalRuntime(texts, (), np.zeros(PASSAGES, dtype=np.int64), 1, relevant)


def network(tmp_path: Path) -> RetrievalNetwork:
    torch.manual_seed(0)
    found = runtime().network(copy.deepcopy(tiny("bert-base", tmp_path).backbone), "mean")
    assert isinstance(found, RetrievalNetwork)
    return found


def test_a_passage_stands_once_in_a_batch_and_relevant_ones_are_no_negatives() -> None:
    """Two queries of one passage share it; a query's other relevant passage is masked where another query brings it."""
    examples = queries([(4,), (4,), (2, 9), (9,)], [(7, 8), (7,), (), ()])
    torch.manual_seed(0)
    for _ in range(20):
        batch, wanted = made(examples, [0, 1, 2, 3])
        columns = len(batch.passages["input_ids"])
        assert batch.masked.shape == (4, columns)
        # 4, 9 and 7 are always there; 2 if it was drawn as the wanted one of its query, 8 if it was as a negative.
        assert 3 <= columns <= 5 and wanted[0] == wanted[1]
        assert not batch.masked[torch.arange(4), torch.tensor(wanted)].any()
        assert batch.masked.sum() == (1 if wanted[2] != wanted[3] else 0)
    assert not made(examples, [0, 1])[0].masked.any()


def test_negatives_are_drawn_anew_and_reproducibly() -> None:
    """Up to the wanted number, from torch's generator, whose state checkpoints hold."""
    examples = queries([(0,)] * 2, [tuple(range(1, 15)), ()], hard=3)
    torch.manual_seed(5)
    drawn = [made(examples, [0, 1])[0].passages["input_ids"].shape for _ in range(10)]
    assert {shape[0] for shape in drawn} == {4}
    torch.manual_seed(5)
    first = [made(examples, [0, 1])[0].passages["input_ids"] for _ in range(4)]
    torch.manual_seed(5)
    again = [made(examples, [0, 1])[0].passages["input_ids"] for _ in range(4)]
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not all(one.shape == first[0].shape and torch.equal(one, first[0]) for one in first)


def test_the_loss_is_the_cross_entropy_of_cosines(tmp_path: Path) -> None:
    """Against a computation by hand; masked passages have no part in it."""
    net, task = network(tmp_path), runtime()
    net.temperature = 0.1
    net.eval()
    examples = queries([(2, 9), (9,), (4,)], [(), (), (1,)])
    torch.manual_seed(1)
    batch, wanted = made(examples, [0, 1, 2])
    with torch.no_grad():
        loss = float(task.loss(net(batch), torch.tensor(wanted), 0.0))
        one = net.features({**batch})
        two = net.features(batch.passages)
    logits = (one @ two.T / 0.1).double().numpy()
    logits[batch.masked.numpy()] = -np.inf
    expected = [np.log(np.exp(row).sum()) - row[place] for row, place in zip(logits, wanted, strict=True)]
    assert loss == pytest.approx(float(np.mean(expected)), abs=1e-5)
    outputs = torch.tensor([[1.0, MASKED], [0.5, 0.2]])
    assert torch.isfinite(task.divergence(outputs, outputs + 0.1))


def test_vectors_follow_the_weights(tmp_path: Path) -> None:
    """After a training step, and after other weights are put in, scores are those of the new weights."""
    net, task = network(tmp_path), runtime()
    net.requires_grad_(True)
    assert not list(net.head_parameters()) and not [name for name in net.trainable() if name.startswith("head")]
    examples = queries([(2,), (9,), (4,), (1,)], [()] * 4)

    def scores() -> Any:
        net.eval()
        return task.predict(net, examples, 4, CPU, "fp32")["scores"].copy()

    before, weights = scores(), {name: p.detach().clone() for name, p in net.trainable().items()}
    assert (scores() == before).all()
    net.train()
    batch, wanted = made(examples, [0, 1, 2, 3])
    optimizer = torch.optim.SGD(net.trainable().values(), 0.5)
    task.loss(net(batch), torch.tensor(wanted), 0.0).backward()
    optimizer.step()
    after = scores()
    assert np.abs(after - before).max() > 1e-4
    net.put(weights)
    np.testing.assert_allclose(scores(), before, atol=1e-6)
    loaded = network(tmp_path)
    with pytest.raises(TypeError, match="not known"):
        loaded(examples.batch(np.array([0]), CPU))


def test_batches_of_prediction_do_not_change_it(tmp_path: Path) -> None:
    """Ranks are the same whatever the number of rows a batch; an index of words reads the texts."""
    net, task = network(tmp_path), runtime()
    net.eval()
    examples = queries([(row % PASSAGES,) for row in range(20)], [()] * 20)
    found = [task.predict(net, examples, size, CPU, "fp32") for size in (3, 64)]
    assert (found[0]["top"] == found[1]["top"]).all()
    assert (found[0]["above"] == found[1]["above"]).all()
    net.put_index(WordIndex([f"passage {n} query {n}" for n in range(PASSAGES)], 1.2, 0.75))
    words = task.predict(net, examples, 3, CPU, "fp32")
    assert words["top"][:PASSAGES, 0].tolist() == list(range(PASSAGES))


def test_a_batch_of_one_query_has_nothing_to_tell_it_from() -> None:
    """Unless negatives are given."""
    task, config = runtime(), TrainConfig(batch_size=1)
    with pytest.raises(HarnessError, match=r"set train.batch_size=16 or more, or give negatives"):
        task.trained_on(queries([(1,), (2,)], [(), ()]), config, 64)
    assert task.trained_on(queries([(1,), (2,)], [(3,), ()]), config, 64)
