"""References to what a command prints and to what the platform's keyring keeps."""

import sys
import types

import pytest
from meshproxy.config import elsewhere
from meshproxy.config.elsewhere import printed_by
from meshproxy.config.load import load
from meshproxy.errors import ConfigError

PRINTS = f"{sys.executable} -c"


def config(folder, value):
    file = folder / "mesh.yaml"
    file.write_text(
        f"upstreams: {{a: {{url: 'http://a/', headers: {{A: {value!r}}}}}, b: {{url: 'http://b/', headers: {{A: {value!r}}}}}}}"
    )
    return file


def test_what_a_command_prints_is_a_secret_and_asked_for_once_a_load(tmp_path):
    (tmp_path / "say.py").write_text(
        "import pathlib; file = pathlib.Path('count'); file.write_text(file.read_text() + 'x' if file.exists() else 'x'); print('very-hidden')"
    )
    loaded = load(config(tmp_path, f"Bearer ${{cmd: {sys.executable} say.py}}"))
    assert [spec.headers["A"] for spec in loaded.enabled] == ["Bearer very-hidden"] * 2
    assert loaded.scrubber.scrub("a very-hidden b") == "a *** b"
    assert loaded.enabled[0].display()["headers"]["A"] == f"Bearer ${{cmd: {sys.executable} say.py}}"
    assert (tmp_path / "count").read_text() == "x"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "names no command"),
        ("'", "a quote without an end"),
        ("/nowhere/at/all x", "/nowhere/at/all cannot be started: No such file or directory"),
        (f'{PRINTS} "import sys; print(1234567); sys.exit(3)"', "ended with status 3; run it to see why"),
        (f"{PRINTS} \"import sys; sys.stdout.buffer.write(b'\\xff')\"", "not UTF-8"),
        (f"{PRINTS} \"print('x' * 2000000)\"", "more than"),
    ],
)
def test_a_command_that_says_nothing_of_use_is_told_why_and_not_what(tmp_path, line, why):
    with pytest.raises(ValueError, match=why) as refused:
        printed_by(line, tmp_path)
    assert "1234567" not in str(refused.value)


def test_a_command_that_hangs_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(elsewhere, "PATIENCE", 0.1)
    with pytest.raises(ValueError, match=r"took longer than 0\.1 s"):
        printed_by(f'{PRINTS} "import time; time.sleep(60)"', tmp_path)


def test_a_command_line_that_holds_a_secret_is_not_shown(tmp_path):
    loaded = load(config(tmp_path, "${cmd: echo --token=hush-hush-1}"))
    assert loaded.enabled[0].display()["headers"]["A"] == "${cmd:***}"


def test_a_mistake_in_a_reference_has_its_place(tmp_path):
    with pytest.raises(
        ConfigError, match=r"mesh\.yaml:1:\d+: upstreams\.a\.headers\.A: \$\{cmd:\.\.\.\}: /no/such cannot be started"
    ):
        load(config(tmp_path, "${cmd: /no/such}"))
    with pytest.raises(ConfigError, match=r"keyring:\.\.\.\}: must be a service and a name"):
        load(config(tmp_path, "${keyring:alone}"))


class KeyringError(Exception):
    pass


def test_what_the_keyring_keeps_is_a_secret(tmp_path, monkeypatch):
    kept = {("team/docs", "me"): "kept-hidden"}
    fake = types.SimpleNamespace(get_password=lambda service, name: kept.get((service, name)))
    monkeypatch.setitem(sys.modules, "keyring", fake)
    monkeypatch.setitem(sys.modules, "keyring.errors", types.SimpleNamespace(KeyringError=KeyringError))
    loaded = load(config(tmp_path, "${keyring:team/docs/me}"))
    assert loaded.enabled[0].headers["A"] == "kept-hidden"
    assert loaded.scrubber.scrub("kept-hidden") == "***"
    with pytest.raises(ConfigError, match="keyring set team/docs other"):
        load(config(tmp_path, "${keyring:team/docs/other}"))

    def locked(service, name):
        raise KeyringError("something secret")

    fake.get_password = locked
    with pytest.raises(ConfigError, match="cannot be asked") as refused:
        load(config(tmp_path, "${keyring:team/docs/me}"))
    assert "something secret" not in str(refused.value)


def test_without_the_package_it_is_said_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(ConfigError, match=r"install meshproxy\[keyring\]"):
        load(config(tmp_path, "${keyring:a/b}"))
