# SPDX-License-Identifier: MIT
#
# Resident memory of a run that goes on and on: soak.py PROGRAM MINUTES
#
# Fits noise until the time is up, looks at the process once a second, and compares what it had in each tenth of the
# time. The first tenth is left out: there LibTorch makes its pools. Fails where the peak of a later tenth is more than 1 %
# above that of the second.
import pathlib
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
PICTURES, SIDE = 100, 28


def write_pictures(folder):
    numbers = random.Random(20221128)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    for picture in range(PICTURES):
        rows = b"".join(b"\0" + numbers.randbytes(SIDE) for _ in range(SIDE))
        header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0)
        png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
        (folder / f"{picture}.png").write_bytes(png)


def resident(process):
    for line in pathlib.Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return None


def main():
    program, minutes = sys.argv[1], float(sys.argv[2])
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_pictures(folder)
        samples = int(minutes * 60 * 5000)  # more than any two processors get through
        with open(folder / "list.tsv", "w") as file:
            for sample in range(samples):
                file.write(f"{sample % PICTURES}.png\t{sample % 10}\n")
        weights = ROOT / "examples/weights/resnet8_fashion.safetensors"
        run = subprocess.Popen([program, "fit", "--model", f"resnet8_fashion:{weights}", "--data",
                                f"list:{folder / 'list.tsv'}", "--preset", "fashion", "--out", str(folder / "b.safetensors")],
                               stderr=subprocess.DEVNULL)
        looks = []
        end = time.monotonic() + minutes * 60
        while time.monotonic() < end and run.poll() is None:
            time.sleep(1)
            looks.append(resident(run.pid))
        ended = run.poll() is not None
        run.send_signal(signal.SIGKILL)
        run.wait()
        if ended:
            sys.exit("the run ended before the time was up")
    looks = [look for look in looks if look is not None]
    tenths = [max(looks[len(looks) * i // 10:len(looks) * (i + 1) // 10]) for i in range(10)]
    print("peak resident memory by tenths of", minutes, "minutes, MiB:", " ".join(f"{peak:.1f}" for peak in tenths))
    growth = max(tenths[2:]) / tenths[1] - 1
    print(f"growth after the second tenth: {100 * growth:.2f} %")
    sys.exit(growth > 0.01)


if __name__ == "__main__":
    main()
