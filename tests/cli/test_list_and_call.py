"""`meshproxy list` and `call`, on a file and on the URL of a running mesh."""

import json
import subprocess

import pytest
from tests.kit.light import light
from tests.kit.program import ENVIRONMENT, PROGRAM, serve, upstream


@pytest.fixture(scope="module")
def mesh_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("mesh") / "mesh.json"
    two = {"upstreams": {"basic": upstream("basic"), "other": light("--prompts", "p", "--resources", "other://x")}}
    file.write_text(json.dumps(two))
    return file


@pytest.fixture(scope="module")
def url(mesh_file):
    """It, running."""
    with serve(mesh_file, mesh_file.with_suffix(".log")) as mesh:
        mesh.await_settled()
        yield mesh.url


@pytest.fixture(params=["file", "url"], scope="module")
def target(request):
    """The same mesh, as a file and as a URL."""
    return request.getfixturevalue("mesh_file" if request.param == "file" else "url")


def test_everything_is_listed_under_its_public_name(target, meshproxy) -> None:
    ended = meshproxy("list", target)
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = {line.split()[0]: line for line in ended.stdout.splitlines() if line.startswith("  ")}
    assert lines["basic_echo"].split(maxsplit=1)[1] == "Returns the text"
    assert {"other_echo", "other_p", "basic://basic/text", "other://other/x", "basic://basic/item/{id}"} <= lines.keys()
    assert "2 templates" in ended.stdout


def test_one_kind_is_listed_as_json(target, meshproxy) -> None:
    ended = meshproxy("list", target, "prompts", "--json")
    found = json.loads(ended.stdout)
    assert list(found) == ["prompts"]
    assert "basic_greet" in [prompt["name"] for prompt in found["prompts"]]


def test_a_tool_is_called_with_values_of_the_types_that_it_wants(target, meshproxy) -> None:
    texts = meshproxy("call", target, "basic_echo", "text=3")
    assert (texts.returncode, texts.stdout, texts.stderr) == (0, "3\n", "")
    numbers = meshproxy("call", target, "basic_add", "a=3", "b=4.5", "--json")
    assert json.loads(numbers.stdout)["structuredContent"] == {"sum": 7.5}
    whole = meshproxy("call", target, "basic_add", '{"a": 1, "b": 2}')
    assert whole.stdout == "3\n"


def test_prompts_and_resources_are_used_by_name_and_uri(target, meshproxy) -> None:
    assert meshproxy("call", target, "basic_greet", "name=Bo").stdout.startswith("[user]\nGreet Bo")
    assert meshproxy("call", target, "basic://basic/text").returncode == 0
    assert "[basic://basic/binary, " in meshproxy("call", target, "basic://basic/binary").stdout
    expanded = meshproxy("call", target, "basic://basic/item/7", "--json")
    assert json.loads(expanded.stdout)["contents"][0]["uri"] == "basic://basic/item/7"


def test_a_tool_that_fails_is_an_error(target, meshproxy) -> None:
    ended = meshproxy("call", target, "basic_fail")
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", "error: it failed\n")
    refused = meshproxy("call", target, "basic_refuse")
    assert (refused.returncode, refused.stderr) == (1, "error: refused (code -32602)\n")


def test_a_question_is_declined_with_a_note(target, meshproxy) -> None:
    ended = meshproxy("call", target, "basic_ask", "message=Which one?")
    assert ended.stdout == '[{"action": "decline"}]\n'
    assert (
        "note: the upstream asks (elicitation/create): Which one?; the command line answers no questions"
        in ended.stderr
    )
    sampling = meshproxy("call", target, "basic_sample", "prompt=Think.")
    assert "note: the upstream asks (sampling/createMessage)" in sampling.stderr


def test_contents_that_are_no_text_are_described(url, meshproxy) -> None:
    assert meshproxy("call", url, "basic_media").stdout.startswith("[image, image/png, 70 bytes]\n[audio, ")
    assert "[link to basic://basic/item/7: " in meshproxy("call", url, "basic_links").stdout


def test_a_name_that_nobody_has_is_an_error_with_a_suggestion(target, meshproxy) -> None:
    ended = meshproxy("call", target, "basic_ecko")
    assert ended.returncode == 1
    assert ended.stderr == "error: there is no tool or prompt 'basic_ecko'; did you mean 'basic_echo'?\n"
    gone = meshproxy("call", target, "none://x/y")
    assert gone.returncode == 1
    assert gone.stderr.startswith("error: Resource not found: none://x/y")


def test_only_the_upstream_that_a_name_belongs_to_is_started(config, meshproxy, tmp_path) -> None:
    journal = tmp_path / "journal"
    file = config(a=light(), b=light("--journal", str(journal)))
    assert meshproxy("call", file, "a_echo").returncode == 0
    assert not journal.exists()
    assert meshproxy("call", file, "b_echo").returncode == 0
    assert journal.exists()


