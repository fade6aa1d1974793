from __future__ import annotations

import json
import re

import measured
import pytest
import run_folders
import yaml
from card_folders import evaluation, head_set, run_folder
from huggingface_hub import ModelCard

from attnpo.cli.main import main
from attnpo.errors import DataError
from attnpo.evaluation import EvaluationResult, compare_folders
from attnpo.reporting.card import write_model_card
from attnpo.reporting.card.facts import BeforeAfter
from attnpo.reporting.card.results import results_section
from attnpo.reporting.card.upload import uploaded_files


@pytest.fixture(autouse=True)
def figures(request, monkeypatch):
    """Draw only where a test is about pictures."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr("attnpo.reporting.card.write.draw_figures", lambda facts: {})


@pytest.fixture
def drawn():
    """For a test whose pictures are drawn."""


def written(folder, **options) -> tuple[ModelCard, str]:
    path = write_model_card(folder, **options)
    return ModelCard.load(path), path.read_text()


def test_the_card_says_what_was_trained_measured_and_read(tmp_path):
    run = run_folder(tmp_path)
    _, text = written(run)
    for title in ("Accuracy and tokens, before and after", "Use", "Method", "Heads", "Training", "Citation"):
        assert f"\n## {title}\n" in text
    # Before, after and their difference, as the comparison of the two folders has them.
    base, after = (EvaluationResult.load(tmp_path / name / "evaluation.json").overall for name in ("base", "attnpo"))
    _, row = compare_folders(tmp_path / "base", {"attnpo": [run]})
    for metric, scale in (("accuracy", 100), ("response_tokens", 1)):
        values = (getattr(base, metric), getattr(after, metric), row.differences[metric])
        cells = [interval.format(1, scale) for interval in values]
        assert f"| {' | '.join(cells)} |" in text
    assert "2.0, 1.1" in text
    assert "90.1\u00a0% [89.0, 91.2] | 94.4\u00a0% [93.2, 95.6]" in text
    assert "attnpo.tinyworld:label_steps" in text
    assert "attnpo.tinyworld:train_dataset" in text
    assert "nie2026attnpo" in text
    assert re.findall(r"\*\*Missing:\*\* (.{8})", text) == ["whether ", "training"]  # no probe, no picture drawn
    settings = yaml.safe_load(re.search(r"```yaml\n(.*?)```", text, re.S)[1])
    assert settings["heads"] == "2.0,1.1"
    assert settings["learning_rate"] == 1e-4
    assert settings["method_settings"] == {"alpha_len": 0.2, "lam": 2.0}


def test_pictures_lie_beside_the_card_and_are_linked_relatively(tmp_path, drawn):
    run = run_folder(tmp_path)
    _, text = written(run)
    linked = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert sorted(linked) == ["figures/frontier.png", "figures/training.png"]
    assert all((run / path).read_bytes().startswith(b"\x89PNG") for path in linked)


def test_the_head_of_the_card_is_what_the_hub_reads(tmp_path):
    card, _ = written(run_folder(tmp_path))
    data = card.data
    assert data.base_model == "owner/tiny"
    assert data.datasets == ["owner/problems"]
    assert data.library_name == "transformers"
    assert data.license is None
    assert {"attnpo", "trl"} <= set(data.tags)
    found = {result.metric_type: result.metric_value for result in data.eval_results}
    accuracy, tokens, *_ = run_folders.ARMS["attnpo"]
    assert found == {"accuracy": pytest.approx(100 * accuracy), "response_tokens": pytest.approx(tokens)}


def test_a_local_model_and_a_function_of_problems_are_no_ids_of_the_hub(tmp_path):
    card, text = written(run_folder(tmp_path, model="tinyworld", data="attnpo.tinyworld:train_dataset"))
    assert card.data.base_model is None
    assert card.data.datasets is None
    assert "`tinyworld`" in text


def test_what_is_missing_is_said(tmp_path, drawn):
    run = run_folder(tmp_path, evaluated=False, base=False, head_set=head_set(evidence={}, sra=None))
    (run / "trainer_state.json").unlink()
    _, text = written(run)
    assert "**Missing:** this model has not been evaluated" in text
    assert "**Missing:** no evidence came with these heads" in text
    assert "**Missing:** training curves" in text
    assert "**Missing:** whether the heads kept their meaning" in text
    assert "![" not in text


def test_without_the_starting_model_there_is_no_before(tmp_path):
    _, text = written(run_folder(tmp_path, base=False))
    assert "**Missing:** the model that training started from was not measured" in text


def test_runs_that_cannot_be_compared_get_no_difference_but_the_reason(tmp_path):
    run = run_folder(tmp_path)
    other = evaluation("base", samples_per_problem=4)
    (tmp_path / "base" / "evaluation.json").write_text(json.dumps(other))
    _, text = written(run)
    assert "**No difference:** the runs are not comparable: samples" in text


def test_the_starting_model_may_lie_elsewhere(tmp_path):
    run = run_folder(tmp_path / "a", base=False)
    run_folder(tmp_path / "b", evaluated=False)
    _, text = written(run, base=tmp_path / "b" / "base")
    assert "**Missing:** the model" not in text
    with pytest.raises(DataError, match=r"no evaluation\.json"):
        write_model_card(run, tmp_path / "b" / "attnpo")


@pytest.mark.parametrize("below", ["attnpo", "attnpo/eval"])
def test_several_benchmarks_make_a_table_each(tmp_path, below):
    run = run_folder(tmp_path, evaluated=False, base=False)
    for name in (below, "base"):
        for place, title in (("math500", "MATH-500"), ("aime24", "AIME 24")):
            folder = tmp_path / name / place
            folder.mkdir(parents=True)
            about = {"name": place, "title": title, "dataset": f"org/{place}"}
            found = evaluation(name.split("/")[0], benchmark=about, dataset=f"org/{place}")
            (folder / "evaluation.json").write_text(json.dumps(found))
    card, text = written(run)
    assert text.index("### AIME 24") < text.index("### MATH-500")
    assert "Missing:** the model" not in text
    assert {result.dataset_type for result in card.data.eval_results} == {"org/math500", "org/aime24"}
    assert {name for name in uploaded_files(run) if name.endswith("evaluation.json")} == {
        f"{below}/{place}/evaluation.json".removeprefix("attnpo/") for place in ("math500", "aime24")
    }


def test_models_on_the_way_are_no_results_of_the_run(tmp_path):
    run = run_folder(tmp_path)
    (run / "evaluation.json").unlink()
    (run / "course" / "1").mkdir(parents=True)
    (run / "course" / "1" / "evaluation.json").write_text(json.dumps(evaluation("attnpo")))
    assert "Missing:** the model" in written(run)[1] or "has not been evaluated" in written(run)[1]
    assert not [name for name in uploaded_files(run) if name.startswith("course")]


def test_what_the_user_wrote_stays(tmp_path):
    run = run_folder(tmp_path)
    path = write_model_card(run)
    text = path.read_text().replace("tags:", "license: mit\ntags:\n- mine", 1)
    path.write_text(text + "\nNot for medicine.\n")
    first = write_model_card(run).read_text()
    again = write_model_card(run).read_text()
    card = ModelCard(again)
    assert first == again
    assert card.data.license == "mit"
    assert "mine" in card.data.tags
    assert again.count("Not for medicine.") == 1


def test_an_adapter_says_what_it_needs(tmp_path):
    card, text = written(run_folder(tmp_path, adapter=True))
    assert card.data.library_name == "peft"
    assert "A LoRA adapter for" in text
    assert "transformers and peft" in text
    assert "- PEFT 0.19.0" in text


def test_an_adapter_on_what_attnpo_alone_finds_says_so(tmp_path):
    _, text = written(run_folder(tmp_path, adapter=True, own_base=True, model="smollm2"))
    assert "(`smollm2`); needs `attnpo` with its extras `peft` and `gguf`" in text
    assert "from attnpo.models import find_model" in text
    assert "AutoModelForCausalLM" not in text


def test_a_method_without_attention(tmp_path):
    _, text = written(run_folder(tmp_path, method="tlmre", head_set=None))
    assert "The method reads no attention." in text
    assert "2502.04463" in text
    assert "nie2026attnpo" not in text


def test_a_run_by_another_signal_does_not_speak_of_attention(tmp_path):
    _, text = written(run_folder(tmp_path, head_set=None, settings={"signal": "fai"}))
    assert "No head set was chosen: the signal `fai` scores the steps." in text
    assert "reads no attention" not in text


def test_the_command_writes_the_card(tmp_path, capsys):
    run = run_folder(tmp_path)
    main(["card", str(run), "--base", str(tmp_path / "base")])
    assert "README.md" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        main(["card", str(tmp_path / "base")])
    assert "training.json: no such file" in capsys.readouterr().err


def test_responses_that_came_to_nothing_are_said_of_each_model() -> None:
    rows = [measured.rollout("p1", True, 20), measured.rollout("p2", False, 20)]
    before, after = measured.evaluation("base", rows, failures=1), measured.evaluation("attnpo", rows)
    text = results_section([BeforeAfter("toy", after, before)])
    assert "Of the model before training, 1 of 2 responses were refused by the server or came to nothing" in text
    assert "after training" not in text
