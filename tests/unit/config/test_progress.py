"""A bar and lines that say at once what is being done, and how long the rest takes."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from xstilts.config.progress import BAR, Progress, TimeLeft, clock_text, fitted, telling

TEXT = "fuse(mnli/seq_bn, qqp/seq_bn, hellaswag/seq_bn) tatoeba sw searching"


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def on_terminal(monkeypatch):
    monkeypatch.setattr("sys.stderr", Terminal())
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")


def bar_of(progress):
    shown = io.StringIO()
    Console(file=shown, width=80).print(progress._bar.get_renderable())
    (line,) = shown.getvalue().splitlines()
    return line


def test_a_long_text_leaves_room_for_the_bar_and_both_times(monkeypatch, clock):
    on_terminal(monkeypatch)
    with Progress("evaluating", clock=clock) as progress:
        clock.now += 5400.0
        progress(TEXT, 0.5)
        line = bar_of(progress)
    assert "evaluating: fuse(" in line and "…" in line
    assert "sw searching" in line
    assert line.count("━") == BAR // 2  # half is done
    assert line.split()[-2:] == ["1:30:00", "1:30:00"]
    assert len(line.rstrip()) <= 80


def test_a_bar_counts_and_turns_while_nothing_is_reported(monkeypatch, clock):
    on_terminal(monkeypatch)
    with Progress("evaluating", clock=clock) as progress:
        clock.now += 10.0
        progress("xnli de", 0.25)
        assert bar_of(progress).split()[-2:] == ["0:10", "0:30"]
        before = bar_of(progress)
        clock.now += 4.9
        after = bar_of(progress)
    assert after.split()[-2:] == ["0:15", "0:25"]
    assert after[0] != before[0]  # the spinner


def test_lines_come_at_once_then_less_often(capsys, clock):
    said = {}
    with Progress("mnli seq_bn", clock=clock) as progress:
        for second in range(400):
            if progress.wanted:
                progress(f"step {second}/400", second / 400)
            said[second] = capsys.readouterr().err
            clock.now += 1.0
    assert [second for second, line in said.items() if line] == [
        0,
        10,
        20,
        40,
        80,
        *range(140, 400, 60),
    ]
    assert said[0] == "mnli seq_bn: step 0/400 (0%)\n"
    assert said[140] == "mnli seq_bn: step 140/400 (35%, 4:20 left)\n"


def test_quiet_says_nothing(capsys, clock):
    with Progress("evaluating", quiet=True, clock=clock) as progress:
        assert not progress.wanted
        progress("xnli", 0.5)
    assert capsys.readouterr() == ("", "")


def test_a_run_that_goes_on_counts_only_its_own_steps(capsys, clock):
    progress = Progress("mnli", start=0.5, clock=clock)
    clock.now += 10.0
    progress("step 60/100", 0.6)  # a tenth in 10 s: four tenths are left
    assert capsys.readouterr().err == "mnli: step 60/100 (60%, 0:40 left)\n"


def test_the_time_left_follows_the_pace_of_the_later_half():
    pace = TimeLeft(0.0, 0.0)
    for second in range(1, 101):  # slow at first, as where a model is loaded
        pace.tell(float(second), 0.001 * second)
    for second in range(101, 301):
        pace.tell(float(second), 0.1 + 0.004 * (second - 100))
    # of 0.9 at 300 s the later half went by at 0.004 a second
    assert pace.left(300.0) == pytest.approx(0.1 / 0.004, rel=0.02)


def test_what_goes_by_before_anything_is_done_does_not_count():
    pace = TimeLeft(0.0, 0.0)
    pace.tell(60.0, 0.0)  # a model was loaded
    assert pace.left(60.0) is None
    pace.tell(70.0, 0.25)
    assert pace.left(70.0) == pytest.approx(30.0)


def test_the_time_left_grows_in_a_pause_that_is_reported():
    pace = TimeLeft(0.0, 0.0)
    for second in range(1, 101):
        pace.tell(float(second), 0.005 * second)
    assert pace.left(100.0) == pytest.approx(100.0, rel=0.02)
    for second in range(101, 201):  # a dev evaluation: no step is made
        pace.tell(float(second), 0.5)
    assert pace.left(200.0) > 100.0


def test_a_smaller_share_begins_another_work():
    pace = TimeLeft(0.0, 0.0)
    pace.tell(100.0, 0.9)
    pace.tell(101.0, 0.0)
    assert pace.left(101.0) is None
    pace.tell(111.0, 0.5)
    assert pace.left(111.0) == pytest.approx(10.0)


def test_times_as_text():
    assert [clock_text(seconds) for seconds in (None, 0.0, 59.6, 3725.0)] == [
        "-:--",
        "0:00",
        "1:00",
        "1:02:05",
    ]


def test_the_middle_is_left_out():
    assert fitted("abcdefghij", 10) == "abcdefghij"
    assert fitted("abcdefghij", 6) == "abc…ij"


def test_one_within_another_tells_its_texts_to_that_one(monkeypatch, clock):
    on_terminal(monkeypatch)
    with Progress("evaluating", clock=clock) as outer:
        outer("xnli de", 0.25)
        with Progress("backbone", clock=clock) as inner:
            inner("fetching", 0.9)
            assert "evaluating: backbone: fetching" in bar_of(outer)
            telling()("fetching more")
        line = bar_of(outer)
        assert "evaluating: fetching more" in line
        assert line.count("━") == BAR // 4  # its own share
    telling()("nobody listens")


def test_a_quiet_one_tells_nothing(capsys):
    with Progress("evaluating", quiet=True):
        telling()("fetching")
    assert capsys.readouterr().err == ""
