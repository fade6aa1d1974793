"""Entry point of `attnpo`: picks the command, turns a user's mistake into one line and exit code 2."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from attnpo import __version__
from attnpo.errors import AttnPOError, nearest

COMMANDS = {
    "quickstart": "discover, train, evaluate and report, on the small world that ships or on real English",
    "discover": "find the Key-Focus Heads of a model, prove them, or repeat a head set's evidence",
    "coldstart": "teach a model to think aloud, from worked solutions",
    "train": "train with step credit (AttnPO) or a neighbouring method, on TRL",
    "methods": "list the methods and presets: what each does, needs and costs",
    "signals": "list the step signals: what may score steps, what each needs and costs",
    "evaluate": "measure accuracy and response length, on benchmarks or any problems, from any engine",
    "compare": "set evaluations side by side: paired differences, tables, frontier",
    "reproduce": "train methods with one budget, and write the comparison table",
    "gradients": "measure in one gradient what each credit changes: accuracy, length, direction, noise",
    "card": "write the model card of a trained model, and upload both",
    "report": "write one HTML page that shows what a run did",
    "inspect": "show one response with its steps shaded by score",
}

USAGE = """attnpo {version}: teach reasoning models to stop overthinking, without losing accuracy.

usage: attnpo COMMAND [--config FILE.yaml] [--flag value ...]

commands:
{commands}

`attnpo COMMAND --help` shows every setting and an example. Where a command takes --config, a YAML file holds the same
settings; flags override it.
"""


def usage() -> str:
    """Return the help text of the bare command."""
    lines = "\n".join(f"  {name:<12}{text}" for name, text in COMMANDS.items())
    return USAGE.format(version=__version__, commands=lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command; exits with 2 on a user's mistake, 130 when interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        sys.exit(0 if arguments else 2)
    if arguments[0] == "--version":
        print(__version__)
        return
    name, *rest = arguments
    if name not in COMMANDS:
        said = f"{nearest(name, COMMANDS)}; the commands are {', '.join(COMMANDS)}"
        print(f"attnpo: error: no command '{name}'{said}", file=sys.stderr)
        sys.exit(2)
    command = importlib.import_module(f"attnpo.cli.{name}")
    try:
        command.run(rest)
    except AttnPOError as error:
        for line in str(error).splitlines():
            print(f"attnpo {name}: error: {line}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as error:
        print(f"\nattnpo {name}: {error or 'interrupted; what was finished is on disk'}", file=sys.stderr)
        sys.exit(getattr(error, "code", 130))
