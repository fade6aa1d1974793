from __future__ import annotations

import pytest
from measured import evaluation, rollout

from attnpo.errors import ConfigError, DataError
from attnpo.evaluation.conditions import check_comparable

ROWS = [rollout(p, right, 20, sample=j) for p in ("a1", "a2", "b3") for j, right in enumerate((True, False))]


def result(name="x", **changes):
    settings = changes.pop("settings", {})
    return evaluation(name, ROWS, settings=settings, **changes)


def test_models_seeds_and_names_of_data_may_differ():
    base = result("base")
    sampling = base.settings["sampling"]
    other = result(
        "x",
        dataset="elsewhere",
        settings={
            "model_fingerprint": "1",
            "dataset": "elsewhere",
            "benchmark": {"name": "b"},
            "sampling": sampling | {"seed": 7},
        },
    )
    assert check_comparable({"base": base, "x": other}) == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"problems": "other"}, "problems (ids, prompts and reference answers of the problems) is"),
        ({"prompts": "other"}, "prompts (the prompts as the model reads them: template or tokenizer) is"),
        ({"samples": 4}, "samples (responses a problem) is 2 in base, 4 in x"),
        ({"verifier": "math"}, 'verifier is "exact" in base, "math" in x'),
        ({"engine": {"name": "transformers", "batch": 8}}, "engine.batch is 4 in base, 8 in x"),
        ({"engine": {"name": "transformers"}}, "engine.batch is 4 in base, not recorded in x"),
        ({"min_step_chars": 3}, "min_step_chars is not recorded in base, 3 in x"),
    ],
)
def test_whatever_else_differs_is_refused_by_name(settings, said):
    with pytest.raises(DataError) as error:
        check_comparable({"base": result("base"), "x": result("x", settings=settings)})
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_all_differences_are_listed_at_once():
    base = result("base")
    sampling = base.settings["sampling"] | {"max_new_tokens": 9, "top_p": 0.5}
    runs = {"base": base, "x": result(settings={"sampling": sampling}), "y": result(settings={"verifier": "math"})}
    with pytest.raises(DataError) as error:
        check_comparable(runs)
    assert "sampling.max_new_tokens is 1000 in base and y, 9 in x" in str(error.value)
    assert "sampling.top_p is 0.95 in base and y, 0.5 in x" in str(error.value)
    assert 'verifier is "exact" in base and x, "math" in y' in str(error.value)
    assert str(error.value).endswith("--allow sampling.max_new_tokens,sampling.top_p,verifier")


def test_an_allowed_difference_becomes_a_caveat():
    runs = {
        "base": result("base"),
        "x": result("x", settings={"engine": {"name": "vllm", "batch": 8}, "verifier": "math"}),
    }
    caveats = check_comparable(runs, ["engine", "verifier"])
    assert caveats == [
        "engine.batch is 4 in base, 8 in x.",
        'engine.name is "transformers" in base, "vllm" in x.',
        'verifier is "exact" in base, "math" in x.',
    ]
    with pytest.raises(DataError, match=r"engine.batch .*engine.name .*--allow engine.batch,engine.name$"):
        check_comparable(runs, ["verifier"])


def test_a_type_that_only_one_evaluation_knows_is_no_difference():
    types = {"base": {}, "x": {"dtype": "float32"}, "y": {"dtype": "bfloat16"}}
    base, x, y = (result(name, settings=settings) for name, settings in types.items())
    assert check_comparable({"base": base, "x": x}) == check_comparable({"base": base, "y": y}) == []
    with pytest.raises(DataError, match=r'see --dtype\) is "float32" in x, "bfloat16" in y; .* --allow dtype$'):
        check_comparable({"x": x, "y": y})


def test_other_versions_of_the_engine_are_told_not_refused():
    engines = [{"engine": "vllm", "vllm": version, "seed": "kept"} for version in ("0.11", "0.12")]
    base, other = (result(name, settings={"engine": e}) for name, e in zip(("base", "x"), engines, strict=True))
    assert check_comparable({"base": base, "x": other}) == ['engine.vllm is "0.11" in base, "0.12" in x.']


VLLM = {"engine": "vllm", "vllm": "0.31.0", "seed": "a response's draws depend on the seed"}
SERVER = {"engine": "server", "api": "completions", "served_model": "served", "seed": "one a request"}
OF_VLLM = {"id": "served", "root": "/models/base", "version": "0.31.0", "weights": "1f"}
OF_DEVELOPMENT = OF_VLLM | {"model": "/models/base", "revision": "main", "dtype": "torch.bfloat16"}
OF_LLAMA_CPP = {"id": "a.gguf", "meta": {"n_params": 1, "size": 2}, "model_path": "/models/a.gguf", "weights": "1f"}


@pytest.mark.parametrize(
    ("base", "other"),
    [
        ({"engine": VLLM, "dtype": "float32", "weights": "1f"}, {"weights": "2f", "revision": "step-500"}),
        ({"engine": SERVER, "served": OF_VLLM}, {"root": "/models/attnpo", "weights": "2f", "parent": "base"}),
        ({"engine": SERVER, "served": OF_DEVELOPMENT}, {"model": "/models/attnpo", "revision": "step-500"}),
        (
            {"engine": SERVER, "served": OF_LLAMA_CPP},
            {"id": "b.gguf", "meta": {"n_params": 3, "size": 4}, "model_path": "/models/b.gguf", "weights": "2f"},
        ),
    ],
)
def test_two_models_under_one_engine_are_what_is_compared(base, other):
    others = base | ({"served": base["served"] | other} if "served" in base else other)
    others["engine"] = base["engine"] | ({"served_model": "attnpo"} if "served" in base else {})
    assert check_comparable({"base": result("base", settings=base), "x": result("x", settings=others)}) == []


def test_other_versions_of_a_server_are_told_and_other_types_refused():
    base = result("base", settings={"engine": SERVER, "served": OF_DEVELOPMENT})
    newer = result("x", settings={"engine": SERVER, "served": OF_DEVELOPMENT | {"version": "0.32.0"}})
    assert check_comparable({"base": base, "x": newer}) == ['served.version is "0.31.0" in base, "0.32.0" in x.']
    types = {"dtype": "half", "quantization": "awq"}
    small = result("x", settings={"engine": SERVER, "served": OF_DEVELOPMENT | types})
    with pytest.raises(DataError, match=r"served.dtype is .*served.quantization is not .* --allow served.dtype,served"):
        check_comparable({"base": base, "x": small})


def test_runs_that_are_not_finished_are_refused():
    base, half = result("base"), result("x", complete=False)
    with pytest.raises(DataError, match=r"complete \(whether all problems are finished\) is true in base, false in x"):
        check_comparable({"base": base, "x": half})
    with pytest.raises(DataError, match="complete is false in x, y"):
        check_comparable({"x": half, "y": half})
    assert check_comparable({"x": half, "y": half}, ["complete"]) == ["complete is false in x, y."]


def test_token_counts_made_from_text_are_refused_beside_sampled_ones():
    with pytest.raises(DataError, match="exact_token_counts"):
        check_comparable({"base": result("base"), "x": result("x", exact_token_counts=False)})


def test_an_allowance_for_a_setting_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match="--allow verifer: no run has such a setting; there are verifier"):
        check_comparable({"base": result("base"), "x": result("x")}, ["verifer"])
