"""GGUF files against the numbers that were written into them; broken ones against the line that each gives."""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf_files import HEADS, KV_HEADS, LAYERS, WIDTH, weights, write_gguf

from attnpo.errors import ConfigError, OutputError
from attnpo.models import cache as cache_file
from attnpo.models import find_model, load_config, load_model, load_tokenizer, plain_folder

pytest.importorskip("gguf", reason="GGUF files are read with gguf")


AFTER = "post_attention_layernorm"


def line(path, **settings) -> str:
    with pytest.raises(ConfigError) as error:
        load_model(find_model(str(path)), **settings)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_file_is_the_model_that_was_written(tmp_path):
    """Every weight; queries and keys are interleaved in ggml for its kind of rotation, and are here again in order."""
    written = weights()
    model = load_model(find_model(str(write_gguf(tmp_path / "m.gguf"))), dtype="float32", device="cpu")
    found = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    np.testing.assert_array_equal(found["model.embed_tokens.weight"], written["token_embd.weight"])
    for layer in range(LAYERS):
        block, here = f"blk.{layer}", f"model.layers.{layer}"
        for ggml, name in (("attn_v", "self_attn.v_proj"), ("ffn_down", "mlp.down_proj"), ("ffn_norm", AFTER)):
            np.testing.assert_array_equal(found[f"{here}.{name}.weight"], written[f"{block}.{ggml}.weight"])
        for ggml, name, heads in (("attn_q", "q_proj", HEADS), ("attn_k", "k_proj", KV_HEADS)):
            pairs = written[f"{block}.{ggml}.weight"].reshape(heads, -1, 2, WIDTH)  # (head, pair, half, in)
            in_order = pairs.swapaxes(1, 2).reshape(-1, WIDTH)
            np.testing.assert_array_equal(found[f"{here}.self_attn.{name}.weight"], in_order)
    assert model.dtype == torch.float32
    assert model.config.tie_word_embeddings


@pytest.mark.parametrize("kind", ["Q8_0", "Q5_1", "Q4_0"])
def test_quantised_weights_are_what_ggml_makes_of_them(tmp_path, kind):
    """The file beside one that holds the numbers which gguf's own arithmetic gives for it."""
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize, quantize

    type_ = GGMLQuantizationType[kind]
    rounded = {n: dequantize(quantize(t, type_), type_) if t.ndim > 1 else t for n, t in weights().items()}
    assert any(not np.array_equal(rounded[name], tensor) for name, tensor in weights().items())
    quantised = write_gguf(tmp_path / "quantised.gguf", quantised=kind)
    plain = write_gguf(tmp_path / "plain.gguf", tensors=rounded)
    one, other = (load_model(find_model(str(path)), dtype="float32", device="cpu") for path in (quantised, plain))
    found = dict(other.named_parameters())
    assert found.keys() == dict(one.named_parameters()).keys()
    for name, weight in one.named_parameters():
        np.testing.assert_array_equal(weight.detach().numpy(), found[name].detach().numpy())


def test_it_ends_where_its_template_ends_turns(tmp_path):
    """The file names <|endoftext|> alone; a chat goes on behind <|im_end|> then."""
    source = find_model(str(write_gguf(tmp_path / "m.gguf")))
    tokenizer = load_tokenizer(source)
    assert tokenizer.eos_token == "<|endoftext|>"
    assert tokenizer.pad_token is not None
    ends = load_model(source, device="cpu").generation_config.eos_token_id
    assert tokenizer.decode(ends) == "<|endoftext|><|im_end|>"
    saved = json.loads((Path(plain_folder(source)) / "generation_config.json").read_text())
    assert saved["eos_token_id"] == ends


def test_one_without_template_ends_where_it_says(tmp_path):
    source = find_model(str(write_gguf(tmp_path / "m.gguf", template=None)))
    assert load_tokenizer(source).chat_template is None
    assert load_model(source, device="cpu").generation_config.eos_token_id == 0


def test_a_tokenizer_comes_whole(tmp_path):
    tokenizer = load_tokenizer(find_model(str(write_gguf(tmp_path / "m.gguf"))))
    text = "the path: 3 × 4 = 12\n\n<|im_end|>"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == text
    assert ids[0] == tokenizer.convert_tokens_to_ids("the")
    assert ids[-1] == 2


def test_it_is_dequantised_once_and_can_be_saved(tmp_path, cache, monkeypatch):
    path = write_gguf(tmp_path / "m.gguf")
    model = load_model(find_model(str(path)), device="cpu")
    model.save_pretrained(tmp_path / "saved")
    again = load_model(find_model(str(tmp_path / "saved")), device="cpu")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    (tmp_path / "copy").mkdir()
    path = path.rename(tmp_path / "copy" / "m.gguf")
    folders = sorted(cache.iterdir())
    monkeypatch.setattr("attnpo.models.gguf.AutoModelForCausalLM", None)
    load_model(find_model(str(path)), device="cpu")
    assert sorted(cache.iterdir()) == folders


def test_another_content_is_another_model(tmp_path):
    path = write_gguf(tmp_path / "m.gguf")
    first = plain_folder(find_model(str(path)))
    write_gguf(path, tensors=weights(seed=1))
    assert plain_folder(find_model(str(path))) != first


