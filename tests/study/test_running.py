"""Arms as processes: skipped when done, resumed, named when they fail, ended when the run is left."""

from __future__ import annotations

import io
import os
import shlex
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from attnpo.errors import AttnPOError
from attnpo.progress import console_progress
from attnpo.study import ending
from attnpo.study.arms import ArmRun, Command, flags, training_arm
from attnpo.study.running import last_log_line, run_arms
from attnpo.study.worlds import GSM, TINYWORLD


@dataclass(frozen=True)
class Script(Command):
    """A command that is a line of Python."""

    code: str = ""

    def argv(self) -> list[str]:
        return [sys.executable, "-c", self.code]


def writes(path: Path, text: str = "done") -> str:
    return f"from pathlib import Path; Path({str(path)!r}).write_text({text!r})"


def arm(folder: Path, *codes: str, claim=None) -> ArmRun:
    """An arm whose n-th command is done once file n is there; an empty code writes it."""
    commands = tuple(
        Script(f"part{n}", {}, folder / str(n), code or writes(folder / str(n))) for n, code in enumerate(codes)
    )
    return ArmRun(folder.name, folder, commands, label=f"row/{folder.name}", claim=claim)


def run(arms, **settings):
    return run_arms(arms, settings.pop("jobs", 2), poll_seconds=0.01, **settings)


