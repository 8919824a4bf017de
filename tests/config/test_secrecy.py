import base64
import random
import string
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproxy.config.secrecy import (
    ORDINARY,
    SHORTEST,
    is_telling,
    is_worth_hiding,
    secrets_in,
    secrets_of_arguments,
    secrets_of_header,
    secrets_of_url,
    secrets_of_variable,
    spans,
)

TELLING = [
    *("TOKEN", "GITHUB_TOKEN", "github-token", "githubToken", "GITHUBTOKEN", "API_TOKENS", "OAuthToken", "AUTH2"),
    *("KEY", "X-API-Key", "apiKey", "APIKey", "APIKEY", "ssh_private_key", "keys", "exaApiKey", "--api-key"),
    *("PASSWORD", "PGPASSWORD", "dbPassword", "MYSQL_ROOT_PASSWORD", "PASSWD", "DB_PASS", "pass", "PWD", "passphrase"),
    *("SECRET", "CLIENT_SECRET", "aws.secret.access.key", "CREDENTIAL", "GOOGLE_APPLICATION_CREDENTIALS", "COOKIE"),
    *("AUTH", "OAUTH", "Authorization", "Proxy-Authorization", "JWT", "GITHUB_PAT", "session_cookie", "PIN"),
]
PLAIN = [
    *(
        "",
        "HOME",
        "PATH",
        "MONKEY",
        "TURKEY",
        "KEYBOARD",
        "KEYCLOAK",
        "TOKENIZER",
        "AUTHOR",
        "COMPASS",
        "BYPASS",
        "SECRETARY",
    ),
    *("MODE", "LOG_LEVEL", "PATTERN", "SPIN", "PASSENGER", "COOKIECUTTER", "1", "_"),
]


@pytest.mark.parametrize("name", TELLING)
def test_a_name_tells_of_a_secret_in_whatever_case_and_with_whatever_around_it(name):
    assert is_telling(name)
    for around in (f"MY_{name}", f"{name}_1", f"my-{name}-2", f"2{name}"):
        assert is_telling(around)
    if name in (name.upper(), name.lower()):
        assert is_telling(name.swapcase())


@pytest.mark.parametrize("name", PLAIN)
def test_a_name_that_has_such_letters_by_chance_does_not(name):
    assert not is_telling(name)


@given(st.sampled_from(TELLING), st.text(min_size=1))
def test_the_value_of_a_telling_variable_is_a_secret_whatever_it_is(name, value):
    assert value in secrets_of_variable(name, value)


@pytest.mark.parametrize("value", ["files", "stdio", "1", "true", "read-only", "gpt-4o-mini-2024-07-18", "us-east-1"])
@pytest.mark.parametrize("name", PLAIN)
def test_an_ordinary_value_of_an_ordinary_variable_is_none(name, value):
    assert secrets_of_variable(name, value) == ()


READABLE = [
    *(
        "claude-sonnet-4-20250514",
        "my-project-123456-eu-west-1b",
        "node-v18-linux-x64-2024-lts",
        "20250514T102030Z-build",
    ),
    *("MyVeryLongProjectNameForTesting2024", "com.example.project.MyMainClass2", "x86_64-unknown-linux-gnu"),
    *("/home/me/projects/app-v2/Data2024/notes", "/usr/lib/python3.11/site-packages", "Europe/Paris", "en_US.UTF-8"),
    *("https://mcp.example.com:8443/v1/mcp/stream?limit=20&x=abc", "ghcr.io/org/image:sha-abc1234", "me@example.com"),
    *("arn:aws:iam::123456789012:role/MyRole2", "@modelcontextprotocol/server-filesystem@2025.1.14", "0.0.0.0:8080"),
    *(
        "redis://localhost:6379/0",
        "redis://me@localhost/0".replace("me@", ""),
        "https://login.example.com/common/oauth2/v2.0",
    ),
    *(
        "--max-old-space-size=4096",
        '{"log": {"level": "debug", "file": "/var/log/x.log"}}',
        "2026-11-27T20:30:00+00:00",
    ),
    *("the quick brown fox jumps over 13 lazy dogs", "12345678901234567890123", "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r"),
]


