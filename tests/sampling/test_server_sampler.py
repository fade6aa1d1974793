from __future__ import annotations

import json

import fake_server as fake
import pytest
from byte_tokenizer import byte_tokenizer
from server_draws import PARAMS, TEXT, answers, asked, connect, counting, draw, refusing
from server_replies import VLLM
from transformers import AutoTokenizer

from attnpo.errors import ConfigError
from attnpo.sampling import SampledResponse, SampleRequest, SamplingParams, render_prompt
from attnpo.sampling.prompts import give_template_settings
from attnpo.sampling.server_requests import DIALECTS, prompt_as_text, request_body
from attnpo.segmentation import Segmenter, build_strategy
from attnpo.serving import RefusedError
from attnpo.tinyworld import checkpoint_path, heldout_dataset
from attnpo.verification import build_verifier


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(checkpoint_path())


# What is sent


def test_token_ids_go_out_and_come_back(tokenizer):
    requests = asked(tokenizer)
    ids = [*tokenizer(TEXT)["input_ids"], tokenizer.eos_token_id]
    found, bodies = draw(counting(tokenizer, TEXT, token_ids=ids), tokenizer, requests)
    assert found == {i: SampledResponse(ids, True, exact_ids=True) for i in range(3)}
    trial, *sent = bodies
    assert trial["max_tokens"] == 1
    assert sorted(body["prompt"] for body in sent) == sorted(list(r.prompt_ids) for r in requests)
    for body in sent:
        assert body["return_token_ids"] is True
        assert (body["model"], body["max_tokens"]) == ("small", 64)
        assert (body["temperature"], body["top_p"], body["top_k"]) == (0.6, 0.95, -1)
        assert (body["min_p"], body["repetition_penalty"]) == (0.0, 1.0)
        assert "skip_special_tokens" not in body


def test_llama_cpp_tells_ids_beside_log_probabilities(tokenizer):
    """A text whose ids would be others than the sampled ones: they are the server's."""
    ids = [*tokenizer("Add")["input_ids"], *tokenizer(" 2")["input_ids"]]

    def reply(request: fake.Request) -> fake.Reply:
        told = ids if request.body.get("logprobs") else None
        return fake.llama_completion("Add 2", "length", told, len(request.body["prompt"]))

    found, bodies = draw(reply, tokenizer, asked(tokenizer))
    assert found == {i: SampledResponse(ids, False, exact_ids=True) for i in range(3)}
    assert [body.get("logprobs") for body in bodies] == [None, 1, 1, 1, 1]


def test_tokens_are_counted_as_the_server_does_where_it_tells_no_ids(tokenizer):
    def reply(request: fake.Request) -> fake.Reply:
        return fake.completion(TEXT, "length", tokens=64, prompt_tokens=len(request.body["prompt"]))

    found, _ = draw(reply, tokenizer, asked(tokenizer))
    assert {(response.n_tokens, response.exact_ids) for response in found.values()} == {(64, False)}
    assert all(len(response.ids) != 64 for response in found.values())


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_vllm_knows_every_field_that_it_is_sent(api):
    tokenizer = byte_tokenizer(special_think=True)
    give_template_settings(tokenizer, '{"enable_thinking": true}')
    body = request_body(DIALECTS[api][0], api, tokenizer, asked(tokenizer, 1)[0], PARAMS)
    assert body["skip_special_tokens"] is False
    assert ("chat_template_kwargs" in body) == (api == "chat")
    assert {"model", *body} <= set(VLLM.fields[api])


def test_seeds_differ_by_prompt_and_sample_and_stay_the_same(tokenizer):
    requests = asked(tokenizer, n=3, samples=4)
    replies = counting(tokenizer, TEXT)
    _, first = draw(replies, tokenizer, requests)
    _, again = draw(replies, tokenizer, requests, concurrency=2)
    _, other = draw(replies, tokenizer, requests, SamplingParams(64, seed=8))

    def seeds(bodies):
        return sorted(body["seed"] for body in bodies[1:])

    assert seeds(first) == seeds(again) != seeds(other)
    assert len(set(seeds(first))) == 12
    assert all(0 <= seed < 2**31 for seed in seeds(first))