def test_a_configuration_needs_no_weights(tmp_path, cache):
    source = find_model(str(write_gguf(tmp_path / "m.gguf")))
    assert load_config(source).num_hidden_layers == LAYERS
    assert not list(cache.glob("*/*.safetensors"))


def test_a_folder_may_hold_it(tmp_path):
    write_gguf(tmp_path / "m.gguf")
    assert find_model(str(tmp_path)).is_gguf
    write_gguf(tmp_path / "n.gguf")
    assert "holds 2 GGUF files; name one of them, such as" in line(tmp_path)


def make(path, start, made):
    start.wait()
    made.put(plain_folder(find_model(str(path))))


def test_two_processes_want_it_at_once(tmp_path, cache):
    path = write_gguf(tmp_path / "m.gguf")
    context = multiprocessing.get_context("fork")
    start, made = context.Event(), context.Queue()
    both = [context.Process(target=make, args=(path, start, made)) for _ in range(2)]
    for each in both:
        each.start()
    start.set()
    folders = {made.get(timeout=120) for _ in both}
    for each in both:
        each.join()
    assert len(folders) == 1
    assert not [left for left in cache.iterdir() if left.name.startswith(".")]
    load_model(find_model(folders.pop()), device="cpu")


def test_one_that_is_killed_leaves_no_folder(tmp_path, cache):
    def stop(folder):
        folder.mkdir()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache_file.made_once("half", stop)
    assert not [left for left in cache.iterdir() if left.is_dir()]


def test_no_room(tmp_path, monkeypatch):
    source = find_model(str(write_gguf(tmp_path / "m.gguf")))
    monkeypatch.setattr(cache_file.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    load_config(source)  # takes next to nothing
    with pytest.raises(OutputError, match=r"are free; make room, or set XDG_CACHE_HOME"):
        plain_folder(source)
    assert not list(cache_file.cache_root().glob("*-float32"))


def test_no_gguf_file(tmp_path):
    (tmp_path / "word.gguf").write_bytes(b"hello there")
    assert line(tmp_path / "word.gguf") == (
        f"--model {tmp_path}/word.gguf: is no GGUF file (begins with b'hell', not b'GGUF'); name one, or the folder of "
        "a model"
    )
    (tmp_path / "empty.gguf").touch()
    assert "is no GGUF file (is empty)" in line(tmp_path / "empty.gguf")
    assert "no such file" in line(tmp_path / "none.gguf")


@pytest.mark.parametrize("share", [0.001, 0.1, 0.3, 0.6, 0.999])
def test_cut_off_anywhere(tmp_path, share):
    path = write_gguf(tmp_path / "m.gguf")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert "copy it anew" in line(path)
    assert "cut off" in line(path)


def test_an_architecture_that_transformers_cannot_dequantise(tmp_path):
    said = line(write_gguf(tmp_path / "m.gguf", architecture="rwkv6"))
    assert "transformers cannot dequantise it (GGUF model with architecture rwkv6 is not supported yet)" in said


def test_positions_that_transformers_does_not_scale(tmp_path):
    scaled = weights() | {"rope_freqs.weight": np.array([1.0, 1.0, 4.0, 8.0], dtype=np.float32)}
    by_tensor = write_gguf(tmp_path / "freqs.gguf", tensors=scaled)
    by_field = write_gguf(
        tmp_path / "field.gguf", llama__rope__scaling__type="linear", llama__rope__scaling__factor=4.0
    )
    by_factor = write_gguf(tmp_path / "factor.gguf", llama__rope__scale_linear=4.0)
    said = {by_tensor: "rope_freqs.weight", by_field: "llama.rope.scaling.type", by_factor: "llama.rope.scale_linear"}
    for path, what in said.items():
        for _ in range(2):  # what was cached is checked, too
            assert f"{path.name}: scales its rotary positions ({what}), which transformers" in line(path)
    load_model(find_model(str(write_gguf(tmp_path / "none.gguf", llama__rope__scaling__type="none"))))


def test_other_ways_to_be_of_no_use(tmp_path):
    lacking = {name: tensor for name, tensor in weights().items() if name != "blk.1.attn_v.weight"}
    said = line(write_gguf(tmp_path / "a.gguf", tensors=lacking))
    assert "holds no weights for model.layers.1.self_attn.v_proj.weight (1 lacking)" in said
    assert "holds no tokenizer" in line(write_gguf(tmp_path / "b.gguf", tokenizer=False))
    assert "names no end token" in line(write_gguf(tmp_path / "c.gguf", eos=None))
    said = line(write_gguf(tmp_path / "d.gguf", split__count=3))
    assert "is one of 3 parts; join them with llama.cpp's `llama-gguf-split --merge`" in said
    path = write_gguf(tmp_path / "e.gguf")
    content = bytearray(path.read_bytes())
    content[4] = 9
    path.write_bytes(content)
    assert "GGUF version 9 is not read, only 2 and 3" in line(path)


def test_without_the_package(tmp_path, monkeypatch):
    path = write_gguf(tmp_path / "m.gguf")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "gguf" else find(name, *rest))
    assert line(path) == (
        f"--model {path}: reading GGUF files needs the package gguf; pip install '.[gguf]' in the clone of attnpo"
    )
