#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Whether the tests notice small mistakes: changes the headers one place at a time, and builds and runs the tests.

    .venv/bin/python tests/mutants.py core                 50 changes of include/culprit/core
    .venv/bin/python tests/mutants.py engine aggregate     and of these, with LibTorch: hours

The changes are drawn with a fixed seed. What was found stands in build/mutants/mutants.json, and the next call goes on
from there. A change that does not compile is no mutant, and another one is drawn. The tests are those of the working
tree; the headers are copied.
"""
import argparse
import json
import pathlib
import random
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build/mutants"
TIMEOUT = 600  # seconds a test program may take, for a change can make a loop endless

# Of each part: which tests cover a header, the fastest first. "" stands for those that are not named.
TESTS = {
    "core": {
        "quantiles.hpp": ["core/quantiles_test.cpp", "core/core_test.cpp"],
        "statistics.hpp": ["core/statistics_test.cpp"],
        "profile_rows.hpp": ["io/profile_store_test.cpp"],
        "": ["core/core_test.cpp", "core/quantiles_test.cpp", "io/profile_store_test.cpp"],
    },
    "engine": {
        "autocast.hpp": ["engine/autocast_test.cpp"],
        "bfloat16_tile.hpp": ["engine/autocast_test.cpp", "engine/convolution_kernel_test.cpp"],
        "convolution_kernel.hpp": ["engine/convolution_kernel_test.cpp", "engine/equality_test.cpp"],
        "convolve_filters.hpp": ["engine/convolution_kernel_test.cpp", "engine/equality_test.cpp"],
        "": ["engine/equality_test.cpp", "engine/behaviour_test.cpp", "engine/vjp_test.cpp", "engine/workers_test.cpp"],
    },
    "aggregate": {"": ["laws/aggregations_test.cpp", "engine/equality_test.cpp"]},
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


SWAPS = [
    ("comparison", {" < ": " <= ", " <= ": " < ", " > ": " >= ", " >= ": " > ", " == ": " != ", " != ": " == "}),
    ("sign", {" + ": " - ", " - ": " + ", " += ": " -= ", " -= ": " += "}),
    (
        "extreme",
        {"std::min(": "std::max(", "std::max(": "std::min(", "std::min<": "std::max<", "std::max<": "std::min<"},
    ),
]


def changes_of(line):
    """Each (operator, changed line) of a line."""
    code = code_of(line)
    if re.match(r"\s*(#|template|static_assert|requires|throw|using|namespace)", code) or "Error(" in code:
        return
    for operator, swaps in SWAPS:
        if operator == "sign" and '"' in code:
            continue  # text has no minus
        for old, new in swaps.items():
            for found in re.finditer(re.escape(old), code):
                yield operator, line[: found.start()] + new + line[found.end() :]
    for found in re.finditer(r"(?<![\w.:<])\d+(?![\w.])", code):
        yield "constant", line[: found.start()] + str(int(found.group()) + 1) + line[found.end() :]
    for found in re.finditer(r"\bif \(", code):
        end = closing(code, found.end() - 1)
        if end is not None:
            yield "condition", line[: found.end()] + "!(" + line[found.end() : end] + ")" + line[end:]
    if re.match(r"\s+[a-z_][\w.>\[\]-]*(\([^{}]*\))?( [-+*/|&^]?= [^{}]*)?;\s*$", code) and not re.match(
        r"\s+(return|break|continue|const|auto|using)\b", code
    ):
        yield "statement", re.match(r"\s*", line).group() + ";\n"


def candidates(part):
    for header in sorted((ROOT / "include/culprit" / part).glob("*.hpp")):
        for number, line in enumerate(header.read_text().splitlines(keepends=True), 1):
            for operator, changed in changes_of(line):
                yield {
                    "file": str(header.relative_to(ROOT)),
                    "line": number,
                    "operator": operator,
                    "was": line.strip(),
                    "is": changed.strip(),
                }


def flags(part):
    shared = ROOT.parent / "shared"
    result = ["-std=c++20", "-O0" if part == "core" else "-O1", "-w"]
    result += ["-I", str(BUILD / "include"), "-I", str(ROOT / "tests")]
    result += ["-isystem", "/usr/include/eigen3", f'-DCULPRIT_SOURCE_DIR="{ROOT}"', f'-DCULPRIT_SHARED_DIR="{shared}"']
    result += [f'-DCULPRIT_PYTHON="{sys.executable}"']
    if part == "core":
        return result, []
    import torch

    folder = pathlib.Path(torch.__file__).parent
    include = ["-isystem", str(folder / "include"), "-isystem", str(folder / "include/torch/csrc/api/include")]
    libraries = [f"-L{folder / 'lib'}", f"-Wl,-rpath,{folder / 'lib'}"]
    libraries += ["-Wl,--no-as-needed", "-ltorch_cpu", "-ltorch", "-lc10"]
    return result + include, libraries


def passes(part, test):
    """Whether the test passes on the headers in build/mutants; nothing when it does not compile."""
    compiler, libraries = flags(part)
    program = BUILD / "test"
    main = BUILD / "main.o"
    if not main.exists():
        subprocess.run(["g++", *compiler, "-c", str(ROOT / "tests/support/main.cpp"), "-o", str(main)], check=True)
    build = ["g++", *compiler, str(ROOT / "tests" / test), str(main), "-o", str(program), *libraries]
    if subprocess.run(build, stderr=subprocess.DEVNULL, check=False).returncode != 0:
        return None
    try:
        run = subprocess.run([str(program)], capture_output=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return False
    return run.returncode == 0


def fate(part, change):
    """killed by which test, survived, or not compiled."""
    header = BUILD / change["file"]
    lines = (ROOT / change["file"]).read_text().splitlines(keepends=True)
    indent = re.match(r"\s*", lines[change["line"] - 1]).group()
    lines[change["line"] - 1] = indent + change["is"] + "\n"
    header.write_text("".join(lines))
    try:
        tests = TESTS[part]
        for test in tests.get(header.name, tests[""]):
            passed = passes(part, test)
            if passed is None:
                return "not compiled"
            if not passed:
                return "killed by " + test
        return "survived"
    finally:
        shutil.copy(ROOT / change["file"], header)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=list(TESTS))
    parser.add_argument("--count", type=int, default=50, help="mutants of each part")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()

    shutil.rmtree(BUILD / "include", ignore_errors=True)
    shutil.copytree(ROOT / "include", BUILD / "include")
    state = BUILD / "mutants.json"
    known = json.loads(state.read_text()) if state.exists() else []
    fates = {json.dumps(each["change"]): each["fate"] for each in known}
    for part in arguments.parts:
        changes = list(candidates(part))
        random.Random(arguments.seed).shuffle(changes)
        counts = {"killed": 0, "survived": 0}
        for change in changes:
            if sum(counts.values()) == arguments.count:
                break
            key = json.dumps(change)
            if key not in fates:
                fates[key] = fate(part, change)
                known.append({"change": change, "fate": fates[key]})
                state.write_text(json.dumps(known, indent=1))
            if fates[key] == "not compiled":
                continue
            counts[fates[key].split()[0]] += 1
            print(f"{fates[key]}: {change['file']}:{change['line']}, {change['operator']}: {change['is']}", flush=True)
        print(f"{part}: {counts['killed']} killed, {counts['survived']} survived, of {len(changes)} changes")


if __name__ == "__main__":
    main()
