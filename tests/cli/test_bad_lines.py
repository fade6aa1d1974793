"""Bad command lines: the one line that each gives, exit code 2, no traceback, nothing loaded that is not needed."""

from __future__ import annotations

import re
import shutil

import pytest

from attnpo.cli.main import COMMANDS, main
from attnpo.tinyworld import checkpoint_path

DEEP = 2000
BAD_FILES = {
    "bytes": bytes(range(256)),
    "empty": b"",
    "cut.json": b'{"a": [',
    "deep.json": b'{"a": ' + b"[" * 100_000,
    "cut.yaml": b"a: [1",
    "twice.yaml": b"seed: 1\nseed: 2\n",
    "list.yaml": b"- seed\n",
    "word.yaml": b"seed\n",
    "itself.yaml": b"seed: &a [*a]\n",
    "deep.yaml": b"seed: " + b"[" * DEEP + b"]" * DEEP,
    "key.yaml": b"? [1]\n: 2\n",
    "unknown.yaml": b"seeds: 2\n",
    "laughs.yaml": b"a: &a [1,1,1,1,1,1,1,1,1,1]\n"
    + b"".join(b"%c: &%c [%s]\n" % (n, n, b",".join([b"*%c" % (n - 1)] * 10)) for n in b"bcdefgh")
    + b"seed: *h\n",
    "seed.yaml": b"seed: 3\nmodel: tinyworld\nheads: 2.0\nalpha_len: 0.5\n",
    "wrong.yaml": b"alpha_len: 1.5\nmodel: tinyworld\n",
    "nan.yaml": b"beta: .nan\nmodel: tinyworld\n",
    "optim.yaml": b"optim: adamw_torc\n",
    "brace.yaml": b"model_init_kwargs: '{'\n",
    "lines.py": b"word = 3\ndef one(a): return {}\ndef count_words(question, response, steps): return {}\n"
    b"def three(a, b, c): return True\n",
    "boom.py": b"raise RuntimeError('boom')\n",
    "cut.py": b"def f(:\n",
    "leaves.py": b"import sys\nsys.exit(3)\n",
}
BAD_FILES["ids.jsonl"] = (
    b'{"problem_id": "a", "prompt": "1?", "solution": "1", "sample": 0, "response_ids": "4 5", "response": "1", '
    b'"finished": true, "steps": [], "answer_tokens": [0, 0]}\n'
)
FOLDERS = ("folder", "folder.json", "folder.yaml", "folder.jinja")


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    for name, content in BAD_FILES.items():
        (folder / name).write_bytes(content)
    for name in FOLDERS:
        (folder / name).mkdir()
    return folder


@pytest.fixture(autouse=True)
def there(bad, monkeypatch):
    """Each line is run in the folder of bad files; user functions are looked for there too."""
    monkeypatch.chdir(bad)
    monkeypatch.syspath_prepend(str(bad))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def words(line: str) -> list[str]:
    """Return the words of a line; a flag that stands there twice keeps its last value."""
    found = line.split()
    for flag in {word for word in found if word.startswith("--") and found.count(word) > 1}:
        while found.count(flag) > 1:
            position = found.index(flag)
            del found[position : position + 2]
    return found


def refused(capsys, line: list[str], code: int = 2) -> str:
    with pytest.raises(SystemExit) as exit_:
        main(line)
    assert exit_.value.code == code
    errors = [said for said in capsys.readouterr().err.splitlines() if not said.startswith("[transformers]")]
    assert len(errors) == 1, errors
    return errors[0]


def matches(pattern: str, said: str) -> bool:
    """Whether a line is the one expected; `…` stands for any text, an upstream library's own words mostly."""
    return re.fullmatch(re.escape(pattern).replace("…", ".*"), said) is not None


WORLD = "--model tinyworld --data tinyworld --num_problems 2 --segmentation paragraphs --verifier exact --device cpu"
EVALUATE = f"evaluate {WORLD} --max_new_tokens 8 --output_dir out"
DISCOVER = f"discover {WORLD} --max_new_tokens 8 --output_dir out"
CAUSAL = f"{DISCOVER} --labeler causal"
JUDGE = f"{DISCOVER} --labeler judge --judge_models a --judge_base_urls http://127.0.0.1:9/v1"
INSPECT = f"inspect {WORLD} --max_new_tokens 8"
COMMANDS_SAID = (
    "quickstart, discover, coldstart, train, methods, signals, evaluate, compare, reproduce, gradients, "
    "card, report, inspect"
)
HEADS_HINT = "make one with `attnpo discover`, give heads as '16.2,20.9', or name a head set that ships: …"
STEPS = "is called with (question, response, steps), but takes (a) (too many positional arguments)"
METHODS_SAID = "is unknown; use one of rloo, …; did you mean"
HERE = "this machine has no such device; choose auto, cpu…"
ROLLOUT = "write it with `attnpo evaluate` or `discover`"

