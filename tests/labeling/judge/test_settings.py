from __future__ import annotations

import pytest

from attnpo.cli.parsing import parse
from attnpo.errors import ConfigError
from attnpo.labeling import JudgeSettings
from attnpo.labeling.judge import open_judges


def judges(**settings):
    return [
        (j.name, j.server.endpoint.base_url, j.server.endpoint.api_key_env, j.seed)
        for j in open_judges(JudgeSettings(**settings))
    ]


def test_one_model_judges_three_times_with_seeds_of_its_own():
    home = "http://127.0.0.1:8000/v1"
    assert judges(judge_models="m", judge_seed=5) == [
        ("m#1", home, "OPENAI_API_KEY", 5),
        ("m#2", home, "OPENAI_API_KEY", 6),
        ("m#3", home, "OPENAI_API_KEY", 7),
    ]
    same = open_judges(JudgeSettings(judge_models="m"))
    assert len({id(judge.server) for judge in same}) == 1
    assert [name for name, *_ in judges(judge_models="m", judge_count=2)] == ["m#1", "m#2"]


def test_lists_give_each_judge_its_own():
    urls, keys = "http://a/v1, https://b/v1,http://c/v1", "A_KEY,B_KEY,C_KEY"
    assert judges(judge_models="x,y,z", judge_base_urls=urls, judge_api_key_env=keys) == [
        ("x", "http://a/v1", "A_KEY", 0),
        ("y", "https://b/v1", "B_KEY", 1),
        ("z", "http://c/v1", "C_KEY", 2),
    ]
    assert [name for name, *_ in judges(judge_models="x, x,y", judge_count=3)] == ["x#1", "x#2", "y"]
    assert [url for _, url, *_ in judges(judge_models="x", judge_base_urls="http://a/v1,http://b/v1")] == [
        "http://a/v1",
        "http://b/v1",
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "judge_models: name at least one"),
        ({"judge_models": " ,"}, "judge_models: name at least one"),
        ({"judge_models": "m", "judge_base_urls": ""}, "judge_base_urls: name at least one"),
        ({"judge_models": "x,y", "judge_count": 3}, "judge_models: 2 values for 3 judges"),
        (
            {"judge_models": "x,y,z", "judge_base_urls": "http://a/v1,http://b/v1"},
            "judge_base_urls: 2 values for 3 judges; give one for all, or one a judge",
        ),
        ({"judge_models": "m", "judge_base_urls": "a/v1"}, "base_url: 'a/v1' is not an address"),
        ({"judge_models": "m", "judge_base_urls": "http://me:pw@a/v1"}, "base_url: holds a user or password"),
        ({"judge_models": "m", "judge_api_key_env": "sk-123"}, "api_key_env: not a name of an environment variable"),
        ({"judge_attempts": 0}, "judge_attempts: 0 is not allowed; use an integer of at least 1"),
        ({"judge_count": 0}, "judge_count: 0 is not allowed; use an integer of at least 1"),
        ({"judge_temperature": -1.0}, "judge_temperature: -1.0 is not allowed; use a number of at least 0"),
        ({"judge_consensus": "most"}, "judge_consensus: 'most'"),
        ({"judge_structured_output": "xml"}, "judge_structured_output: 'xml'"),
        ({"judge_body": "{"}, "judge_body: not JSON"),
        ({"judge_body": "[]"}, "judge_body: not a JSON object"),
    ],
)
def test_settings_that_cannot_work_are_named(settings, message):
    with pytest.raises(ConfigError, match=message) as caught:
        judges(**settings)
    assert "pw" not in str(caught.value)
    assert "sk-123" not in str(caught.value)


def test_the_command_line_knows_the_settings(tmp_path, monkeypatch):
    config = tmp_path / "judges.yaml"
    config.write_text("judge_models: a,b,c\njudge_temperature: null\njudge_consensus: majority\n")
    (settings,) = parse("discover", (JudgeSettings,), ["--config", str(config), "--judge_attempts", "2"], "", "").parts
    assert (settings.judge_models, settings.judge_temperature, settings.judge_attempts) == ("a,b,c", None, 2)
    assert settings.judge_consensus == "majority"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert settings.cache_dir == tmp_path / "attnpo" / "judges"
    assert JudgeSettings(judge_cache="here").cache_dir.name == "here"
