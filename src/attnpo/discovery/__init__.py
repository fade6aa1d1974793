"""Find and prove Key-Focus Heads."""

from attnpo.discovery.controls import best_heads, choose_wrong_head
from attnpo.discovery.evidence import InterventionResult, StabilityResult, TransferResult, VerificationResult
from attnpo.discovery.gates import GateCounts, probing_set
from attnpo.discovery.intervention import InterventionSettings, intervene, usable_traces
from attnpo.discovery.ranking import PairTable, pair_table, sra, sra_interval
from attnpo.discovery.result import DiscoveryResult, EnsembleResult, RuleResult
from attnpo.discovery.run import Discovered, discover
from attnpo.discovery.selection import greedy_selection, top_selection
from attnpo.discovery.settings import DiscoverySettings
from attnpo.discovery.stability import measure_stability
from attnpo.discovery.stability_callback import StabilityCallback
from attnpo.discovery.traces import read_traces, sample_traces
from attnpo.discovery.transfer import transfer_groups, transfer_table
from attnpo.discovery.verify import verify_heads, with_evidence

__all__ = [
    "Discovered",
    "DiscoveryResult",
    "DiscoverySettings",
    "EnsembleResult",
    "GateCounts",
    "InterventionResult",
    "InterventionSettings",
    "PairTable",
    "RuleResult",
    "StabilityCallback",
    "StabilityResult",
    "TransferResult",
    "VerificationResult",
    "best_heads",
    "choose_wrong_head",
    "discover",
    "greedy_selection",
    "intervene",
    "measure_stability",
    "pair_table",
    "probing_set",
    "read_traces",
    "sample_traces",
    "sra",
    "sra_interval",
    "top_selection",
    "transfer_groups",
    "transfer_table",
    "usable_traces",
    "verify_heads",
    "with_evidence",
]
