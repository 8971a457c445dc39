"""Two load generators of others and `chimera bench` on one scripted server in one run: what each reports beside the truth.

Started by `cargo xtask bench-tools`, which makes the environments and names them:
    load_tools.py CHIMERA SCRIPT SCRATCH AIPERF_BIN|- GUIDELLM_BIN|-
Each tool talks to a model of its own name, so that the server's log tells whose requests are whose. A tool that is not
there or fails is named below the table; nothing is made up for it.
"""

import json
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys

REQUESTS, AT_ONCE, TOKENS = 64, 16, 100
LIMIT_S = 300


def milliseconds(value):
    return "–" if value is None else f"{value:.2f}"


def run(command, log, **environment):
    """Runs a tool to its end; its own words go to a file."""
    with open(log, "wb") as out:
        env = {**os.environ, **environment}
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=LIMIT_S, env=env)
    if done.returncode != 0:
        words = pathlib.Path(log).read_text(errors="replace").strip().splitlines()
        raise RuntimeError(f"exit code {done.returncode}: {words[-1] if words else 'no word'}")


def tokenizer(folder):
    """A tokenizer of words, so that none is downloaded: tools want one to count and to make prompts."""
    folder.mkdir(parents=True)
    words = {word: i for i, word in enumerate(["<unk>", *(f"w{i}" for i in range(999))])}
    model = {"type": "WordLevel", "vocab": words, "unk_token": "<unk>"}
    file = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
            "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None, "decoder": None, "model": model}
    (folder / "tokenizer.json").write_text(json.dumps(file))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>", "model_max_length": 100000}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return str(folder)


def aiperf(binary, url, scratch):
    out = scratch / "aiperf"
    command = [binary, "profile", "--model", "aiperf", "--url", url, "--endpoint-type", "chat", "--streaming",
         "--concurrency", str(AT_ONCE), "--request-count", str(REQUESTS), "--use-server-token-count",
         "--synthetic-input-tokens-mean", "32", "--output-tokens-mean", str(TOKENS), "--ui", "none",
         "--tokenizer", tokenizer(scratch / "aiperf-words"), "--artifact-dir", str(out)]
    try:
        run(command, scratch / "aiperf.log")
    except RuntimeError as error:
        # On a busy machine one of its processes may be ended late, after the report is written.
        if not any(out.rglob("profile_export_aiperf.json")):
            raise
        print(f"NOTE: aiperf wrote its report and ended badly: {error}")
    found = json.loads(next(out.rglob("profile_export_aiperf.json")).read_text())
    ttft, itl = found["time_to_first_token"], found["inter_token_latency"]
    return ttft.get("avg"), ttft.get("p50"), itl.get("avg"), "ITL"


