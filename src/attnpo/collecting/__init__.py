"""Groups of responses, sampled, segmented, verified and labelled, on disk as they are made."""

from attnpo.collecting.fingerprints import model_fingerprint, problems_fingerprint
from attnpo.collecting.groups import counted_tokens, failure_of, read_groups
from attnpo.collecting.run import Collected, claim_rollouts, collect_rollouts
from attnpo.collecting.think_watch import ThinkWatch
from attnpo.collecting.weight_files import files_fingerprint, weights_fingerprint

__all__ = [
    "Collected",
    "ThinkWatch",
    "claim_rollouts",
    "collect_rollouts",
    "counted_tokens",
    "failure_of",
    "files_fingerprint",
    "model_fingerprint",
    "problems_fingerprint",
    "read_groups",
    "weights_fingerprint",
]
