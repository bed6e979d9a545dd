"""Pages of the site that are made when it is built: the reference from the code, and files from beside this folder."""

import re
from collections.abc import Iterator
from pathlib import Path
from posixpath import dirname, join, normpath, relpath
from typing import TYPE_CHECKING, Any

from reference_pages import REFERENCE, detectors_table, networks_table  # beside this file, where MkDocs looks for it

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent

FROM_FILES = {
    "benchmarks.md": "benchmarks/README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}
"""Pages that show a file of the repository."""

LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")
"""A link to a file: its text, the file, and the place in it."""

TABLES = {"<!-- the table of presets -->": networks_table, "<!-- the table of detectors -->": detectors_table}
"""The tables that are made from presets, by the place that each takes on a page."""

FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add the pages that no file of this folder holds."""
    from mkdocs.structure.files import File

    for path, content in generated():
        files.append(File.generated(config, path, content=content))
    return files


def generated() -> Iterator[tuple[str, str]]:
    """Yield the path and the Markdown of each page that no file of this folder holds."""
    for path, lines in REFERENCE.items():
        yield path, "\n".join(lines()) + "\n"
    for path, file in FROM_FILES.items():
        yield path, (ROOT / file).read_text(encoding="utf-8")


def on_page_markdown(markdown: str, page: "Page", files: "Files", **_: Any) -> str:
    """Point links at files of the repository to the pages that show them, or name them; fill the tables of presets."""
    here = page.file.src_uri
    origin = FROM_FILES.get(here, f"docs/{here}")
    known = {f"docs/{file.src_uri}": file.src_uri for file in files}
    known |= {file: shown for shown, file in FROM_FILES.items()} | {"README.md": "index.md"}

    def target(link: re.Match[str]) -> str:
        text, path, place = link[1], normpath(join(dirname(origin), link[2])), link[3] or ""
        if path in known:
            return f"[{text}]({relpath(known[path], dirname(here) or '.')}{place})"
        if (ROOT / path).exists() and not path.startswith("docs/"):
            return text if path in text else f"{text} (`{path}`)"
        return link[0]

    for place, table in TABLES.items():
        if place in markdown:
            markdown = markdown.replace(place, "\n".join(table()))
    parts = FENCED.split(markdown)
    return "".join(part if part.startswith("```") else LINK.sub(target, part) for part in parts)
