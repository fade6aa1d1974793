"""PEFT adapters: what their folders say, whether they fit a base, and how they are laid upon it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from huggingface_hub import snapshot_download
from safetensors import SafetensorError, safe_open
from transformers import AutoModelForCausalLM

from attnpo.errors import ConfigError, first_line, install_command, one_line
from attnpo.files import UserFile

EMBEDDINGS = ("embed_tokens.weight", "lm_head.weight")
"""Whole matrices that PEFT saves beside an adapter that touches them."""


@dataclass(frozen=True)
class AdapterFolder:
    """A folder that PEFT saved.

    Attributes:
        path: where it lies.
        said: how messages name it.
    """

    path: Path
    said: str
    CONFIG: ClassVar[str] = "adapter_config.json"
    WEIGHTS: ClassVar[str] = "adapter_model.safetensors"

    def config(self) -> dict[str, Any]:
        """Return `adapter_config.json`.

        Raises:
            ConfigError: it is missing, no JSON object, or names no kind of adapter.
        """
        file = UserFile(self.path / self.CONFIG, "adapter configuration", ConfigError, f"{self.said}: {self.CONFIG}")
        found = file.json()
        if not isinstance(found, dict) or not isinstance(found.get("peft_type"), str):
            raise ConfigError(f"{self.said}: {self.CONFIG} names no peft_type; save the adapter with PEFT again")
        return found

    def base(self) -> tuple[str, str | None]:
        """Return the name of the base, and its revision.

        A relative path is one from here, or from the adapter's folder.

        Raises:
            ConfigError: the configuration names none.
        """
        config = self.config()
        base = config.get("base_model_name_or_path")
        if not base or not isinstance(base, str):
            raise ConfigError(f"{self.said}: {self.CONFIG} names no base model; name it with --base_model")
        beside = self.path / base
        return str(beside) if not Path(base).exists() and beside.exists() else base, config.get("revision")

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every tensor.

        Raises:
            ConfigError: the file is missing, cut off, or of another format.
        """
        file = self.path / self.WEIGHTS
        if not file.is_file():
            raise ConfigError(
                f"{self.said}: has no {self.WEIGHTS}; copy it beside {self.CONFIG}, or save the adapter again"
            )
        try:
            with safe_open(file, framework="pt") as tensors:
                return {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
        except SafetensorError as error:
            reason = first_line(error).rstrip(".")
            raise ConfigError(
                f"{self.said}: {self.WEIGHTS} is cut off or no safetensors file ({reason}); copy it anew"
            ) from error

    def check(self, config: Any, base: str, trust_remote_code: bool = False) -> None:
        """Check that the adapter fits a base before that is loaded.

        Args:
            config: the base's configuration.
            base: its name, for messages.
            trust_remote_code: whether a Hub model may run its own code.

        Raises:
            ConfigError: PEFT is not installed or does not know the adapter; or tensors are missing, are of another
                shape, or belong to no layer.
        """
        settings, shapes = self.peft_config(), self.shapes()
        settings.base_model_name_or_path = None  # PEFT would warn that it is another one's
        with self.applying(base), torch.device("meta"):
            from peft import get_peft_model, get_peft_model_state_dict

            model = AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
            wanted = get_peft_model_state_dict(get_peft_model(model, settings), save_embedding_layers=False)
        for name, tensor in wanted.items():
            if name not in shapes:
                raise ConfigError(
                    f"{self.said}: {self.WEIGHTS} lacks {name}; it is not the adapter of {self.CONFIG} on {base}"
                )
            if shapes[name] != tuple(tensor.shape):
                raise ConfigError(
                    f"{self.said}: {name} has shape {_shape(shapes[name])}, on {base} it must be "
                    f"{_shape(tensor.shape)}; it belongs to another base: name that with --base_model"
                )
        stray = sorted(name for name in shapes.keys() - wanted.keys() if not name.endswith(EMBEDDINGS))
        if stray:
            raise ConfigError(
                f"{self.said}: {stray[0]} belongs to no layer of {base}; name its own base with --base_model"
            )

    def peft_config(self) -> Any:
        """Return PEFT's own object.

        Raises:
            ConfigError: PEFT is not installed, or does not know the adapter.
        """
        kind = self.config()["peft_type"]
        try:
            from peft import PeftConfig, PromptLearningConfig
        except ImportError as error:
            raise ConfigError(
                f"{self.said}: is a PEFT adapter, and peft is not installed; {install_command('peft')}"
            ) from error
        try:
            found = PeftConfig.from_pretrained(str(self.path))
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(
                f"{self.said}: {self.CONFIG}: {one_line(error)}; save the adapter with PEFT again"
            ) from error
        if isinstance(found, PromptLearningConfig):
            raise ConfigError(
                f"{self.said}: {kind} puts tokens before the prompt; only adapters of layers, such as LoRA, are read"
            )
        return found

    @contextmanager
    def applying(self, base: str) -> Iterator[None]:
        """Make one line of what PEFT raises on an adapter that does not fit."""
        try:
            yield
        except (ValueError, RuntimeError, AttributeError, KeyError) as error:
            raise ConfigError(f"{self.said}: does not fit {base} ({first_line(error).rstrip('.')})") from error


def merged(model: Any, adapters: Sequence[AdapterFolder], base: str) -> Any:
    """Add adapters to the weights of their base, one after the other, the lowest first."""
    for adapter in adapters:
        with adapter.applying(base):
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, str(adapter.path)).merge_and_unload()
    return model


