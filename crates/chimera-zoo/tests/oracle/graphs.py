"""Checks the graphs of a zoo with the reference packages: `onnx` checks them in full, `onnxruntime` runs them, and numpy
computes the same models from the safetensors files. INT8 graphs must compute in integers in the graph that ONNX Runtime
really runs. Writes that graph beside the zoo's files; makes nothing else. Usage: graphs.py ZOO. Exit 3: a package is missing."""

import json
import pathlib
import sys

try:
    import numpy as np
    import onnx
    import onnxruntime as ort
    from safetensors.numpy import load_file
except ImportError as error:
    print(f"missing: {error.name}")
    sys.exit(3)

ort.set_default_logger_severity(3)


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def attention(q, k, v):
    """Causal, one text: (heads, tokens, width) each, fewer heads of k and v."""
    k, v = (np.repeat(x, q.shape[0] // x.shape[0], axis=0) for x in (k, v))
    scores = q @ k.swapaxes(1, 2) / np.sqrt(q.shape[-1])
    scores = np.where(np.tri(q.shape[1], dtype=bool), scores, -np.inf)
    return (softmax(scores) @ v).swapaxes(0, 1).reshape(q.shape[1], -1)


def apart(x, heads):
    return x.reshape(x.shape[0], heads, -1).swapaxes(0, 1)


def gpt2(w, c, ids):
    def norm(x, name):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(-1, keepdims=True) + c["layer_norm_epsilon"])
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(x, name):
        return x @ w[f"{name}.weight"] + w[f"{name}.bias"]

    x = w["transformer.wte.weight"][ids] + w["transformer.wpe.weight"][: len(ids)]
    for layer in range(c["n_layer"]):
        h = f"transformer.h.{layer}"
        q, k, v = (apart(y, c["n_head"]) for y in np.split(linear(norm(x, f"{h}.ln_1"), f"{h}.attn.c_attn"), 3, -1))
        x = x + linear(attention(q, k, v), f"{h}.attn.c_proj")
        y = linear(norm(x, f"{h}.ln_2"), f"{h}.mlp.c_fc")
        y = 0.5 * y * (1 + np.tanh(np.sqrt(2 / np.pi) * (y + 0.044715 * y**3)))
        x = x + linear(y, f"{h}.mlp.c_proj")
    return norm(x, "transformer.ln_f") @ w.get("lm_head.weight", w["transformer.wte.weight"]).T


def llama(w, c, ids):
    def norm(x, name):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + c["rms_norm_eps"]) * w[f"{name}.weight"]

    def rotate(x):
        half = x.shape[-1] // 2
        angle = np.arange(x.shape[1])[:, None] * c["rope_theta"] ** (-np.arange(half) / half)
        a, b = x[..., :half], x[..., half:]
        return np.concatenate([a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)], -1)

    heads, kv = c["num_attention_heads"], c["num_key_value_heads"]
    x = w["model.embed_tokens.weight"][ids]
    for layer in range(c["num_hidden_layers"]):
        p = f"model.layers.{layer}"
        y = norm(x, f"{p}.input_layernorm")
        q, k, v = (y @ w[f"{p}.self_attn.{n}_proj.weight"].T for n in "qkv")
        y = attention(rotate(apart(q, heads)), rotate(apart(k, kv)), apart(v, kv))
        x = x + y @ w[f"{p}.self_attn.o_proj.weight"].T
        y = norm(x, f"{p}.post_attention_layernorm")
        gate = y @ w[f"{p}.mlp.gate_proj.weight"].T
        y = gate / (1 + np.exp(-gate)) * (y @ w[f"{p}.mlp.up_proj.weight"].T)
        x = x + y @ w[f"{p}.mlp.down_proj.weight"].T
    return norm(x, "model.norm") @ w.get("lm_head.weight", w["model.embed_tokens.weight"]).T


class Graph:
    """One graph in ONNX Runtime."""

    def __init__(self, path, optimised=None):
        onnx.checker.check_model(str(path), full_check=True)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        if optimised is not None:
            options.optimized_model_filepath = str(optimised)
        self.session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.inputs = {i.name: i for i in self.session.get_inputs()}
        outputs = [o.name for o in self.session.get_outputs()]
        past = [n for n in self.inputs if n.startswith("past_key_values.")]
        assert outputs[0] == "logits", outputs
        assert outputs[1:] == [n.replace("past_key_values", "present") for n in past], outputs
        assert set(self.inputs) - set(past) == {"input_ids", "attention_mask", "position_ids", "num_logits_to_keep"}

    def empty(self, batch):
        kinds = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
        return {
            n: np.zeros((batch, i.shape[1], 0, i.shape[3]), kinds[i.type])
            for n, i in self.inputs.items()
            if n.startswith("past_key_values.")
        }

    def __call__(self, ids, mask=None, past=None, keep=0):
        """Logits, and the cache as the next call's `past`."""
        ids = np.asarray(ids, np.int64)
        mask = np.ones_like(ids) if mask is None else np.asarray(mask, np.int64)
        past = self.empty(len(ids)) if past is None else past
        positions = np.maximum(mask.cumsum(1) - 1, 0)[:, -ids.shape[1] :]
        feeds = {"input_ids": ids, "attention_mask": mask, "position_ids": positions, **past}
        out = self.session.run(None, {**feeds, "num_logits_to_keep": np.array(keep, np.int64)})
        return out[0], dict(zip(past, out[1:]))


