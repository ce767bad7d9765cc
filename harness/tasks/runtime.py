"""The contract of a task family with training, evaluation and serving. Families implement it in their own folder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.api.family import families, part
from harness.api.heads import LinearHead
from harness.api.metric import Metric, Predictions, RowScores, Targets, Values, evaluate, row_scores
from harness.config.schema import TrainConfig
from harness.data.dataset import Dataset, Split
from harness.data.examples import Examples
from harness.data.readers.file_formats import Table
from harness.data.readers.whole_table import read_texts
from harness.data.tokenization import Encoding, Tokens, encode
from harness.errors import HarnessError
from harness.models.inference import predict_all
from harness.models.language.language_model import network_on
from harness.models.network import AdaptedModel

Features = npt.NDArray[np.float32]


class TaskRuntime(ABC):
    """What runs and predictors ask of the family of a task.

    Attributes:
        family: its name.
        classifies: whether predictions are probabilities (n, C) of a row's classes.
        own_files: suffixes of the files that `write_file` writes.
        outputs: number m of values that the head returns for a row.
    """

    family: ClassVar[str]
    classifies: ClassVar[bool] = False
    own_files: ClassVar[tuple[str, ...]] = ()
    outputs: int

    @classmethod
    @abstractmethod
    def of_data(cls, data: Any) -> Self:
        """Make the runtime of a data set of this family."""

    @classmethod
    @abstractmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Self:
        """Make the runtime of a saved model, from what `facts` returned when it was saved."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Return the JSON-able facts that a saved model needs to predict."""

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """The family's metrics by name."""
        table: Mapping[str, Metric] = part(families()[self.family].metrics)
        return table

    def encoding(self, tokenizer: Any, backbone: nn.Module, max_length: int) -> Encoding | None:
        """Return the family's own way to tokenize; None: the row's text, or pair of texts.

        Args:
            tokenizer, backbone: of the model.
            max_length: most tokens of a row in training.
        """
        return None

    def examples(self, tokens: Tokens, split: Split, tokenizer: Any, backbone: nn.Module) -> Examples:
        """Join a split's tokens and targets."""
        return Examples(tokens, split.targets, tokenizer.pad_token_id or 0)

    def network(self, backbone: nn.Module, pooling: str) -> AdaptedModel:
        """Make the family's network on a backbone.

        Args:
            backbone: see `harness.models.network.load_backbone`; not copied.
            pooling: of the model.
        """
        return network_on(backbone, pooling, self.outputs)

    def collection(self) -> Split | None:
        """Return rows that the rows of every split are compared with, such as passages; None without any."""
        return None

    def compared(self, examples: Examples, collection: Examples) -> Examples:
        """Join a split's examples with those of the `collection`."""
        raise NotImplementedError

    def inputs(self, split: Split, tokenizer: Any, backbone: nn.Module, max_length: int) -> Examples:
        """Tokenize rows that are used once, of which only the answers are needed, as in serving."""
        own = self.encoding(tokenizer, backbone, max_length)
        tokens = encode(split, tokenizer, max_length) if own is None else own.encode(split)
        return self.examples(tokens, split, tokenizer, backbone)

    def asked(self, texts: Sequence[str], pairs: Sequence[str] | None) -> Split:
        """Make a split of texts, or pairs, without targets, for prediction."""
        rows = np.arange(len(texts))
        return Split("predict", list(texts), None if pairs is None else list(pairs), rows, rows)

    def received(self, data: bytes, processor: Any, pixels: int, seconds: float) -> Any:
        """Return a row, as `asked` takes it, from a file that a client sent; for families whose rows are files.

        Args:
            data: the file.
            processor: of the model.
            pixels: that an image may have.
            seconds: that a sound may have.

        Raises:
            HarnessError: the file cannot be decoded, or is larger.
        """
        raise NotImplementedError

    def trained_on(self, examples: Examples, config: TrainConfig, max_length: int) -> Examples:
        """Return training rows as batches of training need them, by the keys of `train`.

        Args:
            examples: the rows.
            config: training settings.
            max_length: most tokens of a row.
        """
        return examples

    def notes(self, examples: Examples, split: Split) -> list[str]:
        """Return sentences about a tokenized split for the log of a run.

        Raises:
            HarnessError: the split cannot be used with this model.
        """
        return []

    def predict(
        self, network: AdaptedModel, examples: Examples, batch_size: int, device: torch.device, precision: str
    ) -> Predictions:
        """Return the predictions of a network, in eval mode, for n rows.

        Args:
            network: the network.
            examples: n rows.
            batch_size: rows per batch.
            device: where the network is.
            precision: fp32 | bf16 (autocast).
        """
        return self.predictions(predict_all(network, examples, batch_size, device, precision))

    def packed(self, predictions: Predictions) -> Tensor:
        """Return predictions as a tensor, for a checkpoint."""
        return torch.from_numpy(predictions)

    def unpacked(self, tensor: Tensor) -> Predictions:
        """Return the predictions that `packed` stored."""
        found: Predictions = tensor.numpy()
        return found

    @abstractmethod
    def targets(self, targets: Targets) -> Tensor:
        """Convert the targets (b,) of a batch to the tensor that `loss` takes."""

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
        """Return the mean loss of a batch.

        Args:
            outputs: (b, m) of the head, float32.
            targets: from `targets`, on the same device.
            label_smoothing: `train.label_smoothing`; 0 for a family to which it does not apply.
        """

    @abstractmethod
    def divergence(self, one: Tensor, two: Tensor) -> Tensor:
        """Return how far apart two passes (b, m) of the same rows are: a mean over rows (for `train.r_drop`)."""

    @abstractmethod
    def predictions(self, outputs: npt.NDArray[np.floating[Any]]) -> Predictions:
        """Convert the head's outputs (n, m) to predictions, which metrics take."""

    def joined(self, outputs: npt.NDArray[np.floating[Any]], examples: Examples) -> Predictions:
        """Convert the outputs of n rows, in their order, to predictions; by default, those of `predictions`."""
        return self.predictions(outputs)

    def evaluate(self, targets: Targets, predictions: Predictions) -> Values:
        """Compute all metrics."""
        return evaluate(self.metrics, targets, predictions)

    def row_scores(self, targets: Targets, predictions: Predictions) -> dict[str, RowScores]:
        """Return a score (n,) for each row by metric."""
        return row_scores(self.metrics, targets, predictions)

    @abstractmethod
    def linear_head(self, features: Features, targets: Targets, inverse_strength: float) -> LinearHead:
        """Fit the family's regularized linear model on L2-normalized features (n, d); see `train.head_init`.

        Args:
            features: of the training rows.
            targets: (n,) theirs.
            inverse_strength: inverse of the strength of the L2 penalty.
        """

    def described(self) -> Split | None:
        """Return a split whose texts describe the outputs, in their order; None if nothing describes them."""
        return None

    def check_closed_form(self, method: str, split: Split) -> None:
        """Check that a method that fits a head by a formula can use these training rows.

        Raises:
            HarnessError: it cannot.
        """
        return  # any rows will do

    @property
    def retained(self) -> str | None:
        """Hex digest of what is measured before and after training (`kept`); None: nothing is."""
        return None

    def kept(self, network: AdaptedModel, tokenizer: Any, device: torch.device, precision: str) -> float:
        """Measure what a network, in eval mode, keeps of what it could do; see `retained`."""
        raise NotImplementedError

    def forgotten(self, before: float, after: float) -> dict[str, float]:
        """Return the costs (`harness.api.cost`) of what `kept` returned before and after training."""
        raise NotImplementedError

    def usage(self, split: Split, predictions: Predictions, tokenizer: Any, backbone: nn.Module) -> dict[str, float]:
        """Return the costs (`harness.api.cost`) that follow from predictions, such as tokens read and written."""
        return {}

    def written(self, predictions: Predictions) -> int:
        """Return the number of tokens that were written in predictions; 0 for a family that writes none."""
        return 0

    @abstractmethod
    def stored(self, split: Split, predictions: Predictions) -> tuple[dict[str, Any], dict[str, str]]:
        """Return what predictions.parquet holds of a split besides its rows' ids and scores.

        Returns:
            Columns by name, as Arrow arrays or lists of n values. One of them is `label`, the target as it is written
            in the source. And metadata of the file.
        """

    @abstractmethod
    def answers(self, predictions: Predictions) -> list[Any]:
        """Return the plain answer of each row: the name of a class, or a number."""

    @abstractmethod
    def answer_columns(self) -> Sequence[str]:
        """Return the names of the columns that prediction adds to a file, `prediction` first."""

    def read_file(self, file: Path, columns: Sequence[str], how: Mapping[str, Any]) -> tuple[Table, list[list[Any]]]:
        """Read a file to predict for; see `harness.data.readers.whole_table.read_texts`."""
        return read_texts(file, columns, how)

    def write_file(self, file: Path, predictions: Predictions) -> bool:
        """Write predictions in a format that only this family has, by the file's suffix; return whether it did."""
        return False

    @abstractmethod
    def answer_values(self, predictions: Predictions) -> list[list[Any]]:
        """Return the values of these columns: one list of n strings or numbers for each."""


