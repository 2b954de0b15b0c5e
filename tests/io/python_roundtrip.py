# SPDX-License-Identifier: MIT
"""Files of PyPI's safetensors and numpy are read by culprit, written by culprit, and read back by the packages.

usage: python_roundtrip.py PROGRAM, where PROGRAM holds the test case named below.
"""
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy
import safetensors
from safetensors.numpy import load_file, save_file

TEST_CASE = "files of a folder are copied by way of the readers and writers"
DTYPES = ["?", "u1", "i1", "<u2", "<i2", "<f2", "<u4", "<i4", "<f4", "<u8", "<i8", "<f8"]
SHAPES = [(), (1,), (7,), (2, 3), (3, 1, 2), (0,), (4, 0, 2)]
METADATA = {"format": "pt", "é\n\"\\\t€😀": "\x00\x1f  spaces  ", "": ""}


def random_array(random, dtype, shape):
    """Any bits at all: NaN payloads and denormals must come through."""
    size = numpy.dtype(dtype).itemsize * int(numpy.prod(shape))
    data = random.integers(0, 2 if dtype == "?" else 256, size, dtype=numpy.uint8).tobytes()
    return numpy.frombuffer(data, dtype).reshape(shape)


def same(left, right):
    return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()


def main():
    random = numpy.random.default_rng(20221128)
    arrays = {f"{dtype} {shape}": random_array(random, dtype, shape) for dtype in DTYPES for shape in SHAPES}
    # numpy has no bfloat16, and the package aligns what it writes: these bytes are made by hand.
    header = (b'{"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[1,13]},'
              b'"u":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}')
    raw = len(header).to_bytes(8, "little") + header + bytes(range(13))
    with tempfile.TemporaryDirectory() as name:
        theirs, ours = pathlib.Path(name, "theirs"), pathlib.Path(name, "ours")
        theirs.mkdir()
        ours.mkdir()
        save_file(arrays, theirs / "all.safetensors", METADATA)
        save_file({}, theirs / "none.safetensors")
        (theirs / "raw.safetensors").write_bytes(raw)
        for i, array in enumerate(arrays.values()):
            numpy.save(theirs / f"{i}.npy", array)

        result = subprocess.run([sys.argv[1], TEST_CASE], env=os.environ | {"CULPRIT_ROUNDTRIP_FOLDER": name})
        assert result.returncode == 0

        assert sorted(path.name for path in ours.iterdir()) == sorted(path.name for path in theirs.iterdir())
        back = load_file(ours / "all.safetensors")
        assert back.keys() == arrays.keys()
        for i, (key, array) in enumerate(arrays.items()):
            assert same(back[key], array), key
            assert same(numpy.load(ours / f"{i}.npy", allow_pickle=False), array), key
        with safetensors.safe_open(ours / "all.safetensors", "numpy") as file:
            assert file.metadata() == METADATA
        assert load_file(ours / "none.safetensors") == {}
        for file in (theirs, ours):
            tensors = dict(safetensors.deserialize((file / "raw.safetensors").read_bytes()))
            assert tensors["b"]["dtype"] == "BF16" and tensors["b"]["shape"] == [2, 3]
            assert bytes(tensors["b"]["data"]) == bytes(range(1, 13)) and bytes(tensors["u"]["data"]) == b"\0"
    print(f"{len(arrays)} tensors came back the same")


if __name__ == "__main__":
    main()
