"""Data sets of the Hugging Face Hub at a revision."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import PurePosixPath

from datasets import Dataset, DatasetDict, load_dataset
from datasets.exceptions import DatasetsError
from huggingface_hub import HfApi
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError

from attnpo.errors import DataError, first_line

# Not found, offline, no such configuration or split, a loading script. A connection that fails raises whatever the HTTP
# library of the installed huggingface_hub raises (requests, httpx, …), which its own errors derive from.
_HUB_ERRORS = (OSError, ValueError, RuntimeError, DatasetsError, *HfHubHTTPError.__bases__)
_BUILDERS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv"}


def load_hub(
    dataset: str,
    *,
    config: str | None = None,
    split: str | None = None,
    revision: str | None = None,
    files: Sequence[str] = (),
) -> Dataset:
    """Load a data set of the Hub.

    Args:
        dataset: its id, `owner/name`.
        config: configuration.
        split: split; may be left out where there is only one.
        revision: commit, branch or tag; None for the newest.
        files: where given, these files of the repository are read (all of one format) instead of what its data card
            describes; `config` and `split` then play no part.

    Raises:
        DataError: it is gated, there is no such data set, file, configuration or split, or the Hub is out of reach.
    """
    try:
        if files:
            source = f"hf://datasets/{dataset}@{revision or 'main'}"
            builder = _BUILDERS[PurePosixPath(files[0]).suffix]
            return load_dataset(builder, data_files=[f"{source}/{file}" for file in files], split="train")
        found = load_dataset(dataset, config, split=split, revision=revision)
    except _HUB_ERRORS as error:
        raise _unreachable(dataset, error) from error
    if isinstance(found, DatasetDict):
        if len(found) != 1:
            raise DataError(f"data set {dataset!r}: has the splits {', '.join(found)}; choose one with --split")
        (found,) = found.values()
    return found


@lru_cache
def resolve_revision(dataset: str) -> str:
    """Return the commit that a data set of the Hub is at now.

    Raises:
        DataError: there is no such data set, or the Hub is out of reach.
    """
    try:
        commit = HfApi().dataset_info(dataset).sha
    except _HUB_ERRORS as error:
        raise _unreachable(dataset, error) from error
    if commit is None:
        raise DataError(f"data set {dataset!r}: the Hub names no commit of it; name a revision")
    return commit


def _unreachable(dataset: str, error: BaseException) -> DataError:
    reason = first_line(error)
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, GatedRepoError):
        cause = cause.__cause__ or cause.__context__
    # A data set that is not there is said to be "private or gated", too.
    if cause is not None or "is a gated dataset" in str(error):
        return DataError(
            f"data set {dataset!r} is gated: accept its terms at https://huggingface.co/datasets/{dataset}, then set "
            "HF_TOKEN to a token of that account"
        )
    return DataError(f"data set {dataset!r}: cannot be loaded from the Hub ({reason})")
