"""Files that onsager writes for people: pages and drawings never take the place of somebody else's file."""

import os
import sys
from pathlib import Path

import pytest
import synthetic
from conftest import slow
from test_mistakes import said

from onsager_cli.cli.main import main
from onsager_cli.errors import UserError
from onsager_cli.record import gallery, pages
from onsager_cli.store.tables import table_bytes

RECORDED = Path(__file__).parents[1] / "experiments"
MINE = "# Mine\n"
NAMES = ("README.md", "CLAIMS.md", *(f"quick/{name}" for name in ("README.md", "curves.csv", "quick.svg", "quick.png")))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ONSAGER_DEBUG", raising=False)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    return tmp_path


@pytest.fixture
def recorded(folder) -> Path:
    """A record of one figure, with the claims that read it."""
    place = folder / "experiments" / "fig5"
    place.mkdir(parents=True)
    synthetic.write(folder / "all")
    (folder / "all" / "fig5").rename(place.with_name("tables"))
    (place / "README.md").write_text("# Figure\n")
    (place / "claims.yaml").write_bytes((RECORDED / "fig5" / "claims.yaml").read_bytes())
    return folder / "experiments"


class TestReport:
    def test_replaces_its_own_page_and_that_of_the_edition_before(self, recorded, capsys):
        page = Path("deep/page.html")
        for _ in range(2):
            assert main(["report", "--output", str(page)]) == 0
        mark, text = '<meta name="generator" content="onsager ', page.read_text()
        assert mark in text
        assert "<title>Figure</title>" in text
        page.write_text(text.replace(mark, "").replace("<title>Figure</title>", "<title>onsager: the record</title>"))
        assert main(["report", "--output", str(page)]) == 0
        assert page.read_text() == text
        assert capsys.readouterr().out == f"{page}\n" * 3

    def test_keeps_somebody_else_s_page_without_force(self, recorded, capsys):
        Path("mine.html").write_text(MINE)
        assert said(capsys, "report --output mine.html").endswith("mine.html: move it away, or add --force\n")
        assert Path("mine.html").read_text() == MINE
        assert main(["report", "--output", "mine.html", "--force"]) == 0
        assert Path("mine.html").read_text() != MINE

    @pytest.mark.parametrize("answer", ["yes", "n"])
    def test_asks_on_a_terminal(self, recorded, capsys, monkeypatch, answer):
        Path("mine.html").write_text(MINE)
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
        monkeypatch.setattr("builtins.input", lambda question: print(question) or answer)
        assert main(["report", "--output", "mine.html"]) == (0 if answer == "yes" else 2)
        out, err = capsys.readouterr()
        assert out.startswith("onsager did not write mine.html. Replace it? [y/N] \n")
        assert (Path("mine.html").read_text() == MINE) is (answer == "n")
        assert ("mine.html is kept" in err) is (answer == "n")

    @pytest.mark.parametrize("kind", ["a device", "a pipe", "a folder", "a link"])
    @pytest.mark.parametrize("force", ["", " --force"])
    def test_replaces_no_special_file(self, recorded, capsys, kind, force):
        make = {
            "a device": lambda: Path("x").symlink_to(os.devnull),
            "a pipe": lambda: os.mkfifo("x"),
            "a folder": lambda: Path("x").mkdir(),
            "a link": lambda: Path("x").symlink_to("experiments/fig5/README.md"),
        }
        make[kind]()
        before = Path("x").lstat()
        name = os.devnull if kind == "a device" else "x"
        assert f"cannot write {name}: it is {kind}" in said(capsys, f"report --output {name}{force}")
        assert os.path.samestat(Path("x").lstat(), before)
        assert Path("experiments/fig5/README.md").read_text() == "# Figure\n"

    @pytest.mark.parametrize("name", ["-", "pages/", "''"])
    def test_wants_the_name_of_a_file(self, recorded, capsys, name):
        assert "report: --output must name a file" in said(capsys, f"report --output {name}")

    def test_knows_the_home_folder(self, recorded, capsys, monkeypatch, folder):
        monkeypatch.setenv("HOME", str(folder / "home"))
        assert main(["report", "--folder", str(recorded), "--output", "~/page.html"]) == 0
        assert Path("home/page.html").is_file()
        capsys.readouterr()
        for verb in ("report", "verify"):
            assert f"--folder: there is no folder '{folder}/home/none'" in said(capsys, f"{verb} --folder '~/none'")


class TestRecord:
    @pytest.mark.parametrize("name", slow(*NAMES, but=("README.md", "quick/README.md")))
    def test_keeps_what_somebody_else_wrote(self, capsys, name):
        path = Path("experiments", name)
        path.parent.mkdir(parents=True)
        path.write_text(MINE)
        line = said(capsys, "record +experiment=quick")
        assert f"record: onsager did not write {path}: move it away, or add --force" in line
        assert "nothing is trained yet" in said(capsys, "record +experiment=quick --force")
        assert path.read_text() == MINE

    def test_knows_every_page_of_the_record(self):
        for page in RECORDED.glob("*/README.md"):
            pages.check_place(page.parent, page.parent.name)
        gallery.check_index(RECORDED)

    def test_a_table_or_a_page_says_whose_the_drawing_is(self, folder):
        """A killed command leaves the table and perhaps the drawing."""
        (folder / "fig.svg").write_text("<svg/>")
        with pytest.raises(UserError, match=r"fig\.svg is kept, because onsager did not write it"):
            pages.check_place(folder, "fig")
        (folder / "curves.csv").write_bytes(table_bytes([{"curve": "a", "layer": 1}]))
        pages.check_place(folder, "fig")
