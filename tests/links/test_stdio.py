"""Links to programs, against real processes, on both event loops."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
from meshproxy.errors import AnswerLost, AnswerTooLarge, RpcError, UpstreamUnavailable
from meshproxy.links import kin
from meshproxy.links.stdio import StdioEndpoint
from meshproxy.links.warden import kill_all
from meshproxy.wire.codec import Raw, loads, opened
from meshproxy.wire.protocol import Era
from tests.kit.links import CAPABILITIES, CLIENT, Calls, Listens, call, connect, scripted, seen
from tests.kit.places import ROOT
from tests.kit.processes import children, is_alive, nothing_left
from tests.kit.running import command
from tests.kit.waiting import DEADLINE, eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
async def listener():
    return Listens()


@pytest.fixture
async def link(listener):
    endpoint = scripted()
    async with nothing_left():
        made = await connect(endpoint, listener)
        yield made
        await made.aclose()
        assert endpoint.statistics() == {"pids": []}


def text(result):
    return result["content"][0]["text"]


def methods(messages):
    return [message.get("method") for message in messages]


def is_gone(pid):
    """Whether a process, or a group by its negative id, has no member left; init may take a moment to bury them."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


# Calls.


async def test_answers_find_their_requests_in_any_order(link):
    async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as group:
        tasks = [group.create_task(call(link, "hold", n=20, word=str(number))) for number in range(20)]
    assert [text(task.result()) for task in tasks] == [str(number) for number in range(20)]
    assert not link.calls


async def test_answers_to_nobody_and_lines_that_are_no_messages_cost_nothing(link, listener):
    assert text(await call(link, "strange")) == "fine"
    assert text(await call(link, "echo", a=1)) == '{"a": 1}'
    assert not listener.closed


async def test_an_error_is_handed_on_as_it_came(link):
    with pytest.raises(RpcError) as raised:
        await call(link, "error")
    assert (raised.value.code, raised.value.message, opened(raised.value.data)) == (-5, "no", {"why": [1, None]})


async def test_an_answer_that_is_neither_result_nor_error_ends_its_call_at_once(link):
    with pytest.raises(AnswerLost, match="cannot be read"):
        await call(link, "broken")
    assert link.is_open


@pytest.mark.parametrize("size", [0, 1, 65_536, 5_000_000, 64 * 1024 * 1024])
async def test_lines_may_be_of_any_length(link, size):
    raw = await link.request("tools/call", {"name": "big", "arguments": {"size": size}})
    assert len(loads(raw)["content"][0]["text"]) == size


async def test_a_large_request_arrives_whole(link):
    words = "ä" * 3_000_000
    assert json.loads(text(await call(link, "echo", words=words))) == {"words": words}


async def test_an_answer_may_come_byte_by_byte(link):
    assert (await call(link, "slowly"))["word"] == "täglich"


async def test_a_message_stays_one_line_whatever_blanks_came_with_it(link):
    pretty = Raw(b'{\r\n  "a": "x\\ny",\n\n  "b": [\r1 ]\n}')
    answer = await link.request("tools/call", {"name": "echo", "arguments": pretty})
    assert json.loads(loads(answer)["content"][0]["text"]) == {"a": "x\ny", "b": [1]}


async def test_progress_reaches_the_call_that_asked_for_it_in_order_and_before_its_answer(link, listener):
    wants, does_not = Calls(wants_progress=True), Calls()
    other = asyncio.create_task(call(link, "hold", Calls(wants_progress=True), n=2, word=""))
    token = json.loads(text(await call(link, "progress", wants, n=10_000)))
    assert [told[1]["progress"] for told in wants.told] == list(range(10_000))
    assert {told[1]["progressToken"] for told in wants.told} == {token}
    assert json.loads(text(await call(link, "progress", does_not, n=3))) is None
    assert not does_not.told
    assert not listener.told
    await call(link, "hold", n=2, word="")
    await other


