"""Draws from stand-in servers."""

from __future__ import annotations

from collections.abc import Callable

import fake_server as fake

from attnpo.sampling import SampleRequest, SamplingParams, ServerSampler, render_prompt
from attnpo.serving import Endpoint, Server

PARAMS = SamplingParams(64, temperature=0.6, top_p=0.95, seed=7)
TEXT = "Add 2 and 3.\n\nSo it is 5.\n\nWait, check: 2+3=5.\n</think>\n\nThe answer is \\boxed{5}."


def asked(tokenizer, n=3, samples=1, text="How much is {}?") -> list[SampleRequest]:
    prompts = [[{"role": "user", "content": text.format(i)}] for i in range(n)]
    ids = [tuple(render_prompt(tokenizer, prompt)) for prompt in prompts]
    return [SampleRequest(prompts[i], ids[i], 100 + i, j) for i in range(n) for j in range(samples)]


def connect(there: fake.FakeServer, tokenizer, api="completions", **settings) -> ServerSampler:
    endpoint = Endpoint(there.base_url, "small", **{"patience": 5.0, **settings})
    return ServerSampler(Server(endpoint, first_wait=0.01), tokenizer, api)


def draw(replies, tokenizer, requests, params=PARAMS, api="completions", **settings):
    """Responses by index, and the bodies of the requests, the first one the trial of one token."""
    with fake.FakeServer(replies) as there:
        sampler = connect(there, tokenizer, api, **settings)
        found = dict(sampler.sample(requests, params))
        sampler.close()
        return found, [request.body for request in there.requests]


def answers(make: Callable[[dict], fake.Reply]) -> Callable[[fake.Request], fake.Reply]:
    """A server that counts prompt tokens as this tokenizer does."""
    return lambda request: make(request.body)


def counting(tokenizer, text: str, finish: str = "stop", **choice):
    def make(body: dict) -> fake.Reply:
        prompt = body["prompt"]
        read = len(prompt) if isinstance(prompt, list) else len(tokenizer(prompt)["input_ids"])
        return fake.completion(text, finish, prompt_tokens=read, **choice)

    return answers(make)


def refusing(fields: set[str], code: int, then):
    """A server that refuses unknown fields, and prompts that are no text where `ids` is among them."""

    def reply(request: fake.Request) -> fake.Reply:
        if unknown := fields & set(request.body):
            return fake.status(code, f"Unexpected fields in the request: {unknown}")
        if "ids" in fields and isinstance(request.body.get("prompt"), list):
            return fake.status(400, "prompt must be a string.")
        return then(request)

    return reply
