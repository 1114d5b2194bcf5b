"""What may not move when code moves: identities of all curves, verdicts, and the bytes of recorded tables."""

import hashlib
import json

import frozen
import pytest
from conftest import slow


@pytest.fixture(scope="module")
def kept() -> dict:
    return json.loads(frozen.FILE.read_text())


@pytest.mark.parametrize("names", [("quick", "fig1a", "fig13"), *slow(None)])
def test_every_curve_is_found_where_it_was_stored(kept, names):
    expected = kept["curves"]
    if names:
        expected = {
            key: value for key, value in expected.items() if key.startswith(tuple(f"{name}/" for name in names))
        }
    assert frozen.curves(names) == expected
    assert len(expected) > (20 if names else 170)


def test_every_verdict_is_what_it_was(kept, monkeypatch):
    monkeypatch.chdir(frozen.ROOT)
    assert json.loads(json.dumps(frozen.verdicts())) == kept["verdicts"]


def test_tables_have_the_bytes_that_were_recorded(kept):
    found = frozen.tables()
    assert found == kept["tables"]
    for name, digest in found.items():
        recorded = (frozen.ROOT / "experiments" / name / "curves.csv").read_bytes()
        assert hashlib.sha256(recorded).hexdigest() == digest