def test_a_request_keeps_its_seed_when_others_are_left_out(tokenizer):
    requests = asked(tokenizer, n=2, samples=2)
    _, whole = draw(counting(tokenizer, TEXT), tokenizer, requests, concurrency=1)
    _, part = draw(counting(tokenizer, TEXT), tokenizer, requests[3:], concurrency=1)
    assert part[1]["seed"] == whole[4]["seed"]


def test_a_server_of_text_alone_gets_the_text_it_reads_as_the_ids(tokenizer):
    requests = asked(tokenizer)
    found, bodies = draw(refusing({"ids"}, 400, counting(tokenizer, TEXT)), tokenizer, requests)
    for body in bodies[2:]:
        assert tokenizer(body["prompt"])["input_ids"] in [list(r.prompt_ids) for r in requests]
        assert body["top_k"] == -1
    assert found[0].exact_ids is False


def test_transformers_serve_gets_its_generation_config(tokenizer):
    server = refusing({"ids", "top_k", "return_token_ids"}, 422, counting(tokenizer, TEXT))
    _, bodies = draw(server, tokenizer, asked(tokenizer))
    for body in bodies[3:]:
        config = json.loads(body["generation_config"])
        assert config == {
            "max_new_tokens": 64,
            "do_sample": True,
            "temperature": 0.6,
            "top_p": 0.95,
            "top_k": 0,
            "repetition_penalty": 1.0,
        }
        assert "top_k" not in body
    _, bodies = draw(server, tokenizer, asked(tokenizer), SamplingParams(8, temperature=0.0))
    assert json.loads(bodies[-1]["generation_config"])["do_sample"] is False


def test_a_plain_server_gets_plain_fields(tokenizer):
    strict = refusing({"ids", "top_k", "generation_config"}, 400, counting(tokenizer, TEXT))
    _, bodies = draw(strict, tokenizer, asked(tokenizer))
    assert set(bodies[-1]) == {"model", "prompt", "max_tokens", "temperature", "top_p", "seed"}
    with pytest.raises(ConfigError, match="top_k"):
        draw(strict, tokenizer, asked(tokenizer), SamplingParams(8, top_k=5))


def test_a_chat_server_that_wants_the_other_limit_gets_it(tokenizer):
    def reply(request):
        return fake.chat(TEXT)

    strict = refusing({"top_k", "generation_config", "max_tokens"}, 400, reply)
    _, bodies = draw(strict, tokenizer, asked(tokenizer), api="chat")
    assert bodies[-1]["max_completion_tokens"] == 64
    assert bodies[-1]["messages"][0]["role"] == "user"


def test_the_dialect_is_looked_for_once(tokenizer):
    with fake.FakeServer(refusing({"ids"}, 400, counting(tokenizer, TEXT))) as there:
        sampler = connect(there, tokenizer)
        list(sampler.sample(asked(tokenizer), PARAMS))
        before = len(there.requests)
        list(sampler.sample(asked(tokenizer), PARAMS))
        assert len(there.requests) == before + 3
        sampler.close()


def test_a_refusal_in_every_dialect_is_the_last_ones(tokenizer):
    with pytest.raises(RefusedError, match="temperature: too hot"):
        draw(lambda request: fake.status(400, "temperature: too hot"), tokenizer, asked(tokenizer))


def test_an_unknown_model_is_not_asked_for_in_other_words(tokenizer):
    with fake.FakeServer(lambda request: fake.status(404, "no such model")) as there:
        with pytest.raises(ConfigError, match="'small'"):
            list(connect(there, tokenizer).sample(asked(tokenizer), PARAMS))
        assert len(there.requests) == 1


def test_special_think_tags_are_asked_to_stay():
    tokenizer = byte_tokenizer(special_think=True)
    _, bodies = draw(counting(tokenizer, "x"), tokenizer, asked(tokenizer))
    assert bodies[-1]["skip_special_tokens"] is False