def guidellm(binary, url, scratch):
    out = scratch / "guidellm.json"
    prompts = scratch / "prompts.jsonl"
    # As many prompts as requests: it asks for no more than the file holds.
    lines = (json.dumps({"prompt": " ".join(f"w{(i * 7 + j) % 999}" for j in range(32))}) for i in range(REQUESTS))
    prompts.write_text("\n".join(lines) + "\n")
    words = tokenizer(scratch / "guidellm-words")
    run([binary, "run", "--backend", f"kind=openai_http,target={url},model=guidellm,request_format=/v1/chat/completions",
         "--profile", f"kind=concurrent,streams={AT_ONCE}", "--constraint", f"kind=max_requests,count={REQUESTS}",
         "--data", f"kind=json_file,path={prompts}", "--tokenizer", f"kind=hf_auto,model={words}",
         "--output", f"kind=json,path={out}", "--disable-console"],
        scratch / "guidellm.log", HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
    metrics = json.loads(out.read_text())["benchmarks"][0]["metrics"]
    good = lambda name: metrics[name]["successful"]
    ttft, itl, tpot = good("time_to_first_token_ms"), good("inter_token_latency_ms"), good("time_per_output_token_ms")
    return ttft["mean"], ttft["median"], itl["mean"], f"ITL; its TPOT is {milliseconds(tpot['mean'])}"


def ours(binary, url, scratch):
    """What `chimera bench` prints: its row is read from its table."""
    log = scratch / "ours.log"
    run([binary, "bench", f"openai@{url}", "--model", "ours", "--chat", "--concurrency", str(AT_ONCE), "--requests",
         str(REQUESTS), "--blocks", "1", "--warmup", "0", "--prompt-tokens", "32", "--output-tokens", str(TOKENS),
         "--out", str(scratch / "runs")], log)
    cells = [[cell.strip() for cell in line.strip().strip("|").split("|")]
             for line in log.read_text().splitlines() if line.startswith("|")]
    head, row = cells[0], next(cells[i] for i in range(1, len(cells)) if cells[i][0].startswith("closed"))
    of = lambda name, after=0: in_ms(row[head.index(name) + after])
    return of("TTFT mean"), of("TTFT mean", 1), of("TPOT p50"), "median of `tpot.client`"


def in_ms(text):
    number, unit = re.fullmatch(r"([\d.,]+)\s*(s|ms|µs|ns)", text).groups()
    return float(number.replace(",", "")) * {"s": 1e3, "ms": 1, "µs": 1e-3, "ns": 1e-6}[unit]


def truth(log):
    """Per model: TTFT and time per token of each whole answer, by the server's stamps, in milliseconds."""
    found = {}
    with open(log) as lines:
        next(lines)
        for line in map(json.loads, lines):
            writes = [w for w in line["writes"] if w[2] > 0]
            tokens = sum(w[2] for w in writes)
            if line["ending"] == "done" and tokens == TOKENS:
                first, last = writes[0][0], writes[-1][0]
                found.setdefault(line["model"], []).append(
                    ((first - line["received"]) / 1e6, (last - first) / (tokens - 1) / 1e6))
    return found


def main():
    chimera, script, scratch, aiperf_bin, guidellm_bin = sys.argv[1:]
    scratch = pathlib.Path(scratch)
    scratch.mkdir(parents=True, exist_ok=True)
    steady = pathlib.Path(script).read_text().split("[[models]]")[1]
    play = scratch / "script.toml"
    names = ["aiperf", "guidellm", "ours"]
    play.write_text("".join("[[models]]" + steady.replace('"steady"', f'"{name}"') for name in names))
    log = scratch / "truth.jsonl"
    server = subprocess.Popen([chimera, "serve", "--port", "0", "--script", str(play), "--truth", str(log)],
                              stderr=subprocess.PIPE, text=True)
    url = re.search(r"http://[\d.:]+", server.stderr.readline()).group()
    reported, missing = {}, []
    try:
        for name, binary, drive in [("aiperf", aiperf_bin, aiperf), ("guidellm", guidellm_bin, guidellm),
                                    ("ours", chimera, ours)]:
            if binary == "-":
                missing.append(f"{name}: not installed")
                continue
            print(f"{name} …", file=sys.stderr, flush=True)
            try:
                reported[name] = drive(binary, url, scratch)
            except Exception as error:  # what one tool does must not cost the others their row
                missing.append(f"{name}: {type(error).__name__}: {error} ({scratch})")
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)
    known = truth(log)
    print(f"{REQUESTS} requests, {AT_ONCE} at once, {TOKENS} tokens each, chat over server-sent events; milliseconds\n")
    print("| tool | requests | TTFT, truth: mean / median | TTFT, reported: mean / median | per token, truth "
          "| per token, reported |")
    print("|:--|--:|--:|--:|--:|--:|")
    for name, (mean, median, token, words) in reported.items():
        answers = known.get(name, [])
        if not answers:
            missing.append(f"{name}: the server knows of no whole answer")
            continue
        # What comes before the load, in the server's order: ours asks once to have the model resident.
        ttfts, tokens = zip(*answers[-REQUESTS:])
        shown = "chimera bench" if name == "ours" else name
        print(f"| {shown} | {len(answers[-REQUESTS:])} | {statistics.mean(ttfts):.2f} / {statistics.median(ttfts):.2f} "
              f"| {milliseconds(mean)} / {milliseconds(median)} | {statistics.mean(tokens):.2f} "
              f"| {milliseconds(token)} ({words}) |")
    for line in missing:
        print(f"SKIP: {line}")
    # Our own row has to be there.
    sys.exit(0 if "ours" in reported and known.get("ours") else 1)


main()
