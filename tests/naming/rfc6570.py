"""A reference expander of URI templates, levels 1 to 4, by the algorithm of RFC 6570, section 3.2.1, and strategies for its input."""

import re
from urllib.parse import quote

from hypothesis import strategies as st

RESERVED = ":/?#[]@!$&'()*+,;="
# operator: first, separator, named, what stands after a name without a value, whether reserved characters are kept (appendix A)
TABLE = {
    "": ("", ",", False, "", False),
    "+": ("", ",", False, "", True),
    "#": ("#", ",", False, "", True),
    ".": (".", ".", False, "", False),
    "/": ("/", "/", False, "", False),
    ";": (";", ";", True, "", False),
    "?": ("?", "&", True, "=", False),
    "&": ("&", "&", True, "=", False),
}


def escape(text, *, reserved):
    if not reserved:
        return quote(text, safe="")
    # Reserved characters and triplets that are well-formed already pass; any other % does not.
    pieces = re.split(r"(%[0-9A-Fa-f]{2})", text)
    return "".join(piece if index % 2 else quote(piece, safe=RESERVED) for index, piece in enumerate(pieces))


def expand(template, values):
    """Expand `template`; a value is text, a list of texts or a dictionary of texts, and a missing one is undefined."""
    parts = re.split(r"\{([^{}]*)\}", template)
    return "".join(
        _expression(part, values) if index % 2 else escape(part, reserved=True) for index, part in enumerate(parts)
    )


def _expression(body, values):
    operator = body[0] if body[0] in TABLE else ""
    first, separator, named, if_empty, reserved = TABLE[operator]
    done = []
    for spec in body.removeprefix(operator).split(","):
        name, explode, length = re.fullmatch(r"(\w+)(\*?)(?::(\d+))?", spec).groups()
        value = values.get(name)
        if value is None or value in ([], {}):
            continue

        def label(key, text, *, if_empty=if_empty):
            return f"{key}={text}" if text else f"{key}{if_empty}"

        if isinstance(value, str):
            text = escape(value[: int(length)] if length else value, reserved=reserved)
            done.append(label(name, text) if named else text)
        elif not explode:
            flat = value if isinstance(value, list) else [part for pair in value.items() for part in pair]
            text = ",".join(escape(part, reserved=reserved) for part in flat)
            done.append(label(name, text) if named else text)
        elif isinstance(value, list):
            texts = [escape(part, reserved=reserved) for part in value]
            done.extend(label(name, text) if named else text for text in texts)
        else:
            pairs = [[escape(part, reserved=reserved) for part in pair] for pair in value.items()]
            done.extend(label(key, text) if named else f"{key}={text}" for key, text in pairs)
    return first + separator.join(done) if done else ""


NAMES = ["a", "b", "c", "path"]
TEXTS = st.text(st.characters(codec="utf-8")) | st.sampled_from(["", "/", "a/b", "//h/p", "%41", "%", "a@b?c#d", "é"])
VALUES = st.fixed_dictionaries(
    {}, optional={name: TEXTS | st.lists(TEXTS) | st.dictionaries(TEXTS, TEXTS, max_size=3) for name in NAMES}
)
VARIABLES = st.tuples(st.sampled_from(NAMES), st.sampled_from(["", "", "*", ":1", ":3"])).map("".join)
EXPRESSIONS = st.tuples(st.sampled_from([*TABLE]), st.lists(VARIABLES, min_size=1, max_size=3).map(",".join)).map(
    lambda parts: "{" + "".join(parts) + "}"
)
LITERALS = st.sampled_from(
    [
        *("x://", "file://", "file:///", "http://", "mesh://", "MESH:", "urn:isbn:", "ui://app/", "mailto:a@b", "x:"),
        *("/", "//", "a", "-", "x", ":", "?", "#", "%41", "%", "é", " "),
    ]
)
TEMPLATES = st.lists(LITERALS | EXPRESSIONS | st.text(st.characters(codec="utf-8", exclude_characters="{}"))).map(
    "".join
)
