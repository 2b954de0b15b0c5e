# SPDX-License-Identifier: MIT
"""Builds the wheel: pip install --no-build-isolation examples/python

One extension against the torch that is installed, and the headers that culprit.aggregation compiles against. Eigen and
range-v3 are searched where the compiler looks, in /usr/include/eigen3, and in the folders that CULPRIT_INCLUDE names.
"""

import os
import pathlib
import re
import shutil
import sys

from setuptools import setup
from setuptools.command.build_py import build_py

try:
    import torch
    from torch.utils.cpp_extension import BuildExtension, CppExtension, include_paths
except ImportError:
    sys.exit("culprit: expected the package torch where this is built, came none: pip install torch, then "
             "pip install --no-build-isolation examples/python")

HERE = pathlib.Path(__file__).resolve().parent
LIBRARY = HERE.parents[1] / "include"
FOLDERS = [*filter(None, os.environ.get("CULPRIT_INCLUDE", "").split(os.pathsep)), "/usr/include/eigen3"]
FLAGS = ["-std=c++20", "-O3", "-g0", "-fvisibility=hidden"]


class Build(build_py):
    """Puts the headers beside the module."""

    def run(self):
        super().run()
        headers = pathlib.Path(self.build_lib) / "culprit/include"
        shutil.copytree(LIBRARY / "culprit", headers / "culprit", dirs_exist_ok=True)
        for header in ("cli/policies.hpp", "python/method.hpp"):
            (headers / header).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(HERE.parent / header, headers / header)
        (headers / "folders.txt").write_text("\n".join(FOLDERS))


os.chdir(HERE)
version = re.search(r'version = "([\d.]+)"', (LIBRARY / "culprit/version.hpp").read_text())[1]
setup(
    version=version,
    install_requires=[f"torch=={torch.__version__.partition('+')[0]}"],  # the libraries of another one differ
    packages=["culprit"],
    package_dir={"": "src"},  # not beside the scripts, which would find it before the installed one
    package_data={"culprit": ["py.typed", "*.pyi"]},
    ext_modules=[
        CppExtension(
            "culprit._library",
            ["library.cpp"],
            depends=[str(header) for folder in (LIBRARY, HERE, HERE.parent / "cli")
                     for header in folder.rglob("*.hpp")],
            include_dirs=[str(LIBRARY), str(HERE.parent), *FOLDERS],
            extra_compile_args=[*(f"-isystem{folder}" for folder in include_paths()), *FLAGS],
        )
    ],
    cmdclass={"build_py": Build, "build_ext": BuildExtension.with_options(use_ninja=False)},
)