LINES = {
    # commands, words and flags
    "insect": f"attnpo: error: no command 'insect'; did you mean inspect?; the commands are {COMMANDS_SAID}",
    "--foo": f"attnpo: error: no command '--foo'; the commands are {COMMANDS_SAID}",
    "inspect nope.jsonl": "nope.jsonl: no such rollouts file",
    "methods atnpo": f"method: 'atnpo' {METHODS_SAID} attnpo?",
    "report nope": "nope: no such run folder; make one with `attnpo quickstart` or `attnpo evaluate`",
    "report bytes": "bytes: is a file; name the folder of a run",
    "card nope": "nope/training.json: no such file; name the output_dir of `attnpo train`",
    "compare nope nope": "nope: no evaluation.json there; make one with `attnpo evaluate --output_dir nope`",
    "compare bytes nope": "bytes: not a text file in UTF-8; make it with `attnpo evaluate`",
    "compare empty nope": "empty: not valid JSON (…); make it with `attnpo evaluate`",
    "compare deep.json nope": "deep.json: not valid JSON (nested too deeply); make it with `attnpo evaluate`",
    "compare --runs a=cut.json": "cut.json: not valid JSON (…); make it with `attnpo evaluate`",
    "compare a b --resample 3": "--resample: no such setting; did you mean --resamples?",
    "compare a b --resamples x": "--resamples: invalid int value: 'x'",
    "evaluate foo": "foo: belongs to no setting; write --NAME foo (--help lists them)",
    "evaluate --seed 1 2": "2: belongs to no setting; write --NAME 2 (--help lists them)",
    "evaluate -x": "-x: belongs to no setting; flags begin with -- (--help lists them)",
    "inspect a b": "b: belongs to no setting; write --NAME b (--help lists them)",
    "inspect a --rollouts b": "--rollouts: is given twice, with different values; keep one of them",
    "train foo": "foo: belongs to no setting; write --NAME foo (--help lists them)",
    "evaluate --sed 1": "--sed: no such setting; did you mean --seed?",
    "evaluate --seed x": "--seed: invalid int value: 'x'",
    "evaluate --seed": "--seed: expected one argument",
    # settings files
    "evaluate --config": "--config: give the path of a YAML file",
    "evaluate --config nope.yaml": "--config nope.yaml: no such settings file",
    "evaluate --config folder": "--config folder: is a folder, not a settings file",
    "evaluate --config bytes": "--config bytes: not a text file in UTF-8",
    "evaluate --config empty": "--config empty: must hold settings as 'name: value' lines",
    "evaluate --config list.yaml": "--config list.yaml: must hold settings as 'name: value' lines",
    "evaluate --config word.yaml": "--config word.yaml: must hold settings as 'name: value' lines",
    "evaluate --config cut.yaml": "--config cut.yaml: not valid YAML (line 1: …)",
    "evaluate --config deep.yaml": "--config deep.yaml: not valid YAML (nested too deeply)",
    "evaluate --config key.yaml": "--config key.yaml: not valid YAML (line 1: …unhashable key)",
    "evaluate --config twice.yaml": "--config twice.yaml: not valid YAML (line 2: seed is set twice; keep one of them)",
    "evaluate --config itself.yaml": "--config itself.yaml: not valid YAML (line 1: *a contains itself; write it out)",
    "evaluate --config unknown.yaml": "--config unknown.yaml: no setting called seeds (did you mean seed?)",
    "evaluate --config laughs.yaml": "--config laughs.yaml: no setting called a, b, c, d, e, f, g, h",
    "evaluate --config seed.yaml": "--config seed.yaml: no setting called alpha_len",
    # devices, data types, positions
    f"{EVALUATE} --device mars": f"--device mars: {HERE}",
    f"{EVALUATE} --device meta": f"--device meta: {HERE}",
    f"{EVALUATE} --device cup": f"--device cup: {HERE}; did you mean cpu?",
    f"{EVALUATE} --device cpu:x": f"--device cpu:x: {HERE}",
    f"{EVALUATE} --device cpu:1": f"--device cpu:1: {HERE}",
    f"{CAUSAL} --device mars": f"--device mars: {HERE}",
    f"{INSPECT} --device mars": f"--device mars: {HERE}",
    f"{EVALUATE} --dtype float31": "--dtype float31: choose one of auto, …; did you mean float32?",
    f"{EVALUATE} --attn_implementation sdpaa": "--model … --attn_implementation sdpaa: cannot be loaded (…)",
    f"{EVALUATE} --max_new_tokens 1000000000000": "max_new_tokens: 1000000000000 is not allowed; use an integer of at "
    "most 2147483647",
    f"{EVALUATE} --max_new_tokens 1000000": "--max_new_tokens 1,000,000: with a prompt of 49 tokens it exceeds the "
    "model's 1,024 positions; lower it to 975",
    f"{CAUSAL} --max_new_tokens 1000": "--max_new_tokens 1,000: with a prompt of 41 tokens it exceeds …",
    f"{INSPECT} --max_new_tokens 4096": "--max_new_tokens 4,096: with a prompt of 49 tokens it exceeds …",
    # numbers that are none, or out of range
    f"{EVALUATE} --num_problems 0": "num_problems: 0 is not allowed; use an integer of at least 1",
    f"{EVALUATE} --temperature nan": "temperature: nan is not allowed; use a number of at least 0.0001, or 0 (…",
    f"{EVALUATE} --temperature inf": "temperature: inf is not allowed; …",
    f"{EVALUATE} --seed -1": "seed: -1 is not allowed; use an integer of at least 0",
    f"{EVALUATE} --level nan": "level: nan is not allowed; use a number between 0 and 1, both excluded",
    f"{EVALUATE} --rows 0": "rows: 0 is not allowed; use an integer of at least 1",
    f"{EVALUATE} --verifier_timeout inf": "verifier_timeout: inf is not allowed; use a number above 0",
    f"{EVALUATE} --annotate_samples 0": "annotate_samples: 0 is not allowed; use an integer of at least 1",
    f"{CAUSAL} --causal_threshold nan": "causal_threshold: nan is not allowed; use a number",
    f"{CAUSAL} --judge_patience nan": "judge_patience: nan is not allowed; use a number of at least 0",
    f"{CAUSAL} --intervention_samples 0": "intervention_samples: 0 is not allowed; use an integer of at least 1",
    f"{INSPECT} --temperature nan": "temperature: nan is not allowed; …",
    f"{INSPECT} --sample -1": "sample: -1 is not allowed; use an integer of at least 0",
    "compare a --level nan": "level: nan is not allowed; use a number between 0 and 1, both excluded",
    "compare a --seed -1": "seed: -1 is not allowed; use an integer of at least 0",
    "quickstart --max_steps -1": "max_steps: -1 is not allowed; use an integer of at least 0",
    "reproduce --learning_rate nan": "learning_rate: nan is not allowed; use a number of at least 0",
    "reproduce --jobs -1": "jobs: -1 is not allowed; use an integer of at least 0",
    "reproduce --seeds 1 -2": "seeds: -2 is not allowed; use an integer of at least 0",
    # functions
    f"{EVALUATE} --counter lines:one": f"counter 'lines:one': {STEPS}",
    f"{EVALUATE} --labeler lines:one": f"labeler 'lines:one': {STEPS}",
    f"{DISCOVER} --labeler lines:one": f"labeler 'lines:one': {STEPS}",
    f"{EVALUATE} --verifier lines:one": "verifier 'lines:one': is called with (response, solution), but takes (a) (…)",
    f"{EVALUATE} --data lines:three": "data set 'lines:three': is called with (), but takes (a, b, c) (…)",
    f"{EVALUATE} --counter lines:count_word": "counter 'lines:count_word': module 'lines' has no function "
    "'count_word'; did you mean count_words?",
    f"{EVALUATE} --counter lines:word": "counter 'lines:word': module 'lines' has no function 'word'…",
    f"{EVALUATE} --counter nowhere:f": "counter 'nowhere:f': module 'nowhere' cannot be imported (ModuleNotFound…",
    f"{EVALUATE} --labeler boom:f": "labeler 'boom:f': module 'boom' cannot be imported (RuntimeError: boom); …",
    f"{EVALUATE} --verifier cut:f": "verifier 'cut:f': module 'cut' cannot be imported (SyntaxError: …",
    f"{EVALUATE} --counter leaves:f": "counter 'leaves:f': module 'leaves' cannot be imported (SystemExit: 3); …",
    f"{EVALUATE} --data lines:nope": "data set 'lines:nope': module 'lines' has no function 'nope'…",
    # files of responses, head sets, phrases, labels, templates, data
    "inspect --rollouts folder": "folder: is a folder, not a rollouts file",
    "inspect --rollouts bytes": "bytes: not a text file in UTF-8",
    "inspect --rollouts empty": "empty: no responses in this file",
    "inspect --rollouts cut.json": f"cut.json, row 1: not a rollout row (…); {ROLLOUT}",
    "inspect --rollouts deep.json": f"deep.json, row 1: not a rollout row (nested too deeply); {ROLLOUT}",
    f"{CAUSAL} --traces nope": "--traces nope: no such file",
    f"{CAUSAL} --traces folder": "--traces folder: is a folder, not a file",
    f"{CAUSAL} --traces bytes": "bytes: not a text file in UTF-8",
    f"{CAUSAL} --traces empty": "empty: no rows; …",
    f"{CAUSAL} --traces deep.json": f"deep.json, row 1: not a rollout row (nested too deeply); {ROLLOUT}",
    f"{CAUSAL} --traces ids.jsonl": f"ids.jsonl, row 1: not a rollout row (response_ids: …, is '4 5'); {ROLLOUT}",
    "inspect ids.jsonl": f"ids.jsonl, row 1: not a rollout row (response_ids: …, is '4 5'); {ROLLOUT}",
    f"{CAUSAL} --transfer folder": "--transfer folder: is a folder, not a file; name difficulty, …",
    f"{CAUSAL} --transfer dificulty": "--transfer dificulty: no such file; …; did you mean difficulty?",
    f"{DISCOVER} --labeler file:nope": "nope: no such labels file",
    f"{DISCOVER} --labeler file:folder": "folder: is a folder, not a labels file",
    f"{DISCOVER} --labeler file:bytes": "bytes: not a text file in UTF-8",
    f"{DISCOVER} --labeler file:deep.json": "deep.json, row 1: not JSON (nested too deeply); …",
    f"{JUDGE} --judge_prompt folder": "judge_prompt: folder: is a folder, not a file",
    f"{JUDGE} --judge_prompt bytes": "judge_prompt: bytes: not a text file in UTF-8",
    f"{EVALUATE} --heads nope.json": f"nope.json: no such head-set file; {HEADS_HINT}",
    f"{EVALUATE} --heads folder.json": f"folder.json: is a folder, not a head-set file; {HEADS_HINT}",
    f"{EVALUATE} --heads bytes": f"bytes: not a text file in UTF-8; {HEADS_HINT}",
    f"{EVALUATE} --heads deep.json": f"deep.json: not valid JSON (nested too deeply); {HEADS_HINT}",
    f"{EVALUATE} --phrases_file folder.yaml": "folder.yaml: is a folder, not a phrases file",
    f"{EVALUATE} --phrases_file deep.yaml": "deep.yaml: not valid YAML (nested too deeply)",
    f"{EVALUATE} --phrases_file twice.yaml": "twice.yaml: not valid YAML (line 2: seed is set twice; keep one of them)",
    f"{EVALUATE} --phrases_file empty": "empty: must be a mapping with schema_version, ignore_case, families",
    f"{EVALUATE} --benchmark folder.yaml": "folder.yaml: is a folder, not a benchmark entry",
    f"{EVALUATE} --benchmark deep.yaml": "deep.yaml: not valid YAML (nested too deeply)",
    f"{EVALUATE} --prompt_template folder.jinja": "--prompt_template folder.jinja: is a folder, not a template file",
    f"{EVALUATE} --prompt_template nope.jinja": "--prompt_template nope.jinja: no such template file",
    f"{EVALUATE} --data deep.json": "deep.json: not valid JSON (nested too deeply)",
    f"{EVALUATE} --data folder.json": "folder.json: the folder holds no .jsonl, .json, .parquet, .csv file",
    f"{EVALUATE} --data folder": "folder: the folder holds no .jsonl, .json, .parquet, .csv file",
    f"{EVALUATE} --model folder": "--model folder: no tokenizer can be loaded (…)",
    f"{INSPECT} --html folder": "folder: is a folder; name a file",
    f"{INSPECT} --html bytes/page.html": "bytes: cannot write into this output folder (…); choose another one",
    "reproduce --list --suite_file folder.yaml": "--suite_file folder.yaml: is a folder, not a suite file",
    "reproduce --list --suite_file bytes": "--suite_file bytes: not a text file in UTF-8",
    "reproduce --list --suite_file deep.yaml": "--suite_file deep.yaml: not valid YAML (nested too deeply)",
    "reproduce --list --suite_file list.yaml": "--suite_file list.yaml: must hold rows, as the suite that ships does",
    # words that a setting does not know
    f"{EVALUATE} --engine transformer": "engine: 'transformer' is not one of …; did you mean transformers?",
    f"{EVALUATE} --api chats": "api: 'chats' is not one of completions, chat; did you mean chat?",
    f"{EVALUATE} --segmentation paragraph": "segmentation: unknown strategy 'paragraph'; …; did you mean paragraphs?",
    f"{EVALUATE} --verifier exat": "verifier: unknown 'exat'; …; did you mean exact?",
    f"{EVALUATE} --benchmark math50": "benchmark 'math50': there is none of that name; did you mean math500?",
    f"{EVALUATE} --labeler judge": "--labeler judge: an evaluation takes module:function; give one",
    f"{DISCOVER} --labeler caussal": "labeler 'caussal': name judge, causal, …; did you mean causal?",
    f"{CAUSAL} --selection gredy": "--selection: invalid choice: 'gredy' …; did you mean greedy?",
    "reproduce --list --suite man": "--suite man: there is none; there are main, …; did you mean main?",
    "reproduce --list --rows atnpo": "row 'atnpo': there is none; there are …; did you mean attnpo?",
}


