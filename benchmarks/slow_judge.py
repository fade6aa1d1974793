"""A verifier that takes its time: 20 ms an answer (`SLOW_JUDGE_SECONDS`), then what `exact` says."""

from __future__ import annotations

import os
import time

from attnpo.think import final_answer
from attnpo.verification.exact import answer_text


def judge(response: str, solution: str) -> bool:
    """Whether the answer is the solution's text, after a while."""
    time.sleep(float(os.environ.get("SLOW_JUDGE_SECONDS", "0.02")))
    answer = final_answer(response)
    return answer is not None and answer_text(answer) == answer_text(solution)
