import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproxy.config.env import Literal, escape, interpolate, parse, referenced_files


@given(st.text())
def test_an_escaped_text_stands_for_itself(tmp_path_factory, text):
    found = interpolate(escape(text), tmp_path_factory.getbasetemp(), {})
    assert (found.value, found.errors, found.secrets) == (text, (), ())


@given(st.text(alphabet="$\\{}:-AB env file/\n"))
def test_any_text_is_taken_apart_without_a_loss(text):
    parts = list(parse(text))
    whole = "".join(escape(part.text) if isinstance(part, Literal) else part.written for part in parts)
    assert whole.replace("$$", "$") == text.replace("$$", "$")


@given(st.text(), st.text(), st.text())
def test_what_a_variable_holds_is_not_interpolated_again(tmp_path_factory, before, value, after):
    found = interpolate(f"{escape(before)}${{V}}{escape(after)}", tmp_path_factory.getbasetemp(), {"V": value})
    assert found.value == before + value + after


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("${A}", "a"),
        ("${env:A}", "a"),
        ("x${A}y${B:-b}z", "xaybz"),
        ("${EMPTY}", ""),
        ("${EMPTY:-full}", "full"),
        ("${NONE:-}", ""),
        ("${NONE:-a:-b}", "a:-b"),
        ("${NONE:-http://x:1/$y}", "http://x:1/$y"),
        ("${NONE:-$$5}", "$5"),
        ("${env:NONE:-x}", "x"),
        ("$$", "$"),
        ("$${A}", "${A}"),
        ("$$${A}", "$a"),
        ("$A $5 ^a$", "$A $5 ^a$"),
        ("a}", "a}"),
        ("{A}", "{A}"),
    ],
)
def test_references_are_replaced(tmp_path, written, value):
    found = interpolate(written, tmp_path, {"A": "a", "EMPTY": ""})
    assert (found.value, found.errors) == (value, ())


@pytest.mark.parametrize(
    ("written", "error"),
    [
        ("${NONE}", "environment variable NONE is not set; set it, or give a default: ${NONE:-...}"),
        ("${env:NONE}", "environment variable NONE is not set"),
        ("${}", "is no reference"),
        ("${A B}", "is no reference"),
        ("${A-b}", "is no reference"),
        ("${1}", "is no reference"),
        ("${input:key}", "is no reference"),
        ("${file:}", "names no file"),
        ("${A", "no closing brace"),
        ("${A:-${B}}", "do not nest"),
        ("${file:nowhere}", "does not exist"),
        ("${file:.}", "is a directory"),
        ("${file:/dev/null}", "is not a regular file"),
    ],
)
def test_what_cannot_be_replaced_is_an_error_that_says_why(tmp_path, written, error):
    (found,) = interpolate(written, tmp_path, {"A": "a"}).errors
    assert error in found


def test_every_error_of_a_text_is_found(tmp_path):
    assert len(interpolate("${X} ${Y} ${}", tmp_path, {}).errors) == 3


def test_a_file_is_read_relative_to_the_config_and_is_a_secret(tmp_path):
    (tmp_path / "token").write_bytes(b"\xef\xbb\xbfs3cret line\n\n")
    found = interpolate("a ${file:token} b", tmp_path, {})
    assert found.value == "a s3cret line b"
    assert found.secrets == ("s3cret line",)
    assert interpolate(f"${{file:{tmp_path / 'token'}}}", tmp_path / "elsewhere", {}).value == "s3cret line"


def test_a_file_at_home_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "token").write_text("abc")
    assert interpolate("${file:~/token}", tmp_path / "x", {}).value == "abc"
    assert "~nobody-of-this-name" in interpolate("${file:~nobody-of-this-name/x}", tmp_path, {}).errors[0]


def test_a_file_that_is_no_text_or_too_large_is_refused_without_being_quoted(tmp_path):
    (tmp_path / "binary").write_bytes(b"secret\xff")
    (tmp_path / "large").write_bytes(b"x" * (1 << 20) + b"y")
    (binary,) = interpolate("${file:binary}", tmp_path, {}).errors
    (large,) = interpolate("${file:large}", tmp_path, {}).errors
    assert "not UTF-8" in binary
    assert "secret" not in binary
    assert "larger" in large


def test_variables_whose_names_say_so_are_secrets(tmp_path):
    environ = {"API_KEY": "one", "GITHUB_TOKEN": "two", "HOME": "three", "MONKEY": "four", "db_password": "five"}
    found = interpolate(" ".join(f"${{{name}}}" for name in environ), tmp_path, environ)
    assert found.secrets == ("one", "two", "five")


def test_what_looks_like_a_secret_is_one_whatever_its_variable_is_called(tmp_path):
    environ = {"A": "ghp_0123456789abcdefghij", "B": "postgres://me:hunter2@host/db", "C": "files"}
    found = interpolate("${A} ${B} ${C}", tmp_path, environ)
    assert found.secrets == ("ghp_0123456789abcdefghij", "hunter2")


def test_the_files_that_a_text_refers_to_are_found_even_if_it_is_broken(tmp_path):
    text = "a: [${file:one}\n\tb: ${file:/abs/two} $${file:three} ${file:one} ${file:}"
    assert [str(path) for path in referenced_files(text, tmp_path)] == [str(tmp_path / "one"), "/abs/two"]
