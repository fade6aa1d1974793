"""Memory of one device, term by term."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from attnpo.training.estimate.head import HeadMemory
from attnpo.training.estimate.layouts import Layout
from attnpo.training.estimate.passes import PassMemory
from attnpo.training.estimate.precision import Precision
from attnpo.training.estimate.shapes import ModelShape

Phase = Literal["always", "sampling", "pass", "update"]
DEEPSPEED_BUCKET = 500_000_000
"""Elements of DeepSpeed's buckets (`reduce_bucket_size`, `allgather_bucket_size`), its defaults."""


@dataclass(frozen=True)
class Term:
    """One use of memory.

    Attributes:
        name: what lies there.
        bytes: how much.
        phase: when: always, or while sampling, in forward and backward passes, in the optimizer's step.
    """

    name: str
    bytes: int
    phase: Phase = "always"


@dataclass(frozen=True)
class DeviceMemory:
    """What one device holds.

    Attributes:
        layout: how the run is spread.
        terms: uses, none of them 0.
    """

    layout: Layout
    terms: tuple[Term, ...]

    def in_phase(self, phase: Phase) -> int:
        """Bytes held in a phase, what is always there included."""
        return sum(term.bytes for term in self.terms if term.phase in ("always", phase))

    @property
    def peak_phase(self) -> Phase:
        """The phase that needs most."""
        phases: tuple[Phase, ...] = ("sampling", "pass", "update")
        return max(phases, key=self.in_phase)

    @property
    def peak(self) -> int:
        """Most bytes at once."""
        return self.in_phase(self.peak_phase)


@dataclass(frozen=True)
class Workload:
    """What a device computes on, in bytes that do not depend on how weights are shared out.

    Attributes:
        decoder: one micro-batch's pass through the decoder.
        head: the same through the head.
        reading: reading of heads.
        batch: tensors of the generation batch, step credit's included.
        cache: keys and values of sampling; 0 where a server or vLLM samples.
        vllm: share of a colocated vLLM engine.
        vllm_sleeps: whether that share is given back while training.
        reference: whether a reference model of the same size is held.
    """

    decoder: PassMemory
    head: HeadMemory
    reading: int
    batch: int
    cache: int
    vllm: int
    vllm_sleeps: bool
    reference: bool


def device_memory(shape: ModelShape, layout: Layout, types: Precision, work: Workload) -> DeviceMemory:
    """Add up one device's memory.

    Outside of it: what the CUDA context and NCCL take (about 1 GiB), and what the allocator cannot reuse.

    Args:
        shape: the model.
        layout: how weights, gradients and optimizer states are shared out.
        types: in which types they are held.
        work: what is computed.
    """
    parts = layout.processes
    packed = shape.matrices if types.matrix_bytes is not None else 0
    weights = (shape.frozen - packed) * types.frozen.itemsize + shape.trainable * types.trained.itemsize
    weights += int(packed * (types.matrix_bytes or 0))
    unpacked = shape.largest_matrix * (types.compute or types.frozen).itemsize if packed else 0
    gradients = shape.trainable * types.gradient.itemsize
    states = int(shape.trainable * (types.state_bytes + (4 if types.master else 0)))
    held_weights = weights // parts if layout.shards_weights else weights
    held_gradients = gradients // parts if layout.shards_gradients else gradients
    held_states = states // parts if layout.kind not in ("single", "ddp") else states
    sampling_weights = weights - held_weights if layout.shards_weights and work.cache else 0
    working, activations = _pass_peak(work)
    terms = [
        Term("weights", 0 if layout.offload_weights else held_weights),
        Term("optimizer states", 0 if layout.offload_optimizer else held_states),
        Term("reference model's weights", weights // parts if layout.shards_weights else weights)
        if work.reference
        else Term("", 0),
        Term("batch and step credit's tensors", work.batch),
        Term("vLLM's share", work.vllm, "sampling" if work.vllm_sleeps else "always"),
        Term("weights gathered for sampling", sampling_weights, "sampling"),
        Term("keys and values of sampling", work.cache, "sampling"),
        Term("gradients", held_gradients, "pass"),
        Term("gradients", held_gradients, "update"),
        *(_shared(shape, layout, types, gradients)),
        Term("activations kept for the backward pass", work.decoder.saved, "pass"),
        Term(working, max(0, activations - work.decoder.saved - work.reading), "pass"),
        Term("reading of heads", work.reading, "pass"),
        Term("a quantised matrix unpacked", unpacked, "sampling"),
        Term("a quantised matrix unpacked", unpacked, "pass"),
    ]
    return DeviceMemory(layout, tuple(term for term in terms if term.bytes))


def _pass_peak(work: Workload) -> tuple[str, int]:
    """Where a micro-batch's pass needs most beside what is kept, and how many bytes it holds then."""
    moments = {
        "a layer at work, forward": work.decoder.forward_peak + work.reading,
        "logits in tiles, forward": work.decoder.forward_end + work.head.forward,
        "logits in tiles, backward": work.decoder.saved + work.head.backward,
        "a layer at work, backward": work.decoder.backward_peak + work.head.kept,
    }
    name = max(moments, key=lambda moment: moments[moment])
    return name, moments[name]


def _shared(shape: ModelShape, layout: Layout, types: Precision, gradients: int) -> list[Term]:
    """What sharing costs on top: buckets, and weights gathered for a layer."""
    if layout.processes == 1:
        return []
    if layout.kind == "ddp":
        return [
            Term("gradient buckets of DDP", gradients, "pass"),
            Term("gradient buckets of DDP", gradients, "update"),
        ]
    compute = (types.compute or types.trained).itemsize
    gathered: list[Term] = []
    if layout.shards_weights:
        # The layer at work and the next one; embedding, head and last norm stay gathered through a pass.
        layer = 2 * max(shape.layers, default=0) * compute
        outside = shape.outside * compute
        # TRL's head gathers its weights in the type they are held in.
        head = shape.vocab_size * shape.hidden_size * types.trained.itemsize if layout.kind == "fsdp2" else 0
        gathered = [Term("weights gathered for a pass", layer + outside + head, "pass")]
    if layout.is_deepspeed:
        bucket = min(DEEPSPEED_BUCKET, shape.trainable) * types.gradient.itemsize
        gathered.append(Term("buckets of DeepSpeed", 2 * bucket, "pass"))
    return gathered
