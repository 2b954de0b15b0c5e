# SPDX-License-Identifier: MIT
"""Installs the package for Python into a folder, as a user's pip does: build.py FOLDER"""

import importlib.util
import pathlib
import subprocess
import sys
import sysconfig

ROOT = pathlib.Path(__file__).resolve().parents[2]

for package in ("torch", "setuptools"):
    if importlib.util.find_spec(package) is None:
        print(f"SKIPPED: needs the Python package {package}")
        sys.exit(0)
if not (pathlib.Path(sysconfig.get_path("include")) / "Python.h").exists():
    print("SKIPPED: needs the headers of Python")
    sys.exit(0)
sys.exit(subprocess.run([
    sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-build-isolation",
    "--no-deps", "--no-index", "--upgrade", "--target", sys.argv[1], str(ROOT / "examples/python")]).returncode)
