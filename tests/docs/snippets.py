#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Keeps what the documentation shows equal to code that is compiled and tested.

    python3 tests/docs/snippets.py [--write]

In README.md and docs/, a block of code with a comment `<!-- from FILE [NAME] -->` in the line before it is the
region NAME of that file of the project: the lines between `// [NAME]` and `// [/NAME]`, or # for //, without their
common indentation; regions of one name are joined by an empty line. With `<!-- from FILE [NAME] sentences -->` it is
the region's texts that begin with "culprit: ", one after another. Every block of C++ or CUDA has such a comment.

Prints what differs, by file and line, and exits with 1; --write changes the documents instead.
"""

import difflib
import pathlib
import re
import sys
import textwrap

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMENT = re.compile(r"<!-- from (\S+) \[(\w+)\]( sentences)? -->")
WIDTH = 118


def region(path, name):
    """The lines of a file's region. Raises ValueError for one that is not there, or is not closed."""
    file = ROOT / path
    if not file.is_file():
        raise ValueError(f"no file {path}")
    parts, inside = [], False
    for line in file.read_text().splitlines():
        if line.strip() in (f"// [{name}]", f"# [{name}]"):
            if inside:
                raise ValueError(f"{path}: [{name}] begins within itself")
            inside = True
            parts.append([])
        elif line.strip() in (f"// [/{name}]", f"# [/{name}]"):
            if not inside:
                raise ValueError(f"{path}: [/{name}] without [{name}]")
            inside = False
        elif inside:
            parts[-1].append(line)
    if inside:
        raise ValueError(f"{path}: no [/{name}]")
    if not parts:
        raise ValueError(f"{path}: no region [{name}]")
    return "\n\n".join(textwrap.dedent("\n".join(part)) for part in parts).splitlines()


def sentences(lines):
    """The texts in the code that begin with "culprit: ", each folded."""
    code = re.sub(r'"\s*\n\s*"', "", "\n".join(lines))  # adjacent literals are one
    return [
        line
        for text in re.findall(r'"(culprit: [^"]*)"', code)
        for line in textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    ]


def checked(document):
    """The document's lines as they should be, and what is wrong with those that are there."""
    name = document.relative_to(ROOT).as_posix()
    lines = document.read_text().splitlines()
    right, wrong = [], []
    comment = None  # the one in the line before
    i = 0
    while i < len(lines):
        line = lines[i]
        fence = re.fullmatch(r"\s*(```+|~~~+)\s*([\w+]*).*", line)
        if not fence:
            if comment:
                wrong.append(f"{name}:{i}: no block of code behind the comment")
            comment = COMMENT.fullmatch(line)
            if line.startswith("<!-- from") and not comment:
                wrong.append(f"{name}:{i + 1}: expected <!-- from FILE [NAME] -->, came {line}")
            right.append(line)
            i += 1
            continue
        end = next((j for j in range(i + 1, len(lines)) if lines[j].strip() == fence[1]), len(lines))
        block = lines[i + 1 : end]
        if comment:
            try:
                expected = region(comment[1], comment[2])
                if comment[3]:
                    expected = sentences(expected)
                if block != expected:
                    where = f"{comment[1]} [{comment[2]}]"
                    difference = difflib.unified_diff(block, expected, f"{name}:{i + 2}", where, lineterm="")
                    wrong.append("\n".join(difference))
                    block = expected
            except ValueError as error:
                wrong.append(f"{name}:{i}: {error}")
        elif fence[2].lower() in ("cpp", "c++", "cxx", "cc", "hpp", "cuda"):
            wrong.append(f"{name}:{i + 1}: a block of C++ or CUDA without <!-- from FILE [NAME] --> in the line before")
        comment = None
        right += [line, *block, *lines[end : end + 1]]
        i = end + 1
    if comment:
        wrong.append(f"{name}:{len(lines)}: no block of code behind the comment")
    return right, wrong


def main():
    if sys.argv[1:] not in ([], ["--write"]):
        sys.exit("usage: snippets.py [--write]")
    write = sys.argv[1:] == ["--write"]
    failed = False
    for document in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        right, wrong = checked(document)
        if write and wrong:
            document.write_text("\n".join(right) + "\n")
            wrong = checked(document)[1]  # what writing does not mend
        for each in wrong:
            print(each)
        failed = failed or bool(wrong)
    sys.exit(1 if failed else 0)


main()
