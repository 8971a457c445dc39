"""Drives a server with the official OpenAI client: list, completions, chat, stream, errors.

usage: drive_openai.py URL MODEL
"""

import asyncio
import sys

import openai

URL, MODEL = sys.argv[1:3]
GREEDY = {"model": MODEL, "temperature": 0, "seed": 1}
MESSAGES = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Tell me."}]
client = openai.OpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=0)
checks = 0


def check(condition, what):
    global checks
    assert condition, what
    checks += 1


def counted(usage, tokens):
    check(usage.completion_tokens == tokens, usage)
    check(usage.prompt_tokens > 0, usage)
    check(usage.total_tokens == usage.prompt_tokens + tokens, usage)


def listing():
    check(MODEL in [model.id for model in client.models.list()], "list")
    check(client.models.retrieve(MODEL).object == "model", "retrieve")


def completing():
    ask = {**GREEDY, "prompt": "Tell me.", "max_tokens": 24, "extra_body": {"ignore_eos": True}}
    whole = client.completions.create(**ask)
    counted(whole.usage, 24)
    check(whole.choices[0].finish_reason == "length", whole)
    check(whole.model_extra["timings"]["predicted_n"] == 24, whole)
    parts = list(client.completions.create(**ask, stream=True, stream_options={"include_usage": True}))
    counted(parts[-1].usage, 24)
    text = "".join(part.choices[0].text for part in parts if part.choices)
    check(text == whole.choices[0].text != "", "stream against whole")
    check([p.choices[0].finish_reason for p in parts if p.choices][-1] == "length", "finish reason")
    stop = text[4:7]
    cut = client.completions.create(**ask, stop=stop)
    check(cut.choices[0].text == text[: text.index(stop)] and cut.choices[0].finish_reason == "stop", cut)


def chatting():
    ask = {**GREEDY, "messages": MESSAGES, "max_completion_tokens": 24}
    whole = client.chat.completions.create(**ask)
    counted(whole.usage, 24)
    check(whole.choices[0].message.role == "assistant", whole)
    parts = list(client.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True}))
    counted(parts[-1].usage, 24)
    deltas = [part.choices[0].delta for part in parts if part.choices]
    check(deltas[0].role == "assistant", deltas[0])
    check("".join(d.content or "" for d in deltas) == whole.choices[0].message.content != "", "stream against whole")
    # The helper takes an answer that was cut by its budget for an error of the caller: let it stop.
    text = whole.choices[0].message.content
    stop = text[4:7]
    with client.chat.completions.stream(**ask, stop=[stop]) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    check("content.delta" in kinds, kinds)
    check(final.choices[0].message.content == text[: text.index(stop)], final)
    check(final.choices[0].finish_reason == "stop", final)


async def together():
    both = openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=0)
    asks = [both.completions.create(**GREEDY, prompt=f"{n}", max_tokens=24) for n in range(4)]
    for answer in await asyncio.gather(*asks):
        counted(answer.usage, 24)
    text = ""
    async for part in await both.completions.create(**GREEDY, prompt="0", max_tokens=24, stream=True):
        text += part.choices[0].text
    check(text == (await both.completions.create(**GREEDY, prompt="0", max_tokens=24)).choices[0].text, "async stream")
    await both.close()


def refused(kind, code, call):
    try:
        call()
    except kind as error:
        check(error.code == code and error.body["message"], (error.code, error.body))
    else:
        raise AssertionError(f"not refused: {code}")


def errors():
    ask = {**GREEDY, "prompt": "x"}
    create = client.completions.create
    refused(openai.NotFoundError, "model_not_found", lambda: create(**{**ask, "model": "no-such-model"}))
    refused(openai.NotFoundError, "model_not_found", lambda: client.models.retrieve("no-such-model"))
    refused(openai.BadRequestError, "unsupported", lambda: create(**ask, n=2))
    refused(openai.BadRequestError, "invalid_request", lambda: create(**ask, top_p=2))
    refused(openai.BadRequestError, "context_length_exceeded", lambda: create(**{**ask, "prompt": "x" * 9000}))
    refused(
        openai.BadRequestError,
        "unsupported",
        lambda: client.chat.completions.create(
            **GREEDY, messages=MESSAGES, tools=[{"type": "function", "function": {"name": "f"}}]
        ),
    )
    refused(openai.InternalServerError, "not_implemented", lambda: client.embeddings.create(model=MODEL, input="x"))


listing()
completing()
chatting()
asyncio.run(together())
errors()
print(f"openai client: {checks} checks")
