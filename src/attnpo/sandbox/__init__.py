"""Programs that nobody has read run here: cut off from the network, from other files and from other processes."""

from attnpo.sandbox.client import Outcome, Sandbox, sandbox_layers
from attnpo.sandbox.limits import Limits

__all__ = ["Limits", "Outcome", "Sandbox", "sandbox_layers"]
