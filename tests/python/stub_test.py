# SPDX-License-Identifier: MIT
"""The stub of the compiled module, and what the package shows, are what is there."""

import ast
import pathlib
import unittest

import package  # noqa: F401

import culprit
from culprit import _library


def public(names):
    return {name for name in names if not name.startswith("_") or name == "__len__"}


class Stub(unittest.TestCase):
    def test_names_what_the_module_has(self):
        tree = ast.parse(pathlib.Path(culprit.__file__).with_name("_library.pyi").read_text())
        classes = {each.name: each for each in tree.body if isinstance(each, ast.ClassDef)}
        others = {each.name for each in tree.body if isinstance(each, ast.FunctionDef)}
        others |= {each.target.id for each in tree.body if isinstance(each, ast.AnnAssign)}
        self.assertEqual(public(vars(_library)), others | classes.keys())
        for name, stub in classes.items():
            members = {each.name for each in stub.body if isinstance(each, ast.FunctionDef)}
            self.assertEqual(public(members), public(vars(getattr(_library, name))), name)

    def test_everything_public_says_what_it_is(self):
        self.assertTrue(pathlib.Path(culprit.__file__).with_name("py.typed").exists())
        for name in culprit.__all__:
            each = getattr(culprit, name)
            if each.__module__ != "culprit._library":
                self.assertTrue(each.__doc__, name)


unittest.main()
