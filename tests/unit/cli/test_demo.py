"""`xstilts demo`: what its table claims."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from xstilts.cli import main, report_commands
from xstilts.config.draws import DRAWS
from xstilts.session import Session


@pytest.mark.parametrize(("seeds", "draws"), [("42", 0), ("1,2", 0), ("1,2,3", DRAWS)])
def test_intervals_take_three_seeds(seeds, draws, monkeypatch, tmp_path):
    asked = {}

    def report(_session, page, **how):
        asked.update(how, page=page)

    done = SimpleNamespace(scores=[SimpleNamespace(intermediate=name) for name in ("none", "a")])
    monkeypatch.setattr(Session, "demo", lambda _session, _seeds: done)
    monkeypatch.setattr(Session, "report", report)
    monkeypatch.setattr(report_commands, "_show", lambda _state, _result: None)
    with pytest.raises(SystemExit) as caught:
        main(["-q", "demo", "--seeds", seeds, "--html", str(tmp_path / "page.html")])
    assert not caught.value.code
    assert asked == {"page": tmp_path / "page.html", "labels": ["a", "none"], "draws": draws}