@pytest.mark.parametrize("line", LINES)
def test_a_bad_line_gives_one_line(capsys, line):
    expected, said = LINES[line], refused(capsys, words(line))
    command = line.split()[0]
    expected = f"attnpo {command}: error: {expected}" if command in COMMANDS else expected
    assert matches(expected, said), said


TRAIN = "--use_cpu true --bf16 false --output_dir out --dry_run"
WHOLE = (
    "--model tinyworld --data tinyworld --num_problems 16 --heads 2.0 --num_generations 2 --max_steps 1 "
    "--per_device_train_batch_size 4 --max_completion_length 64 --report_to none --save_strategy no"
)
TRAIN_LINES = {
    "--model_init_kwargs {": "--model_init_kwargs: '{' is not JSON (…); write it as JSON, {\"name\": value}",
    "--model_init_kwargs foo": "--model_init_kwargs: 'foo' is not JSON (…); …",
    "--lr_scheduler_kwargs [1]": "--lr_scheduler_kwargs: '[1]' holds no settings by name; …",
    "--generation_kwargs {": "--generation_kwargs: '{' is not JSON (…); …",
    "--method_settings {": "--method_settings: '{' is not JSON (…); …",
    "--deepspeed nope.json": "--deepspeed: 'nope.json' is no file; …, or give the path of a JSON file",
    '--accelerator_config {"a":1}': "--accelerator_config: …unexpected keyword argument 'a'",
    "--config brace.yaml": "--config brace.yaml: model_init_kwargs: '{' is not JSON (…); …",
    f"{WHOLE} --report_to tensorbord": "report_to: tensorbord is unknown; …; did you mean tensorboard?",
    f"{WHOLE} --loss_type dap": "loss_type: dap is unknown; choose one of …; did you mean dapo?",
    "--optim adamw_torc": "--optim: invalid choice: 'adamw_torc' …; did you mean adamw_torch?",
    "--lr_scheduler_type cosin": "--lr_scheduler_type…: invalid choice: 'cosin' …; did you mean cosine?",
    "--save_strategy step": "--save_strategy…: invalid choice: 'step' …; did you mean steps?",
    "--advantage rlo": "advantage: 'rlo' is not allowed; use 'rloo' or 'grpo'; did you mean rloo?",
    "--method atnpo": f"method: 'atnpo' {METHODS_SAID} attnpo?",
    "--pad_to_multiple_of foo": "pad_to_multiple_of: 'foo' is not allowed; use an integer of at least 1, or auto",
    "--layout nope.yaml": "nope.yaml: no such accelerate configuration file",
    "--layout folder.yaml": "folder.yaml: is a folder, not a accelerate configuration file",
    "--layout bytes": "bytes: not a text file in UTF-8",
    "--layout deep.yaml": "deep.yaml: not valid YAML (nested too deeply)",
    # numbers that are none, or out of range
    "--learning_rate inf": "learning_rate: inf is not allowed; use a number of at least 0",
    "--learning_rate -1": "learning_rate: -1.0 is not allowed; use a number of at least 0",
    "--learning_rate 1e30": "learning_rate: 1e+30 is not allowed; use a number of at most 100",
    "--weight_decay nan": "weight_decay: nan is not allowed; use a number of at least 0",
    "--beta nan": "beta: nan is not allowed; use a number of at least 0",
    "--epsilon nan": "epsilon: nan is not allowed; use a number of at least 0",
    "--max_grad_norm nan": "max_grad_norm: nan is not allowed; use a number of at least 0 (0 does not clip)",
    "--temperature nan": "temperature: nan is not allowed; use a number of at least 0.0001 (at 0 a group is one…",
    "--temperature inf": "temperature: inf is not allowed; use a number of at least 0.0001 (…",
    "--temperature 0": "temperature: 0.0 is not allowed; use a number of at least 0.0001 (…",
    "--device_memory -1": "device_memory: -1.0 is not allowed; use a number above 0",
    "--max_steps 0": "max_steps: 0 is not allowed; use an integer of at least 1, or -1 (…",
    "--seed -1": "seed: -1 is not allowed; use an integer of at least 0",
    "--seed 4294967296": "seed: 4294967296 is not allowed; use an integer of at most 4294967295",
    "--num_problems 0": "num_problems: 0 is not allowed; use an integer of at least 1",
    "--eval_problems 0": "eval_problems: 0 is not allowed; use an integer of at least 1",
    "--per_device_train_batch_size 0": "per_device_train_batch_size: 0 is not allowed; use an integer of at least 1",
    "--gradient_accumulation_steps 0": "gradient_accumulation_steps: 0 is not allowed; use an integer of at least 1",
    "--adam_beta1 2": "adam_beta1: 2.0 is not allowed; use a number from 0 to 1, 1 excluded",
    "--adam_beta2 1": "adam_beta2: 1.0 is not allowed; use a number from 0 to 1, 1 excluded",
    "--num_generations 1": "num_generations: 1 is not allowed; use an integer of at least 2",
    "--reward_weights 1 nan": "reward_weights: nan is not allowed; use a number",
    "--top_p 0": "top_p: 0.0 is not allowed; use a number from 0 to 1, 0 excluded",
    "--config nan.yaml": "--config nan.yaml: beta: nan is not allowed; use a number of at least 0",
    # Whose fault it is: the flag's, or the file's.
    "--config seed.yaml --alpha_len 1.5": "alpha_len: 1.5 is not allowed; use a number from 0 to 1",
    "--config seed.yaml --lam -1": "lam: -1.0 is not allowed; use a number of at least 0",
    "--config seed.yaml --learning_rate x": "--learning_rate…: invalid float value: 'x'",
    "--config wrong.yaml --lam 1": "--config wrong.yaml: alpha_len: 1.5 is not allowed; use a number from 0 to 1",
    "--config optim.yaml --seed 1": "--config optim.yaml: optim: adamw_torc is not a valid OptimizerNames, …",
}


@pytest.mark.parametrize("line", TRAIN_LINES)
def test_a_bad_line_of_training_gives_one_line(capsys, line):
    said = refused(capsys, ["train", *words(f"{TRAIN} {line}")], code=1)
    assert matches(f"attnpo train: error: {TRAIN_LINES[line]}", said), said


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"])
@pytest.mark.parametrize("content", [b"", b"[]", bytes(range(256))], ids=["empty", "list", "bytes"])
def test_a_malformed_file_of_a_model_gives_one_line(capsys, tmp_path, name, content):
    model = shutil.copytree(checkpoint_path(), tmp_path / "model")
    (model / name).write_bytes(content)
    line = f"{EVALUATE} --model {model} --output_dir {tmp_path / 'out'}"
    assert f"error: --model {model}: " in refused(capsys, words(line))
