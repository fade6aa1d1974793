"""Whether a head set was found on the model that it is read on."""

from __future__ import annotations

from collections.abc import Iterable

from attnpo.attention.headset import HeadSet
from attnpo.models.lineage import is_made_from


def other_model(head_set: HeadSet, names: Iterable[str], said: str) -> str | None:
    """Return a line where heads were found on another model than they are read on.

    None where they were found on it or on one that it was trained from, or where it has no name.

    Models of one architecture need not have their Key-Focus Heads in the same places.

    Args:
        head_set: the heads.
        names: names, ids and paths of the model that they are read on.
        said: what to call it.
    """
    known = [name for name in names if name]
    if not known or is_made_from(known, head_set.model_id):
        return None
    return (
        f"heads: found on {head_set.model_id}; {said} is neither that model nor, as far as its files tell, trained "
        "from it; `attnpo discover --verify` measures whether they hold on it"
    )
