"""Greedy decoding with onnxruntime as Python programs do it well: everything bound, keys and values never copied to numpy.

onnxruntime_loop.py GRAPH THREADS PROMPT DECODE GENERATIONS
Prints one JSON object: seconds to the first token and seconds from the first to the last, medians of so many generations after
one that warms up, and the tokens.
"""

import json
import statistics
import sys
import time

import numpy as np
import onnxruntime as ort


def generate(session, past, shape, kind, vocabulary, prompt, decode):
    cache = [ort.OrtValue.ortvalue_from_numpy(np.zeros((1, shape[1], 0, shape[3]), kind)) for _ in past]
    presents = [name.replace("past_key_values", "present") for name in past]
    keep = ort.OrtValue.ortvalue_from_numpy(np.array(1, np.int64))
    stamps, tokens = [time.perf_counter()], []
    length, ids = 0, prompt
    for _ in range(decode + 1):
        count = len(ids)
        binding = session.io_binding()
        binding.bind_cpu_input("input_ids", np.array([ids], np.int64))
        binding.bind_cpu_input("attention_mask", np.ones((1, length + count), np.int64))
        binding.bind_cpu_input("position_ids", np.arange(length, length + count, dtype=np.int64)[None])
        binding.bind_ortvalue_input("num_logits_to_keep", keep)
        for name, value in zip(past, cache):
            binding.bind_ortvalue_input(name, value)
        for name in ["logits", *presents]:
            binding.bind_output(name)
        session.run_with_iobinding(binding)
        logits, *cache = binding.get_outputs()
        token = int(np.argmax(logits.numpy()[0, -1]))
        stamps.append(time.perf_counter())
        tokens.append(token)
        length += count
        ids = [token]
    return stamps, tokens


def main(graph, threads, prompt, decode, generations):
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    inputs = {value.name: value for value in session.get_inputs()}
    past = [name for name in inputs if name.startswith("past_key_values.")]
    shape = inputs[past[0]].shape
    kind = np.float16 if "16" in inputs[past[0]].type else np.float32
    vocabulary = next(value.shape[2] for value in session.get_outputs() if value.name == "logits")
    ids = [(i * 7919 + 13) % vocabulary for i in range(prompt)]
    generate(session, past, shape, kind, vocabulary, ids, decode)
    runs = [generate(session, past, shape, kind, vocabulary, ids, decode) for _ in range(generations)]
    prefill = statistics.median(stamps[1] - stamps[0] for stamps, _ in runs)
    decoding = statistics.median(stamps[-1] - stamps[1] for stamps, _ in runs)
    print(json.dumps({"prefill_s": prefill, "decode_s": decoding, "tokens": runs[0][1]}))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:6]))
