"""The pictures of the README: a trace with its steps shaded, beside the frontier or alone, out of a run's report.

    python benchmarks/overview_picture.py --report runs/quickstart/report.html --output docs/overview.png
    python benchmarks/overview_picture.py --report runs/quickstart-gsm/report.html --output docs/gsmworld.png --alone

Needs Chromium.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

STYLE = """<style>
body > :not(main), .bar, main > section:not(#traces, #frontier) { display: none !important }
#traces .lead, #traces .tabs, .case ~ .case, #frontier figure ~ * { display: none !important }
.at-wide { display: none !important }
.at-narrow { display: block !important; max-width: 620px }
.case .column:not(:first-child, :last-child) { display: none }
main { display: grid; grid-template-columns: 1.35fr 1fr; gap: 40px; max-width: none; padding: 0 32px }
main section { margin: 0; border: 0; padding-top: 8px }
#traces { order: -1 }
</style>"""
ALONE = """<style>
#frontier, .signals, #traces > h2, .case ~ p { display: none !important }
main { grid-template-columns: 1fr !important }
</style>"""
"""One trace over the whole width, as the heads shade it."""
BROWSER = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=Path, default=Path("runs/quickstart/report.html"), help="page of a run")
    parser.add_argument("--output", type=Path, default=Path("docs/overview.png"), help="where the picture goes")
    parser.add_argument("--alone", action="store_true", help="the trace alone")
    parser.add_argument("--size", help="width and height in pixels; 1500,900, or 900,1100 alone")
    arguments = parser.parse_args()
    browser = shutil.which("chromium") or parser.error("chromium is not installed")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        text = arguments.report.read_text(encoding="utf-8")
        style = STYLE + ALONE if arguments.alone else STYLE
        page.write_text(text.replace("</head>", style + "</head>"), encoding="utf-8")
        size = arguments.size or ("900,1100" if arguments.alone else "1500,900")
        picture = f"--screenshot={arguments.output.resolve()}"
        where = [f"--user-data-dir={folder}/profile", f"--window-size={size}", picture, page.as_uri()]
        subprocess.run([browser, *BROWSER, *where], check=True, capture_output=True)
    print(f"written to {arguments.output}")


if __name__ == "__main__":
    main()
