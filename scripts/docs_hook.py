"""For mkdocs: what stands outside of `docs/` and is linked to from there becomes part of the site, README as its first page."""

import posixpath
import re
from pathlib import Path
from typing import Any, Final

from mkdocs.structure.files import File, Files

CLONE: Final = Path(__file__).resolve().parent.parent
PAGES: Final = {
    "README.md": "index.md",
    **{name: name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")},
}
"""Files of the clone's top that are pages of the site, by their names there."""
LINK: Final = re.compile(r"(?<=\]\()(?!\w+:|#|/)([^)#\s]+)(?=[)#])")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of the top, and the files that any page links to, such as configs."""
    for name, shown in PAGES.items():
        files.append(File.generated(config, shown, content=(CLONE / name).read_text()))
    texts = [("", CLONE / name) for name in PAGES]
    texts += [("docs", page) for page in CLONE.glob("docs/**/*.md")]
    for _, page in texts:
        for target in LINK.findall(page.read_text()):
            path = (page.parent / target).resolve()
            place = path.relative_to(CLONE)
            if path.is_file() and place.parts[0] != "docs" and place.name not in PAGES:
                shown = _shown(place)
                if files.get_file_from_path(shown) is None:
                    files.append(File.generated(config, shown, content=_page_of(place, path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:  # noqa: ARG001  # mkdocs says what is passed
    """Have links lead to where the files are on the site. One to a folder leads to nothing there, and its words stay."""
    here = page.file.src_uri
    from_top = {shown: name for name, shown in PAGES.items()}.get(here)
    base = "" if from_top else posixpath.dirname(f"docs/{here}")

    def led(link: "re.Match[str]") -> str:
        place = posixpath.normpath(posixpath.join(base, link[1]))
        if place.startswith("docs/"):
            place = place.removeprefix("docs/")
        elif place in PAGES:
            place = PAGES[place]
        else:
            place = _shown(Path(place))
        return posixpath.relpath(place, posixpath.dirname(here) or ".")

    def without_folders(link: "re.Match[str]") -> str:
        path = CLONE / posixpath.normpath(posixpath.join(base, link[2]))
        return link[1] if path.is_dir() else link[0]

    markdown = re.sub(r"\[([^\]]+)\]\((?!\w+:|#)([^)#\s]+)\)", without_folders, markdown)
    return LINK.sub(led, markdown)


def _shown(place: Path) -> str:
    """The name on the site of a file that is no page: a page with its text in it."""
    return f"files/{place.as_posix()}.md"


def _page_of(place: Path, path: Path) -> str:
    language = {".py": "python", ".yaml": "yaml", ".json": "json", ".mjs": "js"}.get(path.suffix, "text")
    return f"# {place.as_posix()}\n\n````{language}\n{path.read_text()}````\n"
