# SPDX-License-Identifier: MIT
"""Pictures of every kind, and what Pillow and torchvision make of them.

    data_references.py OUT_DIR

writes OUT_DIR/cases.json, a list of cases. A case names a picture in OUT_DIR ("file") and .npy files of the pixels that
are expected after decoding ("decoded", [height, width, channels]), after Image.resize to "size" [width, height]
("resized"), or after Resize("shorter") and CenterCrop("crop") ("cropped"), with the float64 values of the normalised
result ("normalised", [3, crop, crop]).
"""

import json
import pathlib
import struct
import sys
import zlib

import numpy as np
import torchvision.transforms.functional as F
from PIL import Image

OUT = pathlib.Path(sys.argv[1])
RANDOM = np.random.default_rng(2022)
MEAN = np.array([0.485, 0.456, 0.406]).reshape(3, 1, 1)
STD = np.array([0.229, 0.224, 0.225]).reshape(3, 1, 1)
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
cases = []


def noise(width, height, *channels):
    return RANDOM.integers(0, 256, (height, width, *channels), dtype=np.uint8)


def photo(width, height, mode):
    """Smooth colours with some noise, which a JPEG keeps well."""
    y, x = np.mgrid[0:height, 0:width]
    bands = len(Image.new(mode, (1, 1)).getbands())
    waves = [127 + 90 * np.sin(x / (9 + 4 * b) + b) * np.cos(y / (13 - 2 * b)) for b in range(bands)]
    pixels = np.stack(waves, -1) + RANDOM.normal(0, 8, (height, width, bands))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8).squeeze(), mode)


def png(pixels, depth, colour, interlaced):
    """A PNG that Pillow cannot write: [height, width, channels] samples of 2, 4, 8 or 16 bits."""
    data = b""
    for x0, y0, dx, dy in ADAM7 if interlaced else [(0, 0, 1, 1)]:
        part = pixels[y0::dy, x0::dx]
        for row in part if part.size else []:
            if depth == 16:
                packed = row.astype(">u2").tobytes()
            else:
                bits = "".join(f"{int(v):0{depth}b}" for v in row.flatten())
                packed = bytes(int(bits[i : i + 8].ljust(8, "0"), 2) for i in range(0, len(bits), 8))
            data += b"\0" + packed
    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], depth, colour, 0, 0, interlaced)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


def array(pixels):
    name = f"{len(list(OUT.glob('*.npy')))}.npy"
    pixels = np.asarray(pixels)
    np.save(OUT / name, np.ascontiguousarray(pixels if pixels.ndim == 3 else pixels[..., None]))
    return name


def decoding(file, expected):
    cases.append({"file": file, "decoded": array(expected)})


def saved(file, image, **options):
    image.save(OUT / file, **options)
    grey = image.mode in ("1", "L", "LA")
    decoding(file, Image.open(OUT / file).convert("L" if grey else "RGB"))


def jpegs():
    for subsampling in (0, 1, 2):
        saved(f"subsampling {subsampling}.jpg", photo(75, 51, "RGB"), subsampling=subsampling)
    saved("progressive.jpg", photo(64, 65, "RGB"), progressive=True)
    saved("grey.jpg", photo(33, 47, "L"))
    saved("cmyk.jpg", photo(47, 33, "CMYK"), quality=95)
    saved("a jpeg by another name.png", photo(8, 8, "RGB"), format="JPEG")


def pngs():
    saved("rgb.png", Image.fromarray(noise(7, 5, 3)))
    saved("rgba.png", Image.fromarray(noise(7, 5, 4)))
    saved("grey.png", Image.fromarray(noise(7, 5)))
    saved("grey and alpha.png", Image.fromarray(noise(7, 5, 2), "LA"))
    saved("one bit.png", Image.fromarray(noise(13, 5)).convert("1"))
    palette = Image.fromarray(noise(31, 9, 3)).quantize(11)
    saved("palette.png", palette)
    saved("palette with a transparent colour.png", palette, transparency=3)
    for interlaced in (0, 1):
        for depth, colour, channels in ((2, 0, 1), (4, 0, 1), (8, 2, 3), (8, 6, 4), (16, 0, 1), (16, 2, 3), (16, 6, 4)):
            file = f"{depth} bit colour {colour} interlaced {interlaced}.png"
            pixels = RANDOM.integers(0, 1 << depth, (11, 14, channels))
            (OUT / file).write_bytes(png(pixels, depth, colour, interlaced))
            eight_bit = pixels >> 8 if depth == 16 else pixels * (255 // ((1 << depth) - 1))
            decoding(file, eight_bit[..., :3].astype(np.uint8))


def resizes():
    sizes = [(1, 1), (1, 9), (9, 1), (2, 3), (5, 5), (32, 32), (31, 64), (100, 3), (127, 255), (550, 367)]
    for number, (width, height) in enumerate(sizes):
        file = f"noise {number}.png"
        Image.fromarray(noise(width, height, 3)).save(OUT / file)
        for to in [(1, 1), (width, 7), (13, height), (383, 256), *map(tuple, RANDOM.integers(1, 300, (4, 2)).tolist())]:
            # In two steps, as Pillow 13 changes their order where the height shrinks far more than the width.
            rows = Image.open(OUT / file).resize((to[0], height), Image.Resampling.BILINEAR)
            resized = rows.resize(to, Image.Resampling.BILINEAR)
            cases.append({"file": file, "size": list(to), "resized": array(resized)})


def pipelines():
    sizes = [(550, 367), (367, 550), (500, 375), (375, 500), (256, 256), (257, 256), (256, 313), (224, 300), (37, 53)]
    sizes += [(641, 480), (1023, 401), *map(tuple, RANDOM.integers(30, 600, (6, 2)).tolist())]
    for number, (width, height) in enumerate(sizes):
        mode = "L" if number % 5 == 4 else "RGB"
        file = f"photo {number}.{'png' if number % 2 else 'jpg'}"
        photo(width, height, mode).save(OUT / file)
        for shorter, crop in ((256, 224), (232, 225), (33, 32)):
            cropped = F.center_crop(F.resize(Image.open(OUT / file), shorter), crop)
            case = {"file": file, "shorter": shorter, "crop": crop, "cropped": array(cropped)}
            if crop == 32:
                values = np.asarray(cropped.convert("RGB")).transpose(2, 0, 1).astype(np.float64)
                case["normalised"] = array((values / 255 - MEAN) / STD)
            cases.append(case)


jpegs()
pngs()
resizes()
pipelines()
(OUT / "cases.json").write_text(json.dumps(cases))
