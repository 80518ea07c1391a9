"""Imports go one way, without circles, and reach for nothing that is not a dependency."""

import ast
import re
import sys
from pathlib import Path

import pytest
from sklearn.base import BaseEstimator

import sk_epsnn

ROOT = Path(sk_epsnn.__file__).parent
THIRD_PARTY = {"numpy", "scipy", "sklearn", "joblib"}
#: What each room may import from the package, from the ground up; a room that is not listed fails until it has its
#: place. A room is a file or a folder; inside a folder imports are free, but for circles.
ALLOWED = {
    "_version": set(),
    "_sklearn": set(),
    "_rollback": set(),
    "_sparse_rows": set(),
    "_nesting": set(),
    "_arrays": {"_sklearn"},
    "_sequences": {"_arrays"},
    "numerics": {"_arrays"},
    "messages": {"_arrays", "_sparse_rows"},
    "basis": {"_arrays", "_sklearn", "_sparse_rows"},
    "patches": set(),
    "encoders": {"_sklearn", "_rollback", "_sparse_rows", "_sequences", "patches"},
    "course": {"_arrays"},
    "training": {"_arrays", "_sklearn", "course"},
    "optimizers": {"_arrays", "_sklearn"},
    "weights": {"_arrays", "_sklearn", "numerics", "messages"},
    "neurons": {"_arrays", "_sklearn", "numerics", "messages"},
    "softmax": {"_arrays"},
    "outputs": {"_arrays", "_sklearn", "numerics", "messages", "softmax"},
    "connections": {"_arrays", "_sklearn", "messages", "patches"},
    "priors": {"_arrays", "_sklearn", "numerics", "weights"},
    "network": {"_arrays", "_sequences", "messages", "basis", "neurons", "outputs", "connections", "patches"},
    "leaks": {"connections"},
    "ep": {
        *(
            "_arrays",
            "_sklearn",
            "numerics",
            "messages",
            "basis",
            "weights",
            "neurons",
            "softmax",
            "outputs",
            "connections",
        ),
        *("priors", "network", "leaks", "course", "training", "patches"),
    },
    "gem": {"_sklearn", "course", "optimizers", "training"},
    "sbnn": {
        *("_arrays", "_sklearn", "numerics", "messages", "basis", "connections", "outputs", "network", "course"),
        *("leaks", "optimizers", "training"),
    },
    "estimators": {
        *(
            "_arrays",
            "_sequences",
            "_sklearn",
            "_rollback",
            "_nesting",
            "_version",
            "numerics",
            "messages",
            "basis",
            "weights",
        ),
        *("neurons", "softmax", "outputs", "connections", "priors", "network", "course", "training"),
        *("encoders", "ep", "gem", "optimizers", "sbnn", "patches"),
    },
    "plotting": {"_arrays", "_nesting", "_sequences", "encoders"},
    "export": {
        "_arrays",
        "numerics",
        "messages",
        "connections",
        "neurons",
        "softmax",
        "network",
        "encoders",
        "ep",
        "sbnn",
        "weights",
        "estimators",
    },
    "__init__": {
        *("_version", "connections", "encoders", "ep", "estimators", "export", "gem", "neurons", "optimizers"),
        *("outputs", "plotting", "priors", "sbnn", "weights"),
    },
}
#: The package shall be understood from the ground up in so many steps.
LONGEST_CHAIN = 9
#: Where private names and hooks of scikit-learn are used.
PRIVATE = {"_sklearn/__init__.py", "_sklearn/before_1_9.py"}
MODULES = sorted(str(path.relative_to(ROOT)) for path in ROOT.rglob("*.py"))
EVERY = pytest.mark.parametrize("module", MODULES)


def top_name(module):
    """Name in `ALLOWED` of a file, given by its path inside the package."""
    return module.split("/")[0].removesuffix(".py")


def dotted(module):
    return ".".join(["sk_epsnn", *module.removesuffix(".py").split("/")]).removesuffix(".__init__")


