"""Texts near those of a corpus: what is generated, or was kept because it was of interest, and edits of either."""

from pathlib import Path

from hypothesis import strategies as st

CORPUS = Path(__file__).parent / "corpus"

_TOKENS = st.sampled_from(
    [
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b":",
        b" ",
        b"\t",
        b",",
        b";",
        b"-",
        b"+",
        b"_",
        b"\x1b[2J",
        b"\xff",
        b"\xe2\x80\xae",
        b"0",
        b"1",
        b'"',
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
    ]
)


def corpus(name: str) -> list[bytes]:
    """The files of one part of the corpus, in the order of their names."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


@st.composite
def _edited(draw: st.DrawFn, base: st.SearchStrategy[bytes]) -> bytes:
    data = draw(base)
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(data)))
        end = min(len(data), place + draw(st.integers(0, 4)))
        match draw(st.integers(0, 3)):
            case 0:
                data = data[:place] + draw(_TOKENS) + data[place:]
            case 1:
                data = data[:place] + data[end:]
            case 2:
                data = data[:place] + draw(st.binary(min_size=1, max_size=3)) + data[end:]
            case _:
                data = data[:end] + data[place:]
    return data


def mutated(name: str, generated: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Texts of the corpus and generated ones, as they are and with up to three edits."""
    kept = st.sampled_from(corpus(name))
    return st.one_of(generated, _edited(generated), _edited(kept))