def close(a, b, bound, what):
    difference = np.abs(a - b).max()
    assert np.isfinite(a).all() and difference <= bound, f"{what}: {difference} > {bound}"
    return difference


def check(graph, reference, ids, bound):
    """Whole text, cached steps, several texts padded on the left: all the same logits."""
    whole, _ = graph([ids])
    assert whole.dtype == np.float32
    worst = close(whole[0], reference(ids), bound, "numpy")
    last, _ = graph([ids], keep=1)
    assert last.shape[1] == 1
    close(last[0, 0], whole[0, -1], bound, "last position alone")
    # A prompt at once, two tokens at once, then one at a time.
    logits, past = graph([ids[:4]])
    parts, at = [logits], 4
    while at < len(ids):
        step = 2 if at == 4 else 1
        logits, past = graph([ids[at : at + step]], np.ones((1, at + step)), past)
        parts.append(logits)
        at += step
    close(np.concatenate(parts, 1), whole, bound, "cached")
    # Two texts of different length, the shorter one padded; then one more token each.
    short, pad = ids[: len(ids) // 2], len(ids) - len(ids) // 2
    mask = np.array([[1] * len(ids), [0] * pad + [1] * len(short)])
    batch, past = graph([ids, [0] * pad + short], mask)
    assert np.isfinite(batch).all()
    close(batch[0], whole[0], bound, "batch")
    close(batch[1, pad:], whole[0, : len(short)], bound, "padded")
    mask = np.concatenate([mask, np.ones((2, 1))], 1)
    batch, _ = graph([[7], [ids[len(short)]]], mask, past)
    close(batch[1, 0], whole[0, len(short)], bound, "padded, cached")
    return worst


def integers(directory, reference, ids, config):
    """Every product with weights must be one of integers after optimisation; gives the mean divergence of the logits."""
    optimised = directory / "optimised.onnx"
    graph = Graph(directory / "model.onnx", optimised)
    nodes = [n.op_type for n in onnx.load(str(optimised)).graph.node]
    blocks = config.get("n_layer") or config["num_hidden_layers"]
    kernels = ("DynamicQuantizeMatMul", "MatMulIntegerToFloat", "QLinearMatMul", "MatMulInteger")
    assert sum(n in kernels for n in nodes) == 4 * blocks + 1, (directory, nodes)
    # Attention has two products of activations a block, one of them fused with its transposition.
    assert nodes.count("MatMul") + nodes.count("FusedMatMul") == 2 * blocks, (directory, nodes)

    def log_softmax(x):
        return np.log(softmax(x.astype(np.float64)))

    exact, found = log_softmax(reference(ids)), log_softmax(graph([ids])[0][0])
    divergence = (np.exp(exact) * (exact - found)).sum(-1).mean()
    assert 1e-9 < divergence < 0.1, (directory, divergence)
    # Lanes and steps share scales, so that they are close and not equal.
    logits, past = graph([ids[:4]])
    step, _ = graph([ids[4:5]], np.ones((1, 5)), past)
    assert np.abs(step[0, 0] - reference(ids)[4]).max() < 3, directory
    return f"{divergence:.1e}"


def main(zoo):
    checked = 0
    for directory in sorted(zoo.glob("*/onnx-f32")):
        # The folders of one model in different variants have different hashes.
        name = directory.parent.name.rsplit("-", 1)[0]
        (weights,) = zoo.glob(f"{name}-*/safetensors-f32")
        config = json.loads((directory / "config.json").read_text())
        assert config == json.loads((weights / "config.json").read_text())
        w = {k: v.astype(np.float64) for k, v in load_file(weights / "model.safetensors").items()}
        forward = {"gpt2": gpt2, "llama": llama}[config["model_type"]]
        ids = [int(i) for i in np.random.default_rng(7).integers(0, config["vocab_size"], 13)]
        exact = {}

        def reference(ids):
            key = tuple(ids)
            exact.setdefault(key, forward(w, config, ids))
            return exact[key]

        graph = Graph(directory / "model.onnx")
        f32 = check(graph, reference, ids, 2e-4)
        try:
            context = config.get("n_positions") or config["max_position_embeddings"]
            graph([[0]], np.ones((1, context + 1)), {k: np.zeros((1, v.shape[1], context, v.shape[3]), v.dtype) for k, v in graph.empty(1).items()})
            raise AssertionError("a position beyond the context was taken")
        except ort.capi.onnxruntime_pybind11_state.InvalidArgument:
            pass
        (half,) = zoo.glob(f"{name}-*/onnx-f16")
        f16 = check(Graph(half / "model.onnx"), reference, ids, 0.1)
        int8 = {}
        for small in sorted(zoo.glob(f"{name}-*/onnx-int8-*")):
            form = small.name.removeprefix("onnx-int8-")
            int8[form] = integers(small, reference, ids, config)
        print(f"{name}: largest difference F32 {f32:.1e}, F16 {f16:.1e}, INT8 {int8}")
        checked += 1
    print(f"checked {checked} graphs")
    assert checked > 0


main(pathlib.Path(sys.argv[1]))