async def test_a_program_that_never_stops_talking_is_read_in_turns_with_everything_else(link, listener):
    """It says much at once, of which nothing is lost, and between any two parts of it the loop does other work."""
    turns = []

    def told(*_):
        turns.append(len(turns))
        asyncio.get_running_loop().call_soon(lambda: others.append(len(turns)))

    others: list[int] = []
    wants = Calls(wants_progress=True)
    wants.on_notification = told
    await call(link, "progress", wants, n=5_000)
    assert len(turns) == 5_000
    # What others do next is done while most of it is still to come, and again and again.
    await eventually(lambda: len(others) == 5_000)
    assert max(count - place for place, count in enumerate(others)) < 100
    assert text(await call(link, "echo", a=1)) == '{"a": 1}'


async def test_what_belongs_to_no_call_that_can_be_known_goes_to_the_listener(link, listener):
    mine = Calls()
    await call(link, "log", mine)
    assert listener.told == [("notifications/message", {"level": "info", "data": 1})]
    assert not mine.told


async def test_a_receiver_that_fails_does_not_cost_the_connection(link, listener):
    def fail(*_):
        raise ZeroDivisionError

    listener.on_notification = fail
    assert text(await call(link, "log")) == "logged"


async def test_a_call_that_is_given_up_is_cancelled_at_the_upstream(link):
    task = asyncio.create_task(call(link, "silent"))
    await eventually(lambda: link.calls)
    (request_id,) = link.calls
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not link.calls
    assert {"requestId": request_id, "reason": "the caller gave it up"} in [m.get("params") for m in await seen(link)]


async def test_a_call_that_takes_too_long_is_lost_and_cancelled_at_the_upstream(link):
    with pytest.raises(AnswerLost, match=r"no answer within 0\.05 s"):
        await call(link, "silent", Calls(timeout=0.05))
    assert "notifications/cancelled" in methods(await seen(link))


async def test_calls_under_way_are_visible_in_order(link):
    first, second = Calls(owner=1), Calls(owner=2)
    tasks = [asyncio.create_task(call(link, "hold", one, n=3, word="")) for one in (first, second)]
    await eventually(lambda: list(link.calls.values()) == [first, second])
    await asyncio.gather(*tasks, call(link, "hold", n=3, word=""))


async def test_notifications_are_sent_and_dropped_once_closed(link):
    await link.notify("notifications/roots/list_changed")
    await link.notify("notifications/x", {"a": 1})
    assert methods(await seen(link))[-3:-1] == ["notifications/roots/list_changed", "notifications/x"]
    await link.aclose()
    await link.notify("notifications/x")
    with pytest.raises(UpstreamUnavailable, match="closed"):
        await call(link, "echo")


# Questions.


async def test_a_question_is_answered(link, listener):
    listener.answer = {"action": "accept", "content": {"a": None}}
    answer = json.loads(text(await call(link, "ask")))
    assert answer == {"jsonrpc": "2.0", "id": "q1", "result": listener.answer}
    assert listener.asked == [("elicitation/create", {"message": "?"})]


async def test_a_refused_question_is_answered_with_the_error(link, listener):
    listener.answer = RpcError(-1, "no", {"a": 1})
    assert json.loads(text(await call(link, "ask")))["error"] == {"code": -1, "message": "no", "data": {"a": 1}}


async def test_a_defect_in_answering_is_told_without_its_details(link, listener):
    listener.answer = ZeroDivisionError("secret")
    error = json.loads(text(await call(link, "ask")))["error"]
    assert error["code"] == -32603
    assert "secret" not in error["message"]


async def test_a_question_whose_params_are_no_object_is_refused(link, listener):
    assert json.loads(text(await call(link, "ask_oddly")))["error"]["code"] == -32602
    assert not listener.asked


async def test_a_ping_is_answered_by_the_link(link, listener):
    assert json.loads(text(await call(link, "ask", method="ping"))) == {"jsonrpc": "2.0", "id": "q1", "result": {}}
    assert not listener.asked


async def test_a_question_that_the_upstream_takes_back_is_cancelled_and_not_answered(link, listener):
    listener.answer = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(call(link, "ask_and_cancel"))
    async with asyncio.timeout(DEADLINE):
        await listener.being_asked.wait()
        for nothing in (None, "q99", 5, [1]):
            await call(link, "cancel_question", id=nothing)
        assert not listener.cancelled.is_set()
        await call(link, "cancel_question", id="q2")
        await listener.cancelled.wait()
    await link.notify("notifications/hello")
    await task
    assert not [message for message in await seen(link) if message.get("id") == "q2"]


