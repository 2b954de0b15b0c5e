#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Whether the tests notice small mistakes: makes changes to the headers of core, engine and aggregate, one at a time,
and runs the tests.

    .venv/bin/python tests/mutants.py              50 changes of all three
    .venv/bin/python tests/mutants.py core         50 of core alone

The changes are drawn with a fixed seed. All are compiled into one build of the tests, and the environment's
CULPRIT_MUTANT=number makes one of them. A change that does not compile so, such as one of a constant expression, is no
mutant, and another one is drawn. What was found stands in build/mutants/fates.json, and the next call goes on from
there; without that file it starts over. docs/reliability.md says why some changes cannot be noticed.
"""
import argparse
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build/mutants"
TREE = BUILD / "tree"
TIMEOUT = 600  # seconds a test program may take, for a change can make a loop endless

# Of each part: which tests are to notice its changes, the nearest first.
TESTS = {
    "core": [["core_tests", "[core]"], ["core_tests", "[io]~[isolate]"]],
    "engine": [["library_tests", "[engine]"], ["library_tests", "~[engine]~[snippets]"]],
    "aggregate": [["library_tests", "[laws]"], ["library_tests", "~[laws]~[snippets]"]],
}

# Each change is made where CULPRIT_MUTANT is its number: a < b becomes a < Less{7} < b, whose operators compare.
SWITCH = """
#pragma once
#include <algorithm>
#include <cstdlib>
#include <utility>
namespace mutants {
inline const int active = std::getenv("CULPRIT_MUTANT") ? std::atoi(std::getenv("CULPRIT_MUTANT")) : 0;
inline bool on(int number) { return active == number; }
#define CULPRIT_BINARY(Name, OLD, NEW)                                                             \\
  struct Name { int number; };                                                                     \\
  template <class A> struct Name##Left { A&& left; int number; };                                  \\
  template <class A> Name##Left<A> operator OLD(A&& left, Name change) {                           \\
    return {std::forward<A>(left), change.number};                                                 \\
  }                                                                                                \\
  template <class A, class B> auto operator OLD(Name##Left<A> a, B&& right) {                      \\
    return on(a.number) ? (a.left NEW right) : (a.left OLD right);                                 \\
  }
CULPRIT_BINARY(Less, <, <=)
CULPRIT_BINARY(LessEqual, <=, <)
CULPRIT_BINARY(Greater, >, >=)
CULPRIT_BINARY(GreaterEqual, >=, >)
CULPRIT_BINARY(Equal, ==, !=)
CULPRIT_BINARY(Unequal, !=, ==)
CULPRIT_BINARY(Plus, +, -)
CULPRIT_BINARY(Minus, -, +)
#define CULPRIT_ASSIGNMENT(Name, OLD, NEW)                                                         \\
  struct Name { int number; };                                                                     \\
  template <class B> struct Name##Right { B&& right; int number; };                                \\
  template <class B> Name##Right<B> operator OLD(Name change, B&& right) {                         \\
    return {std::forward<B>(right), change.number};                                                \\
  }                                                                                                \\
  template <class A, class B> void operator OLD(A&& left, Name##Right<B> b) {                      \\
    if (on(b.number)) left NEW b.right; else left OLD b.right;                                     \\
  }