@pytest.mark.parametrize("adds_bos", [False, True])
@pytest.mark.parametrize("prompt", [[{"role": "user", "content": "2 + 2, né?"}], "plain 2 + 2"])
def test_the_start_token_is_read_once(adds_bos, prompt):
    tokenizer = byte_tokenizer(adds_bos=adds_bos)
    ids = render_prompt(tokenizer, prompt)
    text = prompt_as_text(tokenizer, prompt, ids)
    assert tokenizer(text)["input_ids"] == ids
    assert ids.count(tokenizer.bos_token_id) == (0 if prompt == "plain 2 + 2" and not adds_bos else 1)


def test_a_prompt_without_a_text_is_refused():
    tokenizer = byte_tokenizer(adds_bos=True)
    with pytest.raises(ConfigError, match="no text is read as its token ids"):
        prompt_as_text(tokenizer, "ab", [5, 6])


def test_a_server_that_reads_another_prompt_is_refused(tokenizer):
    doubled = answers(lambda body: fake.completion(TEXT, prompt_tokens=len(body["prompt"]) + 1))
    with pytest.raises(ConfigError, match="prompt tokens where the tokenizer has"):
        draw(doubled, tokenizer, asked(tokenizer))


def test_a_chat_template_of_another_length_is_told(tokenizer, caplog):
    found, _ = draw(lambda request: fake.chat(TEXT, prompt_tokens=999), tokenizer, asked(tokenizer), api="chat")
    assert len(found) == 3
    assert "read 999 prompt tokens" in caplog.text


def test_a_trial_of_one_token_need_not_be_text_yet(tokenizer):
    def reply(request):
        return fake.chat(None, "length") if request.body["max_tokens"] == 1 else fake.chat(TEXT)

    found, bodies = draw(reply, tokenizer, asked(tokenizer, 1), api="chat")
    assert (len(found), len(bodies)) == (1, 2)


def test_plain_text_is_no_chat(tokenizer):
    request = SampleRequest("2 + 2", (5, 6), 0, 0)
    with pytest.raises(ConfigError, match="use api 'completions'"):
        draw(lambda r: fake.chat("4"), tokenizer, [request], api="chat")


# What comes back


def test_text_becomes_ids_with_the_end_token_where_the_model_stopped(tokenizer):
    found, _ = draw(counting(tokenizer, TEXT), tokenizer, asked(tokenizer, 1))
    assert found[0] == SampledResponse([*tokenizer(TEXT)["input_ids"], tokenizer.eos_token_id], True, exact_ids=False)
    found, _ = draw(counting(tokenizer, TEXT, finish="length"), tokenizer, asked(tokenizer, 1))
    assert found[0] == SampledResponse(tokenizer(TEXT)["input_ids"], False, exact_ids=False)


def test_an_end_token_that_the_server_shows_is_not_counted_twice(tokenizer):
    shown = TEXT + tokenizer.eos_token
    found, _ = draw(counting(tokenizer, shown), tokenizer, asked(tokenizer, 1))
    assert found[0].ids == [*tokenizer(TEXT)["input_ids"], tokenizer.eos_token_id]


def test_ids_reported_without_their_end_token_get_it(tokenizer):
    ids = tokenizer(TEXT)["input_ids"]
    found, _ = draw(counting(tokenizer, TEXT, token_ids=ids), tokenizer, asked(tokenizer, 1))
    assert found[0] == SampledResponse([*ids, tokenizer.eos_token_id], True, exact_ids=True)
    found, _ = draw(counting(tokenizer, TEXT, "length", token_ids=ids), tokenizer, asked(tokenizer, 1))
    assert found[0] == SampledResponse(ids, False, exact_ids=True)