async def test_who_is_asked_hears_that_a_question_was_taken_back_before_its_call_ends(link, listener):
    listener.answer = asyncio.get_running_loop().create_future()
    ended = asyncio.get_running_loop().create_future()
    link.send("tools/call", {"name": "ask_and_cancel"}, None, lambda _: ended.set_result(listener.cancelled.is_set()))
    async with asyncio.timeout(DEADLINE):
        await listener.being_asked.wait()
        await call(link, "withdraw")
        assert await ended


async def test_questions_end_with_the_link(listener):
    async with nothing_left():
        link = await connect(scripted(), listener)
        listener.answer = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(call(link, "ask"))
        async with asyncio.timeout(DEADLINE):
            await listener.being_asked.wait()
            await link.aclose()
            assert listener.cancelled.is_set()
        with pytest.raises(AnswerLost, match="closed"):
            await task
    assert not listener.closed


# The modern era.


async def test_a_modern_request_carries_its_envelope():
    link = await connect(scripted("modern"))
    try:
        assert (link.era, link.version) == (Era.MODERN, "2026-07-28")
        own = Calls(capabilities={"sampling": {}}, log_level="info", wants_progress=True)
        meta = Raw(b'{"vendor/key":1,"io.modelcontextprotocol/protocolVersion":"forged"}')
        await link.request("tools/call", {"name": "echo", "_meta": meta}, own)
        await call(link, "echo")
        first, second = (message["params"]["_meta"] for message in (await seen(link))[1:3])
        prefix = "io.modelcontextprotocol/"
        always = {prefix + "protocolVersion": "2026-07-28", prefix + "clientInfo": CLIENT}
        assert first == always | {
            "vendor/key": 1,
            prefix + "clientCapabilities": {"sampling": {}},
            prefix + "logLevel": "info",
            "progressToken": 2,
        }
        assert second == always | {prefix + "clientCapabilities": CAPABILITIES}
    finally:
        await link.aclose()


async def test_a_legacy_request_carries_nothing_of_the_modern_envelope(link):
    await call(link, "echo", Calls(capabilities={}, log_level="info"))
    assert "_meta" not in (await seen(link))[-2]["params"]


async def test_notifications_of_a_subscription_go_to_the_call_that_listens():
    listener, listens = Listens(), Calls()
    link = await connect(scripted("modern"), listener)
    try:
        task = asyncio.create_task(link.request("subscriptions/listen", {"notifications": {}}, listens))
        await eventually(lambda: link.calls)
        (request_id,) = link.calls
        await call(link, "subscribed", id=request_id)
        assert [told[1]["uri"] for told in listens.told] == ["a://b"]
        assert not listener.told
        await call(link, "end_subscription", id=request_id)
        with pytest.raises(AnswerLost, match="ended the subscription"):
            await task
    finally:
        await link.aclose()


# Ends.


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"status": 3}, "exited with status 3"),
        (
            {"status": 0, "words": "one\ntwo\n\x1b[31mthree\n"},
            "exited with status 0; its last words: one | two | [31mthree",
        ),
    ],
)
async def test_an_exit_in_the_middle_of_a_call_loses_its_answer_and_says_why(link, listener, arguments, words):
    with pytest.raises(AnswerLost, match="the process") as raised:
        await call(link, "exit", **arguments)
    assert words in raised.value.reason
    assert listener.closed == [raised.value.reason]
    assert not link.is_open
    with pytest.raises(UpstreamUnavailable) as refused:
        await call(link, "echo")
    assert refused.value.reason == raised.value.reason


async def test_what_a_program_said_last_is_heard_before_its_end_is_told(link, listener):
    assert text(await call(link, "exit", answer=True)) == "my last answer"
    async with asyncio.timeout(DEADLINE):
        await listener.ended.wait()


