"""LLM judges as a labeler, as in the paper: three judges, their consensus (AttnPO, section on Key-Focus Heads)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, as_completed, wait
from types import TracebackType
from typing import Any

from attnpo.errors import AttnPOError, ConfigError
from attnpo.labeling.base import StepLabels, no_labels
from attnpo.labeling.judge.asking import FAILED_ALONE, Asking, Judge, Posts, Stopped, Vote
from attnpo.labeling.judge.cache import AnswerCache
from attnpo.labeling.judge.consensus import consensus, votes_needed
from attnpo.labeling.judge.prompt import JudgePrompt
from attnpo.labeling.judge.report import Judged, JudgeReport, judge_report
from attnpo.labeling.judge.settings import JudgeSettings
from attnpo.rollouts import Rollout
from attnpo.serving import Endpoint, Server

HOPELESS = 16
"""A judge without one valid answer to this many responses will not get better: the run stops before it costs more."""

GRACE_SECONDS = 20.0
"""How long an interrupted run waits for the answers under way."""


class JudgeLabeler:
    """Labels responses by the consensus of several LLM judges.

    Every answer is on disk before it is read, so a run that is killed or whose server dies buys nothing twice. A
    response gets no labels when fewer judges than the rule needs give a valid answer; a response whose prompt exceeds a
    judge's context is such a case (it is not cut: what a step is worth shows in the whole). Usable as a context
    manager.

    Attributes:
        name: `judge`.
        settings: what the labels depend on; addresses, concurrency and patience are not part of it.
        judges: the judges.
    """

    name = "judge"

    def __init__(self, judge_settings: JudgeSettings, judges: Sequence[Judge] | None = None):
        """Read the prompt, open the cache and prepare the servers; nothing is sent.

        Args:
            judge_settings: who judges, and how.
            judges: judges made elsewhere; None makes those of the settings.

        Raises:
            ConfigError: a setting is missing or malformed, the prompt is not usable, or the `openai` package is
                missing.
            OutputError: the cache cannot be written.
        """
        self._how = judge_settings
        self._prompt = JudgePrompt(judge_settings.judge_prompt)
        self.judges = tuple(open_judges(judge_settings) if judges is None else judges)
        self._cache = AnswerCache(judge_settings.cache_dir)
        self._needed = votes_needed(judge_settings.judge_consensus, len(self.judges))
        self._judged: list[Judged] = []
        self.settings: Mapping[str, Any] = {
            "judges": [{"model": judge.model, "seed": judge.seed} for judge in self.judges],
            "prompt_sha256": self._prompt.sha256,
            "temperature": judge_settings.judge_temperature,
            "max_tokens": judge_settings.judge_max_tokens,
            "structured_output": judge_settings.judge_structured_output,
            "body": judge_settings.extra_body(),
            "consensus": judge_settings.judge_consensus,
            "attempts": judge_settings.judge_attempts,
        }

    def __enter__(self) -> JudgeLabeler:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        for server in self._servers():
            server.close()

    def label(self, rollouts: Sequence[Rollout]) -> Iterator[tuple[int, StepLabels]]:
        """Yield `(index, labels)` as the last vote on a response comes in.

        The evidence holds each judge's vote (`votes`, one `Vote` a judge). Whoever stops taking labels ends the run:
        the connections are closed.

        Raises:
            EngineError: a server is gone for good; the answers under way elsewhere are awaited and kept first.
            ConfigError: a server refuses all requests, or a judge gives no valid answer to any of the first responses.
        """
        if (hopeless := self._hopeless()) is not None:
            raise hopeless
        asking = Asking(self._how, self._cache)
        pools = {
            id(server): ThreadPoolExecutor(server.endpoint.concurrency, thread_name_prefix="judge")
            for server in self._servers()
        }
        votes: list[list[Vote | None]] = [[None] * len(self.judges) for _ in rollouts]
        futures: dict[Future[Vote], tuple[int, int]] = {}
        error: AttnPOError | None = None
        interrupted = True
        try:
            for index, rollout in enumerate(rollouts):
                for place, judge in enumerate(self.judges):
                    future = pools[id(judge.server)].submit(self._vote, asking, judge, rollout)
                    futures[future] = index, place
            for future in as_completed(futures):
                index, place = futures[future]
                try:
                    votes[index][place] = future.result()
                except (CancelledError, Stopped):
                    continue
                except AttnPOError as failure:
                    error = error or failure
                given = [vote for vote in votes[index] if vote is not None]
                if len(given) == len(self.judges):
                    yield index, self._decide(rollouts[index], given)
                    error = error or self._hopeless()
                if error is not None and not asking.stop.is_set():
                    asking.stop.set()
                    for other in futures:
                        other.cancel()
            interrupted = False
        finally:
            asking.stop.set()
            for future in futures:
                future.cancel()
            if interrupted:  # answers that are nearly here are waited for, a dead server is not
                wait(futures, timeout=GRACE_SECONDS)
                self.close()
            for pool in pools.values():
                pool.shutdown()
        if error is not None:
            raise error

    def recall(self, rollout: Rollout, labels: StepLabels) -> None:
        """Take the votes of an earlier run into the report."""
        votes = tuple(Vote.model_validate(vote) for vote in labels.evidence["votes"])
        self._judged.append(Judged(rollout.problem_id, len(rollout.steps), votes, labels.labels, labels.reason))

    def is_final(self, labels: StepLabels) -> bool:
        """Return False where a judge abstained because its server failed: healed, it may answer."""
        return all(vote["abstained"] != FAILED_ALONE for vote in labels.evidence["votes"])

    def report(self) -> dict[str, Any]:
        """Return the `JudgeReport` on all responses labelled or recalled, as JSON values."""
        return self.judge_report().model_dump(mode="json")

    def judge_report(self) -> JudgeReport:
        """Return the report on all responses labelled or recalled."""
        return judge_report(self._judged, self.judges, self._how.judge_consensus, self._needed)

    def _vote(self, asking: Asking, judge: Judge, rollout: Rollout) -> Vote:
        return asking.vote(judge, self._prompt.render(rollout), len(rollout.steps))

    def _decide(self, rollout: Rollout, votes: Sequence[Vote]) -> StepLabels:
        agreed = consensus([vote.labels for vote in votes if vote.labels is not None], self._needed)
        evidence = {"votes": [vote.model_dump(mode="json") for vote in votes]}
        if agreed is None:
            labels = no_labels(f"fewer than {self._needed} of {len(votes)} judges voted", evidence)
        else:
            labels = StepLabels(agreed, evidence)
        self.recall(rollout, labels)
        return labels

    def _hopeless(self) -> ConfigError | None:
        """Return the error of a judge that has abstained on every one of enough responses."""
        if len(self._judged) < HOPELESS:
            return None
        for place, judge in enumerate(self.judges):
            if all(one.votes[place].labels is None for one in self._judged):
                votes = [one.votes[place] for one in self._judged]
                reasons = Counter(vote.abstained for vote in votes)
                counts = ", ".join(f"{count}: {reason}" for reason, count in reasons.most_common())
                return ConfigError(
                    f"judge {judge.name}: no valid answer to its first {len(votes)} responses ({counts}; last: "
                    f"{votes[-1].detail}); check judge_models, judge_prompt, judge_max_tokens and "
                    "judge_structured_output"
                )
        return None

    def _servers(self) -> list[Posts]:
        return list({id(judge.server): judge.server for judge in self.judges}.values())


def open_judges(settings: JudgeSettings, first_wait: float = 1.0) -> list[Judge]:
    """Return the judges of the settings; those of one model on one server share its client.

    Args:
        settings: who judges.
        first_wait: seconds before a failed request is first made again.

    Raises:
        ConfigError: a setting is missing or malformed, or the `openai` package is missing.
    """
    endpoints = settings.endpoints()
    servers: dict[Endpoint, Server] = {
        endpoint: Server(endpoint, first_wait=first_wait) for endpoint in dict.fromkeys(endpoints)
    }
    models = Counter(endpoint.model for endpoint in endpoints)
    seen: Counter[str] = Counter()
    judges = []
    for place, endpoint in enumerate(endpoints):
        seen[endpoint.model] += 1
        number = f"#{seen[endpoint.model]}" if models[endpoint.model] > 1 else ""
        judges.append(Judge(f"{endpoint.model}{number}", servers[endpoint], settings.judge_seed + place))
    return judges
