"""JSON with comments is read as it is written, in files that are called or begin so, and no comment becomes a value."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproxy.config.document import parse
from meshproxy.config.jsonc import is_json, without_comments
from meshproxy.config.load import load
from meshproxy.errors import ConfigError
from tests.config.test_document import json_values, values

SERVERS = '{"mcpServers": {"clock": {"command": "meshproxy", "args": [%s]}}}'
COMMENTS = [
    " ",
    "\n",
    "\t",
    "// a comment\n",
    '// "x": [1, \n',
    "/* a\n comment */",
    "/**/",
    '/* " */',
    "/* // */",
    "// /*\r\n",
]


def read(text):
    item, flaws = parse(text, is_json=True)
    assert not flaws
    return values(item)


def flaw(text):
    _, flaws = parse(text, is_json=True)
    found = flaws[0]
    return found.line, found.column, found.message


def tokens(value):
    """The tokens of a value's JSON, in order."""
    if isinstance(value, dict):
        yield "{"
        for number, (key, child) in enumerate(value.items()):
            yield from ([","] if number else [])
            yield json.dumps(key, ensure_ascii=False)
            yield ":"
            yield from tokens(child)
        yield "}"
    elif isinstance(value, list):
        yield "["
        for number, child in enumerate(value):
            yield from ([","] if number else [])
            yield from tokens(child)
        yield "]"
    else:
        yield json.dumps(value, ensure_ascii=False)


@given(json_values, st.data())
def test_comments_between_any_two_tokens_change_nothing(value, data):
    gaps = st.lists(st.sampled_from(COMMENTS), max_size=2).map("".join)
    text = data.draw(gaps)
    after_key = False
    for token in tokens([value]):
        # YAML wants a key and its colon on one line.
        gap = data.draw(gaps)
        text += (" /* k */ " if token == ":" and after_key else gap) + token
        after_key = token.startswith('"')
    item, flaws = parse(text + data.draw(gaps), is_json=True)
    if any(
        (0x7F <= ord(character) <= 0x9F and character != "\x85") or ord(character) in (0xFFFE, 0xFFFF)
        for character in text
    ):
        return  # YAML has no such characters, which is said
    if flaws and "more than 64 levels" in flaws[0].message:
        return
    assert not flaws
    assert values(item) == [value]


@given(st.text(alphabet='{}[]",:/*\\ \n\r\tab0', max_size=40))
def test_any_text_keeps_its_places(text):
    plain, complaint = without_comments(text)
    assert len(plain) == len(text)
    assert [plain[at] for at, character in enumerate(text) if character in "\r\n"] == [
        one for one in text if one in "\r\n"
    ]
    assert complaint is None or 0 <= complaint[0] < len(text)


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com/*",
        "a // b",
        "/* no */ comment",
        '\\" // "',
        "// ${TOKEN}",
        "C:\\dir\\",
        "\u2028\u2029\x85 //",
    ],
)
def test_what_looks_like_a_comment_in_a_text_is_text(text):
    for written in (json.dumps(text), json.dumps(text, ensure_ascii=False)):
        assert read(f'{{"a": [{written} // {written}\n]}} /* {written.replace("*/", "")} */') == {"a": [text]}


def test_a_comma_may_follow_the_last_member():
    assert read('{"a": [1, 2, /* three */], "b": {"c": true,},\n}') == {"a": [1, 2], "b": {"c": True}}