def test_commands_run_in_order_and_only_where_they_are_not_done(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    second.mkdir()
    (second / "0").write_text("before")
    copies = f"from pathlib import Path; f = Path({str(first)!r}); (f / '1').write_text((f / '0').read_text() + '!')"
    claimed = []
    arms = [
        arm(first, "", copies, claim=lambda: claimed.append("a")),
        arm(second, "raise SystemExit(3)", "", claim=lambda: claimed.append("b")),
    ]
    assert run(arms) == []
    assert (first / "1").read_text() == "done!"
    assert ((second / "0").read_text(), (second / "1").read_text()) == ("before", "done")
    assert sorted(claimed) == ["a", "b"]
    claimed.clear()
    assert run(arms) == []
    assert claimed == []


def test_threads_of_a_process(tmp_path):
    said = "import os; print(os.environ['OMP_NUM_THREADS'], os.environ['MKL_NUM_THREADS'])"
    for name, settings in (("a", {}), ("b", {"threads": 3})):
        run([arm(tmp_path / name, f"{writes(tmp_path / name / '0')}; {said}")], **settings)
    assert (tmp_path / "a" / "part0.out").read_text() == "1 1\n"
    assert (tmp_path / "b" / "part0.out").read_text() == "3 3\n"
    # Many small matrices gain nothing from more threads; a larger model shares the cores with what runs beside it.
    assert [TINYWORLD.threads(jobs, 8) for jobs in (1, 2, 8)] == [1, 1, 1]
    assert [GSM.threads(jobs, 8) for jobs in (1, 2, 3, 8, 16)] == [8, 4, 2, 1, 1]


def test_a_failure_is_named_and_the_others_go_on(tmp_path):
    bad = "import sys; print('loading'); print('no such model'); sys.exit(4)"
    arms = [arm(tmp_path / "bad", bad, ""), arm(tmp_path / "good", "", "")]
    (failure,) = run(arms, jobs=1, keep_going=True)
    log = tmp_path / "bad" / "part0.out"
    assert str(failure) == f"row/bad: part0 failed with exit code 4; see {log} (no such model)"
    assert not (tmp_path / "bad" / "1").exists()
    assert arms[1].done


def test_a_process_that_the_system_killed_is_told_as_such(tmp_path):
    killed = "import os, signal; print('loading', flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    (failure,) = run([arm(tmp_path / "big", killed)], keep_going=True)
    assert str(failure) == (
        "row/big: part0 was killed, as a system out of memory does; give fewer --jobs, or smaller micro-batches "
        f"(per_device_train_batch_size); see {tmp_path / 'big' / 'part0.out'} (loading)"
    )


def test_without_keep_going_the_first_failure_ends_the_others(tmp_path):
    pid = tmp_path / "pid"
    slow = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    waits = (
        f"import os, sys, time\nwhile not os.path.exists({str(pid)!r}): time.sleep(0.01)\ntime.sleep(0.1)\nsys.exit(1)"
    )
    with pytest.raises(AttnPOError, match=r"^row/bad: part0 failed with exit code 1; see .*part0.out \(no output\)$"):
        run([arm(tmp_path / "slow", slow), arm(tmp_path / "bad", waits), arm(tmp_path / "later", "")])
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    assert not (tmp_path / "later").exists()


def test_a_deadline_ends_what_runs_and_the_next_call_goes_on(tmp_path):
    first, second, third = (tmp_path / name for name in "abc")
    first.mkdir()
    (first / "0").write_text("before")
    # Waits without end at its first start; told by the mark that it left, it comes to its end at the second.
    waits = (
        "import os, pathlib, time; mark = pathlib.Path({mark!r})\n"
        "if mark.exists(): pathlib.Path({done!r}).write_text('gone on with')\n"
        "else: pathlib.Path({pid!r}).write_text(str(os.getpid())); mark.touch(); time.sleep(600)"
    ).format(mark=str(tmp_path / "mark"), pid=str(tmp_path / "pid"), done=str(second / "0"))
    arms = [arm(first, ""), arm(second, waits), arm(third, "")]
    while not (tmp_path / "mark").exists():  # a slow machine takes more than one call to start it
        assert run(arms, jobs=1, deadline=time.monotonic() + 0.5) == []
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert (first / "0").read_text() == "before"
    assert not third.exists()
    assert run(arms, jobs=1, deadline=time.monotonic() + 600) == []
    assert (second / "0").read_text() == "gone on with"
    assert arms[2].done


def test_what_hangs_at_a_deadline_is_killed_and_the_display_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(ending, "GRACE_SECONDS", 0.3)
    hangs = (
        "import pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"pathlib.Path({str(tmp_path / 'ready')!r}).touch(); time.sleep(600)"
    )
    while not (tmp_path / "ready").exists():  # a slow machine takes more than one call to start it
        text = io.StringIO()
        with console_progress(Console(file=text, width=200)) as progress:
            assert run([arm(tmp_path / "a", hangs)], progress=progress, deadline=time.monotonic() + 0.5) == []
    assert "row/a: part0 was killed" in text.getvalue()
    assert "the same command goes on from what it had saved" in text.getvalue()


@dataclass(frozen=True)
class Pressed(Script):
    """A command during whose start Ctrl-C comes, which ends another one; `folder` is where they meet."""

    folder: Path = Path()

    def argv(self) -> list[str]:
        os.kill(os.getpid(), signal.SIGINT)
        (self.folder / "pressed").touch()
        while not (self.folder / "ended").exists():
            time.sleep(0.01)
        time.sleep(0.2)
        return super().argv()


def test_a_command_that_an_interrupt_of_all_ends_has_not_failed(tmp_path, heard):
    ends = (
        f"import pathlib, time; folder = pathlib.Path({str(tmp_path)!r})\n"
        "while not (folder / 'pressed').exists(): time.sleep(0.01)\n"
        "(folder / 'ended').touch(); raise SystemExit(1)"
    )
    first = tmp_path / "a"
    parts = (
        Script("part0", {}, first / "0", writes(first / "0")),
        Pressed("part1", {}, first / "1", writes(first / "1"), tmp_path),
    )
    with pytest.raises(KeyboardInterrupt):
        run([ArmRun("a", first, parts, label="a"), arm(tmp_path / "b", ends), arm(tmp_path / "later", "")])
    assert not (tmp_path / "later").exists()


def test_after_a_deadline_nothing_is_begun(tmp_path):
    assert run([arm(tmp_path / "a", "")], deadline=time.monotonic() - 1) == []
    assert not (tmp_path / "a").exists()


def test_no_more_side_by_side_than_asked_for(tmp_path):
    (tmp_path / "busy").mkdir()
    code = (
        "import os, time; d = {busy!r}; open(os.path.join(d, {name!r}), 'w').close(); time.sleep(0.05); "
        "open({done!r}, 'w').write(str(len(os.listdir(d)))); os.remove(os.path.join(d, {name!r}))"
    )
    names = [f"a{i}" for i in range(5)]
    arms = [
        arm(tmp_path / n, code.format(busy=str(tmp_path / "busy"), name=n, done=str(tmp_path / n / "0"))) for n in names
    ]
    run(arms, jobs=2)
    assert max(int((tmp_path / n / "0").read_text()) for n in names) <= 2


def test_the_last_whole_line_of_a_log(tmp_path):
    log = tmp_path / "log.jsonl"
    assert last_log_line(log) is None
    log.write_text('{"step": 1}\n{"step": 2}\n{"ste')
    assert last_log_line(log) == {"step": 2}


def test_settings_as_flags():
    assert flags({"lr": 0.1, "on": True, "method_settings": {"limits": [1, 2]}}) == [
        "--lr", "0.1", "--on", "True", "--method_settings", '{"limits": [1, 2]}',
    ]  # fmt: skip


def test_an_arm_of_quickstart(tmp_path):
    made = training_arm(TINYWORLD, "tlmre", tmp_path / "run" / "tlmre", max_steps=32, seed=7, num_eval=50, heads=None)
    train, evaluate = made.commands
    assert made.label == "run/tlmre"
    assert (train.settings["schedule_steps"], train.settings["seed"], train.settings["problems_seed"]) == (8, 7, 7)
    assert "heads" not in train.settings
    assert (evaluate.settings["model"], evaluate.settings["num_problems"]) == (tmp_path / "run" / "tlmre", 50)


@dataclass(frozen=True)
class Failing(Command):
    """A command with settings that ends at once."""

    def argv(self) -> list[str]:
        return [sys.executable, "-c", "raise SystemExit(2)", *super().argv()[3:]]


def test_the_command_beside_the_results_can_be_pasted_into_a_shell(tmp_path):
    command = Failing("train", {"method_settings": {"limits": [1, 2]}}, tmp_path / "a" / "state")
    with pytest.raises(AttnPOError, match=r"^a: train failed with exit code 2"):
        run([ArmRun("a", tmp_path / "a", (command,), label="a")])
    line = (tmp_path / "a" / "train.command.txt").read_text()
    assert shlex.split(line) == ["attnpo", "train", "--method_settings", '{"limits": [1, 2]}']


def test_an_evaluation_whose_engine_went_away_is_gone_on_with(tmp_path):
    file = tmp_path / "evaluation.json"
    file.write_text('{"name": "a", "complete": false}')
    whole = writes(file, '{"complete": true}')
    arms = [ArmRun("a", tmp_path, (Script("evaluate", {}, file, whole),), label="row/a")]
    assert not arms[0].done
    run(arms)
    assert arms[0].done
    assert file.read_text() == '{"complete": true}'