async def test_of_a_program_that_ends_after_much_talk_nothing_is_lost(link, listener):
    assert text(await call(link, "exit", answer=True, talks=3_000)) == "my last answer"
    async with asyncio.timeout(DEADLINE):
        await listener.ended.wait()
    assert [params["data"] for _, params in listener.told] == list(range(3_000))


async def test_a_program_that_closes_its_output_is_ended(link, listener):
    with pytest.raises(AnswerLost, match="closed its standard output"):
        await call(link, "close_stdout")
    await eventually(lambda: link.process.status is not None)


async def test_a_kill_from_outside_is_told_by_its_name(link, listener):
    os.kill(link.process.pid, 9)
    async with asyncio.timeout(DEADLINE):
        await listener.ended.wait()
    assert listener.closed == ["the process was ended by SIGKILL"]


async def test_a_message_over_the_bound_ends_the_link():
    listener = Listens()
    endpoint = scripted(max_message=1_000_000)
    link = await connect(endpoint, listener)
    assert len(text(await call(link, "big", size=900_000))) == 900_000
    with pytest.raises(AnswerLost, match="too large"):
        await call(link, "endless")
    await link.aclose()
    assert len(listener.closed) == 1


@pytest.mark.parametrize("size", [20_000, 200_000, 5_000_000])
@pytest.mark.parametrize("tool", ["big", "big_last"])
async def test_an_answer_that_is_larger_than_its_call_allows_fails_that_call_alone(link, listener, tool, size):
    held = asyncio.create_task(call(link, "hold", Calls(max_result=10_000), n=2, word="a"))
    with pytest.raises(AnswerTooLarge) as error:
        await call(link, tool, Calls(max_result=10_000), size=size)
    assert error.value.reason == "it is larger than 10kB: ask for less, or raise `limits.result` of this upstream"
    assert not error.value.retryable
    # Others have what they allow, and the link goes on.
    assert len(text(await call(link, tool, Calls(max_result=2 * size), size=size))) == size
    assert len(text(await call(link, tool, size=size))) == size
    await call(link, "hold", Calls(), n=2, word="b")
    assert text(await held) == "a"
    assert not listener.closed


async def test_an_answer_that_is_too_large_is_told_while_it_comes(link):
    with pytest.raises(AnswerTooLarge):
        await call(link, "big", Calls(max_result=100_000), size=30_000_000)
    lines = link.process._lines
    assert sum(map(len, lines._parts)) < 200_000


async def test_something_large_that_is_no_answer_costs_no_call_anything(link, listener):
    assert text(await call(link, "big_talk", Calls(max_result=1000), size=2_000_000)) == "said"
    assert not listener.closed


async def test_what_a_program_has_started_ends_with_it(link):
    child = int(text(await call(link, "child")))
    await link.aclose()
    await eventually(lambda: is_gone(child))


async def test_what_a_program_has_started_ends_when_it_exits_by_itself(link, listener):
    child = int(text(await call(link, "child")))
    with pytest.raises(AnswerLost):
        await call(link, "exit")
    await eventually(lambda: is_gone(child))


async def test_a_daemon_that_keeps_the_pipes_does_not_keep_the_link(link):
    child = int(text(await call(link, "child", daemon=True)))
    async with asyncio.timeout(DEADLINE):
        await link.aclose()
    assert not is_alive(child)


async def test_a_program_that_ignores_everything_is_killed_with_its_children():
    endpoint = StdioEndpoint("stubborn", *_split(command("stubborn")), {}, str(ROOT), shutdown=1.0)
    async with nothing_left():
        link = await connect(endpoint)
        (pid,) = endpoint.statistics()["pids"]
        async with asyncio.timeout(DEADLINE):
            await link.aclose()
    await eventually(lambda: is_gone(-pid))


async def test_a_close_that_is_cancelled_goes_on_to_its_end():
    endpoint = StdioEndpoint("stubborn", *_split(command("stubborn")), {}, str(ROOT), shutdown=1.0)
    async with nothing_left():
        link = await connect(endpoint)
        closing = asyncio.create_task(link.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing


async def test_the_end_of_a_program_is_noticed_where_the_system_has_no_descriptor_for_it(monkeypatch):
    def refuse(_pid):
        raise OSError

    monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)
    listener = Listens()
    async with nothing_left():
        link = await connect(scripted(), listener)
        with pytest.raises(AnswerLost, match="exited with status 3"):
            await call(link, "exit", status=3)
        await link.aclose()


