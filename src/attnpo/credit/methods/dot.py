"""DOT: in groups that are all right, the longest outliers are cut and judged again."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from attnpo.credit.checks import AT_LEAST_0, COUNT, TOKENS, setting
from attnpo.credit.methods.base import Method
from attnpo.credit.policy import Drawn, Policy, Requests
from attnpo.credit.settings import RESAMPLE, GRPOSettings
from attnpo.errors import ConfigError


@dataclass(frozen=True)
class DOTSettings(GRPOSettings):
    """Settings of DOT."""

    deviations: float = setting(3.0, AT_LEAST_0, "Standard deviations above the mean at which outliers are cut.")
    margin: int = setting(32, TOKENS, "Least number of tokens that a cut takes away.")
    resample_groups: int = setting(10, COUNT, RESAMPLE)


class DOT(Method):
    """GRPO(1[correct]); in all-right groups, what is longer than T = mean L + 3 std L is cut there and judged again.

    arXiv 2601.03969, official code. T is rounded down, std that of a sample; a response is cut where at least 32 tokens
    lie behind T: with 10 responses or fewer none is that long. A cut that takes the answer away makes a wrong response
    of the longest, so that a group which taught nothing teaches length; then groups of equal rewards are sampled again
    from other problems.

    Published with 32 responses of at most 4,096 or 8,192 tokens to 128 prompts, temperature 1, learning rate 1e-6, four
    updates a batch (`steps_per_generation`), each response weighed alike (TRL's `loss_type` grpo), and KL-Cov in place
    of the ratio's clip (`kl_cov_share` 0.002, TRL's `epsilon` and `epsilon_high` very large). The official code draws
    1.2 to 5 times as many prompts beforehand, by how many groups it kept of late; here more are drawn as needed.
    """

    name = "dot"
    paper = "DOT"
    arxiv = "2601.03969"
    source = "official code"
    formula = "all-right groups: responses longer than mean L + 3 std L cut there and judged again; GRPO(1[correct])"
    extra_tokens = "groups sampled again; what is cut off was sampled"
    settings_type = DOTSettings
    only_cuts = True
    needs_whole_groups = True
    settings: DOTSettings

    def check(self, max_length: int, group_size: int, verifier: str = "math") -> None:
        """Refuse a distance from the mean that no response of a group can have."""
        farthest = (group_size - 1) / math.sqrt(group_size)
        if self.settings.deviations >= farthest:
            raise ConfigError(
                f"deviations: of {group_size} responses none lies {self.settings.deviations:g} standard deviations "
                f"above their mean (at most {farthest:.2f}), so nothing would be cut; set it lower, or raise "
                "num_generations"
            )

    def sample(self, requests: Requests, policy: Policy) -> Drawn:
        """Return free responses, the outliers of all-right groups cut."""
        responses = list(super().sample(requests, policy).responses)
        texts = [policy.cut(p, r.ids).full_text for p, r in zip(requests.prompt_ids, responses, strict=True)]
        verdicts = policy.verify(texts, requests.solutions)
        for _, group in groupby(range(len(responses)), key=lambda row: requests.group_ids[row]):
            rows = list(group)
            if all(verdicts[row] for row in rows):
                limit = self.outlier_length([len(responses[row].ids) for row in rows])
                for row in rows:
                    if len(responses[row].ids) - limit >= self.settings.margin:
                        responses[row] = replace(responses[row], ids=responses[row].ids[:limit], finished=False)
        return Drawn(responses)

    def outlier_length(self, lengths: Sequence[int]) -> int:
        """Return T in tokens; at least 1, and no response's length is above it in a group of one."""
        if len(lengths) < 2:
            return max(lengths)
        limit = statistics.mean(lengths) + self.settings.deviations * statistics.stdev(lengths)
        return max(math.floor(limit), 1)
