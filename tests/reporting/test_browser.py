"""The pages in headless Chromium: the script runs to its end, works, and nothing is requested."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from reproduced import measure, trained_row

from attnpo.reporting import render_trace_html, write_report
from attnpo.reporting.reproduction import method_table
from attnpo.reporting.reproduction.page import render_method_page
from attnpo.reporting.run_folder import load_run_folder

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on PATH")

# Presses what a person would press, then writes down what happened and every error on the way.
DRIVER = """
<script>
(() => {
  const log = {};
  const hidden = (s) => [...document.querySelectorAll(s)].map((e) => getComputedStyle(e).display === "none");
  const key = (e, k) => e.dispatchEvent(new KeyboardEvent("keydown", { key: k, bubbles: true }));
  const tabs = [...document.querySelectorAll('[role="tab"]')];
  if (tabs.length) {
    tabs[1].click();
    log.afterClick = hidden(".case").join();
    key(tabs[1], "ArrowRight");
    log.afterArrow = hidden(".case").join();
    key(tabs[2], "End"); key(tabs[3], "ArrowRight");
    log.afterWrap = hidden(".case").join();
    log.focused = document.activeElement.id;
    const chip = document.querySelector('.chip[data-method="tlmre"]');
    chip.click();
    log.chip = chip.getAttribute("aria-pressed");
    log.armHidden = hidden('[data-arm="tlmre"]').every(Boolean) && !hidden('tr[data-arm="attnpo"]').some(Boolean);
    chip.click();
    log.armBack = hidden('table.arms [data-arm="tlmre"]').some(Boolean);
    const before = getComputedStyle(document.body).backgroundColor;
    document.getElementById("theme").click();
    log.themeChanged = before !== getComputedStyle(document.body).backgroundColor;
  }
  const step = document.querySelector(".case:not([hidden]) .step, .single .step")
    || document.querySelector(".heat [data-tip]");
  step.dispatchEvent(new PointerEvent("pointermove", { bubbles: true, clientX: 40, clientY: 40 }));
  log.tip = document.getElementById("tip").textContent.split("\\n")[0];
  log.tipShown = !document.getElementById("tip").hidden;
  log.wide = document.documentElement.scrollWidth <= innerWidth;
  log.requests = performance.getEntriesByType("resource").length;
  log.ready = document.documentElement.dataset.ready;
  log.errors = window.__errors.join("|");
  const said = Object.entries(log).map(([k, v]) => `${k}=${v}`).join(";");
  document.documentElement.dataset.log = said;
  if (parent !== window) parent.postMessage(said, "*");
})();
</script>
"""
# A window is never narrower than 500 pixels; a frame is.
FRAME = """<!doctype html><body style="margin:0">
<script>addEventListener("message",(e)=>{document.documentElement.dataset.log=e.data;});</script>
<iframe src="%s" style="border:0;width:%dpx;height:900px"></iframe>"""
WATCH = '<script>window.__errors=[];addEventListener("error",(e)=>__errors.push(e.message));</script>'


def chromium(page: Path, tmp_path: Path, *arguments: str) -> str:
    profile = tmp_path / f"profile-{len(list(tmp_path.glob('profile-*')))}"
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--no-first-run", "--disable-dev-shm-usage",
        f"--user-data-dir={profile}", *arguments, page.as_uri(),
    ]  # fmt: skip
    environment = os.environ | {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def driven(html: str, tmp_path: Path, width: int, driver: str = DRIVER) -> dict[str, str]:
    page = tmp_path / "driven.html"
    page.write_text(html.replace("<style>", WATCH + "<style>", 1).replace("</body>", driver + "</body>"), "utf-8")
    if width < 500:
        frame = tmp_path / "frame.html"
        frame.write_text(FRAME % (page.as_uri(), width), "utf-8")
        page = frame
    dom = chromium(page, tmp_path, f"--window-size={max(width, 500)},900", "--virtual-time-budget=3000", "--dump-dom")
    found = re.search(r'data-log="([^"]*)"', dom)
    assert found, "the driver did not run to its end"
    return dict(part.split("=", 1) for part in found[1].split(";"))


@pytest.mark.parametrize("width", [1280, 390])
def test_report_works_in_a_browser(run_dir: Path, tmp_path: Path, width: int) -> None:
    log = driven(write_report(run_dir).read_text("utf-8"), tmp_path, width)
    assert log == {
        "afterClick": "true,false,true,true",
        "afterArrow": "true,true,false,true",
        "afterWrap": "false,true,true,true",
        "focused": "tab1",
        "chip": "false",
        "armHidden": "true",
        "armBack": "false",
        "themeChanged": "true",
        "tip": "step 1 · 9 tokens · plain",
        "tipShown": "true",
        "wide": "true",
        "requests": "0",
        "ready": "true",
        "errors": "",
    }


@pytest.mark.parametrize("width", [1280, 390])
def test_page_of_a_discovery_works(discovery_dir: Path, tmp_path: Path, width: int) -> None:
    log = driven(write_report(discovery_dir).read_text("utf-8"), tmp_path, width)
    assert log == {
        "tip": "layer 0, head 0",
        "tipShown": "true",
        "wide": "true",
        "requests": "0",
        "ready": "true",
        "errors": "",
    }


def test_page_of_one_hostile_response_works(run_dir: Path, tmp_path: Path) -> None:
    row = load_run_folder(run_dir).arms[0].traces[0]
    hostile = replace(row, prompt="<script>window.__errors.push('ran')</script><img src=x onerror=__errors.push(1)>")
    log = driven(render_trace_html(hostile), tmp_path, 500)
    assert (log["ready"], log["errors"], log["requests"], log["wide"]) == ("true", "", "0", "true")
    assert log["tip"] == "step 1 · 9 tokens · plain"


SORTING = """
<script>
(() => {
  const log = {};
  const table = document.querySelector("table.sortable");
  const order = () => [...table.tBodies[0].rows].map((row) => row.dataset.arm).join();
  const head = (n) => table.querySelectorAll("thead th")[n];
  log.before = order();
  head(2).querySelector("button").click();
  log.shortest = order() + " " + head(2).getAttribute("aria-sort");
  head(2).querySelector("button").click();
  log.longest = order() + " " + head(2).getAttribute("aria-sort");
  head(3).querySelector("button").click();
  log.best = order() + " " + head(2).hasAttribute("aria-sort");
  const chip = [...document.querySelectorAll(".chip")].find((c) => c.dataset.method.includes("sgrpo"));
  chip.click();
  const shown = (name) => [...document.querySelectorAll(`[data-arm="${name}"]`)]
    .some((e) => getComputedStyle(e).display !== "none");
  log.shown = ["sgrpo", "laser", "tlmre"].map(shown).join();
  log.requests = performance.getEntriesByType("resource").length;
  log.errors = window.__errors.join("|");
  document.documentElement.dataset.log = Object.entries(log).map(([k, v]) => `${k}=${v}`).join(";");
})();
</script>
"""


def test_the_table_of_methods_is_sorted_by_its_columns(tmp_path: Path) -> None:
    rows = [
        trained_row(tmp_path, "sgrpo", shorter=20),
        trained_row(tmp_path, "laser", shorter=60),
        trained_row(tmp_path, "tlmre", shorter=40),
    ]
    table = method_table(measure(tmp_path / "base", "base", 1), rows, ("tlmre",))
    page = render_method_page(table, "methods", {"command": "attnpo reproduce"})
    assert driven(page, tmp_path, 1280, SORTING) == {
        "before": "base,sgrpo,laser,tlmre",
        "shortest": "laser,tlmre,sgrpo,base ascending",
        "longest": "base,sgrpo,tlmre,laser descending",
        # The starting model has no score of its own.
        "best": "laser,tlmre,sgrpo,base false",
        "shown": "false,false,true",
        "requests": "0",
        "errors": "",
    }