CULPRIT_ASSIGNMENT(Add, +=, -=)
CULPRIT_ASSIGNMENT(Subtract, -=, +=)
template <class T> T min(int number, const T& a, const T& b) { return on(number) ? std::max(a, b) : std::min(a, b); }
template <class T> T max(int number, const T& a, const T& b) { return on(number) ? std::min(a, b) : std::max(a, b); }
}  // namespace mutants
"""

BINARY = {
    "comparison": {
        "<": ("<=", "Less"),
        "<=": ("<", "LessEqual"),
        ">": (">=", "Greater"),
        ">=": (">", "GreaterEqual"),
        "==": ("!=", "Equal"),
        "!=": ("==", "Unequal"),
    },
    "sign": {"+": ("-", "Plus"), "-": ("+", "Minus"), "+=": ("-=", "Add"), "-=": ("+=", "Subtract")},
}


def code_of(line):
    """The line with strings and comments blanked, so that columns stay."""
    line = re.sub(r'"(\\.|[^"\\])*"|\'(\\.|[^\'\\])*\'', lambda m: '"' * len(m.group()), line)
    return re.sub(r"//.*", lambda m: " " * len(m.group()), line)


def closing(text, opening):
    """Where the parenthesis at `opening` closes, or nothing when it does not on this line."""
    depth = 0
    for i in range(opening, len(text)):
        depth += {"(": 1, ")": -1}.get(text[i], 0)
        if depth == 0:
            return i
    return None


def changes_of(line):
    """Each (operator, changed line, line with the change behind a switch) of a line; @ stands for its number."""
    code = code_of(line)
    if re.match(r"\s*(#|template|static_assert|requires|throw|using|namespace)", code) or re.search(
        r"Error\(|__builtin_shuffle", code
    ):
        return
    for operator, swaps in BINARY.items():
        if operator == "sign" and '"' in code:
            continue  # text has no minus
        for old, (new, name) in swaps.items():
            for found in re.finditer(re.escape(f" {old} "), code):
                before, after = line[: found.start()], line[found.end() :]
                yield operator, f"{before} {new} {after}", f"{before} {old} ::mutants::{name}{{@}} {old} {after}"
    for old, new in (("min", "max"), ("max", "min")):
        for found in re.finditer(rf"std::{old}(<[^<>]*>)?\(", code):
            before, after, of = line[: found.start()], line[found.end() :], found.group(1) or ""
            yield "extreme", f"{before}std::{new}{of}({after}", f"{before}::mutants::{old}{of}(@, {after}"
    for found in re.finditer(r"(?<![\w.:<])\d+(?![\w.])", code):
        before, after, old = line[: found.start()], line[found.end() :], found.group()
        new = int(old) + 1
        yield "constant", f"{before}{new}{after}", f"{before}(::mutants::on(@) ? {new} : {old}){after}"
    for found in re.finditer(r"\bif \(", code):
        end = closing(code, found.end() - 1)
        if end is not None:
            before, inside, after = line[: found.end()], line[found.end() : end], line[end:]
            yield "condition", f"{before}!({inside}){after}", f"{before}::mutants::on(@) != bool({inside}){after}"
    if re.match(r"\s+[a-z_][\w.>\[\]-]*(\([^{}]*\))?( [-+*/|&^]?= [^{}]*)?;\s*$", code) and not re.match(
        r"\s+(return|break|continue|const|auto|using)\b", code
    ):
        yield "statement", ";", f"{{ if (!::mutants::on(@)) {line.strip()} }}"


def candidates(parts):
    for header in sorted(each for part in parts for each in (ROOT / "include/culprit" / part).glob("*.hpp")):
        for number, line in enumerate(header.read_text().splitlines(), 1):
            for operator, changed, switched in changes_of(line):
                yield {
                    "file": str(header.relative_to(ROOT)),
                    "line": number,
                    "operator": operator,
                    "is": changed.strip(),
                    "switched": switched,
                }


def draw(parts, count, seed):
    """The mutants by their numbers, from 1 on: one in a line at most."""
    changes = list(candidates(parts))
    random.Random(seed).shuffle(changes)
    lines = {}
    for change in changes:
        lines.setdefault((change["file"], change["line"]), change)
    return dict(enumerate(list(lines.values())[:count], 1))


def link_tree():
    """The working tree but for its headers."""
    TREE.mkdir(parents=True, exist_ok=True)
    links = {TREE / name: ROOT / name for name in ("CMakeLists.txt", "cmake", "tests", "examples", "docs", ".venv")}
    links[BUILD / "shared"] = ROOT.parent / "shared"
    for link, target in links.items():
        if not link.is_symlink():
            link.symlink_to(target)


def write_tree(mutants):
    """The working tree with the mutants, by their numbers, in its headers."""
    headers = {}
    for header in sorted((ROOT / "include").rglob("*.hpp")):
        headers[str(header.relative_to(ROOT))] = header.read_text().splitlines()
    for number, mutant in mutants.items():
        lines = headers[mutant["file"]]
        lines[0] = "#include <culprit/switch.hpp>"  # in the place of the licence, so that lines keep their numbers
        lines[mutant["line"] - 1] = mutant["switched"].replace("@", str(number))
    headers["include/culprit/switch.hpp"] = [SWITCH]
    for name, lines in headers.items():
        path, text = TREE / name, "\n".join(lines) + "\n"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def build(mutants, programs):
    """Builds the test programs; a mutant in a line that does not compile is taken out of `mutants`."""
    configure = ["cmake", "-S", str(TREE), "-B", str(BUILD / "build"), "-G", "Ninja"]
    configure += ["-DCMAKE_CXX_COMPILER=clang++-14", "-DCULPRIT_BUILD_EXAMPLES=OFF"]
    configure += [f"-DCMAKE_CXX_FLAGS=-w -O0 -D_GLIBCXX_ASSERTIONS {os.environ.get('CXXFLAGS', '')}"]
    while True:
        write_tree(mutants)
        subprocess.run(configure, check=True, stdout=subprocess.DEVNULL)
        make = ["cmake", "--build", str(BUILD / "build"), "--target", *programs]
        made = subprocess.run(make, capture_output=True, text=True, check=False)
        if made.returncode == 0:
            return
        named = set(re.findall(r"(include/culprit/[\w/]+\.hpp):(\d+)", made.stdout))
        wrong = [n for n, mutant in mutants.items() if (mutant["file"], str(mutant["line"])) in named]
        if not wrong:
            sys.exit(made.stdout)
        for number in wrong:
            print(f"does not compile: {mutants[number]['file']}:{mutants[number]['line']}: {mutants[number]['is']}")
            del mutants[number]


def passes(test, number):
    """Whether the tests pass with this mutant; 0 is none."""
    command = [str(BUILD / "build/bin" / test[0]), "--abort", *test[1:]]
    environment = {**os.environ, "CULPRIT_MUTANT": str(number), "OMP_NUM_THREADS": "1"}
    try:
        run = subprocess.run(command, capture_output=True, timeout=TIMEOUT, check=False, env=environment)
    except subprocess.TimeoutExpired:
        return False
    return run.returncode == 0


def fate(mutant, number):
    """killed by which tests, or survived."""
    part = pathlib.Path(mutant["file"]).parts[2]
    for test in TESTS[part]:
        if not passes(test, number):
            return "killed by " + " ".join(test)
    return "survived"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help="of " + ", ".join(TESTS) + "; all of them by default")
    parser.add_argument("--count", type=int, default=50, help="mutants")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()

    parts = arguments.parts or list(TESTS)
    mutants = draw(parts, arguments.count * 3 // 2, arguments.seed)
    link_tree()
    tests = {" ".join(test): test for part in parts for test in TESTS[part]}
    build(mutants, sorted({test[0] for test in tests.values()}))
    sources = hashlib.sha256()
    for file in sorted([*(ROOT / "include").rglob("*.hpp"), *(ROOT / "tests").rglob("*.[ch]pp")]):
        sources.update(file.read_bytes())
    state = BUILD / f"fates-{sources.hexdigest()[:16]}.json"
    fates = json.loads(state.read_text()) if state.exists() else {}
    for name, test in tests.items():
        if not passes(test, 0):
            sys.exit("fails without a change: " + name)

    counts = {"killed": 0, "survived": 0}
    for number, mutant in list(mutants.items())[: arguments.count]:
        name = f"{mutant['file']}:{mutant['line']}, {mutant['operator']}: {mutant['is']}"
        if name not in fates:
            fates[name] = fate(mutant, number)
            state.write_text(json.dumps(fates, indent=1))
        counts[fates[name].split()[0]] += 1
        print(f"{fates[name]}: {name}", flush=True)
    print(f"{counts['killed']} killed, {counts['survived']} survived")


if __name__ == "__main__":
    main()