def test_what_follows_a_comment_is_where_it_stands_in_the_file():
    text = '{\n  /* one\n  two */ "a": 1, // three\r\n  /* ä */ "b": 2\n}'
    item, _ = parse(text, is_json=True)
    assert [(one.key_line, one.key_column, one.column) for one in item.mapping.values()] == [(3, 10, 15), (4, 11, 16)]


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ('{\n "a": 1 /* oh', (2, 9), "this comment has no end"),
        ('{"a": "b\n"}', (1, 7), "no closing quote on its line"),
        ('{"a": "b', (1, 7), "no closing quote on its line"),
        ('{"a": 1 / 2}', (1, 9), "a slash stands outside of a text"),
        ('{"a": sample // which\n}', (1, 7), "double quotes"),
        ('{"a": http://x}', (1, 11), "not valid JSON: expected ',' or '}', but got ':' while parsing an object"),
        ("{'a': 1}", (1, 2), "double quotes"),
        ("{a: 1}", (1, 2), "double quotes"),
        ('{"a": [one]}', (1, 8), "double quotes"),
        ('{"a": 010}', (1, 7), "double quotes"),
        ('{"a": True}', (1, 7), "JSON writes this true"),
        ('{"a": }', (1, 2), "has no value"),
        ('{"a" // b\n}', (1, 2), "has no value"),
        ('{"a": 1 // b\n "c": 2}', (2, 5), "not valid JSON: expected ',' or '}'"),
        ('{"a": [1 2]}', (1, 8), "double quotes"),
        ('{"a": 1}}', (1, 9), "not valid JSON"),
        ('{"a": 1, /* b */ "a": 2}', (1, 18), "repeated key; it is set at line 1, column 2"),
        ('{"a": ${X}}', (1, 7), "put a reference in quotes"),
    ],
)
def test_what_is_no_json_is_refused_at_its_place(text, place, message):
    line, column, said = flaw(text)
    assert message in said
    assert (line, column) == place


@pytest.mark.parametrize(
    ("text", "suffix", "answer"),
    [
        ('{"a": 1}', ".json", True),
        ('// x\n{"a": 1}', ".jsonc", True),
        ("\ufeff/* x */ {", ".code-workspace", True),
        ('{"a": 1}', "", True),
        ("[]", ".json", True),
        ('{"a": 1}', ".yaml", False),
        ("{a: 1}", ".YML", False),
        ("upstreams: {}", ".json", False),
        ("", ".json", False),
    ],
)
def test_a_file_is_json_if_it_begins_so_and_is_not_called_yaml(text, suffix, answer):
    assert is_json(text, suffix) is answer


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_the_file_of_another_client_is_served_with_its_comments(tmp_path, newline, mark):
    text = """\
        // servers of this workspace
        {
          "mcpServers": {
            /* used on
               weekdays */
            "clock": {"command": "uvx", "args": [
              "--read-only", // which of the two
              // "/home/jane/private",
              "/home/jane/shared",
            ]},
            "docs": {"url": "https://docs.example.com/mcp", "headers": {"Authorization": "Bearer //x"}}, // remote
          },
        }
        """
    path = tmp_path / "mcp.json"
    path.write_bytes(mark + text.replace("\n", newline).encode())
    clock, docs = load(path).upstreams.values()
    assert clock.args == ("--read-only", "/home/jane/shared")
    assert (docs.url, dict(docs.headers)) == ("https://docs.example.com/mcp", {"Authorization": "Bearer //x"})


@pytest.mark.parametrize(
    ("args", "column"),
    [
        ('"sample", // which of the two\n"clock"', 70),
        ('"sample", // the last\n', 70),
        ('"sample", /* which */ "clock"', 70),
        ("//, a", 60),
    ],
)
def test_in_a_yaml_file_a_comment_of_json_is_no_value_either(tmp_path, args, column):
    path = tmp_path / "mesh.yaml"
    path.write_text(SERVERS % args)
    with pytest.raises(ConfigError, match="this is no comment in YAML, but a text; begin comments with #") as raised:
        load(path)
    assert (raised.value.problems[0].line, raised.value.problems[0].column) == (1, column)


def test_a_yaml_error_beside_a_comment_of_json_says_how_comments_begin(tmp_path):
    path = tmp_path / "mesh.yaml"
    path.write_text('{\n  // weekdays\n  "upstreams": {}\n}')
    with pytest.raises(ConfigError, match="comments begin with # in YAML, and not with // or /"):
        load(path)


def test_in_a_yaml_file_without_brackets_slashes_are_what_they_are(tmp_path):
    path = tmp_path / "mesh.yaml"
    path.write_text("upstreams:\n  files:\n    command: files\n    args:\n      - //server/share\n      - /*/a/*/ b\n")
    assert load(path).upstreams["files"].args == ("//server/share", "/*/a/*/ b")
