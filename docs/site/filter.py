#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What Doxygen reads instead of a file, line for line: filter.py FILE (see cmake/CulpritDocs.cmake).

A page in docs/ is written as GitHub shows it: here its headings get the labels, and its links the form, that Doxygen
needs. In a header of include/ the members that a policy has because its contract asks for them (concepts.hpp) get
the contract's words, and lines of a comment that are indented stay lines.
"""

import html
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
HEADERS = (".hpp", ".cuh")
FENCE = re.compile(r"\s*(```+|~~~+)")
HEADING = re.compile(r"(#+) +(.*?) *")
EXAMPLE = re.compile(r"( *///)   (\S.*)")
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")

# Role by folder, or file -> what a line begins with -> what the contract says of that member.
CONTRACTS = {
    "": {
        r"static constexpr std::string_view name =": "Name in fingerprints and tables.",
        r"\[\[nodiscard\]\] std::string description\(\)": "Name and hyper-parameters, as fingerprints have them.",
    },
    "aggregate": {
        r"static constexpr T map\(": "What is combined of a parameter's gradient.",
        r"static constexpr T combine\(": "Of the parts of a unit, in any order.",
        r"static constexpr T finish\(": "The unit's number, of all its parts and its number of parameters.",
        r"static constexpr Granularity granularity =": "What a unit is.",
    },
    "standardize": {
        r"\[\[nodiscard\]\] (constexpr )?double operator\(\)": "A unit's raw number -> one comparable between units.",
        r"\[\[nodiscard\]\] (constexpr )?double derivative\(": "Of the result by the raw number.",
        r"static constexpr bool needs_quantiles": "Whether it reads median and mad.",
    },
    "visit/parameters": {
        r"\[\[nodiscard\]\] bool operator\(\)": "Whether a parameter of that shape holds units.",
    },
    "cuda/multiply": {
        r"using Element =": "What factors are made of.",
        r"static constexpr int depth =": "Terms of each sum that one multiplication adds.",
        r"static constexpr bool collective =": "Whether the threads of a warp work on each other's factors.",
        r"struct (Rows|Columns) {": "What a thread holds of that factor, by row and term or term and column.",
        r"static __host__ __device__ void load\(": "From shared memory, `pitch` elements from one row or column to the next.",
        r"static (__host__ )?__device__ void multiply\(": "Adds the products to a thread's sums.",
    },
    "distance": {
        r"\[\[nodiscard\]\] double operator\(\)": "Of two profiles of the same units, float64 [units]; 0: equal.",
    },
    "select": {
        r"\[\[nodiscard\]\] std::vector<Index> operator\(\)": "Which of the candidates, ascending units, are taken.",
    },
    "loss": {
        r"\[\[nodiscard\]\] at::Tensor operator\(\)": "Outputs, targets [B, ...] -> one for each sample, [B].",
        r"\[\[nodiscard\]\] at::Tensor gradient\(": "Of each sample's loss by its outputs, in their shape.",
    },
    "intervene": {
        r"\[\[nodiscard\]\] at::Tensor operator\(\)\(const visit::Plan": "Makes the change; returns the input after it.",
    },
}


def slug(heading):
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def outside_code(lines):
    """Each line, and whether it is no part of a block of code."""
    fence = None
    for line in lines:
        match = FENCE.match(line)
        if fence:
            yield line, False
            if match and line.strip() == fence:
                fence = None
        else:
            fence = match[1] if match else None
            yield line, match is None


def headings(text):
    """The texts of a page's headings."""
    return [
        heading[2]
        for line, is_text in outside_code(text.splitlines())
        if is_text and (heading := HEADING.fullmatch(line))
    ]


def label(page):
    """The page's name in Doxygen: that of its folder for a README.md."""
    path = page.relative_to(DOCS).with_suffix("")
    return "_".join(path.parts[:-1] if path.name == "README" and len(path.parts) > 1 else path.parts)


def with_doxygen_links(line, page, linked):
    """@param linked  the pages that are below this one already, for one that is an index"""

    def replaced(match):
        text, target = match[2], match[3]
        if "://" in target:
            return match[0]
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if match[1]:
            return f'<img src="{file.relative_to(DOCS).as_posix()}" alt="{text}"/>'
        if file.suffix == ".md" and DOCS in file.parents:
            if page.name == "README.md" and not anchor and file != page and file not in linked:
                linked.add(file)
                return f'\\subpage {label(file)} "{text}"'
            return f"[{text}](@ref {label(file)}{'-' + anchor if anchor else ''})"
        if file.suffix in HEADERS and ROOT / "include" in file.parents:
            return f"[{text}]({file.name.replace('_', '__').replace('.', '_8')}_source.html)"
        return match[0] if DOCS / "figures" in file.parents else text  # else the site has no page for it

    parts = re.split(r"(`[^`]*`)", line)  # a link's text may be code, but no link is within code
    if any("](" in part for part in parts[1::2]):
        return line
    return LINK.sub(replaced, line)


def filtered_page(page):
    linked, seen = set(), set()
    first = True
    for line, is_text in outside_code(page.read_text().splitlines()):
        if not is_text:
            yield line
        elif heading := HEADING.fullmatch(line):
            name = label(page) if first else f"{label(page)}-{slug(heading[2])}"
            first = False
            yield line if name in seen else f"{line} {{#{name}}}"
            seen.add(name)
        else:
            yield "" if re.fullmatch(r"<!--.*-->", line) else with_doxygen_links(line, page, linked)


def with_examples(lines):
    """Lines of a comment that are indented by two more than its text, as one block."""
    for i, line in enumerate(lines):
        if match := EXAMPLE.fullmatch(line):
            begins = not EXAMPLE.fullmatch(lines[i - 1])
            ends = not EXAMPLE.fullmatch(lines[i + 1])
            yield f"{match[1]} {'<pre>' if begins else ''}{html.escape(match[2], quote=False)}{'</pre>' if ends else ''}"
        else:
            yield line


def filtered_header(header):
    path = header.relative_to(ROOT / "include" / "culprit").with_suffix("").as_posix()
    contracts = [words for role, words in CONTRACTS.items() if f"{path}/".startswith(role)]
    documented = False
    for line in with_examples(header.read_text().splitlines()):
        words = [
            text for contract in contracts for start, text in contract.items() if re.match(r"  " + start, line)
        ]
        missing = words and not documented and "///<" not in line
        yield f"  /** {words[0]} */ {line}" if missing else line
        if not line.startswith("  template <"):
            documented = line.strip().startswith("///")


def main():
    file = pathlib.Path(sys.argv[1]).resolve()
    if file.suffix == ".md":
        print("\n".join(filtered_page(file)))
    elif file.suffix in HEADERS:
        print("\n".join(filtered_header(file)))
    else:
        print(file.read_text(), end="")


if __name__ == "__main__":
    main()
