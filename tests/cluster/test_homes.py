"""Whose a request is, by what its client sends back."""

import json

import pytest
from meshproxy.cluster.home import bare, here, home_of, named, settle
from meshproxy.cluster.homes import home_in_body, home_in_head


@pytest.fixture
def name():
    settle("000here")
    yield "000here"
    settle("")


def head(method: str = "POST", path: str = "/mcp", query: bytes = b"", **headers: str) -> tuple[str, bool]:
    raw = [(key.replace("_", "-").encode(), value.encode()) for key, value in headers.items()]
    return home_in_head({"method": method, "path": path, "query_string": query, "headers": raw})


def body(**params: object) -> str:
    return home_in_body(json.dumps({"params": params}).encode())


def test_a_process_that_serves_alone_has_no_name() -> None:
    assert (named("x"), bare("x"), home_of("x")) == ("x", "x", "")


def test_what_a_process_gave_out_leads_back_to_it(name) -> None:
    assert here() == name
    assert named("x") == "000here~x"
    assert bare("000here~x") == "x"
    assert (bare("x"), bare("001there~x")) == ("", "")
    assert (home_of("000here~x"), home_of("001there~x"), home_of("../x~y"), home_of("x")) == ("", "001there", "", "")


def test_a_head_names_the_home_of_its_session(name) -> None:
    assert head(accept="a", mcp_session_id=" 001there~x ") == ("001there", True)
    assert head(mcp_session_id="000here~x") == ("", True)
    assert head("GET", accept="a") == ("", True)
    assert head() == ("", False)


def test_a_page_on_which_somebody_logs_in_is_its_makers(name) -> None:
    assert head("GET", "/login/001there~x") == ("001there", True)
    assert head("GET", "/login/000here~x") == ("", True)
    assert head("GET", "/login/callback", b"code=1&state=001there~x") == ("001there", True)
    assert head("GET", "/login/callback", b"state=000here~x") == ("", True)


def test_a_message_names_the_home_of_what_it_takes_up(name) -> None:
    assert body(requestState="001there~x") == "001there"
    assert body(requestState="000here~x") == ""
    assert body(taskId="001there~docs/1") == "001there"
    assert body(notifications={"taskIds": ["docs/1", 1, "001there~docs/1"]}) == "001there"
    assert body(notifications={"taskIds": 1}) == ""
    assert body(notifications=1, x="taskId\\u") == ""
    assert body(arguments={"taskId": 1}) == ""
    assert body(name="x") == ""


@pytest.mark.parametrize(
    "text", [b'"taskId"', b'["taskId"]', b'{"params":"taskId"}', b'{"params":["taskId",1,"taskId"']
)
def test_what_is_no_message_names_none(name, text) -> None:
    assert home_in_body(text) == ""


def test_a_member_is_found_however_it_is_spelled(name) -> None:
    assert home_in_body(b'{"params":{"request\\u0053tate":"001there~x"}}') == "001there"
