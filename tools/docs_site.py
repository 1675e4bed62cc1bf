"""Hooks of the documentation site: pages from the root of the repository, and the Python API by its names.

In the repository `docs/*.md` link to files above them (`../README.md`); on the site these are pages too.
"""

import ast
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "readme-page.md",  # the site has an index.md, beside which it takes no README.md
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "SECURITY.md": "SECURITY.md",
    "CODE_OF_CONDUCT.md": "CODE_OF_CONDUCT.md",
    "benchmarks/RESULTS.md": "benchmarks/RESULTS.md",
}
"""By the path in the repository, the path on the site."""
API_MARK = "<!-- python-api -->"
_LINK = re.compile(r"(\]\()([^)#:]+)((?:#[^)]*)?\))")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of the repository's root."""
    for path, uri in PAGES.items():
        files.append(File.generated(config, uri, content=(ROOT / path).read_text("utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Point links at the site's pages, and list the public functions and classes on the page of the API."""
    source = page.file.src_uri
    paths = {uri: path for path, uri in PAGES.items()}
    folder = posixpath.dirname(paths.get(source, f"docs/{source}"))

    def relink(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, match[2]))
        uri = PAGES.get(target, target.removeprefix("docs/"))
        if files.get_file_from_path(uri):
            return match[1] + posixpath.relpath(uri, posixpath.dirname(source) or ".") + match[3]
        if (ROOT / target).exists():  # a file that is no page, such as LICENSE: named without a link
            return f"] (`{target}`)"
        return match[0]

    return _LINK.sub(relink, markdown).replace(API_MARK, _api())


def _api() -> str:
    tree = ast.parse((ROOT / "src/tumorboard/__init__.py").read_text("utf-8"))
    exports: dict[str, tuple[str, str]] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == "_EXPORTS" for target in targets):
                exports = ast.literal_eval(node.value)
    sections = [
        f"## `tumorboard.{name}`\n\n::: {module}.{attribute}\n    options:\n      heading_level: 3\n"
        for name, (module, attribute) in exports.items()
    ]
    return "\n".join(sections)
