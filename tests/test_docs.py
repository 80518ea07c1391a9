"""What the documentation shows is what the package holds and prints."""

import contextlib
import importlib
import io
import re
from dataclasses import fields
from pathlib import Path

import pytest
from versions import SINCE_1_9

import sk_epsnn
from sk_epsnn.estimators import _defaults
from sk_epsnn.estimators._words import MOVED

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *sorted(p.relative_to(ROOT).as_posix() for p in ROOT.glob("docs/**/*.md"))]
#: Pages whose code a reader may run from top to bottom.
RUNNABLE = [
    "README.md",
    *(f"docs/{name}.md" for name in ("index", "getting_started", "gem", "sbnn")),
    *(page for page in PAGES if page.startswith("docs/guide/")),
]
#: A block of Python, before it the reason where it cannot run, and after it what it prints where the page shows that.
BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]+) -->\n+)?^```python\n(?P<code>.*?)^```$(?:\n+```text\n(?P<shown>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
NUMBER = r"\d+(?:\.\d*)?"


def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


def assert_shown(printed, shown):
    """What a page shows is what its code prints, up to dots at its end and the last digit of numbers."""
    if shown.endswith("...\n"):
        shown = shown.removesuffix("...\n")
        printed = "".join(printed.splitlines(keepends=True)[: shown.count("\n")])
    words = [re.sub(NUMBER, "#", lines).split() for lines in (printed, shown)]
    numbers = [[float(x) for x in re.findall(NUMBER, lines)] for lines in (printed, shown)]
    assert words[0] == words[1]
    # Rounding inside BLAS may move the last digit.
    assert numbers[0] == pytest.approx(numbers[1], abs=0.011)


@pytest.mark.parametrize("page", RUNNABLE)
def test_code_runs_in_order(page, tmp_path, monkeypatch):
    """The blocks of a page follow each other in one namespace, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    text, namespace = text_of(page), {"__name__": "__main__"}
    for block in BLOCK.finditer(text):
        if block["reason"] is not None or ("sklearn.callback" in block["code"] and not SINCE_1_9):
            continue
        above = "\n" * text.count("\n", 0, block.start("code"))  # so that errors name the line of the page
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(above + block["code"], page, "exec"), namespace)
        if block["shown"] is not None:
            assert_shown(printed.getvalue(), block["shown"])


@pytest.mark.parametrize("page", PAGES)
def test_pages_use_no_old_words(page):
    """Parameters that have moved are not shown as if estimators still took them."""
    spared = {"n_sweeps", "damping", "power", "temperature", "validation_fraction", "spectral_exponent", "schedule"}
    for word in MOVED.keys() - spared:
        assert not re.search(rf"\b{word}\b", text_of(page)), word


def test_theory_names_what_exists():
    """Every ``module.name`` of the page is in the code."""
    modules = {path.stem for path in ROOT.glob("sk_epsnn/*.py")} | {"ep", "estimators", "priors", "weights"}
    names = set(re.findall(r"`([a-z_]+(?:\.[A-Za-z_]+)+)`", text_of("docs/theory.md")))
    found = {name for name in names if name.split(".")[0] in modules}
    assert len(found) > 40
    for name in sorted(found):
        thing, place = sk_epsnn, "sk_epsnn"
        for part in name.split("."):
            place = f"{place}.{part}"
            # A package knows its modules once they are imported.
            thing = getattr(thing, part) if hasattr(thing, part) else importlib.import_module(place)


def rows_of(page, head):
    """Cells of the rows of a table that starts with a row of these cells."""
    table = re.search(rf"^\| {re.escape(' | '.join(head))} .*\n\|[-|]+\n((?:\|.*\n)+)", page, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[1].splitlines()]


def test_table_of_automatic_settings():
    rows = rows_of(text_of("docs/settings.md"), ["setting", "meaning", *_defaults.TABLE])
    assert [row[0] for row in rows] == [f"`{entry.name}`" for entry in fields(_defaults.Defaults)]
    for name, _, *cells in rows:
        values = [str(getattr(defaults, name.strip("`"))) for defaults in _defaults.TABLE.values()]
        for index, (cell, value) in enumerate(zip(cells, values, strict=True)):
            assert cell in ("-", value) or (cell == "the same" and value == values[index - 1]), name


def test_table_of_overrides():
    rows = rows_of(text_of("docs/settings.md"), ["case", "values", "reason"])
    reason = ""
    for (case, values, given), override in zip(rows, _defaults.OVERRIDES, strict=True):
        reason = reason if given == "the same" else given
        assert reason == override.reason, case
        assert values == ", ".join(f"`{name}` {value}" for name, value in override.values.items()), case


def test_table_of_constants():
    rows = rows_of(text_of("docs/settings.md"), ["constant", "value", "meaning"])
    names = [name for name, value in vars(_defaults).items() if name.isupper() and isinstance(value, int | float)]
    assert [(name.strip("`"), value) for name, value, _ in rows] == [(n, str(getattr(_defaults, n))) for n in names]


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]*)(?:#[^)]*)?\)", text_of(page)):
        made_by_sphinx = target.endswith("auto_examples/index")
        assert target == "" or made_by_sphinx or (ROOT / page).parent.joinpath(target).exists(), target