async def test_closing_twice_and_at_once_is_closing():
    endpoint = scripted()
    async with nothing_left():
        link = await connect(endpoint)
        await asyncio.gather(link.aclose(), endpoint.aclose())
        await link.aclose()


async def test_an_endpoint_closes_the_links_that_are_left():
    endpoint = scripted()
    async with nothing_left():
        links = [await connect(endpoint) for _ in range(3)]
        assert len(endpoint.statistics()["pids"]) == 3
        await endpoint.aclose()
        assert not any(link.is_open for link in links)


async def test_everything_can_be_killed_at_once():
    listener = Listens()
    async with nothing_left():
        link = await connect(scripted(), listener)
        child = int(text(await call(link, "child")))
        kill_all()
        async with asyncio.timeout(DEADLINE):
            await listener.ended.wait()
        await link.aclose()
    await eventually(lambda: is_gone(child))


# Connecting.


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 5, 8, 50])
async def test_a_connect_that_is_cancelled_leaves_nothing(steps):
    endpoint = scripted("mute")
    async with nothing_left():
        task = asyncio.create_task(connect(endpoint))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert endpoint.statistics() == {"pids": []}


async def test_a_program_that_never_answers_is_given_up_with_a_reason():
    async with nothing_left():
        with pytest.raises(UpstreamUnavailable, match=r"^scripted: it did not answer initialize within 0\.3 s$"):
            await connect(scripted("mute"), timeout=0.3)


async def test_a_program_that_prints_what_is_no_message_is_told_so():
    with pytest.raises(UpstreamUnavailable) as raised:
        await connect(scripted("noisy"), timeout=1)
    assert raised.value.reason == (
        "it did not answer initialize within 1 s; it printed text on stdout that is not MCP: 'Welcome to our server!'; "
        "its last words on stderr: what is this?"
    )


async def test_a_program_that_prints_a_greeting_works():
    endpoint = StdioEndpoint("garbage", *_split(command("garbage")), {}, str(ROOT))
    link = await connect(endpoint)
    assert text(await call(link, "pid")) == str(link.process.pid)
    await link.aclose()


async def test_a_program_that_exits_at_once_is_told_with_its_last_words():
    endpoint = StdioEndpoint("dies", *_split(command("dies", "--status", "7")), {}, str(ROOT))
    with pytest.raises(UpstreamUnavailable, match="exited with status 7; its last words: no licence found"):
        await connect(endpoint)


@pytest.mark.parametrize(
    ("program", "cwd", "reason"),
    [
        (
            "no-such-program",
            None,
            "the command 'no-such-program' was not found on PATH: install it, or give its full path",
        ),
        ("./no-such-program", None, "the command './no-such-program' does not exist"),
        ("./pyproject.toml", str(ROOT), "the command './pyproject.toml' is not executable"),
        ("ls", "/no/such/place", "the working directory '/no/such/place' does not exist"),
        ("l\0s", None, None),
    ],
)
async def test_a_command_that_cannot_be_run_is_told_in_one_line(program, cwd, reason):
    endpoint = StdioEndpoint("x", program, (), {}, cwd)
    with pytest.raises(UpstreamUnavailable) as raised:
        await connect(endpoint)
    assert reason is None or raised.value.reason == reason
    assert "\n" not in raised.value.reason
    assert endpoint.statistics() == {"pids": []}


async def test_a_file_that_the_system_cannot_run_is_told_so(tmp_path):
    file = tmp_path / "program"
    file.write_bytes(b"\0\1\2")
    file.chmod(0o755)
    with pytest.raises(UpstreamUnavailable, match="cannot be run"):
        await connect(StdioEndpoint("x", str(file)))


