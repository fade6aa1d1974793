"""What a credit changes, measured in one gradient: accuracy, length, what is new in it, and its noise."""

from attnpo.gradients.batch import Batch
from attnpo.gradients.bins import Binning
from attnpo.gradients.credits import Credit, method_credits, signal_credits, split_credits, wanted_credits
from attnpo.gradients.products import Products, jackknife
from attnpo.gradients.result import CreditRow, GradientsResult, RedundancyBin, credit_rows
from attnpo.gradients.run import Policy, fill
from attnpo.gradients.store import Store, bin_name, moments_of
from attnpo.gradients.wanted import Wanted, parse_wanted

__all__ = [
    "Batch",
    "Binning",
    "Credit",
    "CreditRow",
    "GradientsResult",
    "Policy",
    "Products",
    "RedundancyBin",
    "Store",
    "Wanted",
    "bin_name",
    "credit_rows",
    "fill",
    "jackknife",
    "method_credits",
    "moments_of",
    "parse_wanted",
    "signal_credits",
    "split_credits",
    "wanted_credits",
]
