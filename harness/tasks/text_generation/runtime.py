"""Text generation in training, evaluation and serving."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from harness.api.heads import LinearHead
from harness.api.metric import Metric, Predictions, Targets
from harness.config.schema import TrainConfig
from harness.data.dataset import Split
from harness.data.examples import Examples
from harness.data.tokenization import Encoding, Tokens
from harness.errors import HarnessError
from harness.models.inference import autocast, predict_all
from harness.models.input_limits import longest_input
from harness.models.language.language_model import OUTPUTS, LanguageModel
from harness.models.network import AdaptedModel
from harness.tasks.runtime import Features, TaskRuntime
from harness.tasks.text_generation.data import (
    OF_CHOICES,
    OF_LIKELIHOODS,
    OF_SLOTS,
    WRITTEN,
    Conversation,
    GenerationData,
    GenerationSplit,
    Message,
    Retained,
    Writing,
    split_of,
)
from harness.tasks.text_generation.encoding import RowEncoder
from harness.tasks.text_generation.examples import SequenceExamples
from harness.tasks.text_generation.generation import base_of, generate
from harness.tasks.text_generation.likelihood import log_likelihoods
from harness.tasks.text_generation.metrics import COSTLY
from harness.tasks.text_generation.retention.measures import LONGEST, choice_accuracy, mean_token_loss
from harness.tasks.text_generation.templates import Template


@dataclass(frozen=True)
class TextGenerationRuntime(TaskRuntime):
    """Outputs (n, 2) are sums of the token losses of rows and their numbers; predictions are records (`WRITTEN`).

    Attributes:
        writing: see `Writing`.
        metric: name of the metric that selects.
        prompted: whether rows have prompts, so that texts are written for them.
        chooses: whether rows have choices.
        fills: whether rows have slots.
        keeps: what is measured before and after training; None: nothing.
        judges: metrics of the user's own, by name.
    """

    family: ClassVar[str] = "text_generation"

    writing: Writing
    metric: str
    prompted: bool = True
    chooses: bool = False
    fills: bool = False
    keeps: Retained | None = None
    judges: Mapping[str, Metric] = field(default_factory=dict)
    outputs: int = OUTPUTS

    @classmethod
    def of_data(cls, data: GenerationData) -> Self:
        """See `TaskRuntime`."""
        rows = _rows(data.train).rows
        return cls(
            data.writing, data.metric, any(row.prompt for row in rows), any(row.choices for row in rows),
            any(row.slots for row in rows), data.retained, data.judges,
        )  # fmt: skip

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Self:
        """See `TaskRuntime`."""
        return cls(Writing.of_json(facts["writing"]), facts["metric"])

    def facts(self) -> dict[str, Any]:
        """Return how texts are written, and the metric."""
        return {"writing": asdict(self.writing), "metric": self.metric}

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """The family's metrics that rows can have; the costly ones only if they select."""
        unfit = (*(() if self.chooses else OF_CHOICES), *(() if self.fills else OF_SLOTS))
        left_out = {*COSTLY, *unfit} - {self.metric}
        return {name: each for name, each in super().metrics.items() if name not in left_out} | dict(self.judges)

    def encoding(self, tokenizer: Any, backbone: nn.Module, max_length: int) -> Encoding:
        """See `TaskRuntime`."""
        encoder = self._encoder(tokenizer, backbone, max_length)
        return Encoding(encoder.key, lambda split: encoder.encode(_rows(split)))

    def examples(self, tokens: Tokens, split: Split, tokenizer: Any, backbone: nn.Module) -> Examples:
        """Join tokens and rows. Texts are written for test rows, and for validation rows if their metric selects."""
        selects = self.metric not in OF_LIKELIHOODS
        written = self.prompted and "train" not in split.name and (selects or "validation" not in split.name)
        return SequenceExamples(
            tokens,
            split.targets,
            tokenizer.pad_token_id or 0,
            encoder=self.encoder(tokenizer, backbone),
            split=_rows(split),
            written=written,
        )

    def inputs(self, split: Split, tokenizer: Any, backbone: nn.Module, max_length: int) -> Examples:
        """See `TaskRuntime`.

        Raises:
            HarnessError: a prompt leaves no room for an answer.
        """
        examples = super().inputs(split, tokenizer, backbone, max_length)
        assert isinstance(examples, SequenceExamples) and examples.encoder is not None
        longest = max(map(len, examples.encoder.prompts(_rows(split).rows)), default=0)
        written = 0 if examples.encoder.encoder_decoder else self.writing.decoding.max_new_tokens
        if (beyond := longest + written - examples.encoder.max_length) > 0:
            raise HarnessError(
                f"A prompt of {longest} tokens leaves no room for an answer of {self.writing.decoding.max_new_tokens}: "
                f"the model reads {examples.encoder.max_length} tokens. Shorten the prompt by {beyond} tokens."
            )
        return replace(examples, scored=False, written=True)

    def trained_on(self, examples: Examples, config: TrainConfig, max_length: int) -> Examples:
        """Join the rows of a batch to sequences of `max_length` tokens, if `train.packing` says so."""
        assert isinstance(examples, SequenceExamples)
        return replace(examples, packed=max_length) if config.packing else examples

    def asked(self, texts: Sequence[str], pairs: Sequence[str] | None) -> Split:
        """Make a split of prompts, each a text: the next turn of a user, or what the task's template takes."""
        rows = [self._asked(text) for text in texts]
        return split_of("predict", rows, [("",)] * len(rows), range(len(rows)))

    def _asked(self, text: str | Sequence[Message]) -> Conversation:
        """Make a row of a prompt, or of the messages of a conversation."""
        if not isinstance(text, str):
            if not self.writing.chat:
                raise HarnessError(
                    "This model was tuned on prompts, not on conversations: give prompt, a text, instead of messages."
                )
            return Conversation(tuple(text), "")
        prompt = text
        if self.writing.doc_to_text is not None:
            template = Template(self.writing.doc_to_text, "task.doc_to_text")
            if len(columns := template.columns) == 1:
                prompt = template.render({columns[0]: text})
        if not self.writing.chat:
            return Conversation(prompt, "")
        before = [{"role": "system", "content": self.writing.system}] if self.writing.system else []
        return Conversation((*before, {"role": "user", "content": prompt}), "")

    def notes(self, examples: Examples, split: Split) -> list[str]:
        """Count the rows without a trained token; check that prompts and outputs fit into the model."""
        assert isinstance(examples, SequenceExamples) and examples.encoder is not None and examples.split is not None
        notes = []
        if empty := int((examples.trained == 0).sum()):
            notes.append(
                f"{empty} of {len(split)} {split.name} rows have no trained token left after their cut, and teach "
                "nothing: raise task.max_length."
            )
            if empty == len(split):
                raise HarnessError(
                    f"Every {split.name} row is cut before its completion begins: raise task.max_length, or shorten "
                    "the prompts."
                )
        if examples.written:
            rows = examples.split.rows
            longest = max(map(len, examples.encoder.prompts(rows)))
            self._check_room(longest, examples.encoder, split.name)
        return notes

    def _check_room(self, longest: int, encoder: RowEncoder, name: str) -> None:
        reads, writes = encoder.max_length, self.writing.decoding.max_new_tokens  # or a choice, which is short
        if encoder.encoder_decoder:
            if longest <= reads:
                return
            raise HarnessError(
                f"The longest {name} prompt has {longest} tokens, and the model reads {reads}: shorten or remove it."
            )
        if longest + writes > reads:
            left = reads - longest
            way = f"set task.generate.max_new_tokens={left} or less" if left > 0 else "shorten or remove it"
            raise HarnessError(
                f"The longest {name} prompt has {longest} tokens, task.generate.max_new_tokens={writes} follow, and "
                f"the model reads {reads} tokens: {way}."
            )

    def predict(
        self, network: AdaptedModel, examples: Examples, batch_size: int, device: torch.device, precision: str
    ) -> Predictions:
        """Compute the likelihood of the references, and write texts, for n rows."""
        assert isinstance(network, LanguageModel) and isinstance(examples, SequenceExamples)
        found = np.zeros(len(examples), dtype=WRITTEN)
        found["text"], found["choices"] = None, None
        if examples.scored:
            sums = predict_all(network, examples, batch_size, device, precision)
            found["nll"], found["tokens"] = sums[:, 0], sums[:, 1]
        if examples.written:
            assert examples.encoder is not None and examples.split is not None
            if any(row.choices for row in examples.split.rows):
                return _chosen(found, network, examples.encoder, examples.split, device, precision)
            prompts = examples.encoder.prompts(examples.split.rows)
            with autocast(device, precision):
                outputs = generate(
                    network.backbone, examples.encoder.tokenizer, prompts, self.writing.decoding, batch_size
                )
            found["text"] = [each[0].text for each in outputs]
            found["written"] = [len(each[0].tokens) for each in outputs]
            found["cut"] = [each[0].cut for each in outputs]
        return found

    @property
    def retained(self) -> str | None:
        """See `TaskRuntime`."""
        return None if self.keeps is None else self.keeps.digest

    def kept(self, network: AdaptedModel, tokenizer: Any, device: torch.device, precision: str) -> float:
        """Return the mean loss of a token of the general texts, in nats, or the accuracy on the questions."""
        assert self.keeps is not None
        backbone = network.backbone
        # A quarter of what a model reads is left to the virtual tokens of an adapter, before and after training.
        longest = max(min(LONGEST, longest_input(base_of(backbone), tokenizer) * 3 // 4), 2)
        with autocast(device, precision):
            if self.keeps.texts:
                return mean_token_loss(backbone, tokenizer, self.keeps.texts, longest)
            encoder = self._encoder(tokenizer, backbone, longest)
            return choice_accuracy(backbone, replace(encoder, writing=Writing()), self.keeps.questions)

    def forgotten(self, before: float, after: float) -> dict[str, float]:
        """See `TaskRuntime`."""
        assert self.keeps is not None
        value, lost = self.keeps.costs
        return {value: after, lost: after - before if self.keeps.texts else before - after}

    def usage(self, split: Split, predictions: Predictions, tokenizer: Any, backbone: nn.Module) -> dict[str, float]:
        """Return the mean number of tokens of a prompt, examples in it included, and of an output."""
        rows = _rows(split).rows
        if not self.prompted:
            return {}
        read = self._encoder(tokenizer, backbone, longest_input(backbone, tokenizer)).prompts(rows)
        found = {"prompt_tokens": float(np.mean([len(ids) for ids in read]))}
        if all(text is not None for text in predictions["text"]) and not any(row.choices for row in rows):
            found["output_tokens"] = float(predictions["written"].mean())
        return found

    def written(self, predictions: Predictions) -> int:
        """Return the number of written tokens, without end tokens."""
        return int(predictions["written"].sum())

    def packed(self, predictions: Predictions) -> Tensor:
        """Return predictions as the bytes of their JSON."""
        content = json.dumps([list(row) for row in predictions.tolist()], ensure_ascii=False)
        return torch.frombuffer(bytearray(content.encode()), dtype=torch.uint8)

    def unpacked(self, tensor: Tensor) -> Predictions:
        """Return the predictions that `packed` stored."""
        rows = json.loads(bytes(tensor.numpy()).decode())
        found = np.zeros(len(rows), dtype=WRITTEN)
        for place, row in enumerate(rows):
            *numbers, choices = row
            found[place] = (*numbers, None if choices is None else tuple(map(tuple, choices)))
        return found

    def targets(self, targets: Targets) -> Tensor:
        """Return an empty tensor: the labels are part of the batch."""
        return torch.empty(0)

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
        """Return the mean loss of the trained tokens of a batch."""
        return outputs[:, 0].sum() / outputs[:, 1].sum().clamp(min=1)

    def divergence(self, one: Tensor, two: Tensor) -> Tensor:
        """Raise: `train.r_drop` does not apply to this family."""
        raise TypeError("train.r_drop has no meaning for text generation.")

    def predictions(self, outputs: npt.NDArray[np.floating[Any]]) -> Predictions:
        """Return records without texts."""
        found = np.zeros(len(outputs), dtype=WRITTEN)
        found["nll"], found["tokens"] = outputs[:, 0], outputs[:, 1]
        found["text"], found["choices"] = None, None
        return found

    def linear_head(self, features: Features, targets: Targets, inverse_strength: float) -> LinearHead:
        """Raise: there are no features."""
        raise TypeError("A model that writes texts has no head on pooled features.")

    def stored(self, split: Split, predictions: Predictions) -> tuple[dict[str, Any], dict[str, str]]:
        """Return label (several references as a JSON list), prompt, prediction and number of written tokens."""
        import pyarrow as pa

        labels = [refs[0] if len(refs) == 1 else json.dumps(list(refs), ensure_ascii=False) for refs in split.targets]
        return {
            "label": labels,
            "prompt": split.texts,
            "prediction": pa.array(list(predictions["text"]), pa.string()),  # null where nothing was written
            "written_tokens": predictions["written"],
            "cut": predictions["cut"],
        }, {"max_new_tokens": str(self.writing.decoding.max_new_tokens)}

    def answers(self, predictions: Predictions) -> list[Any]:
        """Return the written texts."""
        return list(predictions["text"])

    def answer_columns(self) -> Sequence[str]:
        """Return `prediction`."""
        return ["prediction"]

    def answer_values(self, predictions: Predictions) -> list[list[Any]]:
        """Return the written texts."""
        return [self.answers(predictions)]

    def encoder(self, tokenizer: Any, backbone: nn.Module) -> RowEncoder:
        """Return what tokenizes rows as long as the model reads."""
        return self._encoder(tokenizer, backbone, longest_input(backbone, tokenizer))

    def conversation(self, messages: Sequence[Message]) -> Conversation:
        """Make a row of messages; without a system message they get that of training, if there was one.

        Raises:
            HarnessError: the model was tuned on prompts.
        """
        row = self._asked(tuple(messages))
        if self.writing.system and messages[0]["role"] != "system":
            row = replace(row, prompt=({"role": "system", "content": self.writing.system}, *messages))
        return row

    def _encoder(self, tokenizer: Any, backbone: nn.Module, max_length: int) -> RowEncoder:
        settings: Any = backbone.config
        return RowEncoder(tokenizer, bool(settings.is_encoder_decoder), self.writing, max_length)


def _chosen(
    found: Predictions,
    network: LanguageModel,
    encoder: RowEncoder,
    split: GenerationSplit,
    device: torch.device,
    precision: str,
) -> Predictions:
    """Add the log likelihoods of the choices to predictions, and the likeliest as what was written."""
    candidates = encoder.candidates(split.rows)
    with autocast(device, precision):
        scored = iter(log_likelihoods(network.backbone, [pair for row in candidates for pair in row]))
    for place, row in enumerate(split.rows):
        pairs = tuple((choice, next(scored).log_likelihood) for choice in row.choices)
        found["choices"][place] = pairs
        found["text"][place] = max(pairs, key=lambda pair: pair[1])[0] if pairs else ""
    return found


def _rows(split: Split) -> GenerationSplit:
    assert isinstance(split, GenerationSplit)
    return split
