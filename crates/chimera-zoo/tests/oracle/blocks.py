"""Makes fixtures/zoo/ggml_blocks.json with the reference package `gguf` (0.19.0): for each block format, bytes and the
exact values that they stand for; for the formats that are written, values and the exact bytes that they become.
Values are the bits of binary32 as integers. Usage: blocks.py > fixtures/zoo/ggml_blocks.json."""

import json

import gguf
import numpy as np
from gguf.quants import dequantize, quantize

SCALES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
          "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "BF16": [], "F16": []}


def bits(values):
    return [int(b) for b in np.ascontiguousarray(values, dtype=np.float32).ravel().view(np.uint32)]


random = np.random.Generator(np.random.PCG64(121))
out = {"dequantise": [], "quantise": []}
for name, scales in SCALES.items():
    kind = gguf.GGMLQuantizationType[name]
    _, size = gguf.GGML_QUANT_SIZES[kind]
    if name in ("BF16", "F16"):
        values = random.normal(size=8).astype(np.float32)
        block = quantize(values, kind).view(np.uint8).ravel()
    else:
        block = random.integers(0, 256, size=size, dtype=np.uint8)
        for at in scales:
            block[at : at + 2] = np.array([random.normal() / 16], dtype=np.float16).view(np.uint8)
    typed = block.view(np.float16) if name == "F16" else block
    out["dequantise"].append({"type": name, "bytes": block.tolist(), "values": bits(dequantize(typed, kind))})
for name in ("Q8_0", "Q4_0"):
    for spread in (1e-3, 1.0, 300.0):
        values = (random.normal(size=64) * spread).astype(np.float32)
        block = quantize(values, gguf.GGMLQuantizationType[name])
        out["quantise"].append({"type": name, "values": bits(values), "bytes": block.ravel().tolist()})
print(json.dumps(out, separators=(",", ":")))
