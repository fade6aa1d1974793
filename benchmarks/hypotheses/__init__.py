"""Credits that were asked whether they move the frontier, and do not as far as seen: methods outside the library.

    attnpo train --method benchmarks.hypotheses.split:SplitCredit …

from the project's folder. docs/hypotheses.md says what each is and what became of it.
"""
