"""`attnpo train --probe`: joins discovery, which scores, with training, which logs and reads heads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnpo.attention import check_readable, resolve_heads
from attnpo.discovery.probe import ProbeSettings, read_probe
from attnpo.discovery.stability_callback import StabilityCallback
from attnpo.errors import ConfigError
from attnpo.training.components import reads_no_heads
from attnpo.workbench.arguments import ProbeArguments


@dataclass
class Probe:
    """The probe set, read before the model is loaded."""

    rollouts: list[Any]
    settings: ProbeSettings

    @classmethod
    def read(cls, arguments: ProbeArguments, args: Any) -> Probe:
        """Check the settings and read the file.

        Raises:
            ConfigError: a setting is out of range, or contradicts another one.
            DataError: the file holds no response that can be probed with.
        """
        if args.heads is None:
            raise ConfigError("--probe: needs heads to probe; give them with --heads")
        if arguments.probe_reselect and (reason := reads_no_heads(args)):
            raise ConfigError(f"--probe_reselect: {reason}; there are none to exchange")
        settings = ProbeSettings(
            every=arguments.probe_every,
            min_sra=arguments.probe_min_sra,
            min_pearson=arguments.probe_min_pearson,
            reselect=arguments.probe_reselect,
        )
        return cls(read_probe(Path(str(arguments.probe)), arguments.probe_limit), settings)

    def attach(self, trainer: Any, args: Any, model_name: str, output_dir: Path) -> None:
        """Let the trainer be probed; joins discovery, which scores, with training, which logs and reads heads."""
        heads = trainer.head_set or resolve_heads(args.heads, trainer.model.config, model_name)
        check_readable(trainer.model, heads.heads)
        trainer.add_callback(
            StabilityCallback(
                trainer.processing_class,
                self.rollouts,
                heads,
                output_dir,
                self.settings,
                report=trainer.add_metrics,
                on_reselect=trainer.use_heads,
                model_name=model_name,
            )
        )