def laid_upon(model: Any, adapters: Sequence[AdapterFolder], base: str) -> Any:
    """Wrap a base in its adapters, which stay parts of their own and act together.

    Raises:
        ConfigError: there are several, and one is not a sum of products (LoRA), so that it depends on those below it.
    """
    from peft import PeftModel

    names = [f"adapter{number}" for number in range(len(adapters))]
    if len(adapters) > 1:
        for adapter in adapters:
            if not _is_sum(adapter.peft_config()):
                raise ConfigError(
                    f"{adapter.said}: of several adapters above each other one is no plain LoRA, so they can only be "
                    "added to the weights, which float32 allows; set --dtype float32"
                )
    with adapters[0].applying(base):
        wrapped = PeftModel.from_pretrained(model, str(adapters[0].path), adapter_name=names[0])
        for adapter, name in zip(adapters[1:], names[1:], strict=True):
            wrapped.load_adapter(str(adapter.path), adapter_name=name)
        wrapped.base_model.set_adapter(names, inference_mode=True)
    return wrapped


def adapter_parameters(model: Any) -> list[torch.nn.Parameter]:
    """Return the parameters of the adapters that a model is wrapped in, ready to be differentiated by; [] without."""
    prefix = getattr(getattr(model, "base_model", None), "prefix", None)
    if not hasattr(model, "peft_config") or prefix is None:
        return []
    found = [parameter for name, parameter in model.named_parameters() if prefix in name]
    for parameter in found:
        parameter.requires_grad_(True)
    return found


def _is_sum(config: Any) -> bool:
    """Whether an adapter adds a product of two matrices to weights, whatever these are."""
    return config.peft_type == "LORA" and not config.use_dora and not config.modules_to_save and config.bias == "none"


def hub_adapter(name: str, revision: str | None, said: str) -> AdapterFolder:
    """Fetch an adapter's files from the Hub, with tokenizer and chat template where it has them.

    Raises:
        ConfigError: they cannot be fetched.
    """
    try:
        folder = snapshot_download(
            name, revision=revision, allow_patterns=["*.json", "*.jinja", "*.model", "adapter_*", "*.txt"]
        )
    except (OSError, ValueError) as error:
        raise ConfigError(f"{said}: the adapter cannot be fetched ({first_line(error)})") from error
    return AdapterFolder(Path(folder), said)


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
