"""Texts that a language model writes: prompts in batches of like length, outputs in the order of the prompts.

Decoders read left-padded prompts and encoders right-padded ones. Greedy outputs of a decoder are written by a loop that
drops finished rows from the batch and its key-value cache; everything else is transformers' `generate`.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from harness.tasks.text_generation.decoding import Decoding

Tokens = Sequence[int]
Progress = Callable[[int, int], None]  # (prompts done, prompts in all)
Watch = Callable[["Output | None"], bool]

DROPPED = 0.25  # share of finished rows at which a batch is made smaller: it copies the cache of the others
# Settings of a generation_config that change which token is chosen, with their neutral values. Where one of them
# differs, the model's own settings hold, and `generate` applies them.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "repetition_penalty": (None, 1.0), "encoder_repetition_penalty": (None, 1.0), "no_repeat_ngram_size": (None, 0),
    "encoder_no_repeat_ngram_size": (None, 0), "bad_words_ids": (None,), "min_length": (None, 0),
    "min_new_tokens": (None, 0), "forced_bos_token_id": (None,), "forced_eos_token_id": (None,),
    "suppress_tokens": (None,), "begin_suppress_tokens": (None,), "sequence_bias": (None,),
    "guidance_scale": (None, 1.0), "exponential_decay_length_penalty": (None,), "watermarking_config": (None,),
    "cache_implementation": (None,), "prompt_lookup_num_tokens": (None,),
}  # fmt: skip


@dataclass(frozen=True)
class Output:
    """One output for one prompt.

    Attributes:
        text: without special tokens, cut before the first stop string; white space at its ends is kept.
        tokens: ids that were written, without the end token; those of a stop string are among them.
        cut: whether it was cut at `max_new_tokens`, before the model ended it.
    """

    text: str
    tokens: tuple[int, ...]
    cut: bool


@torch.inference_mode()
def generate(
    model: nn.Module,
    tokenizer: Any,
    prompts: Sequence[Tokens],
    decoding: Decoding,
    batch_size: int = 32,
    ends: Iterable[int] = (),
    progress: Progress | None = None,
    watch: Watch | None = None,
) -> list[list[Output]]:
    """Write outputs for n prompts.

    The model is put into eval mode for the time. A batch that does not fit into memory raises torch.OutOfMemoryError:
    call again with fewer rows.

    Args:
        model: a transformers model with a language-modelling head, or a PEFT model on one: a decoder or an
            encoder-decoder.
        tokenizer: its tokenizer.
        prompts: n lists of token ids, each with at least one; special tokens, such as those of a chat template,
            included.
        decoding: see `Decoding`.
        batch_size: prompts in a batch.
        ends: ids of tokens that end an output besides those of the tokenizer and of the model's generation_config.
        progress: called after each batch.
        watch: of a single prompt: called after each token with what is written so far, None with beams or several
            samples, of which none is the output yet; returns whether to stop.

    Returns:
        For each prompt, in their order, `decoding.samples` outputs.
    """
    writer = _Writer(model, tokenizer, decoding, frozenset(ends), watch)
    found: list[list[Output]] = [[] for _ in prompts]
    done, training = 0, model.training
    model.eval()
    devices = [writer.device] if writer.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(decoding.seed)
            for rows in batches([len(prompt) for prompt in prompts], batch_size, equal=writer.padding_changes):
                written = writer.write([prompts[row] for row in rows])
                for row, outputs in zip(rows, written, strict=True):
                    found[row] = [writer.output(tokens) for tokens in outputs]
                done += len(rows)
                if progress is not None:
                    progress(done, len(prompts))
    finally:
        model.train(training)
    return found


def batches(lengths: Sequence[int], size: int, equal: bool = False) -> Iterator[list[int]]:
    """Yield rows in batches of like length, the longest first, so that a lack of memory shows at once.

    Args:
        lengths: of n rows.
        size: rows in a batch.
        equal: whether a batch has rows of one length only.
    """
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        if batch and (len(batch) == size or (equal and lengths[batch[0]] != lengths[row])):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def padded(rows: Sequence[Tokens], pad: int, left: bool, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return token ids and attention mask (n, longest), int64."""
    width = max(map(len, rows))
    ids, mask = [], []
    for row in rows:
        gap = width - len(row)
        before, after = (gap, 0) if left else (0, gap)
        ids.append([pad] * before + list(row) + [pad] * after)
        mask.append([0] * before + [1] * len(row) + [0] * after)
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def base_of(model: Any) -> Any:
    """Return the transformers model under a PEFT model; any other model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


class _Writer:
    """Writes the tokens of a batch."""

    def __init__(
        self, model: Any, tokenizer: Any, decoding: Decoding, ends: frozenset[int], watch: Watch | None
    ) -> None:
        self.model, self.watch = model, watch
        self.tokenizer = tokenizer
        self.decoding = decoding
        self.device = next(model.parameters()).device
        self.base = base = base_of(model)
        self.encoder_decoder = bool(base.config.is_encoder_decoder)
        settings = base.generation_config
        own = settings.eos_token_id
        known = [tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])]
        self.ends = ends | {int(end) for end in known if end is not None}
        pads = (tokenizer.pad_token_id, settings.pad_token_id, *sorted(self.ends), 0)
        self.pad = int(next(pad for pad in pads if pad is not None))
        configs = [] if base is model else list(self.model.peft_config.values())
        # PEFT puts virtual tokens before the padding, and gives up position ids, so padding would move the prompt.
        self.padding_changes = any(config.is_prompt_learning for config in configs)
        neutral = all(getattr(settings, key, None) in values for key, values in NEUTRAL.items())
        greedy = decoding.num_beams == 1 and decoding.temperature == 0 and decoding.samples == 1
        by_prompt = any(getattr(config, "alora_invocation_tokens", None) for config in configs)
        arguments = inspect.signature(base.forward).parameters
        self.loops = (
            greedy
            and neutral
            and not self.encoder_decoder
            and not self.padding_changes
            and not by_prompt
            and {"position_ids", "past_key_values", "logits_to_keep"} <= arguments.keys()
            and base._supports_default_dynamic_cache()
        )

    def write(self, prompts: Sequence[Tokens]) -> list[list[list[int]]]:
        """Return the new tokens, with the end token, of each output of each prompt."""
        if self.loops:
            return [[tokens] for tokens in self._greedy(prompts)]
        return self._generate(prompts)

    def output(self, tokens: list[int]) -> Output:
        """Make an output of new tokens that may have an end token, and padding after it."""
        end = next((place for place, token in enumerate(tokens) if token in self.ends), None)
        kept = tokens if end is None else tokens[:end]
        text = self._text(kept)
        stop = self._stop(text)
        cut = end is None and stop is None and len(kept) >= self.decoding.max_new_tokens
        return Output(text if stop is None else text[:stop], tuple(kept), cut)

    def _text(self, tokens: Tokens) -> str:
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True))

    def _stop(self, text: str) -> int | None:
        """Return where the first stop string begins."""
        return min((place for stop in self.decoding.stop if (place := text.find(stop)) >= 0), default=None)

    def _greedy(self, prompts: Sequence[Tokens]) -> list[list[int]]:
        from transformers import DynamicCache

        ids, mask = padded(prompts, self.pad, True, self.device)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        cache = DynamicCache(config=self.base.config.get_text_config(decoder=True))
        written: list[list[int]] = [[] for _ in prompts]
        rows, open_rows = list(range(len(prompts))), set(range(len(prompts)))  # of the batch; of those, not finished
        for step in range(self.decoding.max_new_tokens):
            logits = self.model(
                input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True,
                logits_to_keep=1,
            ).logits  # fmt: skip
            chosen = logits[:, -1].argmax(-1)
            for row, token in zip(rows, chosen.tolist(), strict=True):
                if row in open_rows:
                    written[row].append(token)
                    if token in self.ends or (self.decoding.stop and self._stop(self._text(written[row])) is not None):
                        open_rows.remove(row)
            if self.watch is not None and self.watch(self.output(written[0])):
                break
            if not open_rows or step + 1 == self.decoding.max_new_tokens:
                break
            ids, positions = chosen[:, None], positions[:, -1:] + 1
            if len(rows) - len(open_rows) >= max(1, DROPPED * len(rows)):
                kept = torch.tensor([place for place, row in enumerate(rows) if row in open_rows], device=self.device)
                rows = [row for row in rows if row in open_rows]
                cache.batch_select_indices(kept)
                ids, positions, mask = ids[kept], positions[kept], mask[kept]
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
        return written

    def _generate(self, prompts: Sequence[Tokens]) -> list[list[list[int]]]:
        from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

        ids, mask = padded(prompts, self.pad, not self.encoder_decoder, self.device)
        start = 0 if self.encoder_decoder else ids.shape[1]
        writer = self

        class AtStopString(StoppingCriteria):
            def __call__(self, input_ids: Any, scores: Any, **options: Any) -> Any:
                texts = map(writer._text, input_ids[:, start:].tolist())
                return torch.tensor([writer._stop(text) is not None for text in texts], device=input_ids.device)

        class Watching(StoppingCriteria):
            def __call__(self, input_ids: Any, scores: Any, **options: Any) -> Any:
                assert writer.watch is not None
                first = input_ids[0, 1 if writer.encoder_decoder else start :].tolist()
                over = writer.watch(writer.output(first) if len(input_ids) == 1 else None)
                return torch.full((len(input_ids),), over, device=input_ids.device)

        way, sampled = self.decoding, self.decoding.temperature > 0
        drawn = {"temperature": way.temperature, "top_k": 0, "top_p": 1.0} if sampled else {}
        settings = GenerationConfig(  # type: ignore[no-untyped-call]
            max_new_tokens=way.max_new_tokens, num_beams=way.num_beams, do_sample=sampled,
            num_return_sequences=way.samples, eos_token_id=sorted(self.ends) or None, pad_token_id=self.pad, **drawn,
        )  # fmt: skip
        criteria = [*([AtStopString()] if way.stop else []), *([Watching()] if self.watch is not None else [])]
        stops = StoppingCriteriaList(criteria)
        with warnings.catch_warnings():
            # PEFT's remark for each batch that virtual tokens take no position ids.
            warnings.filterwarnings("ignore", message="Position ids are not supported")
            found = self.model.generate(
                input_ids=ids, attention_mask=mask, generation_config=settings, stopping_criteria=stops
            )
        # An encoder-decoder's outputs begin with the token that starts the decoder.
        new = found[:, 1 if self.encoder_decoder else start :].tolist()
        return [new[place : place + way.samples] for place in range(0, len(new), way.samples)]
