"""One training step under a layout: processes, sharding, accumulation; what it did is written down for comparison.

Imported by tests (one process) and run by `torch.distributed.run` (several): `python layouts.py SPEC.json FOLDER`.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from small_training import config
from torch.distributed.tensor import DTensor
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from transformers.distributed import DistributedConfig
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from attnpo.errors import AttnPOError
from attnpo.sampling import SamplingParams, TransformersSampler, render_prompt
from attnpo.tinyworld import checkpoint_path, train_dataset
from attnpo.training import AttnPOTrainer

GROUP = 4
ROWS = 12
"""Rows of an optimizer step over all processes: three groups of four, so that six or three a process split groups."""

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Of processes that a test starts."""

FSDP = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_TRANSFORMER_CLS_TO_WRAP": "Qwen2DecoderLayer",
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
}

ZERO = {
    # Float32 shards of every parameter, however small, and the optimizer that the trainer has made.
    "zero_optimization": {
        "stage3_param_persistence_threshold": 0,
        "stage3_gather_16bit_weights_on_model_save": True,
    },
    "zero_allow_untested_optimizer": True,
    "zero_force_ds_cpu_optimizer": False,
    "train_micro_batch_size_per_gpu": "auto",
    "gradient_accumulation_steps": "auto",
    "gradient_clipping": 0.0,
}


@dataclass
class Trace:
    """What a training run did.

    Attributes:
        gradients: gradient of each optimizer step, whole parameters in float32 by name.
        advantages: for each response (number within the run), its advantages a token, in each loss that it entered.
        responses: token ids of each response.
        turns: how often each process turned to a round: to that of a step, and to each that was drawn for it.
        skipped: updates that were skipped.
        sharded: how many parameters each process held a part of only.
        refused: why it did not run.
    """

    gradients: list[dict[str, torch.Tensor]] = field(default_factory=list)
    advantages: dict[int, list[torch.Tensor]] = field(default_factory=dict)
    responses: dict[int, list[int]] = field(default_factory=dict)
    turns: list[int] = field(default_factory=lambda: [0])
    skipped: int = 0
    sharded: int = 0
    refused: str = ""


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """The whole of a tensor that may be split over processes."""
    tensor = tensor.detach()
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).float().clone()


