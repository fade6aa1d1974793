"""Where models come from: a folder, the Hub, a GGUF file, an adapter or a name, made one thing that can be loaded."""

from attnpo.models.adapters import adapter_parameters
from attnpo.models.cache import remembered
from attnpo.models.devices import DTYPES, check_dtype, chosen_dtype, find_device
from attnpo.models.forward import forward_arguments, last_logits, token_statistics
from attnpo.models.loading import load_config, load_model, load_tokenizer, model_dtype, plain_folder, saved_dtype
from attnpo.models.named import NAMED, TINYWORLD
from attnpo.models.sources import ModelSource, find_model

__all__ = [
    "DTYPES",
    "NAMED",
    "TINYWORLD",
    "ModelSource",
    "adapter_parameters",
    "check_dtype",
    "chosen_dtype",
    "find_device",
    "find_model",
    "forward_arguments",
    "last_logits",
    "load_config",
    "load_model",
    "load_tokenizer",
    "model_dtype",
    "plain_folder",
    "remembered",
    "saved_dtype",
    "token_statistics",
]
