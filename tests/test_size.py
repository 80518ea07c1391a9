"""Files and functions that a reader takes in at once."""

import ast
from pathlib import Path

import pytest

import sk_epsnn

ROOT = Path(sk_epsnn.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
MOST_LINES_OF_A_FILE, MOST_LINES_OF_A_FUNCTION = 400, 50
MOST_PARAMETERS = 18


def lines_of_code(function):
    """Lines from the first statement after the docstring to the last."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return function.end_lineno - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_short(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES_OF_A_FILE
    functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    too_long = {f.name: lines_of_code(f) for f in functions if lines_of_code(f) > MOST_LINES_OF_A_FUNCTION}
    assert not too_long


@pytest.mark.parametrize("kind", ["EPSNNClassifier", "EPSNNRegressor", "GEMSNNClassifier", "GEMSNNRegressor"])
def test_estimators_have_few_parameters(kind):
    assert len(getattr(sk_epsnn, kind)().get_params(deep=False)) <= MOST_PARAMETERS
