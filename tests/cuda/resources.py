# SPDX-License-Identifier: MIT
"""Registers, shared memory and spills of the fused kernel as it was compiled, for each architecture, and the blocks that a
multiprocessor holds of it: fewer than tuning.cuh states, or a register in memory, is an error.

  resources.py CUOBJDUMP PROGRAM NVCC_VERSION PAGE [--write]

PAGE has the table for one release of nvcc, which it names; with --write the table is replaced."""

import re
import subprocess
import sys
from pathlib import Path

# Of a multiprocessor: shared memory in bytes, and threads ("Compute Capabilities" in the CUDA programming guide). Each has
# 65,536 registers, which a warp takes 256 at a time; each block has 1 KiB of shared memory for itself.
MULTIPROCESSORS = {
    "sm_80": (164 << 10, 2048),
    "sm_90": (228 << 10, 2048),
    "sm_100": (228 << 10, 2048),
    "sm_120": (100 << 10, 1536),
}
NAMES = {"Float32": "float32", "Tf32": "TF32", "Bfloat16": "bfloat16", "Float16": "float16"}


def tiles(program):
    """(multiplication, row warps, column warps, row steps, column steps) -> threads, blocks stated, bytes."""
    result = {}
    for line in subprocess.run([program, "--tiles"], check=True, capture_output=True, text=True).stdout.splitlines():
        name, *numbers = line.split()
        result[(name, *map(int, numbers[:4]))] = tuple(map(int, numbers[4:]))
    return result


def registers(cuobjdump, program):
    """(architecture, tile) -> registers of a thread, bytes in memory, for the aggregation MeanAbs."""
    text = subprocess.run([cuobjdump, "-res-usage", program], check=True, capture_output=True, text=True).stdout
    result = {}
    architecture = tile = None
    for line in text.splitlines():
        if found := re.match(r"arch = (sm_\d+)", line):
            architecture = found[1]
        elif "Function" in line:
            found = re.search(r"reduce_gradientsINS0_4TileINS0_\d+(\w+?)ELi(\d)ELi(\d)ELi(\d)ELi(\d)E.*MeanAbs", line)
            tile = (found[1], *map(int, found.groups()[1:])) if found else None
        elif tile and (found := re.search(r"REG:(\d+) STACK:(\d+) .*LOCAL:(\d+)", line)):
            result[(architecture, tile)] = (int(found[1]), int(found[2]) + int(found[3]))
    return result


def main():
    cuobjdump, program, used, page = sys.argv[1:5]
    stated = tiles(program)
    compiled = registers(cuobjdump, program)
    wrong = []
    rows = []
    for tile, (threads, blocks, memory) in stated.items():
        cells = []
        for architecture, (shared, most_threads) in MULTIPROCESSORS.items():
            if (architecture, tile) not in compiled:
                wrong.append(f"{tile} has not been compiled for {architecture}")
                continue
            count, spilled = compiled[architecture, tile]
            by_memory = shared // (memory + 1024)
            by_registers = 65536 // (-(-count // 8) * 8 * threads)
            held = min(by_memory, by_registers, most_threads // threads)
            cells.append(f"{count} ({held})")
            if spilled:
                wrong.append(f"{tile} has {spilled} bytes of each thread in memory on {architecture}")
            if held < min(blocks, by_memory):
                wrong.append(f"{tile}: {held} blocks on {architecture}, but tuning.cuh says {blocks}")
        rows.append(
            f"| {tile[1] * tile[3] * 16} x {tile[2] * tile[4] * 8} | {NAMES[tile[0]]} | {threads} | {memory:,} | {blocks} | "
            + " | ".join(cells) + " |"
        )
    if len(rows) != 12:
        wrong.append(f"{len(rows)} tiles, not 12")
    head = f"| tile | | threads | shared memory | blocks | {' | '.join(MULTIPROCESSORS)} |"
    table = "\n".join([head, "|---|---|---:|---:|---:|" + "---:|" * len(MULTIPROCESSORS), *rows])
    print(table)

    path = Path(page)
    text = path.read_text()
    begin = text.index("| tile | | threads |")
    end = text.index("\n\n", begin)
    named = re.search(r"by nvcc (\d+\.\d+)", text)[1]
    if "--write" in sys.argv:
        path.write_text(text[:begin] + table + text[end:])
    elif not used.startswith(named + "."):
        print(f"not compared with {path.name}: its table is by nvcc {named}, this one by {used}")
    elif text[begin:end] != table:
        wrong.append(f"the table in {path.name} is another: resources.py ... --write")
    print("\n".join(wrong))
    return 1 if wrong else 0


sys.exit(main())