async def test_the_environment_is_the_safe_part_of_ours_and_what_is_given(monkeypatch, tmp_path):
    monkeypatch.setenv("SECRET_TOKEN", "x")
    monkeypatch.setenv("SHELL", "() { :; }")
    link = await connect(scripted("legacy", env={"MINE": "1", "TERM": "vt100"}))
    seen = json.loads(text(await call(link, "environment")))
    await link.aclose()
    env = seen["env"]
    assert env.keys() - {"HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "MINE", "LC_CTYPE"} == {kin.MARK}
    assert (env["MINE"], env["TERM"], seen["cwd"], seen["argv"]) == ("1", "vt100", str(ROOT), ["legacy"])
    assert "SHELL" not in env
    assert env["PATH"] == f"{os.environ['PATH']}{os.pathsep}{Path(sys.executable).parent}"


async def test_standard_error_is_told_line_by_line():
    lines: list[str] = []
    link = await connect(scripted(stderr=lines.append))
    await call(link, "say", words="one\ntwo\r\n\nhalf")
    await call(link, "say", words=" done\n\xff\n" + "x" * 20_000 + "\nend")
    await link.aclose()
    assert lines[:5] == ["one", "two", "", "half done", "\ufffd"]
    assert [len(line) for line in lines[5:]] == [8192, 8192, 20_000 - 2 * 8192, 3]


# Eras.


@pytest.mark.parametrize(("mode", "era"), [("modern", Era.MODERN), ("legacy", Era.LEGACY), ("deaf", Era.LEGACY)])
async def test_the_era_is_found_and_remembered(mode, era):
    endpoint = scripted(mode)
    first = await connect(endpoint)
    assert (first.era, endpoint.known.era) == (era, era)
    again = await connect(endpoint)
    asked = methods(await seen(again))
    await endpoint.aclose()
    assert asked[:-1] == (["server/discover"] if era is Era.MODERN else ["initialize", "notifications/initialized"])


async def test_a_program_that_exits_at_the_probe_is_asked_without_it():
    async with nothing_left():
        endpoint = scripted("rude")
        link = await connect(endpoint)
        assert link.era is Era.LEGACY
        assert "server/discover" not in methods(await seen(link))
        await link.aclose()


@pytest.mark.parametrize(("mode", "wrong"), [("modern", Era.LEGACY), ("legacy", Era.MODERN)])
async def test_an_era_that_is_remembered_wrongly_is_found_anew(mode, wrong):
    endpoint = scripted(mode)
    endpoint.known.era = wrong
    link = await connect(endpoint)
    await link.aclose()
    assert endpoint.known.era == link.era != wrong


async def test_a_failure_forgets_the_era():
    endpoint = scripted("mute")
    endpoint.known.era = Era.MODERN
    with pytest.raises(UpstreamUnavailable):
        await connect(endpoint, timeout=0.1)
    assert endpoint.known.era is None


# Back-pressure.


async def test_requests_wait_while_the_program_does_not_read():
    endpoint = scripted("noread", shutdown=1.0)
    async with nothing_left():
        link = await connect(endpoint)
        first = asyncio.create_task(call(link, "echo", words="x" * 10_000_000))
        await eventually(lambda: link.calls)
        waiting = asyncio.create_task(call(link, "echo"))
        with pytest.raises(UpstreamUnavailable, match=r"has not read its input for 0\.1 s"):
            await call(link, "echo", Calls(timeout=0.1))
        assert len(link.calls) == 1
        cancelled = asyncio.create_task(call(link, "echo"))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.wait([cancelled])
        await link.aclose()
        with pytest.raises(AnswerLost):
            await first
        with pytest.raises(UpstreamUnavailable):
            await waiting


# What it is made of.


@pytest.mark.parametrize("use_uvloop", [False, True])
def test_the_end_of_the_loop_ends_what_nobody_closed(use_uvloop):
    async def main():
        link = await connect(scripted())
        return link.process.pid

    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop if use_uvloop else None) as runner:
        pid = runner.run(main())
    assert pid not in children()
    with pytest.raises(ProcessLookupError):
        os.killpg(pid, 0)


def _split(line: list[str]) -> tuple[str, tuple[str, ...]]:
    return line[0], tuple(line[1:])
