"""Edits of a text: what is meant changes, and every other line stays to the byte."""

import random
from difflib import SequenceMatcher

import pytest
from meshproxy.config.document import parse
from meshproxy.config.draft import Draft, UneditableError, plain

# Ways to write one upstream as people do, with its name and an anchor of its own put in.
SHAPES = [
    "  {name}:\n    command: npx\n    args: [-y, 'it''s', \"#no comment\"]  # why\n",
    "  {name}:   # about it\n      url: https://a.example.com/mcp\n      # off: true\n\n",
    "  {name}: {{command: python3, args: ['-c', \"pass\"]}}   # quoted\n",
    '  {name}:\n    command: sh\n    args:\n    - -c\n    - |\n      # not a comment\n      echo {{}} : x\n\n      # nor this\n    env: {{A: "1"}}\n',
    '  {name}: {{"url": "https://b.example.com/mcp", "headers": {{"X-A": "b: c, d"}}}}\n',
    "  # its own line above\n  {name}: &{anchor}\n    url: https://c.example.com/mcp   # mcp\n    enabled: true   # on\n",
    "  {name}:\n    {{ url: 'https://d.example.com/mcp',   # here\n      namespace: \"x y\" }}\n",
    "  ? {name}\n  : url: https://e.example.com/mcp\n    disabled: false\n",
    "  {name}:\n    <<: *shared\n    url: https://f.example.com/mcp\n\n  # between\n\n",
    "  {name}: {{<<: *shared, url: https://g.example.com/mcp}}\n",
    "  {name}: *whole\n",
    "  {name}:\n    url: >-\n      https://h.example.com/mcp\n    timeouts:\n        call: 5s\n        # deep\n        list: 1m\n    # last of it\n",
]
NAMES = ["plain", '"in quotes"', "'it''s'", "with-dash", "1st", '"a: b"', "Ünïcode", "x.y", '"#hash"', "under_score"]
HEADS = [
    "# yaml-language-server: $schema=./mesh.schema.json\n---\ndefaults: &shared\n  # ours\n  namespace: \"\"\n\nupstreams:   # these\n  first: &whole {{url: 'https://z.example.com/mcp'}}\n",
    "name: 'odd'\nserver: {port: 0}   # any\ndefaults: &shared {namespace: ''}\n'upstreams':\n\n  # the first\n\n  first: &whole\n    url: https://z.example.com/mcp\n\n",
]
TAILS = ["", "# the end", "\n# the end\n\n", "\nreload: {watch: false}  # no\n", "...\n"]


def written(dice: random.Random) -> tuple[str, list[str]]:
    """A file, and the names in it that stand for themselves."""
    text = dice.choice(HEADS).replace("{{", "{").replace("}}", "}")
    names = []
    for spelled in dice.sample(NAMES, dice.randint(1, 6)):
        shape = dice.choice(SHAPES)
        text += shape.format(name=spelled, anchor=f"a{len(names)}")
        names.append(next(iter(plain(parse(f"{spelled}: 1")[0]))))
    text += dice.choice(TAILS)
    return (text.replace("\n", "\r\n") if dice.random() < 0.2 else text), names


