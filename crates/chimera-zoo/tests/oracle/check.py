"""Reads a zoo with the reference packages `gguf`, `safetensors` and `tokenizers`, and compares what they see:
dequantised values, metadata, re-quantised bytes and token ids. Makes nothing. Usage: check.py ZOO. Exit 3: a package is
missing."""

import json
import pathlib
import sys

try:
    import gguf
    import numpy as np
    from gguf.quants import dequantize, quantize
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer
except ImportError as error:
    print(f"missing: {error.name}")
    sys.exit(3)

# Ids of the published GPT-2 encoder.
TEXTS = {
    "Hello world": [15496, 995],
    " the  quick brown\n\tfox 1234 isn't": [262, 220, 2068, 7586, 198, 197, 12792, 1105, 2682, 2125, 470],
    "naïve — 日本語 😀": [2616, 38776, 851, 10545, 245, 98, 17312, 105, 45739, 252, 30325, 222],
}


def interleave(w, heads):
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def expected(name, hf, config):
    """The tensor that llama.cpp's converter would make, through the package's own name map."""
    arch = {"gpt2": gguf.MODEL_ARCH.GPT2, "llama": gguf.MODEL_ARCH.LLAMA, "gemma3_text": gguf.MODEL_ARCH.GEMMA3}
    blocks = config.get("n_layer") or config["num_hidden_layers"]
    names = gguf.get_tensor_name_map(arch[config["model_type"]], blocks)
    found = [k for k in hf if names.get_name(k, try_suffixes=(".weight", ".bias")) == name]
    assert len(found) == 1, (name, found)
    value, key = hf[found[0]], found[0]
    if config["model_type"] == "gpt2" and key.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
        value = value.T
    if config["model_type"] == "llama" and "q_proj" in key:
        value = interleave(value, config["num_attention_heads"])
    if config["model_type"] == "llama" and "k_proj" in key:
        value = interleave(value, config["num_key_value_heads"])
    if config["model_type"] == "gemma3_text" and key.endswith("norm.weight"):
        value = value + 1
    return np.ascontiguousarray(value)


def check_gguf(path, hf, config):
    reader = gguf.GGUFReader(path)
    assert len(reader.tensors) == len(hf), path
    for tensor in reader.tensors:
        want = expected(tensor.name, hf, config)
        kind = tensor.tensor_type
        if kind in (gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.F16):
            assert np.array_equal(tensor.data, want.astype(tensor.data.dtype)), tensor.name
        else:
            assert np.array_equal(tensor.data, quantize(want, kind)), (path, tensor.name)
            assert np.abs(dequantize(tensor.data, kind) - want).max() <= np.abs(want).max() / 8, tensor.name


def check_tokenizer(directory, vocab):
    ours = Tokenizer.from_file(str(directory / "tokenizer.json"))
    assert ours.get_vocab_size() == vocab
    for text in TEXTS:
        ids = ours.encode(text).ids
        assert ours.decode(ids) == text, (text, ids)
        if vocab == 50257:
            assert ids == TEXTS[text], (text, ids)


def main(zoo):
    checked = 0
    for directory in sorted(zoo.glob("*/safetensors-f32")):
        config = json.loads((directory / "config.json").read_text())
        hf = load_file(directory / "model.safetensors")
        half = load_file(directory.parent / "safetensors-f16" / "model.safetensors")
        for key, value in hf.items():
            assert np.array_equal(half[key], value.astype(np.float16)), key
        check_tokenizer(directory, config["vocab_size"])
        for path in sorted(directory.parent.glob("gguf-*/*.gguf")):
            check_gguf(path, hf, config)
            checked += 1
    print(f"checked {checked} GGUF files")
    assert checked > 0


main(pathlib.Path(sys.argv[1]))
