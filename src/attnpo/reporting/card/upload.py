"""A run's folder to the Hub: the model, its card and what the card was written from."""

from __future__ import annotations

from glob import escape
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

from attnpo.errors import ConfigError, OutputError, first_line
from attnpo.reporting.card.facts import evaluations

WEIGHTS = ("model*.safetensors", "adapter_model*.safetensors", "pytorch_model*.bin", "adapter_model*.bin")
UPLOADED = (
    *WEIGHTS,
    *("*.safetensors.index.json", "*.bin.index.json", "config.json", "*_config.json", "*.py"),
    *("tokenizer.json", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "*.model"),
    *("*.tiktoken", "chat_template.*", "additional_chat_templates/*.jinja"),
    *("README.md", "LICENSE*", "figures/*.png"),
    *("training.json", "trainer_state.json", "log.jsonl", "stability.json", "evaluation.json", "*/evaluation.json"),
)
"""What leaves this machine, with the evaluations in folders further below that the card was written from: the model,
its tokenizer, the card, and its numbers.

All else stays, whatever its name: responses and problems (a benchmark's may be gated), reports that show them, models
on the way, command lines and pickled arguments with this machine's paths. `*` does not cross folders.
"""
# A connection that fails raises what the HTTP library of the installed huggingface_hub raises.
_HUB_ERRORS: tuple[type[BaseException], ...] = (HfHubHTTPError, *HfHubHTTPError.__bases__)


def uploaded_files(folder: Path) -> list[str]:
    """Return the files of a run's folder that `upload_run` uploads, relative to it, sorted."""
    found = {path for pattern in UPLOADED for path in folder.glob(pattern) if path.is_file()}
    found |= set(evaluations(folder).values())
    return sorted(path.relative_to(folder).as_posix() for path in found)


def upload_run(folder: Path, repository: str, *, private: bool | None = None, revision: str | None = None) -> str:
    """Upload the trained model of a folder and its card (`UPLOADED`); make the repository where there is none.

    Args:
        folder: `output_dir` of `attnpo train`, its card written.
        repository: `owner/name`.
        private: whether a new repository is private; the account's default if absent.
        revision: branch; the main one if absent.

    Returns:
        The address of the commit.

    Raises:
        ConfigError: the name is no repository's, or no token is at hand.
        OutputError: the folder holds no model, or the Hub refuses or is out of reach.
    """
    if not any(path for pattern in WEIGHTS for path in folder.glob(pattern)):
        raise OutputError(f"{folder}: holds no model to upload (no {' or '.join(WEIGHTS)}); train to the end first")
    api = HfApi()
    try:
        made = api.create_repo(repository, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=made.repo_id,
            folder_path=folder,
            commit_message="Upload model and card",
            allow_patterns=[escape(name) for name in uploaded_files(folder)],
            revision=revision,
        )
    except (HFValidationError, LocalTokenNotFoundError) as error:
        raise ConfigError(f"--push_to_hub {repository}: {first_line(error)}") from error
    except _HUB_ERRORS as error:
        raise OutputError(
            f"--push_to_hub {repository}: the Hub refuses or is out of reach ({first_line(error)}); the card lies in "
            f"{folder}, the same command uploads it again"
        ) from error
    return str(commit.commit_url)
