"""What may not move when code moves: identities of all curves, verdicts, and the bytes of recorded tables."""

import hashlib
import json

import frozen
import pytest


@pytest.fixture(scope="module")
def kept() -> dict:
    return json.loads(frozen.FILE.read_text())


def test_every_curve_is_found_where_it_was_stored(kept):
    assert frozen.curves() == kept["curves"]
    assert len(kept["curves"]) > 170


def test_every_verdict_is_what_it_was(kept, monkeypatch):
    monkeypatch.chdir(frozen.ROOT)
    assert json.loads(json.dumps(frozen.verdicts())) == kept["verdicts"]


def test_tables_have_the_bytes_that_were_recorded(kept):
    found = frozen.tables()
    assert found == kept["tables"]
    for name, digest in found.items():
        recorded = (frozen.ROOT / "experiments" / name / "curves.csv").read_bytes()
        assert hashlib.sha256(recorded).hexdigest() == digest