def differing(before: str, after: str) -> tuple[list[str], list[str]]:
    """The lines that went, and those that came."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    went, came = [], []
    for tag, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag != "equal":
            went += old[a:b]
            came += new[c:d]
    return went, came


@pytest.mark.parametrize("seed", range(25))
def test_edits_of_files_as_people_write_them_touch_the_meant_lines_alone(seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(5):
        four_edits(dice, *written(dice))


def four_edits(dice: random.Random, text: str, names: list[str]) -> None:
    draft = Draft(text)
    name = dice.choice(names)
    before = draft.tree["upstreams"]

    draft.put(("upstreams", "new one"), {"command": "npx", "args": ["-y", "a b"], "env": {"K": "${K}"}})
    went, came = differing(text, draft.text)
    assert [line.strip() for line in went] in ([], [text.splitlines()[-1].strip()])
    assert len(came) - len(went) == 4
    assert list(draft.tree["upstreams"]) == [*before, "new one"]
    draft.remove(("upstreams", "new one"))
    assert draft.text == (
        text if text.endswith("\n") or not came or draft.text == text else text + draft.text[len(text) :]
    )

    draft = Draft(text)
    draft.rename(("upstreams", name), "renamed: it")
    went, came = differing(text, draft.text)
    assert (len(went), len(came)) == (1, 1)
    assert list(draft.tree["upstreams"]) == ["renamed: it" if one == name else one for one in before]
    draft.rename(("upstreams", "renamed: it"), name)
    assert draft.tree["upstreams"] == before

    draft = Draft(text)
    key, off = ("disabled", True) if "disabled" in before[name] else ("enabled", False)
    draft.put(("upstreams", name, key), off)
    went, came = differing(text, draft.text)
    assert len(went) <= 1
    assert len(came) <= 2
    assert draft.tree["upstreams"] == {**before, name: {**before[name], key: off}}

    draft = Draft(text)
    draft.remove(("upstreams", name))
    went, came = differing(text, draft.text)
    assert came == []
    assert draft.tree["upstreams"] == {key: value for key, value in before.items() if key != name}


JSON = """\
{
\t// ours
\t"mcpServers": {
\t\t"a": {
\t\t\t"command": "x" // why
\t\t}, /* then */
\t\t"b": {"url": "https://b.example.com/mcp"} // "last", of all
\t},
}
"""


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_json_with_comments_is_edited_as_it_is_written(newline: str) -> None:
    text = JSON.replace("\n", newline)
    draft = Draft(text, is_json=True)
    draft.put(("mcpServers", "c"), {"command": "y"})
    assert draft.text == text.replace(
        '/mcp"} // "last", of all\r\n'.replace("\r\n", newline),
        f'/mcp"}}, // "last", of all{newline}\t\t"c": {{"command": "y"}}{newline}',
    )
    draft.remove(("mcpServers", "c"))
    assert draft.text == text
    draft.put(("mcpServers", "a", "disabled"), True)
    assert f'"command": "x", // why{newline}\t\t\t"disabled": true{newline}' in draft.text
    draft.rename(("mcpServers", "b"), 'b "2"')
    assert '\t\t"b \\"2\\"": {"url"' in draft.text
    draft.remove(("mcpServers", "a"))
    draft.remove(("mcpServers", 'b "2"'))
    assert draft.tree == {"mcpServers": {}}
    draft.put(("mcpServers", "d"), {"command": "z"})
    assert draft.tree == {"mcpServers": {"d": {"command": "z"}}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"mcpServers": {"a": {"command": "x"}}}', '{"mcpServers": {"a": {"command": "x"}, "n": {"url": "u"}}}'),
        ('{"mcpServers": {}}', '{"mcpServers": {"n": {"url": "u"}}}'),
        ('{\n  "mcpServers": {}\n}\n', '{\n  "mcpServers": {\n    "n": {\n      "url": "u"\n    }\n  }\n}\n'),
        ('{"mcpServers": {"a": {"command": "x"},}}', '{"mcpServers": {"a": {"command": "x"}, "n": {"url": "u"},}}'),
        ("{}", '{"mcpServers": {"n": {"url": "u"}}}'),
        ("", '{\n  "mcpServers": {\n    "n": {\n      "url": "u"\n    }\n  }\n}\n'),
    ],
)
def test_an_entry_of_json_is_put_where_there_is_room(text: str, expected: str) -> None:
    draft = Draft(text, is_json=True)
    draft.put(("mcpServers", "n"), {"url": "u"})
    assert draft.text == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("upstreams:\n  # none yet\n", "upstreams:\n  n:\n    url: u\n  # none yet\n"),
        ("upstreams: {}  # none\nname: x\n", "upstreams:  # none\n  n:\n    url: u\nname: x\n"),
        ("name: x", "name: x\nupstreams:\n  n:\n    url: u\n"),
        ("# nothing\n", "# nothing\nupstreams:\n  n:\n    url: u\n"),
        ("upstreams: &all null\n", "upstreams: &all\n  n:\n    url: u\n"),
        ("upstreams: {a: {url: x}} # b\n", "upstreams: {a: {url: x}, n: {url: u}} # b\n"),
        ("upstreams: {\n  a: {url: x} # b\n}\n", "upstreams: {\n  a: {url: x}, # b\n  n: {url: u}\n}\n"),
    ],
)
def test_the_first_entry_finds_its_place(text: str, expected: str) -> None:
    draft = Draft(text)
    draft.put(("upstreams", "n"), {"url": "u"})
    assert draft.text == expected


def test_what_others_share_by_an_anchor_is_not_changed_for_them() -> None:
    text = "upstreams:\n  a: &a   # first\n    url: x\n\n    # deep\n  b: {<<: *a, namespace: b}\n  c: &c {url: z}\n  d: *c\n"
    draft = Draft(text)
    draft.put(("upstreams", "a", "enabled"), False)
    assert "  a:   # first\n    enabled: false\n    <<: &a\n      url: x\n\n      # deep\n  b:" in draft.text
    draft.put(("upstreams", "c", "enabled"), False)
    assert "  c: {<<: &c {url: z}, enabled: false}\n  d: *c\n" in draft.text
    draft.put(("upstreams", "d", "enabled"), False)
    assert draft.text.endswith("  d: {<<: *c, enabled: false}\n")
    assert "enabled" not in draft.tree["upstreams"]["b"]


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        ("upstreams:\n  a: &a {url: x}\n  b: *a\n", ("upstreams", "a"), "line 3 refers to its anchor &a"),
        ("x: &x {a: {url: y}}\nupstreams: *x\n", ("upstreams", "a"), "the alias *x at line 2"),
        ("x: &x {a: {url: y}}\nupstreams: {<<: *x}\n", ("upstreams", "a"), "comes from a merge"),
    ],
)
def test_what_stands_elsewhere_is_left_to_its_author(text: str, path: tuple[str, ...], message: str) -> None:
    draft = Draft(text)
    with pytest.raises(UneditableError, match=message.replace("*", r"\*")):
        draft.remove(path)
    assert draft.text == text
