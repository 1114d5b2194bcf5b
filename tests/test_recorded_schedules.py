"""The command on a page of the record makes that record: its schedules are those of the present configs."""

import re
import shlex
from pathlib import Path

import pytest
from conftest import slow

from onsager_cli.config.load import load_experiment
from onsager_cli.record.provenance import descents

RECORD = Path(__file__).parents[1] / "experiments"
LINE = re.compile(r"^- ((?:`\w+`(?:, )?)+): (optimizer .*)\.$", re.MULTILINE)  # of the template record.md.j2
PAGES = [path.parent.name for path in sorted(RECORD.glob("*/README.md")) if LINE.search(path.read_text())]


def keys(text: str) -> dict[str, str]:
    """'batch 500, steps 20 10' → key and value of each part. Older pages leave out an emphasis of 1."""
    found = dict(part.split(" ", 1) for part in text.split(", "))
    return {key: value for key, value in found.items() if (key, value) != ("emphasis", "1")}


@pytest.mark.parametrize("name", slow(*PAGES, but=("fig8",)))
def test_the_command_of_a_page_has_the_schedules_of_the_page(name, monkeypatch):
    monkeypatch.chdir(RECORD.parent)
    page = (RECORD / name / "README.md").read_text()
    recorded = {slug: keys(text) for slugs, text in LINE.findall(page) for slug in re.findall(r"\w+", slugs)}
    (command,) = re.findall(r"^onsager train (.+)$", page, re.MULTILINE)
    present, _ = descents(load_experiment(shlex.split(command)))
    assert {slug: keys(text) for text, slugs in present.items() for slug in slugs} == recorded
