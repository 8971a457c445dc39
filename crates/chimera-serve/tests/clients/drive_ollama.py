"""Drives a server with the official Ollama client: list, show, generate, chat, stream, errors.

usage: drive_ollama.py URL MODEL
"""

import asyncio
import sys

import httpx
import ollama

URL, MODEL = sys.argv[1:3]
GREEDY = {"temperature": 0, "num_predict": 24, "seed": 1}
client = ollama.Client(host=URL)
checks = 0


def check(condition, what):
    global checks
    assert condition, what
    checks += 1


def counted(final):
    check(final.done is True and final.done_reason in ("stop", "length"), final)
    check(0 < final.eval_count <= 24, final)
    check(final.prompt_eval_count > 0, final)
    for name in ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration"):
        check(isinstance(getattr(final, name), int) and getattr(final, name) > 0, (name, final))
    check(final.total_duration >= final.prompt_eval_duration + final.eval_duration, final)


def listing():
    check(MODEL in [model.model for model in client.list().models], "list")
    client.generate(model=MODEL)  # An empty prompt loads.
    running = client.ps().models
    check([model.model for model in running] == [MODEL], running)
    check(running[0].context_length > 0 and running[0].expires_at is not None, running)
    shown = client.show(MODEL)
    check("completion" in shown.capabilities, shown)
    check(shown.modelinfo["general.parameter_count"] > 0, shown)


def generating():
    whole = client.generate(model=MODEL, prompt="Tell me.", options=GREEDY)
    counted(whole)
    parts = list(client.generate(model=MODEL, prompt="Tell me.", options=GREEDY, stream=True))
    check(len(parts) > 3 and not any(part.done for part in parts[:-1]), parts)
    counted(parts[-1])
    check("".join(part.response for part in parts) == whole.response != "", "stream against whole")
    raw = client.generate(model=MODEL, prompt="Tell me.", raw=True, options=GREEDY)
    check(raw.prompt_eval_count < whole.prompt_eval_count, "raw goes around the template")
    stop = whole.response[4:7]
    cut = client.generate(model=MODEL, prompt="Tell me.", options={**GREEDY, "stop": [stop]})
    check(cut.response == whole.response[: whole.response.index(stop)], cut)
    check(cut.done_reason == "stop", cut)


def chatting():
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Tell me."}]
    whole = client.chat(model=MODEL, messages=messages, options=GREEDY)
    counted(whole)
    check(whole.message.role == "assistant", whole)
    parts = list(client.chat(model=MODEL, messages=messages, options=GREEDY, stream=True))
    counted(parts[-1])
    check("".join(part.message.content for part in parts) == whole.message.content != "", "stream against whole")


async def together():
    both = ollama.AsyncClient(host=URL)
    asks = [both.generate(model=MODEL, prompt=f"{n}", options=GREEDY) for n in range(4)]
    for answer in await asyncio.gather(*asks):
        counted(answer)
    text = ""
    async for part in await both.generate(model=MODEL, prompt="0", options=GREEDY, stream=True):
        text += part.response
    check(text == (await both.generate(model=MODEL, prompt="0", options=GREEDY)).response, "async stream")


def refused(status, says, call):
    try:
        call()
    except ollama.ResponseError as error:
        check(error.status_code == status and says in error.error, (error.status_code, error.error))
    else:
        raise AssertionError(f"not refused: {says}")


def errors():
    refused(404, "not found", lambda: client.generate(model="no-such-model", prompt="x"))
    refused(404, "not found", lambda: client.show("no-such-model"))
    refused(404, "not found", lambda: list(client.chat(model="no-such-model", messages=[], stream=True)))
    refused(400, "format", lambda: client.generate(model=MODEL, prompt="x", format="json"))
    refused(400, "num_ctx", lambda: client.generate(model=MODEL, prompt="x", options={"num_ctx": -1}))
    refused(501, "embeddings", lambda: client.embed(model=MODEL, input="x"))
    check(httpx.get(URL).text == "Ollama is running", "root")


def unloading():
    gone = client.generate(model=MODEL, keep_alive=0)
    check(gone.done_reason == "unload", gone)
    check(not client.ps().models, "unloaded")


listing()
generating()
chatting()
asyncio.run(together())
errors()
unloading()
print(f"ollama client: {checks} checks")
