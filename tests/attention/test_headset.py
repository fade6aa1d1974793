"""Head sets: their file, what they are checked against, and every way to name heads."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, MambaConfig, Qwen2Config

from attnpo.attention import Head, HeadSet, config_fingerprint, resolve_heads
from attnpo.errors import HeadSetError, OutputError, UnsupportedModelError

CONFIG = Qwen2Config(num_hidden_layers=28, num_attention_heads=12, num_key_value_heads=2, hidden_size=1536)


def head_set(**changes):
    fields = {
        "model_id": "some/model",
        "config_fingerprint": config_fingerprint(CONFIG),
        "num_layers": 28,
        "num_heads": 12,
        "heads": [Head(16, 2), Head(20, 9), Head(23, 2)],
        "sra": 0.95,
        "found_by": "greedy",
        "evidence": {"pairs": 1200},
    }
    return HeadSet(**{**fields, **changes})


def refused(words, function, *args):
    with pytest.raises(HeadSetError, match=words) as error:
        function(*args)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_file_round_trip(tmp_path):
    path = tmp_path / "deep" / "heads.json"
    head_set().save(path)
    assert HeadSet.load(path) == head_set()
    assert json.loads(path.read_text())["heads"] == [[16, 2], [20, 9], [23, 2]]
    assert json.loads(path.read_text())["schema_version"] == 1
    assert resolve_heads(str(path), CONFIG) == head_set()
    assert resolve_heads(path, CONFIG) == head_set()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not valid JSON"),
        ("", "not valid JSON"),
        ("[[16, 2]]", "not a head set but a JSON list"),
        ('{"heads": [[16, 2]]}', "schema_version is None"),
        ('{"schema_version": 99}', "schema_version is 99"),
        ('{"schema_version": 1}', "field model_id: Field required"),
    ],
)
def test_malformed_files(tmp_path, content, words):
    path = tmp_path / "heads.json"
    path.write_text(content)
    assert str(path) in refused(words, HeadSet.load, path)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("heads", [[16]], "field heads.0"),
        ("heads", [["a", 2]], "field heads.0"),
        ("heads", "16.2", "field heads"),
        ("sra", 7, "field sra"),
        ("num_layers", 0, "field num_layers"),
        ("colour", "red", "field colour"),
    ],
)
def test_wrong_fields_are_named(tmp_path, field, value, words):
    path = tmp_path / "heads.json"
    path.write_text(json.dumps({**json.loads(head_set().model_dump_json()), field: value}))
    refused(words, HeadSet.load, path)


def test_missing_and_binary_files(tmp_path):
    refused("no such head-set file", HeadSet.load, tmp_path / "none.json")
    refused("no such head-set file", resolve_heads, "16,2", CONFIG)
    path = tmp_path / "weights.json"
    path.write_bytes(b"\xff\xfe\x00\x93")
    refused("not a text file in UTF-8", HeadSet.load, path)


def test_unwritable_path(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        head_set().save(tmp_path / "file" / "heads.json")
    with pytest.raises(OutputError, match="cannot write"):
        head_set().save(tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"heads": [Head(28, 0)]}, "head 28.0 does not exist: the model has layers 0 to 27 with heads 0 to 11"),
        ({"heads": [Head(16, 12)]}, "head 16.12 does not exist"),
        ({"heads": [Head(-1, 0)]}, "head -1.0 does not exist"),
        ({"heads": [Head(16, 2), Head(16, 2)]}, "head 16.2 is listed twice"),
        ({"heads": []}, "no heads"),
        ({"num_layers": 27}, "the head set is for 27 layers, the model has 28"),
        ({"num_heads": 16}, "the head set is for 16 heads a layer, the model has 12"),
        ({"config_fingerprint": "other"}, "found on some/model"),
    ],
)
def test_head_sets_that_do_not_fit(changes, words):
    assert refused(words, head_set(**changes).validate_for, CONFIG, "my.json").startswith("my.json: ")


def test_fingerprint_mismatch_names_the_fields():
    other = Qwen2Config(num_hidden_layers=24, num_attention_heads=12, num_key_value_heads=2, hidden_size=1536)
    message = refused("another architecture", head_set().validate_for, other)
    assert "num_hidden_layers 28 there, 24 here" in message
    assert "hidden_size" not in message


def test_fingerprint_covers_architecture_and_nothing_else():
    same = Qwen2Config(
        num_hidden_layers=28, num_attention_heads=12, num_key_value_heads=2, hidden_size=1536,
        vocab_size=99, max_position_embeddings=512, attention_dropout=0.1,
    )  # fmt: skip
    assert config_fingerprint(same) == config_fingerprint(CONFIG)
    for field, value in (("hidden_size", 768), ("num_key_value_heads", 4), ("intermediate_size", 10)):
        changed = Qwen2Config(**{**CONFIG.to_dict(), field: value})
        assert config_fingerprint(changed) != config_fingerprint(CONFIG)
    llama = LlamaConfig(num_hidden_layers=28, num_attention_heads=12, num_key_value_heads=2, hidden_size=1536)
    assert config_fingerprint(llama) != config_fingerprint(CONFIG)


def test_fingerprint_is_stable():
    assert config_fingerprint(CONFIG) == (
        "model_type=qwen2,num_hidden_layers=28,num_attention_heads=12,num_key_value_heads=2,hidden_size=1536,"
        "head_dim=128,intermediate_size=22016#a855528db880"
    )


def test_decoder_in_a_multimodal_config():
    text = LlamaConfig(num_hidden_layers=4, num_attention_heads=8, hidden_size=64)
    config = LlavaConfig(vision_config=CLIPVisionConfig(), text_config=text)
    assert config_fingerprint(config) == config_fingerprint(text)
    assert resolve_heads("3.7", config).num_layers == 4


@pytest.mark.parametrize(
    "spec",
    [
        "16.2,20.9,23.2",
        " 16.2, 20.9 , 23.2 ",
        [(16, 2), (20, 9), (23, 2)],
        [[16, 2], [20, 9], [23, 2]],
        ["16.2", "20.9", "23.2"],
        [Head(16, 2), Head(20, 9), Head(23, 2)],
    ],
)
def test_every_way_to_name_heads(spec):
    resolved = resolve_heads(spec, CONFIG)
    assert resolved.heads == [Head(16, 2), Head(20, 9), Head(23, 2)]
    assert (resolved.num_layers, resolved.num_heads, resolved.found_by) == (28, 12, "given")
    resolved.validate_for(CONFIG)


def test_heads_are_found_on_what_the_user_calls_the_model():
    read_from = Qwen2Config(name_or_path="cache/a-settings")
    assert resolve_heads("0.1", read_from, "owner/model").model_id == "owner/model"
    assert resolve_heads("0.1", read_from).model_id == "cache/a-settings"
    assert resolve_heads("0.1", Qwen2Config(), "").model_id == "qwen2"
    kept = resolve_heads(head_set(), CONFIG, "owner/model")
    assert kept.model_id == head_set().model_id != "owner/model"


def test_a_head_set_is_checked_and_returned():
    assert resolve_heads(head_set(), CONFIG) == head_set()
    refused("head 28.0", resolve_heads, head_set(heads=[Head(28, 0)]), CONFIG)


@pytest.mark.parametrize("spec", [[(16, 2, 1)], [16, 2], [("a", 2)], ["16"], [(True, 1)], [(1.0, 2)], [None]])
def test_what_is_no_head_is_named(spec):
    refused("is not a head", resolve_heads, spec, CONFIG)


def test_a_model_without_heads():
    with pytest.raises(UnsupportedModelError, match="MambaConfig states no one number of attention heads"):
        resolve_heads("0.0", MambaConfig())


def test_given_heads_are_checked():
    refused("head 40.0 does not exist", resolve_heads, "40.0", CONFIG)
    refused("no heads", resolve_heads, [], CONFIG)


@given(st.lists(st.tuples(st.integers(0, 27), st.integers(0, 11)), min_size=1, max_size=9, unique=True))
def test_text_and_list_agree(heads):
    text = ",".join(str(Head(*head)) for head in heads)
    assert resolve_heads(text, CONFIG) == resolve_heads(heads, CONFIG)
