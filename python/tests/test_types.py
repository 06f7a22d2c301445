"""The stub says what the code has: every public name, and every argument of every function."""
import ast
import inspect
from pathlib import Path

import cafx

TREE = ast.parse(Path(cafx.__file__).with_suffix(".pyi").read_text())


def arguments(f):
    a = f.args
    return [x.arg for x in a.posonlyargs + a.args], [x.arg for x in a.kwonlyargs]


def of_code(f):
    kinds = [(p.name, p.kind) for p in inspect.signature(f).parameters.values() if not p.name.startswith("_")]
    return [n for n, k in kinds if k is not inspect.Parameter.KEYWORD_ONLY], [n for n, k in kinds if k is inspect.Parameter.KEYWORD_ONLY]


def test_the_stub_has_every_name_and_argument():
    functions = {n.name: n for n in TREE.body if isinstance(n, ast.FunctionDef)}
    classes = {n.name: n for n in TREE.body if isinstance(n, ast.ClassDef)}
    assert sorted([*functions, *classes]) == sorted(cafx.__all__)
    for name, node in functions.items():
        assert arguments(node) == of_code(getattr(cafx, name)), name
    for name, node in classes.items():
        has = {n.name: n for n in node.body if isinstance(n, ast.FunctionDef)}
        public = {n for n, v in vars(getattr(cafx, name)).items() if not n.startswith("_") and (callable(v) or isinstance(v, property))}
        assert public <= set(has), f"{name}: {public - set(has)} are missing"
        for method, stub in has.items():
            value = vars(getattr(cafx, name))[method]
            if not isinstance(value, property) and not (name == "Stream" and method == "__init__"):
                assert arguments(stub) == of_code(value), f"{name}.{method}"


def test_every_public_thing_has_a_docstring():
    for name in cafx.__all__:
        thing = getattr(cafx, name)
        assert inspect.getdoc(thing), name
        if inspect.isclass(thing):
            for method, value in vars(thing).items():
                if not method.startswith("_") and callable(value) or method == "__call__":
                    assert inspect.getdoc(value), f"{name}.{method}"
