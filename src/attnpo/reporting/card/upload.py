"""A run's folder to the Hub: the model, its card and what the card was written from."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

from attnpo.errors import ConfigError, OutputError, first_line

LEFT_OUT = (
    "checkpoint-*",
    "checkpoint-*/**",
    "_*",
    "rollouts*.jsonl",
    "dropped*.jsonl",
    "*.out",
    "*.tmp",
    "training_args.bin",
)
"""What stays here: checkpoints, sampled responses with their prompts, pickled arguments with this machine's paths."""
# A connection that fails raises what the HTTP library of the installed huggingface_hub raises.
_HUB_ERRORS: tuple[type[BaseException], ...] = (HfHubHTTPError, *HfHubHTTPError.__bases__)
WEIGHTS = ("*.safetensors", "*.bin")


def upload_run(folder: Path, repository: str, *, private: bool | None = None, revision: str | None = None) -> str:
    """Upload a folder with a trained model; make the repository where there is none.

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
            ignore_patterns=list(LEFT_OUT),
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
