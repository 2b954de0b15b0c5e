# SPDX-License-Identifier: MIT
"""Runs culprit --isolate on damaged TorchScript files: mutated_scripts.py PROGRAM COUNT [FIRST]

Each file is a small model with a few changes, drawn by its number: to its bytes, or to those of a member of the
archive, whose checksum is then made right, or to the words of its code. Whatever LibTorch makes of it, the program has
to end with status 0 and a result, or with status 1, one line that says why and no file; it must not crash itself.
"""

import collections
import io
import pathlib
import random
import re
import resource
import struct
import subprocess
import sys
import tempfile
import zipfile

MEMORY = 4 << 30  # bytes that each run may have


def change_bytes(draw, data):
    """A byte, a bit, a number, a cut, a repetition, or a piece that is put elsewhere."""
    data = bytearray(data)
    if not data:
        return bytes(data)
    at = draw.randrange(len(data))
    length = min(draw.choice([1, 2, 4, 8, 64]), len(data) - at)
    kind = draw.randrange(6)
    if kind == 0:
        data[at] = draw.randrange(256)
    elif kind == 1:
        data[at] ^= 1 << draw.randrange(8)
    elif kind == 2:
        number = draw.choice([0, 1, 0x7F, 0xFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, (1 << 64) - 1])
        data[at : at + length] = struct.pack("<Q", number)[:length].ljust(length, b"\0")
    elif kind == 3:
        del data[at : at + length]
    elif kind == 4:
        data[at:at] = data[at : at + length]
    else:
        to = draw.randrange(len(data))
        data[to : to + length] = data[at : at + length]
    return bytes(data)


def change_words(draw, text):
    """A number, a word for another of the text, or a line more, less or elsewhere."""
    if draw.random() < 0.3:
        lines = text.splitlines(keepends=True)
        line = lines.pop(draw.randrange(len(lines))) if draw.random() < 0.7 else draw.choice(lines)
        if draw.random() < 0.7:
            lines.insert(draw.randrange(len(lines) + 1), line)
        return "".join(lines)
    words = list(re.finditer(r"\w+", text))
    chosen = draw.choice(words)
    if chosen[0].isdigit():
        other = draw.choice(["0", "1", "-1", "2", "7", "1000000", "4294967296", "9223372036854775807"])
    else:
        other = draw.choice(words)[0]
    return text[: chosen.start()] + other + text[chosen.end() :]


def mutated(draw, archive):
    if draw.random() < 0.1:
        for _ in range(draw.randint(1, 4)):
            archive = change_bytes(draw, archive)
        return archive if draw.random() < 0.8 else archive[: draw.randrange(len(archive))]
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        members = {name: file.read(name) for name in file.namelist()}
    for _ in range(draw.randint(1, 3)):
        # Code and structure more often than weights and where the code came from.
        weights = [8 if name.endswith((".py", "/data.pkl")) else 1 for name in members]
        name = draw.choices([*members], weights)[0]
        if name.endswith(".py") and draw.random() < 0.8:
            members[name] = change_words(draw, members[name].decode(errors="replace")).encode()
        else:
            members[name] = change_bytes(draw, members[name])
    changed = io.BytesIO()
    with zipfile.ZipFile(changed, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    return changed.getvalue()


def write_data(folder):
    folder.mkdir()
    (folder / "t10k-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, 1, 28, 28) + bytes(range(196)) * 4)
    (folder / "t10k-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, 1) + b"\3")


def run(program, folder):
    """What became of model.pt in the folder."""
    before = {path.name for path in folder.iterdir()}
    command = [program, "fit", "--isolate", "--time-limit", "120", "--model", "model.pt", "--data", "idx:digits"]
    command += ["--preset", "fashion", "--out", "result.safetensors"]
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        errors="replace",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY)),
    )
    new = {path.name for path in folder.iterdir()} - before
    errors = [line for line in done.stderr.splitlines() if line.startswith("culprit: error: ")]
    if done.returncode == 0 and not errors and new == {"result.safetensors"}:
        (folder / "result.safetensors").unlink()
        return "ran"
    if done.returncode == 1 and len(errors) == 1 and not new:
        crash = re.search(r"model.pt, isolated: expected (.*)", errors[0])
        return "ended in the child: " + crash[1] if crash else "refused"
    sys.exit(f"the program's status is {done.returncode}, it wrote {sorted(new)} and said: {done.stderr}")


def main():
    program, count = pathlib.Path(sys.argv[1]).resolve(), int(sys.argv[2])
    first = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    if subprocess.run([sys.executable, "-c", "import torch"], capture_output=True).returncode != 0:
        print("SKIPPED: needs the Python package torch")
        return
    ends = collections.Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_data(folder / "digits")
        models = folder / "models"
        models.mkdir()
        subprocess.run([sys.executable, pathlib.Path(__file__).with_name("script_models.py"), models], check=True)
        archive = (models / "good.pt").read_bytes()
        (folder / "model.pt").write_bytes(archive)
        if run(program, folder) != "ran":
            sys.exit("the model is refused as it is")
        for number in range(first, first + count):
            print(f"file {number}: ", end="", flush=True)
            (folder / "model.pt").write_bytes(mutated(random.Random(number), archive))
            end = run(program, folder)
            print(end, flush=True)
            ends[end] += 1
    for end, times in ends.most_common():
        print(f"{times:5} {end}")
    if count >= 20 and min(ends["ran"], ends["refused"]) == 0:
        sys.exit("changes of one kind only")


main()
