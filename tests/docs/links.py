#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Looks for dead links, without a network.

    python3 tests/docs/links.py          in README.md, .github/ and docs/: files of the tree, and headings of pages
    python3 tests/docs/links.py FOLDER   in the web pages of the folder: files of the folder, and names on pages

Prints each dead link with its file, and exits with 1.
"""

import html.parser
import pathlib
import re
import sys
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs" / "site"))
from filter import LINK, headings, outside_code, slug  # noqa: E402

DOXYGENS_OWN = "#nested-classes"  # it writes this link for classes whose nested ones are all private


class Page(html.parser.HTMLParser):
    """The names on a web page, and where it links to."""

    def __init__(self, file):
        super().__init__()
        self.names, self.links = set(), []
        self.feed(file.read_text())

    def handle_starttag(self, tag, attributes):
        for key, value in attributes:
            if key == "id" or (tag == "a" and key == "name"):
                self.names.add(value)
            elif key in ("href", "src") and value:
                self.links.append(value)


class Text:
    """The same of a page of Markdown."""

    def __init__(self, file):
        text = file.read_text()
        self.names = {slug(heading) for heading in headings(text)}
        lines = [line for line, is_text in outside_code(text.splitlines()) if is_text]
        self.links = [match[3] for match in LINK.finditer(re.sub(r"`[^`\n]*`", "code", "\n".join(lines)))]


def dead_links(pages, root):
    """@param pages  file -> Page or Text"""
    names = {file: page.names for file, page in pages.items()}
    for file, page in pages.items():
        for link in page.links:
            address = urllib.parse.urlsplit(link)
            if address.scheme or address.netloc or link == DOXYGENS_OWN:
                continue
            target = (file.parent / urllib.parse.unquote(address.path)).resolve() if address.path else file
            if not target.exists() or (root != target and root not in target.parents):
                yield f"{file.relative_to(root)}: no file {link}"
            elif address.fragment and urllib.parse.unquote(address.fragment) not in names.get(target, [address.fragment]):
                yield f"{file.relative_to(root)}: nothing of that name at {link}"


def main():
    if len(sys.argv) > 2:
        sys.exit("usage: links.py [FOLDER]")
    if len(sys.argv) == 2:
        root = pathlib.Path(sys.argv[1]).resolve()
        pages = {file: Page(file) for file in sorted(root.rglob("*.html"))}
    else:
        root = ROOT
        files = [ROOT / "README.md", *sorted((ROOT / ".github").rglob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
        pages = {file: Text(file) for file in files}
    if not pages:
        sys.exit(f"no pages in {root}")
    dead = list(dead_links(pages, root))
    print(*dead, sep="\n", end="\n" if dead else "")
    print(f"{sum(len(page.links) for page in pages.values())} links on {len(pages)} pages, {len(dead)} dead")
    sys.exit(1 if dead else 0)


main()
