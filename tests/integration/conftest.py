from __future__ import annotations

import json

import pytest

from xstilts.cli import main


@pytest.fixture(scope="session")
def small_spec():
    from xstilts.sandbox.world import SandboxSpec

    return SandboxSpec(
        train_rows=120, dev_rows=30, test_rows=30, bitext_rows=30, text_rows=60, pretraining_steps=4
    )


@pytest.fixture(scope="session")
def small_cache(small_spec, tmp_path_factory):
    """A cache that holds a small sandbox world."""
    from xstilts import sandbox

    folder = tmp_path_factory.mktemp("cache")
    sandbox.ensure_world(folder, small_spec)
    return folder


@pytest.fixture(scope="module")
def home(small_cache, small_spec, tmp_path_factory):
    """A home with the small world in place of the default one; the cache is `home / "cache"`."""
    from xstilts import sandbox

    folder = tmp_path_factory.mktemp("home")
    (folder / "cache").symlink_to(small_cache)
    real = sandbox.ensure_world
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XSTILTS_HOME", str(folder / "home"))
        patch.setenv("XSTILTS_CACHE", str(folder / "cache"))
        patch.setattr(
            sandbox,
            "ensure_world",
            lambda cache, chosen=None, progress=None: real(cache, chosen or small_spec, progress),
        )
        yield folder


@pytest.fixture
def run(home, capsys):
    def call(*arguments, code=0, as_json=False):
        """Run a command in the sandbox; its JSON, or the error it must end in: text or JSON."""
        as_json = as_json or not code
        with pytest.raises(SystemExit) as caught:
            main(["--world", "sandbox", "-q", *(["--json"] if as_json else []), *arguments])
        output = capsys.readouterr()
        assert (caught.value.code or 0) == code, output.err
        if not code:
            return json.loads(output.out)
        assert output.out == ""
        return json.loads(output.err) if as_json else output.err

    return call
