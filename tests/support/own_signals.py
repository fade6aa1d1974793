"""Step signals of a user's own, as `module:Class` names them."""

from __future__ import annotations

from contextlib import contextmanager

from attnpo.signals import Signal


class Thirds(Signal):
    """No name, no needs."""

    def score(self, seen):
        return seen.step_lengths_BK / 3


class Halves(Signal):
    """No name either."""

    def score(self, seen):
        return -seen.step_lengths_BK / 2


class LikeLogProb(Signal):
    """Named as a signal of the package is."""

    name = "log_prob"
    needs = ("entropies",)

    def score(self, seen):
        return seen.step_means(seen.entropies_BT) * 2


class Attached(Signal):
    """Reads something of the pass that no need names: how many tokens the model was given."""

    @contextmanager
    def attach(self, model, places):
        read = []
        handle = model.get_input_embeddings().register_forward_hook(lambda module, args, output: read.append(args[0]))
        try:
            yield read
        finally:
            handle.remove()

    def score(self, seen):
        (ids_BL,) = seen.reading
        return seen.step_lengths_BK + ids_BL.shape[1]