def imported(module, *, lazy):
    """Dotted names that a file imports, those inside functions only with ``lazy``."""
    tree = ast.parse((ROOT / module).read_text())
    names = set()
    stack = list(ast.iter_child_nodes(tree))
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            names |= {_imported_module(node.module, alias.name) for alias in node.names}
        if lazy or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            stack.extend(ast.iter_child_nodes(node))
    return names


def _imported_module(package, name):
    """``from sk_epsnn import numerics`` imports a module, ``from sk_epsnn.numerics import ndtr`` a name in one."""
    if package.split(".")[0] != "sk_epsnn":
        return package
    inner = ROOT.joinpath(*package.split(".")[1:], name)
    return f"{package}.{name}" if inner.with_suffix(".py").is_file() or inner.is_dir() else package


def inside(module, *, lazy):
    """Modules of the package that a file imports."""
    return {name for name in imported(module, lazy=lazy) if name.split(".")[0] == "sk_epsnn"}


def test_every_module_is_found():
    assert {"numerics.py", "network.py", "ep/trainer.py", "__init__.py"} <= set(MODULES)


@EVERY
def test_imports_go_one_way(module):
    name = top_name(module)
    assert name in ALLOWED, f"{module} has no place in the order of imports"
    used = {full.removeprefix("sk_epsnn").lstrip(".").split(".")[0] for full in inside(module, lazy=True)} - {name}
    assert used <= ALLOWED[name], f"{module} must not import {sorted(used - ALLOWED[name])}"


def test_the_order_itself_has_no_circle():
    placed = set()
    waiting = {name: allowed - {name} for name, allowed in ALLOWED.items()}
    while waiting:
        free = {name for name, allowed in waiting.items() if allowed <= placed}
        assert free, f"a circle among {sorted(waiting)}"
        placed |= free
        waiting = {name: allowed for name, allowed in waiting.items() if name not in free}


def test_the_longest_chain_of_imports():
    needs = {name: set() for name in ALLOWED}
    for module in MODULES:
        rooms = {full.removeprefix("sk_epsnn").lstrip(".").split(".")[0] for full in inside(module, lazy=True)}
        needs[top_name(module)] |= rooms - {top_name(module), ""}

    def floor(name):
        return 1 + max((floor(below) for below in needs[name]), default=0)

    assert max(floor(name) for name in needs) <= LONGEST_CHAIN


def test_no_circle_among_the_files():
    """Imports at the top of a file; those inside functions are there to be late."""
    graph = {dotted(module): inside(module, lazy=False) for module in MODULES}
    while graph:
        free = {name for name, needs in graph.items() if not needs & set(graph) - {name}}
        assert free, f"a circle among {sorted(graph)}"
        graph = {name: needs for name, needs in graph.items() if name not in free}


@EVERY
def test_third_party_imports(module):
    outside = {name.split(".")[0] for name in imported(module, lazy=False)} - {"sk_epsnn"}
    assert outside - set(sys.stdlib_module_names) <= THIRD_PARTY


def test_encoders_need_only_sklearn_and_what_it_needs():
    files = [module for module in MODULES if top_name(module) == "encoders"]
    outside = {name.split(".")[0] for module in files for name in imported(module, lazy=True)} - {"sk_epsnn"}
    assert outside - set(sys.stdlib_module_names) == {"numpy", "scipy", "sklearn"}


@EVERY
def test_private_names_of_sklearn_stay_in_their_place(module):
    private = {n for n in imported(module, lazy=True) if n.startswith("sklearn.") and "._" in n}
    assert not private or module in PRIVATE


@EVERY
def test_hooks_of_sklearn_stay_in_their_place(module):
    """Private attributes of scikit-learn's base classes, of any of its versions."""
    hooks = {name for name in dir(BaseEstimator) if re.match(r"_[a-z]", name)} - {"_parameter_constraints"}
    hooks |= {"_validate_params", "_init_callback_context", "_callback_fit_ctx", "_get_doc_link", "_check_n_features"}
    tree = ast.walk(ast.parse((ROOT / module).read_text()))
    used = {node.attr for node in tree if isinstance(node, ast.Attribute)} & hooks
    assert not used or module in PRIVATE