def plain_name(name: str) -> str:
    for wrapper in ("_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "module."):
        name = name.replace(wrapper, "")
    return name


class Recorder(TrainerCallback):
    """Writes gradients down just before each optimizer step."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        named = ((plain_name(name), p.grad) for name, p in model.named_parameters() if p.requires_grad)
        self.trace.gradients.append({name: whole(grad) for name, grad in named if grad is not None})


@contextmanager
def recording_deepspeed(trace: Trace) -> Iterator[None]:
    """Write gradients down where DeepSpeed makes its update, inside accelerate's backward pass."""
    from deepspeed.runtime.engine import DeepSpeedEngine
    from deepspeed.utils import safe_get_full_grad

    plain = DeepSpeedEngine.step

    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.is_gradient_accumulation_boundary():
            named = [(plain_name(name), p) for name, p in self.module.named_parameters() if p.requires_grad]
            trace.gradients.append({name: whole(safe_get_full_grad(p)) for name, p in named})
        return plain(self, *args, **kwargs)

    DeepSpeedEngine.step = step
    try:
        yield
    finally:
        DeepSpeedEngine.step = plain


class TracedTrainer(AttnPOTrainer):
    """Takes its responses from a table unless it is to sample, and keeps what enters the loss."""

    def __init__(
        self,
        *args: Any,
        trace: Trace,
        canned: Mapping[tuple[int, ...], Sequence[Any]],
        broken: Sequence[int] = (),
        **kwargs: Any,
    ):
        self.trace, self.canned, self.broken = trace, canned, broken
        super().__init__(*args, **kwargs)

    def _compute_loss(self, model: Any, inputs: Any) -> torch.Tensor:
        loss = super()._compute_loss(model, inputs)
        is_broken = self.state.global_step in self.broken and self.accelerator.is_main_process
        return loss * float("nan") if is_broken else loss

    def _generate_single_turn(self, prompt_ids: Any, *args: Any, **kwargs: Any) -> Any:
        if not self.canned:
            return super()._generate_single_turn(prompt_ids, *args, **kwargs)
        first = self._first_row_id(len(prompt_ids))
        return [
            list(self.canned[tuple(ids)][(first + i) % self.num_generations]) for i, ids in enumerate(prompt_ids)
        ], None

    def turn_to(self, round_: Any) -> None:
        self.trace.turns[0] += 1
        super().turn_to(round_)

    def on_responses(self, round_: Any, width: int) -> None:
        self.trace.responses.update(zip(round_.row_ids, round_.response_ids, strict=True))
        super().on_responses(round_, width)

    def step_advantages(self, tensors: Any, advantages_B: Any, scores_BK: Any) -> torch.Tensor:
        advantages_BT = super().step_advantages(tensors, advantages_B, scores_BK)
        for row_id, length, row in zip(
            tensors["row_ids"].tolist(), tensors["response_lengths"].tolist(), advantages_BT, strict=True
        ):
            kept = torch.zeros(length)
            width = min(length, len(row))
            kept[:width] = row[:width].float()
            self.trace.advantages.setdefault(row_id, []).append(kept)
        return advantages_BT


def problems(count: int) -> Dataset:
    return train_dataset(64, seed=5, difficulties=(1, 2)).select(range(count))


def sample_groups(count: int) -> list[tuple[list[int], list[list[int]]]]:
    """A group of responses of the small world's model to each problem."""
    tokenizer = AutoTokenizer.from_pretrained(checkpoint_path())
    model = AutoModelForCausalLM.from_pretrained(checkpoint_path(), dtype=torch.float32).eval()
    prompts = [list(render_prompt(tokenizer, row["prompt"])) for row in problems(count)]
    streams = [[(key, sample) for sample in range(GROUP)] for key in range(count)]
    params = SamplingParams(max_new_tokens=80, temperature=1.0, seed=8)
    ids = [list(r.ids) for r in TransformersSampler(model, tokenizer).decode(prompts, streams, params)]
    return [(prompt, ids[i * GROUP : (i + 1) * GROUP]) for i, prompt in enumerate(prompts)]


def small_model(lora: bool = False, distributed: Mapping[str, int] | None = None) -> Any:
    """The small world's model; with LoRA, adapters that are not zero; split by transformers if `distributed`."""
    options = {"distributed_config": DistributedConfig(**distributed)} if distributed else {}
    model = AutoModelForCausalLM.from_pretrained(checkpoint_path(), dtype=torch.float32, **options)
    if not lora:
        return model
    torch.manual_seed(0)
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"]))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return adapted


def zero(stage: int) -> dict[str, Any]:
    """DeepSpeed's configuration of a stage of ZeRO."""
    return {**ZERO, "zero_optimization": {**ZERO["zero_optimization"], "stage": stage}}


def train(folder: Path, spec: Mapping[str, Any], processes: int = 1) -> Trace:
    """Train as `spec` says and return what happened on this process.

    Args:
        folder: where the trainer writes.
        spec: `groups` (prompts and their responses), and optionally `settings`, `lora`, `lr`, `problems`, `fsdp`,
            `zero` (DeepSpeed's stage), `samples` (draw the responses instead), `micro_batches` (of the step's rows;
            1), `distributed` (how transformers splits the model as it is loaded), `broken` (steps whose loss is NaN on
            the first process).
        processes: over how many the rows are split.
    """
    trace, stage = Trace(), spec.get("zero")
    model = small_model(spec.get("lora", False), spec.get("distributed"))
    micro_batches = spec.get("micro_batches", 1)
    settings = {
        "heads": "2.0,1.1",
        "num_generations": GROUP,
        "max_completion_length": 80,
        "per_device_train_batch_size": ROWS // processes // micro_batches,
        "gradient_accumulation_steps": micro_batches,
        "max_grad_norm": 0.0,
        "optim": "sgd",
        "lr_scheduler_type": "constant",
        "learning_rate": spec.get("lr", 0.0),
        "group_sampler": True,
        **spec.get("settings", {}),
    }
    if stage:
        settings["deepspeed"] = zero(stage)
    trainer = TracedTrainer(
        model,
        config(folder, **settings),
        problems(spec.get("problems", 6)),
        processing_class=AutoTokenizer.from_pretrained(checkpoint_path()),
        callbacks=[] if stage else [Recorder(trace)],
        trace=trace,
        canned={} if spec.get("samples") else {tuple(prompt): ids for prompt, ids in spec["groups"]},
        broken=spec.get("broken", ()),
    )
    try:
        with recording_deepspeed(trace) if stage else nullcontext():
            trainer.train()
    finally:
        trainer.verifier.close()
    trace.skipped = trainer.nan_guard.skipped
    trace.sharded = sum(isinstance(p, DTensor) or hasattr(p, "ds_tensor") for p in trainer.model.parameters())
    return trace


def starting(processes: int, *argv: Any) -> list[str]:
    """The command line that runs a script, or a module after `-m`, in so many processes."""
    launcher: list[str] = []
    # accelerate reads the same variables from either launcher; its own starts several CPU processes through MPI only.
    if processes > 1:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        launcher = ["-m", "torch.distributed.run", "--nproc_per_node", str(processes), "--master_addr", "127.0.0.1"]
        launcher += ["--master_port", str(port)]
    return [sys.executable, *launcher, *map(str, argv)]


def run_processes(processes: int, *argv: Any) -> None:
    """Run a script in so many processes."""
    done = subprocess.run(starting(processes, *argv), env=ENVIRONMENT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]


def launch(folder: Path, specs: Mapping[str, Mapping[str, Any]], processes: int) -> dict[str, Trace]:
    """Run all `specs` in one launch of so many processes and gather what each of them did, by name."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "specs.json").write_text(json.dumps(dict(specs)))
    run_processes(processes, __file__, folder)
    return {
        name: merged([Trace(**torch.load(folder / f"{name}-{rank}.pt")) for rank in range(processes)]) for name in specs
    }


def merged(traces: Sequence[Trace]) -> Trace:
    """One trace of what all processes did."""
    for other in traces[1:]:
        assert not traces[0].responses.keys() & other.responses.keys(), "a response belongs to one process"
        traces[0].advantages.update(other.advantages)
        traces[0].responses.update(other.responses)
        traces[0].turns += other.turns
    return traces[0]


def relative_error(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> float:
    """Norm of the difference of two gradients over the norm of the second."""
    assert found.keys() == expected.keys()
    difference = sum(float((found[n].double() - expected[n].double()).square().sum()) for n in expected)
    return (difference / sum(float(e.double().square().sum()) for e in expected.values())) ** 0.5


def assert_same_credit(found: Trace, expected: Trace, tolerance: float = 1e-5) -> None:
    assert found.responses == expected.responses
    # With rows of zero advantage left out, a process may keep one that it did not need to keep.
    needed = {row for row, seen in expected.advantages.items() if any(a.any() for a in seen)}
    assert needed <= found.advantages.keys() <= found.responses.keys()
    for row in needed:
        for advantages in found.advantages[row]:
            torch.testing.assert_close(advantages, expected.advantages[row][0], rtol=tolerance, atol=1e-6)
    for row in found.advantages.keys() - needed:
        assert not any(a.any() for a in found.advantages[row])


def assert_same_gradients(found: Trace, expected: Trace, tolerance: float = 1e-5) -> None:
    assert len(found.gradients) == len(expected.gradients) > 0
    for ours, theirs in zip(found.gradients, expected.gradients, strict=True):
        assert relative_error(ours, theirs) <= tolerance


def total(gradients: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Sum of the gradients of several optimizer steps."""
    return {name: sum((g[name] for g in gradients[1:]), gradients[0][name]) for name in gradients[0]}


def shard_on_cpu() -> None:
    """Let accelerate's FSDP2 run over gloo: it takes up its FSDP plugin on accelerators only."""
    plain = AcceleratorState.__init__

    def init(self: AcceleratorState, *args: Any, fsdp_plugin: Any = None, **kwargs: Any) -> None:
        plain(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        if fsdp_plugin is not None and self.distributed_type == DistributedType.MULTI_CPU:
            if self._mixed_precision != "no":
                fsdp_plugin.set_mixed_precision(self._mixed_precision)
            self.fsdp_plugin, self.distributed_type = fsdp_plugin, DistributedType.FSDP
            PartialState._shared_state["distributed_type"] = DistributedType.FSDP

    AcceleratorState.__init__ = init


def without_compiled_kernels() -> None:
    """Keep DeepSpeed from compiling its collectives for one machine: gloo's serve, and need no compiler."""
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def set_environment(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    gc.freeze()  # each run ends with a collection, which would look through all that was imported
    shard_on_cpu()
    rank, processes = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    for name, spec in json.loads((folder / "specs.json").read_text()).items():
        AcceleratorState._reset_state(reset_partial_state=True)
        unset_hf_deepspeed_config()  # else a model after one under ZeRO-3 is split as it is loaded
        if spec.get("zero"):
            without_compiled_kernels()
        for key, value in FSDP.items():
            set_environment(key, value if spec.get("fsdp") else None)
        set_environment("ACCELERATE_USE_DEEPSPEED", "true" if spec.get("zero") else None)
        try:
            trace = train(folder / name, spec, processes)
        except AttnPOError as error:
            trace = Trace(refused=str(error))
        torch.save(vars(trace), folder / f"{name}-{rank}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main(Path(sys.argv[1]))
