"""The page of the record: whole, self-contained, safe, and in a real browser where there is one."""

import json
import re
import shutil
import subprocess
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
import synthetic

from onsager_cli.claims.claim import load
from onsager_cli.claims.verify import verify
from onsager_cli.cli.main import main
from onsager_cli.errors import UserError
from onsager_cli.record.report import inline_svg, page, to_html
from onsager_cli.store.tables import write_table

ROOT = Path(__file__).parents[1]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """Elements with their attributes, in order; fails at a tag that is closed out of turn."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def values(self, name: str) -> list[str]:
        return [attributes[name] or "" for _, attributes in self.elements if name in attributes]


@pytest.fixture(scope="module")
def text() -> str:
    return page(ROOT / "experiments", verify(ROOT / "experiments"))


@pytest.fixture(scope="module")
def parsed(text) -> Page:
    return Page(text)


@pytest.mark.slow
def test_every_figure_and_every_claim_is_there_under_a_name_of_its_own(parsed):
    ids = Counter(parsed.values("id"))
    assert [name for name, count in ids.items() if count > 1] == []
    for claim in load([ROOT / "experiments"]):
        assert f"claim-{claim.id}" in ids
    drawings = list((ROOT / "experiments").glob("*/*.svg"))
    assert len([tag for tag, _ in parsed.elements if tag == "svg"]) == len(drawings)
    for path in drawings:
        assert path.parent.name in ids


@pytest.mark.slow
def test_every_reference_leads_somewhere_on_the_page(text, parsed):
    ids = set(parsed.values("id"))
    references = [value[1:] for name in ("href", "xlink:href") for value in parsed.values(name) if value[0] == "#"]
    references += re.findall(r"url\(#([^)]*)\)", text)
    assert len(references) > 100
    assert set(references) <= ids


@pytest.mark.slow
def test_it_asks_for_nothing_beside_itself(text, parsed):
    assert {tag for tag, _ in parsed.elements} & {"script", "link", "img", "iframe", "object", "image"} == set()
    assert parsed.values("src") == []
    assert re.findall(r"@import|url\((?!#)", text) == []
    elsewhere = [value for name in ("href", "xlink:href") for value in parsed.values(name) if value[0] != "#"]
    assert [value for value in elsewhere if not value.startswith("https://")] == []


def test_figures_come_before_claims_and_costs(text):
    places = [text.index(f'<section id="{name}"') for name in ("fig1a", "fig16", "table1", "claims", "cost")]
    assert places == sorted(places)
    for name in ("fig10", "params"):
        section = text[text.index(f'<section id="{name}"') :]
        assert section.index("<svg ") < section.index("<p>") < section.index("<details>")


def test_every_figure_is_as_wide_as_its_type_needs_and_can_be_enlarged(text, parsed):
    figures = {attributes["id"]: attributes["style"] for tag, attributes in parsed.elements if tag == "figure"}
    assert len(figures) == text.count("<svg ")
    assert "--width: 252;" in (figures["big-fig10-fig10"] or "")
    assert "--width: 504;" in (figures["big-fig15-fig15"] or "")
    enlarged = [attributes["href"] for _, attributes in parsed.elements if attributes.get("class") == "enlarge"]
    assert enlarged == [f"#{name}" for name in figures]
    closed = [attributes["href"] for _, attributes in parsed.elements if attributes.get("class") == "close"]
    assert closed == [f"#at-{name.removeprefix('big-')}" for name in figures]
    assert "<figcaption>Fig. 10: i.i.d. Gaussian A<a " in text


def _one_experiment(folder: Path) -> Path:
    (folder / "mine").mkdir(parents=True)
    (folder / "mine" / "README.md").write_text("# My <A>\n\nIts caption.\n")
    for name in ("mine", "other"):
        (folder / "mine" / f"{name}.svg").write_text('<svg viewBox="0 0 400.5 200"><path id="a"/></svg>')
    return folder


def test_a_report_of_one_s_own_has_the_title_of_its_experiment(tmp_path):
    text = page(_one_experiment(tmp_path), [])
    assert "<title>My &lt;A&gt;</title>" in text
    assert "<h1>My &lt;A&gt;</h1>" in text
    assert not re.search(r"<h2>|<nav>|Borgerding|id=\"claims\"|id=\"cost\"", text)
    assert "--width: 400; --ratio: 2.002" in text
    assert "<figcaption>My &lt;A&gt;: other<a " in text  # it stands alone where it is enlarged
    Page(text)


def test_a_title_of_one_s_own_replaces_that_of_the_record(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    _one_experiment(tmp_path / "experiments")
    assert main(["report", "--title", "Recovery  with <A>"]) == 0
    assert "<title>Recovery with &lt;A&gt;</title>" in Path("outputs/report.html").read_text()
    assert main(["report", "--title", " "]) == 2
    assert capsys.readouterr().err == "onsager: report: --title must have a word, got ' '\n"


def test_a_record_of_one_s_own_needs_no_claims_and_shows_no_other_claims(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    synthetic.write(tmp_path / "experiments")
    (tmp_path / "experiments" / "fig8" / "claims.yaml").write_text(
        "- {id: a, statement: A, source: S, paper: P, criterion: {value: lista_tied, layers: 1, at_least: 0}}\n"
    )
    _one_experiment(tmp_path / "own")
    assert main(["report", "--folder", "own", "--output", "own.html"]) == 0
    assert "claim" not in Path("own.html").read_text().partition("</style>")[2]
    (tmp_path / "own" / "fig8").mkdir()
    assert main(["report", "--folder", "own", "--output", "own.html"]) == 0
    assert '<tr id="claim-a">' in Path("own.html").read_text()


def test_the_paper_is_named_where_its_claims_are(text):
    assert "<title>onsager: the record</title>" in text
    assert "Borgerding" in text
    assert "Borgerding" not in page(ROOT / "experiments", [])


@pytest.mark.slow
def test_the_same_record_gives_the_same_page(text):
    assert page(ROOT / "experiments", verify(ROOT / "experiments")) == text


def test_what_the_record_says_is_escaped_and_a_figure_may_have_two_drawings(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    synthetic.write(tmp_path / "experiments")
    mine = tmp_path / "experiments" / "fig8"
    (mine / "claims.yaml").write_text(
        "- {id: '<i>', statement: '<script>x</script>', source: '&', paper: '<', known_failure: '<b>',"
        " criterion: {value: lista_tied, layers: 1, at_least: 0}}\n"
    )
    (mine / "README.md").write_text("# A <i>title\n\nText <script> `<b>` [x](javascript:x)\n\n## More\n\n- <p>\n")
    for name in ("fig8", "detection"):
        (mine / f"{name}.svg").write_text('<?xml?><svg width="9pt" viewBox="0 0 9 9"><path id="a"/></svg>')
    assert main(["report"]) == 0
    assert capsys.readouterr().out == "outputs/report.html\n"
    text = Path("outputs/report.html").read_text()
    parsed = Page(text)
    assert "<script" not in text
    assert "&lt;script&gt;x&lt;/script&gt;" in text
    assert "javascript:" not in text
    assert [value for value in parsed.values("id") if value.startswith("fig8-")] == [
        "fig8-fig8", "fig8-fig8-a", "fig8-detection", "fig8-detection-a",
    ]  # fmt: skip


def test_a_drawing_keeps_to_itself(tmp_path):
    svg = (
        '<?xml version="1.0"?>\n<svg width="252pt" height="9pt" viewBox="0 0 1 1"><metadata>\n<a/></metadata>'
        '<defs><style type="text/css">*{stroke: x}</style><path id="m"/></defs>'
        '<use xlink:href="#m"/><g clip-path="url(#p)"/></svg>'
    )
    (tmp_path / "a.svg").write_text(svg)
    assert inline_svg(tmp_path / "a.svg", "fig8", 'A "x"') == (
        '<svg viewBox="0 0 1 1" id="fig8" role="img" aria-label="A &quot;x&quot;">'
        '<defs><style type="text/css">#fig8 *{stroke: x}</style><path id="fig8-m"/></defs>'
        '<use xlink:href="#fig8-m"/><g clip-path="url(#fig8-p)"/></svg>'
    )
    (tmp_path / "a.svg").write_text("")
    with pytest.raises(UserError, match=r"a\.svg is no SVG"):
        inline_svg(tmp_path / "a.svg", "fig8", "")


def test_markdown_of_a_record():
    text = (
        "# T\n\n![c](t.svg)\n\nOne **bold**\nline, `a|b` [x](y.md) [w](https://w.org) ![alt](a.svg).\n\n- a\n- b\n  c\n\n"
        "```sh\nrun <x>\n\n# no heading\n```\n\n|  |  |\n| --- | ---: |\n| a\\|b | 1 |\n\n"
        "## More `code`\n\n| n | <m> |\n| --- | ---: |\n| 1 | [y](../y) |\n\n## End"
    )
    title, beginning, sections = to_html(text)
    assert title == "T"
    assert beginning == (
        '<p>One <strong>bold</strong>\nline, <code>a|b</code> x <a href="https://w.org">w</a> alt.</p>\n'
        "<ul>\n<li>a</li>\n<li>b\nc</li>\n</ul>\n"
        '<pre><code class="language-sh">run &lt;x&gt;\n\n# no heading\n</code></pre>\n'
        '<div class="wide"><table>\n<tbody>\n<tr>\n<td>a|b</td>\n<td>1</td>\n</tr>\n</tbody>\n</table></div>\n'
    )
    assert sections == [
        (
            "More `code`",
            '<div class="wide"><table>\n<thead>\n<tr>\n<th>n</th>\n<th>&lt;m&gt;</th>\n</tr>\n</thead>\n'
            "<tbody>\n<tr>\n<td>1</td>\n<td>y</td>\n</tr>\n</tbody>\n</table></div>\n",
        ),
        ("End", ""),
    ]


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_in_a_browser_on_a_phone_in_the_dark(text, tmp_path):
    """390 px wide, every part unfolded: nothing sticks out or is loaded, the background is dark, a figure is enlarged."""
    assert CHROMIUM
    (tmp_path / "report.html").write_text(text.replace("<details>", "<details open>"))
    (tmp_path / "phone.html").write_text(
        '<iframe src="report.html" width="390" height="800" style="border: 0"></iframe>'
        '<iframe src="report.html#big-fig15-fig15" width="390" height="800" style="border: 0"></iframe>'
        '<p id="found"></p><script>\n'
        "onload = () => {\n"
        "  const [page, other] = [...document.querySelectorAll('iframe')].map(frame => frame.contentWindow);\n"
        "  const root = page.document.documentElement, large = other.document.querySelector('figure:target');\n"
        "  document.querySelector('#found').textContent = JSON.stringify({\n"
        "    tooWide: root.scrollWidth - root.clientWidth, dark: page.getComputedStyle(page.document.body).backgroundColor,\n"
        "    loaded: page.performance.getEntriesByType('resource').length,\n"
        "    drawn: [...page.document.querySelectorAll('svg')].filter(s => s.getBoundingClientRect().height > 100).length,\n"
        "    covers: [large.offsetWidth, large.offsetHeight], enlarged: large.querySelector('svg').clientWidth > 1000,\n"
        "  });\n};</script>"
    )
    result = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
         "--blink-settings=preferredColorScheme=0", "--virtual-time-budget=5000", f"--user-data-dir={tmp_path}/profile",
         "--dump-dom", (tmp_path / "phone.html").as_uri()],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    found = re.search(r'<p id="found">(.+?)</p>', result.stdout)
    assert found, result.stdout[-500:]
    assert json.loads(found[1]) == {
        "tooWide": 0, "dark": "rgb(22, 22, 21)", "loaded": 0, "drawn": text.count("<svg "),
        "covers": [390, 800], "enlarged": True,
    }  # fmt: skip


def test_a_curve_that_two_figures_share_is_paid_for_once(tmp_path):
    for name in ("fig8", "fig10"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "README.md").write_text("# Figure\n")
        depth = 3 if name == "fig8" else 2  # under another name, and deeper
        rows = [
            {"curve": name, "layer": t, "nmse_db": -1.0, "steps": 9 * t, "seconds": 60.0 * t}
            for t in range(1, depth + 1)
        ]
        bound = {"curve": "oracle", "layer": None, "nmse_db": -40.0, "steps": 0, "seconds": 1.0}
        write_table(tmp_path / name / "curves.csv", [*rows, bound])
    text = page(tmp_path, [])
    assert "<tr><td>fig10</td><td>1</td><td>2.0</td></tr>" in text
    assert "<tr><td>together, each once</td><td>1</td><td>3.0</td></tr>" in text


def test_a_folder_may_have_any_name(tmp_path):
    name = 'b" onclick="alert(1)'
    (tmp_path / name).mkdir()
    (tmp_path / name / "README.md").write_text("no title\n")
    (tmp_path / name / "fig.svg").write_text('<svg onload="alert(1)"><path id="a"/></svg>')
    parsed = Page(page(tmp_path, []))
    assert name in parsed.values("id")
    assert not [key for _, attributes in parsed.elements for key in attributes if key.startswith("on")]


def test_nothing_to_report(tmp_path):
    with pytest.raises(UserError, match="nothing to report"):
        page(tmp_path, [])
