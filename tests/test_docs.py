"""What the documentation shows is what the package holds and prints."""

import contextlib
import importlib
import inspect
import io
import re
from dataclasses import fields
from pathlib import Path

import pytest

import sk_epsnn
from sk_epsnn import neurons, priors
from sk_epsnn.estimators import _settings

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *sorted(p.relative_to(ROOT).as_posix() for p in ROOT.glob("docs/**/*.md"))]


def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


def test_readme_output_is_real():
    pattern = r"## A first example\n\n```python\n(.*?)```\n\n```text\n(.*?)```"
    match = re.search(pattern, text_of("README.md"), re.DOTALL)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(match[1], {})
    numbers = [[float(x) for x in re.findall(r"[\d.]+", out)] for out in (printed.getvalue(), match[2])]
    # Rounding inside BLAS may move the last digit.
    assert numbers[0] == pytest.approx(numbers[1], abs=0.011)


@pytest.mark.parametrize(
    ("page", "shown"),
    [("docs/add_activation.md", neurons.Sigmoid), ("docs/add_prior.md", priors.LaplacePrior)],
)
def test_pages_show_the_real_source(page, shown):
    assert inspect.getsource(shown).rstrip() in text_of(page)


def test_theory_names_what_exists():
    """Every ``module.name`` of the page is in the code."""
    modules = {path.stem for path in ROOT.glob("sk_epsnn/*.py")} | {"ep", "estimators", "weights"}
    names = set(re.findall(r"`([a-z_]+(?:\.[A-Za-z_]+)+)`", text_of("docs/theory.md")))
    found = {name for name in names if name.split(".")[0] in modules}
    assert len(found) > 40
    for name in sorted(found):
        thing, place = sk_epsnn, "sk_epsnn"
        for part in name.split("."):
            place = f"{place}.{part}"
            # A package knows its modules once they are imported.
            thing = getattr(thing, part) if hasattr(thing, part) else importlib.import_module(place)


def test_table_of_automatic_settings():
    page = text_of("docs/settings.md")
    columns = [getattr(_settings, f"{a}_{b}") for b in ("CLASSIFIER", "REGRESSOR") for a in ("SHALLOW", "DEEP")]
    columns.append(_settings.FEW_INPUTS_REGRESSOR)
    for name in (f.name for f in fields(_settings.AutoSettings)):
        cells = re.search(rf"^\| `{name}` \|(.*)\|$", page, re.MULTILINE)[1].split("|")[1:]
        for cell, settings in zip(cells, columns, strict=True):
            assert cell.strip() in ("-", str(getattr(settings, name))), name


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]*)(?:#[^)]*)?\)", text_of(page)):
        assert target == "" or (ROOT / page).parent.joinpath(target).exists(), target
