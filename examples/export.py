#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Exports a torchvision or timm model to TorchScript, the form in which the program `culprit` reads any model.

Examples:
  export.py resnet50 resnet50.pt --weights default
  export.py timm:convnext_tiny convnext.pt --weights convnext_tiny.safetensors
  export.py inception_v3 inception.pt --seed 7 --input-size 299

Tracing keeps every parameter, those of heads that only training uses included, and does not depend on the size of the
batch: the exported file is read back and compared with the model on another batch before it gets its name.
"""

import argparse
import os
import pathlib
import sys
import tempfile
import warnings

import torch


class ExportError(Exception):
    """Something that the user can put right; its text is all that is shown."""


def make_torchvision(name, pretrained):
    from torchvision import models

    if name not in models.list_models(module=models):
        return None
    weights = models.get_model_weights(name).DEFAULT
    options = {"weights": weights if pretrained else None}
    if not pretrained and name in ("inception_v3", "googlenet"):
        options["init_weights"] = False  # theirs takes long, and these are random anyway
    return models.get_model(name, **options), weights.transforms().crop_size[0]


def make_timm(name, pretrained):
    import timm

    if not timm.is_model(name):
        return None
    model = timm.create_model(name, pretrained=pretrained)
    return model, model.pretrained_cfg["input_size"][-1]


MAKERS = {"torchvision": make_torchvision, "timm": make_timm}


def make_model(name, pretrained):
    """The module, and the side of the images that it was made for."""
    library, colon, model = name.rpartition(":")
    if colon and library not in MAKERS:
        raise ExportError(f"{name}: expected one of {', '.join(MAKERS)} before the colon, came {library!r}")
    for candidate in [library] if colon else MAKERS:
        try:
            made = MAKERS[candidate](model, pretrained)
        except ModuleNotFoundError as error:
            if error.name != candidate:
                raise
            continue
        if made:
            return made
    raise ExportError(f"{name}: expected a classifier of an installed torchvision or timm, came another name")


def read_state(path):
    """The state_dict in a safetensors file or in one by torch.save, there also below "state_dict"."""
    try:
        if path.suffix == ".safetensors":
            import safetensors.torch

            return safetensors.torch.load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
        state = state.get("state_dict", state)
        return {key.removeprefix("module."): value for key, value in state.items()}
    except Exception as error:  # both libraries raise types of their own for a bad file
        raise ExportError(f"{path}: expected a state_dict, came {error}") from error


def to_torchscript(model, side, script):
    """In eval mode; checked on another batch than the one that was traced."""
    model.eval()
    torch.backends.mha.set_fastpath_enabled(False)  # one operator for a whole layer, and without a derivative
    with torch.no_grad():
        traced_on, other = torch.randn(2, 3, side, side), torch.randn(3, 3, side, side)
        exported = torch.jit.script(model) if script else torch.jit.trace(model, traced_on, check_trace=False)
        expected = model(other)
        came = exported(other)
    came = came[0] if isinstance(came, tuple) else came
    # One model, the same operations: only a library that sums in another order for another graph may differ.
    if not torch.allclose(came, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max())):
        raise ExportError(f"the exported model: expected the model's output, came one that differs by up to "
                          f"{float((came - expected).abs().max()):.3g}: it depends on the values or on the batch size "
                          f"it was traced with, so try --script")
    return exported


def save_atomically(module, path):
    """A reader sees the old file or the whole new one, whatever happens."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".export-", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            torch.jit.save(module, file)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def export(options):
    torch.manual_seed(options.seed)
    model, side = make_model(options.model, options.weights == "default")
    if options.weights not in ("random", "default"):
        model.load_state_dict(read_state(pathlib.Path(options.weights)))
    exported = to_torchscript(model, options.input_size or side, options.script)
    save_atomically(exported, options.out)


def positive(text):
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="as torchvision or timm names it; torchvision:NAME or timm:NAME if both do")
    parser.add_argument("out", type=pathlib.Path, help="the TorchScript file to write")
    parser.add_argument("--weights", default="random", metavar="random|default|FILE",
                        help="random (default); default: the library's own, downloaded if they are not in its cache; "
                             "or a state_dict: .safetensors, .pt or .pth")
    parser.add_argument("--input-size", type=positive, metavar="SIDE",
                        help="of the square images to trace with (default: what the model was made for)")
    parser.add_argument("--seed", type=int, default=0, help="of random weights and of the inputs to trace with")
    parser.add_argument("--script", action="store_true", help="torch.jit.script in place of torch.jit.trace")
    options = parser.parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript, which is what is asked for
            warnings.simplefilter("ignore", torch.jit.TracerWarning)  # to_torchscript compares instead
            export(options)
    except (ExportError, OSError, RuntimeError, ImportError) as error:
        print(f"export.py: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
