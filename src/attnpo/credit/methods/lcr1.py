"""LC-R1: correct responses are cut where their answer stands first, and trained in that form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from attnpo.credit.batches import GroupBatch, StepBatch
from attnpo.credit.checks import AT_LEAST_0, NUMBER, SWITCH, setting
from attnpo.credit.methods.with_detector import DetectorSettings, Thought, WithDetector
from attnpo.credit.policy import Drawn, Policy, Requests
from attnpo.credit.rewards import outcome_rewards
from attnpo.credit.settings import ADVANTAGE, AdvantageName
from attnpo.think import THINK_CLOSE

ONE_TAG: Final = "one_closing_tag"
"""Fact: 1 where the response closes its think part exactly once."""
TAG: Final = "closing_tag"
"""Fact: place of the closing tag's first token in the response that is trained on; -1 where there is none."""
COMPRESSION: Final = "compression"
"""Fact: 1 - t* / |think|, the share of the think part that was cut; 0 where the response is not right."""


@dataclass(frozen=True)
class LCR1Settings(DetectorSettings):
    """Settings of LC-R1."""

    advantage: AdvantageName = setting("grpo", ADVANTAGE, "grpo (published: reward minus the group's mean) or rloo.")
    format_reward: float = setting(1.0, AT_LEAST_0, "Reward of exactly one closing tag (official code: 1).")
    length_weight: float = setting(1.0, AT_LEAST_0, "Weight of the length reward 1 - L / L_max (official code: 1).")
    length_for_wrong: bool = setting(
        True, SWITCH, "Pay the length reward to every response of a group with a right one (official code: yes)."
    )
    compress_weight: float = setting(1.0, AT_LEAST_0, "Weight of the compress reward of the closing tag.")
    missing_reward: float = setting(
        -1.0, NUMBER, "Compress reward of a right response in whose think part no answer is found (official code: -1)."
    )


class LCR1(WithDetector):
    """Cut right responses at t*, reward length, and the closing tag by what was cut (arXiv 2506.14755, official code).

    A response is *right* if its answer is correct and it closes its think part exactly once. Of a right one the tokens
    between the end t* of the first sentence that reveals the answer and the closing tag are taken out; the tag and the
    response's own final answer follow as they were sampled, white space before the tag included. No token is encoded
    anew. Then, with L the length of what is left and L_max the greatest of the group's right ones,

        r = 1[correct] + 1[one tag] + (1 - L / L_max),   A = r - mean r

    for every token, and the closing tag's (first) token of a right response gets A + (1 - t* / |think|), or A - 1 where
    no answer is found in its think part, which is then left whole. t* and |think| count tokens. There is no standard
    deviation. The length reward is paid to all responses of a group with a right one, as the official code does it.

    The paper's extractor is a small model; here the verifier is run over what the sentences state, or a
    `module:function` takes the extractor's place (see `attnpo.credit.first_answer`). What follows the cut counts as
    drawn by the policy as it is, as in the official code. Published with 8 responses a prompt.
    """

    name = "lcr1"
    paper = "LC-R1"
    arxiv = "2506.14755"
    source = "official code"
    formula = "cut at t*; r = correct + one tag + 1 - L / L_max; A = r - mean; A(</think>) + 1 - t* / |think|"
    extra_tokens = "none: the verifier stands in for the extractor; what is cut off was sampled"
    settings_type = LCR1Settings
    settings: LCR1Settings

    def sample(self, requests: Requests, policy: Policy) -> Drawn:
        """Return free responses, the right ones cut where their answer stands first."""
        responses = list(super().sample(requests, policy).responses)
        segmented = [policy.cut(p, response.ids) for p, response in zip(requests.prompt_ids, responses, strict=True)]
        verdicts = policy.verify([each.full_text for each in segmented], requests.solutions)
        one_tag = [each.text.count(THINK_CLOSE) == 1 for each in segmented]
        right = [number for number, verdict in enumerate(verdicts) if verdict and one_tag[number]]
        questions = [policy.tokenizer.decode(requests.prompt_ids[n], skip_special_tokens=True) for n in right]
        thoughts = self.thoughts(
            [str(question) for question in questions],
            [requests.solutions[n] for n in right],
            [(responses[n].ids, segmented[n].think_chars, [s.chars for s in segmented[n].steps]) for n in right],
            policy,
        )
        tags, shares = [-1.0] * len(responses), [0.0] * len(responses)
        for number, thought in zip(right, thoughts, strict=True):
            ids, tag, share = cut(responses[number].ids, thought)
            responses[number] = replace(responses[number], ids=ids)
            tags[number], shares[number] = tag, self.settings.missing_reward if share is None else share
        return Drawn(responses, {ONE_TAG: [float(one) for one in one_tag], TAG: tags, COMPRESSION: shares})

    @torch.no_grad()
    def rewards(self, groups: GroupBatch) -> Tensor:
        """Return (P, G) rewards: outcome, format and length.

        Raises:
            DataError: the groups do not say which responses close their think part once.
        """
        own = self.settings
        one_tag_PG = self.known(groups.facts.get(ONE_TAG), "closing tags")
        right_PG = groups.correct_PG.bool() & (one_tag_PG > 0.5)
        lengths_PG = groups.lengths_PG.float()
        longest_P1 = (lengths_PG * right_PG).amax(dim=1, keepdim=True)
        paid_PG = right_PG.any(dim=1, keepdim=True) & (right_PG | own.length_for_wrong)
        shorter_PG = torch.where(paid_PG, 1 - lengths_PG / longest_P1.clamp(min=1), 0.0)
        outcome_PG = outcome_rewards(groups.correct_PG)
        return outcome_PG + own.format_reward * one_tag_PG + own.length_weight * shorter_PG

    @torch.no_grad()
    def spread(self, steps: StepBatch, gamma_BK: Tensor, step_index_BT: Tensor) -> Tensor:
        """Return (B, T) the response's advantage, with the compress reward on its closing tag.

        Raises:
            DataError: the places of the closing tags are not given.
        """
        advantages_BT = super().spread(steps, gamma_BK, step_index_BT)
        tag_B = self.known(steps.facts.get(TAG), "places of the closing tags").long()
        share_B = self.known(steps.facts.get(COMPRESSION), "cut shares")
        is_tag_BT = torch.arange(advantages_BT.size(1), device=tag_B.device) == tag_B[:, None]
        return advantages_BT + is_tag_BT * (self.settings.compress_weight * share_B)[:, None]


def cut(ids: Sequence[int], thought: Thought) -> tuple[list[int], int, float | None]:
    """Return a response without what lies between its first answer and its closing tag.

    Args:
        ids: the sampled ids.
        thought: its think part.

    Returns:
        The ids that are left, the place of the closing tag among them, and the share 1 - t* / |think| that was cut;
        where no answer was found the response as it is and None.
    """
    if thought.answer is None:
        return list(ids), thought.end, None
    kept = thought.answer.tokens
    share = 1 - kept / thought.end
    # The policy's own white space before the tag stays, unless the sentence's last token already ends with some.
    space = thought.end
    while space > kept and thought.text[slice(*thought.tokens[space - 1])].isspace():
        space -= 1
    if thought.text[slice(*thought.tokens[kept - 1])][-1:].isspace():
        space = thought.end
    if space <= kept:
        return list(ids), thought.end, share
    return [*ids[:kept], *ids[space:]], kept + thought.end - space, share