def test_a_long_name_finds_its_upstream_although_it_is_cut(config, meshproxy) -> None:
    space = "n" * 64
    file = config(a=light("--tools", "one", namespace=space))
    (tool,) = json.loads(meshproxy("list", file, "tools", "--json").stdout)["tools"]
    assert len(tool["name"]) == 64
    assert meshproxy("call", file, tool["name"]).returncode == 0


def test_an_upstream_that_is_down_leaves_a_listing_incomplete(config, meshproxy) -> None:
    ended = meshproxy("list", config(a=light(), b={"command": "nope"}))
    assert ended.returncode == 1
    assert "  a_echo" in ended.stdout
    assert ended.stderr.startswith("warning: b is down: the command 'nope' was not found on PATH")


def test_a_lazy_upstream_is_started_to_be_listed(config, meshproxy) -> None:
    assert "a_echo" in meshproxy("list", config(a=light(start="lazy"))).stdout


def test_a_url_that_is_no_mesh_is_told_in_one_line(shared_server, meshproxy) -> None:
    page = shared_server("web")
    ended = meshproxy("list", page.url)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"error: {page.url} is down: ")
    assert ended.stderr.count("\n") == 1


CREDENTIALS = "Bearer s3cret-token"


def test_headers_go_to_a_url_that_wants_to_know_who_calls(shared_server, meshproxy) -> None:
    url = shared_server("basic", "--authorization", CREDENTIALS).url
    refused = meshproxy("list", url, "--header", "Authorization: Bearer wrong")
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"error: {url} is down: it answered HTTP 401: it wants credentials: use --header")
    headers = ("--header", f"Authorization: {CREDENTIALS}", "--header", "X-Team:docs")
    listed = meshproxy("list", url, "tools", *headers)
    assert (listed.returncode, listed.stderr) == (0, "")
    called = meshproxy("call", url, "caller", "--json", *headers)
    seen = json.loads(called.stdout)["structuredContent"]["headers"]
    assert (seen["authorization"], seen["x-team"]) == (CREDENTIALS, "docs")


def test_what_a_header_holds_is_in_no_error(shared_server, meshproxy) -> None:
    body = f"Nobody here knows {CREDENTIALS}."
    page = shared_server("web", "--status", "400", "--type", "text/plain", "--body", body)
    ended = meshproxy("list", page.url, "--header", f"Authorization: {CREDENTIALS}")
    assert ended.stderr.endswith("Nobody here knows ***.\n")


def test_the_password_in_a_url_is_in_no_error(shared_server, meshproxy) -> None:
    body = "Nobody here has the password s3cret."
    page = shared_server("web", "--status", "400", "--type", "text/plain", "--body", body)
    ended = meshproxy("list", page.url.replace("//", "//me:s3cret@"))
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"error: {page.url.replace('//', '//me:***@')} is down: ")
    assert ended.stderr.endswith("Nobody here has the password ***.\n")


@pytest.mark.parametrize(
    "headers",
    [
        ["s3cret"],
        ["Authorization:"],
        [": s3cret"],
        ["Authorization s3cret: x"],
        ["Authorization: s3cret\nX: x"],
        ["Authorization: s3cret 日本"],
        ["X-Key: s3cret", "x-key: s3cret"],
        ["X-Key: s3cret", "X-Key: s3cret"],
    ],
)
@pytest.mark.parametrize("command", [["list"], ["call", "echo"], ["call", "echo", "s3cret"]], ids=" ".join)
def test_a_header_that_cannot_be_sent_is_refused_and_not_shown(meshproxy, command, headers) -> None:
    name, *rest = command
    options = [word for header in headers for word in ("--header", header)]
    ended = meshproxy(name, "http://127.0.0.1:1/mcp", *rest, *options)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("error: a --header must be 'Name: value'")
    assert ended.stderr.count("\n") == 1
    assert "s3cret" not in ended.stderr


def test_headers_are_for_urls_since_a_file_has_its_own(mesh_file, meshproxy) -> None:
    ended = meshproxy("list", mesh_file, "--header", "X-Key: s3cret")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "error: --header goes with a URL; in a config, each upstream has headers of its own\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["basic_echo", "text"], "'text' is neither KEY=VALUE nor a JSON object"),
        (["basic_echo", "{text}"], "the arguments are no JSON"),
        (["basic://basic/text", "a=b"], "is a URI, and a resource takes no arguments"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(mesh_file, meshproxy, arguments, complaint) -> None:
    ended = meshproxy("call", mesh_file, *arguments)
    assert ended.returncode == 2
    assert complaint in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_reader_that_leaves_is_no_error_message(url) -> None:
    line = [*PROGRAM, "list", url, "--json"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