def test_a_response_of_the_end_token_alone_is_a_response(tokenizer):
    found, _ = draw(counting(tokenizer, ""), tokenizer, asked(tokenizer, 1))
    assert found[0] == SampledResponse([tokenizer.eos_token_id], True, exact_ids=False)


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
@pytest.mark.parametrize(
    ("opening", "thought", "content", "finish", "expected"),
    [
        ("", "\nSo 5.\n", "\n\nIt is 5.", "stop", "<think>\nSo 5.\n</think>\n\nIt is 5."),
        ("<think>\n", "So 5.\n", "\n\nIt is 5.", "stop", "So 5.\n</think>\n\nIt is 5."),
        ("", "So 5.", "It is 5.", "stop", "<think>\nSo 5.\n</think>\n\nIt is 5."),
        ("<think>\n", "So 5.", "It is 5.", "stop", "So 5.\n</think>\n\nIt is 5."),
        ("<think>\n", "So 5.", "\nIt is 5.", "stop", "So 5.</think>\nIt is 5."),
        ("<think>\n", "So", None, "length", "So"),
        ("", "So", None, "length", "<think>\nSo"),
        ("<think>\n", None, "So 5.</think>It is 5.", "stop", "So 5.</think>It is 5."),
        ("", "", "No thought: 5.", "stop", "No thought: 5."),
        # No tag is invented where the think part may still be open.
        ("<think>\n", "So", "", "length", "So"),
        ("", "So", "", "length", "<think>\nSo"),
        ("<think>\n", "So", "\n", "stop", "So"),
        ("<think>\n", "", "So 5, or", "length", "So 5, or"),
    ],
)
def test_thought_that_the_server_took_out_is_put_back(field, opening, thought, content, finish, expected):
    tokenizer = byte_tokenizer(opening=opening)
    reply = fake.chat(content, finish, **({} if thought is None else {field: thought}))
    found, _ = draw(lambda request: reply, tokenizer, asked(tokenizer, 1), api="chat")
    text = tokenizer.decode(found[0].ids).removesuffix(tokenizer.eos_token)
    assert text == expected
    assert found[0].finished is (finish == "stop")


@pytest.mark.parametrize(
    ("message", "finish", "in_think"),
    [
        ({"content": "It is 5.", "reasoning_content": ""}, "stop", False),
        ({"content": "It is 5.", "reasoning": "", "reasoning_content": None}, "stop", False),
        ({"content": "It is", "reasoning_content": ""}, "length", None),  # perhaps thinking that was cut
        ({"content": "It is 5."}, "stop", None),  # a server that takes nothing out
        ({"content": "So 5.</think>It is 5.", "reasoning_content": ""}, "stop", None),
        ({"content": "It is 5.", "reasoning_content": "So 5."}, "stop", None),
    ],
)
def test_a_server_that_found_no_thought_has_the_last_word(message, finish, in_think):
    tokenizer = byte_tokenizer(opening="<think>\n")
    reply = fake.chat(finish=finish, **message)
    found, _ = draw(lambda request: reply, tokenizer, asked(tokenizer, 1), api="chat")
    assert found[0].in_think is in_think


def test_the_same_response_is_cut_and_judged_alike_however_it_is_reported(tokenizer):
    """The transformers engine's ids, a server's ids, a server's text, a chat server's two fields."""
    segment = Segmenter(tokenizer, build_strategy("phrases", None, 1))
    ids = [*tokenizer(TEXT)["input_ids"], tokenizer.eos_token_id]
    thought, _, content = TEXT.partition("</think>")
    requests = asked(tokenizer, 1)
    forms = [
        SampledResponse(ids, True),
        draw(counting(tokenizer, TEXT, token_ids=ids), tokenizer, requests)[0][0],
        draw(counting(tokenizer, TEXT), tokenizer, requests)[0][0],
        draw(lambda r: fake.chat(content, reasoning_content=thought), tokenizer, requests, api="chat")[0][0],
        draw(lambda r: fake.chat(TEXT), tokenizer, requests, api="chat")[0][0],
    ]
    cuts = [segment(form.ids) for form in forms]
    assert len(cuts[0].steps) == 3
    assert cuts[0].closed
    assert all(cut == cuts[0] for cut in cuts)
    with build_verifier("math") as verifier:
        assert verifier.verify([cut.text for cut in cuts], ["5"] * 5) == [True] * 5
        assert verifier.verify([cut.text for cut in cuts], ["6"] * 5) == [False] * 5


def test_what_a_trial_of_real_prompts_reads_is_what_it_sends(tokenizer):
    prompts = heldout_dataset(4)["prompt"]
    requests = [SampleRequest(p, tuple(render_prompt(tokenizer, p)), i, 0) for i, p in enumerate(prompts)]
    _, bodies = draw(refusing({"ids"}, 400, counting(tokenizer, TEXT)), tokenizer, requests)
    assert all(body["prompt"].startswith(tokenizer.bos_token) for body in bodies[2:])


# Order and failure
