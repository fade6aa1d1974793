"""What was measured of the untrained policy before the first step, kept so that an interruption loses none of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate.utils import gather_object
from tqdm.auto import tqdm

from attnpo.credit import Method, Slots
from attnpo.errors import OutputError
from attnpo.output import write_atomically
from attnpo.training.budget import TokenCount
from attnpo.training.callbacks import join_states
from attnpo.training.rounds import OpenPolicy, problem_key

AT_ONCE = 64
"""Problems that are measured, and kept, together."""

logger = logging.getLogger(__name__)


class PreparedFile:
    """`prepared.json`: a method's state as far as it was prepared, and what it depends on.

    Args:
        path: the file, one a process.
        settings: everything the state depends on, as JSON values.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.settings = json.loads(json.dumps(settings))

    def load(self) -> tuple[dict[str, Any], TokenCount] | None:
        """Return what was kept and the tokens it took; None where there is nothing, or it is of another run.

        Raises:
            OutputError: the file is malformed.
        """
        if not self.path.is_file():
            return None
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            settings, state, tokens = found["settings"], dict(found["state"]), TokenCount(**found["tokens"])
        except (ValueError, KeyError, TypeError) as error:
            raise OutputError(f"{self.path}: malformed ({error}); remove it, then it is measured again") from error
        if settings != self.settings:
            logger.warning("%s: of another model or other settings; measured again", self.path)
            return None
        return state, tokens

    def save(self, state: Mapping[str, Any], tokens: TokenCount) -> None:
        """Keep a state and the tokens that it took."""
        content = {"settings": self.settings, "state": state, "tokens": vars(tokens)}
        write_atomically(self.path, json.dumps(content, ensure_ascii=False) + "\n")


def prepare(
    method: Method,
    rows: Mapping[int, dict[str, Any]],
    slots_of: Callable[[Mapping[int, dict[str, Any]]], Slots],
    file: PreparedFile,
    drawn: TokenCount,
    policy: OpenPolicy,
    stop: Callable[[str], None],
    silent: bool,
) -> None:
    """Let a method measure the untrained policy on the problems that training can reach, `AT_ONCE` at a time.

    Args:
        method: the method.
        rows: by its number in the run, the data set row of each problem of this process.
        slots_of: what the policy is asked for some of them.
        file: where what was measured is kept.
        drawn: the tokens of this process, which are added to.
        policy: opens the policy.
        stop: ends the run where a signal was received, saying what is kept.
        silent: whether no progress is shown.
    """
    kept, count = file.load() or (None, TokenCount())
    drawn.take(count)
    lacking = method.begin_preparing([problem_key(row) for row in rows.values()], kept)
    numbers = [number for number, row in rows.items() if problem_key(row) in lacking]
    # Sharded parameters are put together and signals agreed on by all processes, however little each has to do.
    rounds = max(gather_object([-(-len(numbers) // AT_ONCE)]))
    with tqdm(total=len(rows), initial=len(rows) - len(numbers), desc="before training", disable=silent) as bar:
        for place in range(rounds):
            part = numbers[place * AT_ONCE : (place + 1) * AT_ONCE]
            before = replace(drawn)
            slots = slots_of({number: rows[number] for number in part})
            with policy(slots.prompt_ids, part, extra=True) as lent:
                if part:
                    method.prepare(slots, lent)
            count.take(drawn.since(before))
            file.save(method.state_dict(), count)
            bar.update(len(part))
            done = len(rows) - max(0, len(numbers) - (place + 1) * AT_ONCE)
            stop(f"{done} of {len(rows)} problems are measured in {file.path}")
    states = gather_object([method.state_dict()])
    if len(states) > 1:
        method.load_state_dict(join_states(states))
