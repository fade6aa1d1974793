"""What a run will cost before it is started: counts, and memory of a device term by term."""

from attnpo.training.estimate.credit import batch_bytes, reading_bytes, step_tensor_bytes
from attnpo.training.estimate.head import HeadMemory, head_memory
from attnpo.training.estimate.layouts import Kind, Layout, launched_layout, read_layout
from attnpo.training.estimate.memory import DeviceMemory, Term, Workload, device_memory
from attnpo.training.estimate.passes import PassMemory, decoder_pass
from attnpo.training.estimate.plan import RunPlan, run_plan
from attnpo.training.estimate.precision import MATRIX_BYTES, Precision, knows_optimizer, precision
from attnpo.training.estimate.sampling import cache_bytes, vllm_bytes, vllm_sequences
from attnpo.training.estimate.shapes import ModelShape, meta_model, model_shape, with_lora

__all__ = [
    "MATRIX_BYTES",
    "DeviceMemory",
    "HeadMemory",
    "Kind",
    "Layout",
    "ModelShape",
    "PassMemory",
    "Precision",
    "RunPlan",
    "Term",
    "Workload",
    "batch_bytes",
    "cache_bytes",
    "decoder_pass",
    "device_memory",
    "head_memory",
    "knows_optimizer",
    "launched_layout",
    "meta_model",
    "model_shape",
    "precision",
    "read_layout",
    "reading_bytes",
    "run_plan",
    "step_tensor_bytes",
    "vllm_bytes",
    "vllm_sequences",
    "with_lora",
]
