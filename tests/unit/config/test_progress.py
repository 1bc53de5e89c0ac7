"""A bar keeps its width beside a long text on a narrow terminal."""

from __future__ import annotations

import io

from rich.console import Console

from xstilts.config.progress import BAR, Progress, fitted


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_long_text_leaves_room_for_the_bar(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    with Progress("evaluating") as progress:
        progress("fuse(mnli/seq_bn, qqp/seq_bn, hellaswag/seq_bn) tatoeba sw searching", 0.5)
        rows = progress._bar.get_renderable()
        shown = io.StringIO()
        Console(file=shown, width=80).print(rows)
    (line,) = shown.getvalue().splitlines()
    assert line.startswith("evaluating: fuse(") and "…" in line
    assert "sw searching" in line
    assert line.count("━") == BAR // 2  # half is done


def test_the_middle_is_left_out():
    assert fitted("abcdefghij", 10) == "abcdefghij"
    assert fitted("abcdefghij", 6) == "abc…ij"
