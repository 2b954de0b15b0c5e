# SPDX-License-Identifier: MIT
"""Aggregations written in C++ as text, compiled when they are first asked for."""

import functools
import hashlib
import pathlib
import re
from typing import Callable

import torch

from culprit import _library

_INCLUDE = pathlib.Path(__file__).parent / "include"
_FLAGS = ("-std=c++20", "-O3", "-g0", "-fvisibility=hidden")
_MODULE = """
#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>

#include <pybind11/pybind11.h>

#include "python/method.hpp"

using culprit::Index;

#line 1 "aggregation"
{source}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) {{
  using culprit::python::Settings;
  module.def("make", [](const Settings& settings) -> std::shared_ptr<culprit::python::Method> {{
    return culprit::python::make_method({instance}, settings);
  }});
}}
"""


class Aggregation:
    """A compiled aggregation, for Profiler(aggregation=...)."""

    def __init__(self, name: str, make: Callable[[_library.Settings], _library.Method]) -> None:
        self.name = name
        self.make = make

    def __repr__(self) -> str:
        return f"culprit.Aggregation({self.name})"


@functools.lru_cache(maxsize=None)
def aggregation(source: str, instance: str = "") -> Aggregation:
    """Compiles an aggregation: how the gradients of a filter become one number.

    The first time takes a compiler, ninja and about a minute; later, and in other processes, the result is found in
    torch's cache of extensions (TORCH_EXTENSIONS_DIR), by a hash of all that goes into it.

    Args:
        source: C++ that ends with a struct as in docs/policies/aggregation.md. The standard library's <cmath> and
            <algorithm>, `Index` and the namespace `culprit` are there.
        instance: an expression that makes one; its default is `Name{}` with the name of the last struct.

    Raises:
        ValueError: with the compiler's first error, which for a struct that is no aggregation says what it lacks.
    """
    from torch.utils import cpp_extension

    names = re.findall(r"\bstruct\s+(\w+)", source)
    if not instance and not names:
        raise ValueError("aggregation: expected the source of a struct in C++, came text without one")
    code = _MODULE.format(source=source, instance=instance or f"{names[-1]}{{}}")
    told_apart_by = "\n".join([code, torch.__version__, _library.version, *_FLAGS])
    folders = (_INCLUDE / "folders.txt").read_text().splitlines()
    try:
        module = cpp_extension.load_inline(
            name=f"culprit_{hashlib.sha256(told_apart_by.encode()).hexdigest()[:16]}",
            cpp_sources=code, extra_cflags=list(_FLAGS), extra_include_paths=[str(_INCLUDE), *folders],
            no_implicit_headers=True)
    except RuntimeError as error:
        raise ValueError(f"aggregation: expected C++ that compiles, came: {_first_error(str(error))}") from error
    return Aggregation(instance or names[-1], module.make)


def _first_error(log: str) -> str:
    """The library's sentence if there is one, else what the compiler said first."""
    found = (re.search(r"error: static assertion failed: (culprit: .*)", log)
             or re.search(r"error: static assertion failed: (.*)", log)
             or re.search(r"^(?:.*/)?(\S+:\d+:\d+: (?:fatal )?error: .*)$", log, re.MULTILINE))
    return found[1] if found else log.strip().splitlines()[-1]