def runtime_of(data: Dataset) -> TaskRuntime:
    """Make the runtime of a loaded data set."""
    runtime: TaskRuntime = part(families()[data.family].runtime).of_data(data)
    return runtime


def saved_runtime(facts: Mapping[str, Any]) -> TaskRuntime:
    """Make the runtime of a saved model from its facts; those of earlier versions name no family."""
    from harness.api.family import FIRST

    name = str(facts.get("family", FIRST))
    if name not in families():
        raise HarnessError(
            f"This model was saved for tasks of the family {name}, which this version does not have. Known: "
            f"{', '.join(families())}. Use the version that saved it ({facts.get('harness', 'unknown')})."
        )
    kind = part(families()[name].runtime)
    try:
        runtime: TaskRuntime = kind.of_facts(facts)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise HarnessError(
            f"The description of this model of {name}, harness.json, is cut short or was changed ({why}). Copy the "
            "model again, or save it again."
        ) from error
    return runtime


def symmetric_divergence(one: Tensor, two: Tensor) -> Tensor:
    """Return the mean over rows of the symmetric Kullback-Leibler divergence of logits (b, C); Liang et al. 2021."""
    one, two = one.log_softmax(dim=-1), two.log_softmax(dim=-1)
    there = functional.kl_div(two, one, reduction="batchmean", log_target=True)
    back = functional.kl_div(one, two, reduction="batchmean", log_target=True)
    return (there + back) / 2
