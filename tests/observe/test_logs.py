"""The log: its two forms, its level, its secrets, and what other libraries say through it."""

import json
import logging
import re
import sys
from datetime import datetime

import pytest
import structlog
from meshproxy.observe import logs


@pytest.fixture
def logged(capsys):
    """`logged()`: the lines on stderr since the last call. What logging was before is restored."""
    handlers, level = logging.root.handlers[:], logging.root.level

    def lines():
        return capsys.readouterr().err.splitlines()

    yield lines
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    logs.conceal(str)


def logger():
    return structlog.get_logger("test")


def test_an_event_is_a_line_of_text_for_people(logged) -> None:
    logs.configure()
    logger().info("upstream.up", upstream="files", tools=3, failed={}, kept=["a", "b c"])
    (line,) = logged()
    assert line[2::3][:2] == "::"
    assert line[9:] == "info    upstream.up  upstream=files tools=3 kept=a,'b c'"


def test_problems_stand_on_lines_of_their_own(logged) -> None:
    logs.configure()
    logger().error("config.rejected", problems=["mesh.yaml:1:1: a", "mesh.yaml:2:1: b"])
    first, *rest = logged()
    assert first.endswith("error   config.rejected")
    assert rest == ["    mesh.yaml:1:1: a", "    mesh.yaml:2:1: b"]


def test_an_event_is_an_object_for_programs(logged) -> None:
    logs.configure(form="json")
    logger().warning("upstream.down", upstream="files", reason="naïve")
    (line,) = logged()
    event = json.loads(line)
    assert list(event) == ["timestamp", "level", "event", "upstream", "reason"]
    assert event["timestamp"].endswith("Z")
    assert (event["level"], event["reason"]) == ("warning", "naïve")


def test_colours_are_for_terminals(logged) -> None:
    logs.configure(colours=True)
    logger().info("a")
    logs.configure()
    logger().info("a")
    coloured, plain = logged()
    assert "\x1b[32m" in coloured
    assert "\x1b" not in plain


def test_what_is_less_severe_than_the_level_is_not_written(logged) -> None:
    logs.configure("warning")
    for level in ("debug", "info", "warning", "error"):
        logger().log(logging.getLevelName(level.upper()), level)
    assert [line.split()[-1] for line in logged()] == ["warning", "error"]


def test_no_secret_is_written_wherever_it_stands(logged) -> None:
    logs.configure(form="json")
    logs.conceal(lambda text: text.replace("hunter2", "***"))
    try:
        int("hunter2")
    except ValueError:
        logger().exception("failed", deep={"hunter2": ["hunter2", (1, None, "hunter2")]}, path=ValueError("hunter2"))
    (line,) = logged()
    assert "hunter2" not in line
    assert json.loads(line)["deep"] == {"***": ["***", [1, None, "***"]]}
    assert json.loads(line)["exception"].endswith("with base 10: '***'")


def test_a_secret_that_looks_like_words_of_ours_leaves_the_form_of_a_line_alone(logged) -> None:
    logs.configure(form="json")
    # Any time has one of these.
    logs.conceal(lambda text: re.sub("[0-9]{2}|info|upstream", "***", text))
    logger().info("upstream.up", reason="info 12")
    event = json.loads(logged()[0])
    assert datetime.fromisoformat(event["timestamp"])
    assert (event["level"], event["event"], event["reason"]) == ("info", "upstream.up", "*** ***")


def test_control_characters_of_others_do_not_reach_a_terminal(logged) -> None:
    logs.configure()
    logger().info("upstream.stderr", line="\x1b[2Jgone\r")
    (line,) = logged()
    assert "\x1b" not in line
    assert r"\x1b[2Jgone\r" in line


def test_no_text_of_others_makes_a_line_of_its_own(logged) -> None:
    logs.configure()
    logger().info("upstream.log", data={"a\n12:00:00 error forged": ["b\nc"], "\x1b[2J": 1})
    logger().error("failed", exception="Traceback\n  a\x1b[2Jb\nlast")
    lines = [part for line in logged() for part in line.split("\n")]
    assert len(lines) == 5
    assert not any("\x1b" in line for line in lines)


def test_other_libraries_log_through_it_too(logged) -> None:
    logs.configure()
    logging.getLogger("asyncio").warning("slow %s", "callback")
    logging.getLogger("asyncio").info("chatter")
    try:
        int("x")
    except ValueError:
        logging.getLogger("library").critical("it failed", exc_info=True)
    first, second, *below = logged()
    assert first[9:] == "warning asyncio  message='slow callback'"
    assert second[9:] == "error   library  message='it failed'"
    assert below[-1].startswith("    ValueError: invalid literal")


def test_events_that_are_shown_elsewhere_are_left_out_for_a_while(logged) -> None:
    logs.configure()
    with logs.quiet("upstream.up"):
        logger().info("upstream.up")
        logger().info("config.reloaded")
    logger().info("upstream.up")
    assert [line.split()[-1] for line in logged()] == ["config.reloaded", "upstream.up"]


def test_a_log_that_nobody_reads_any_more_stops_nothing(logged, monkeypatch) -> None:
    logs.configure()

    class Broken:
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Broken())
    logger().info("still here")