@pytest.mark.parametrize("text", READABLE)
def test_what_a_person_writes_is_no_secret(text):
    assert secrets_in(text) == ()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        # What URLs hold.
        ("postgres://me:hunter2@host/db", ["hunter2"]),
        ("see https://me:p%40ss@host/ and https://x:y@other", ["p%40ss", "y"]),
        ("https://hunter2@host", ["hunter2"]),
        ("https://ghp_0123456789abcdefghij:x-oauth-basic@github.com", ["ghp_0123456789abcdefghij", "x-oauth-basic"]),
        ("https://me@example.com:hunter2@host", ["hunter2"]),
        ("https://host/?q=a@b", []),
        ("https://mcp.example.com/mcp?exaApiKey=abc-1&x=1&token=d;e", ["abc-1", "d"]),
        # What is assigned to a telling name.
        ("--token=abc,def ghi", ["abc,def ghi"]),
        ("DB_PASSWORD=p: a'ss", ["p: a'ss"]),
        ("Authorization: Bearer abc", ["abc"]),
        ("--header=Authorization: Bearer abc", ["abc"]),
        ("x-api-key: abc", ["abc"]),
        ('{"Authorization": "Bearer a b c", "Notion-Version": "2022-06-28"}', ["a b c"]),
        ("{'password': 'it is \"me\"', user: me}", ['it is "me"']),
        ("host=db user=me password=hunter2 dbname=x", ["hunter2"]),
        ("the key: hunter2, and no more", ["hunter2"]),
        ("token=", []),
        ("a key is on the table", []),
        # What issuers give out.
        ("use sk-proj-0123456789abcdef now", ["sk-proj-0123456789abcdef"]),
        ("AKIAIOSFODNN7EXAMPLE", ["AKIAIOSFODNN7EXAMPLE"]),
        ("xoxb-1234-5678-abcdefgh", ["xoxb-1234-5678-abcdefgh"]),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc_DEF-123", ["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc_DEF-123"]),
        ("id 0c2d7f0e-1a2b-4c3d-8e9f-a0b1c2d3e4f5.", ["0c2d7f0e-1a2b-4c3d-8e9f-a0b1c2d3e4f5"]),
        ("0123456789abcdef", ["0123456789abcdef"]),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----\n", None),
        ("-----BEGIN PRIVATE KEY-----\nabc", None),
    ],
)
def test_what_looks_like_a_secret_is_one_under_any_name(text, found):
    found = [text.strip()] if found is None else found
    assert [text[start:end] for start, end in spans(text)] == found
    assert set(found) <= set(secrets_in(text)) <= set(secrets_of_variable("MODE", text))


ALPHABETS = {
    "hexadecimal": ("0123456789abcdef", 16, 0.01),
    "Base64": (string.ascii_letters + string.digits + "+/", 32, 0.01),
    "Base64 for URLs": (string.ascii_letters + string.digits + "-_", 32, 0.01),
    "letters and digits": (string.ascii_letters + string.digits, 24, 0.01),
    "small letters and digits": (string.ascii_lowercase + string.digits, 40, 0.06),
}


@pytest.mark.parametrize(("alphabet", "length", "missed"), ALPHABETS.values(), ids=ALPHABETS)
def test_random_text_is_known_but_for_a_few(alphabet, length, missed):
    draw = random.Random(13)
    texts = ["".join(draw.choices(alphabet, k=length)) for _ in range(2000)]
    assert sum(not secrets_in(text) for text in texts) <= missed * len(texts)


@given(
    st.lists(
        st.sampled_from([*string.ascii_letters, *string.digits, *"-_.:/=@ \"'&?{}${}\n", "://", "token=", "Bearer "])
    )
)
def test_secrets_are_pieces_of_the_text_in_order_and_apart(pieces):
    text = "".join(pieces)
    found = spans(text)
    assert all(0 <= start < end <= len(text) for start, end in found)
    assert all(one[1] <= other[0] for one, other in pairwise(found))
    assert spans(text) == found


@given(st.text(alphabet="abc1 @:/=-", max_size=2000))
def test_any_text_is_read_in_time_that_grows_with_it(text):
    spans(text * 20)


def test_a_secret_that_others_overlap_is_known_by_itself_too():
    token = "aB3dE5gH7jK9mN1pQ2rS4tU6"
    assert token in secrets_in(f"https://host.example.com/x/{token}/mcp")


def test_what_follows_a_telling_option_is_a_secret():
    arguments = ("run", "--api-key", "hunter2", "-e", "TOKEN=abc", "--token", "--verbose", "-k", "x", "token", "files")
    assert secrets_of_arguments(arguments) == ("abc", "hunter2")
    assert secrets_of_arguments(()) == ()


def test_a_header_is_a_secret_with_its_scheme_and_without_and_decoded():
    assert set(secrets_of_header("Bearer abc.def")) == {"Bearer abc.def", "abc.def", ""}
    assert set(secrets_of_header("abc.def")) == {"abc.def", ""}
    pair = base64.b64encode(b"me:hunter2").decode()
    assert {f"Basic {pair}", pair, "me:hunter2", "hunter2"} == set(secrets_of_header(f"Basic {pair}"))
    assert "" in secrets_of_header("Basic no base64")


def test_the_password_of_a_url_is_a_secret_as_it_is_sent_too():
    secrets = secrets_of_url("https://me:p%40ssword@host/mcp")
    assert set(secrets) == {"p%40ssword", "p@ssword", base64.b64encode(b"me:p@ssword").decode()}
    assert secrets_of_url("https://host/mcp") == ()


@given(st.text())
def test_only_what_is_long_enough_and_not_ordinary_is_worth_hiding(text):
    assert is_worth_hiding(text) == (len(text) >= SHORTEST and text.lower() not in ORDINARY)
    assert all(word == word.lower() for word in ORDINARY)
