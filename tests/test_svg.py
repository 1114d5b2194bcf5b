"""A drawing on a page: Matplotlib's stay as they are, and what somebody put into another one is left out."""

import io
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from conftest import slow
from matplotlib.figure import Figure
from test_report import Page

from onsager_cli.errors import UserError
from onsager_cli.record.report import inline_svg
from onsager_cli.record.svg import cleaned

RECORDED = {path.stem: path for path in (Path(__file__).parents[1] / "experiments").glob("*/*.svg")}
SVG = "{http://www.w3.org/2000/svg}"


def elements(text: str) -> list[tuple[str, dict[str, str], str]]:
    """Name, attributes and text of what is drawn, without the metadata and links around drawings."""
    found = [item for item in ET.fromstring(text).iter() if item.tag.startswith(SVG)]
    names = [item.tag.removeprefix(SVG) for item in found]
    return [
        (name, {key: "".join(value.split()) for key, value in item.attrib.items()}, (item.text or "").strip())
        for name, item in zip(names, found, strict=True)
        if name not in ("metadata", "a", "title")
    ]


def rich() -> str:
    """A drawing of everything that Matplotlib writes: pictures, gradients, patterns, texts, clipped marks, links."""
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        drawing = Figure()
        axes = drawing.subplots(2, 2).flat
        axes[0].imshow(np.arange(4).reshape(2, 2))
        axes[0].set_title(r"$\frac{a}{b}$ <&> 'title'", url="https://example.org")
        axes[1].pcolormesh(np.arange(9).reshape(3, 3), shading="gouraud")
        axes[2].bar([1, 2], [3, 4], hatch="//", alpha=0.5)
        axes[3].scatter([1, 2], [3, 4], s=[20, 90], marker="*", label="x")
        axes[3].legend()
        drawing.savefig(buffer := io.StringIO(), format="svg")
    return buffer.getvalue()


@pytest.mark.parametrize("source", slow(*sorted(RECORDED), "rich", but=["fig10", "rich"]))
def test_a_drawing_of_matplotlib_stays_as_it_is(source):
    text = rich() if source == "rich" else RECORDED[source].read_text(encoding="utf-8")
    (root, before), (cleaned_root, after) = (
        (found[0], found[1:]) for found in map(elements, (text, cleaned(text, "p", "L")))
    )
    assert len(before) > 100
    assert cleaned_root[1] == {
        "viewBox": root[1]["viewBox"], "version": "1.1", "id": "p", "role": "img", "aria-label": "L",
    }  # fmt: skip
    for (name, attributes, words), (new_name, new_attributes, new_words) in zip(before, after, strict=True):
        plain = {key: re.sub(r"(^|#)p-", r"\1", value) for key, value in new_attributes.items()}
        assert (name, attributes, words) == (new_name, plain, new_words.replace("#p *", "*"))


HOSTILE = {
    "script": "<script>alert(1)</script>",
    "script of another name": '<s:script xmlns:s="http://www.w3.org/2000/svg">alert(1)</s:script>',
    "attribute": '<path onclick="alert(1)" onload="alert(1)" d="M 0 0"/>',
    "link": '<a xlink:href="javascript:alert(1)" href="https://evil.example"><path d="M 0 0"/></a>',
    "picture": '<image xlink:href="https://evil.example/a.png"/><image href="a.png"/>',
    "drawing as a picture": '<image href="data:image/svg+xml;base64,PHN2Zz4="/>',
    "use of elsewhere": '<use xlink:href="https://evil.example/a.svg#x"/><use href="data:image/svg+xml,x#a"/>',
    "foreign object": "<foreignObject><iframe src='https://evil.example'/><body onload='alert(1)'/></foreignObject>",
    "animation": '<path d="M 0 0"><set attributeName="href" to="javascript:alert(1)"/><animate attributeName="x"/></path>',
    "paint": '<path fill="url(https://evil.example/a.svg#b)" style="fill: url(//evil.example); mask: url( \'x\')"/>',
    "escaped": r'<path style="fill: u\72l(https://evil.example); background: url(x)" d="M 0 0"/>',
    "function": "<path style=\"fill: image-set('evil.png' 1x); -moz-binding: url(#x); position: fixed\"/>",
    "import": "<style>@import url(https://evil.example); @font-face{src: url(x)} *{fill: url(evil.png)}</style>",
    "whole page": "<style>} body{display: none} html *{opacity: 0} .claims{fill: red}</style>",
    "end of a style": "<style>&lt;/style>&lt;script>alert(1)&lt;/script></style>",
    "title": "<title>&lt;/title&gt;<style>&lt;script&gt;</style></title><desc><script/></desc>",
    "words": "&lt;script&gt;alert(1)&lt;/script&gt;<text>&lt;script&gt;</text><![CDATA[<script>]]>",
    "attribute that ends": '<path id="a&quot; onclick=&quot;alert(1)" d="&quot;&gt;&lt;script&gt;"/>',
    "page": "</svg><script>alert(1)</script><svg>",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_in_a_drawing_runs_or_loads_anything(name):
    text = f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"><g id="kept"/>{HOSTILE[name]}</svg>'
    if name == "page":
        with pytest.raises(ValueError, match="junk after document element"):
            cleaned(text, "p", "label")
        return
    drawing = cleaned(text, "p", "label")
    page = Page(drawing)
    assert page.elements[1] == ("g", {"id": "p-kept"})
    assert {tag for tag, _ in page.elements} <= {"svg", "g", "path", "use", "image", "style", "text"}
    for _, attributes in page.elements:
        assert not [key for key in attributes if key.startswith("on")]
        assert all((value or "").startswith("#p-") for key, value in attributes.items() if "href" in key)
    assert not re.search(r"evil|@|javascript|position|background|<script|url\((?!#p-)", drawing)
    for selector in re.findall(r"([^{}<>]*)\{", drawing):
        assert re.fullmatch(r"(#p (\*|body|html)(, )?)+", selector)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it has no svg element"),
        ("<html><p/></html>", "it has no svg element"),
        ("<svg><g></svg>", "line 1: mismatched tag"),
        ("<?xml?>\n<svg>\n<g></svg>", "line 3: mismatched tag"),
        ('<!DOCTYPE svg [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><svg><text>&b;</text></svg>', "undefined entity"),
        ('<!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/passwd">]><svg><text>&a;</text></svg>', "undefined entity"),
        ("<svg", "it has no svg element"),
        ("<svg ", "unclosed token"),
        ("<svg a=1/>", "not well-formed"),
    ],
)
def test_what_is_no_drawing_is_one_line(tmp_path, text, words):
    (tmp_path / "a.svg").write_text(text)
    with pytest.raises(UserError, match=rf"a\.svg is no SVG drawing: .*{words}"):
        inline_svg(tmp_path / "a.svg", "p", "label")


def test_shapes_are_used_and_drawings_of_drawings_are_not():
    levels = "".join(f'<g id="g{n}"><use href="#g{n - 1}"/><use href="#g{n - 1}"/></g>' for n in range(1, 30))
    drawing = cleaned(
        f'<svg><path id="g0" d="M 0 0"/>{levels}<g id="x"/><path id="x"/><use href="#x">\n</use></svg>', "p", ""
    )
    assert re.findall(r"<use[^>]*>", drawing) == ['<use href="#p-g0"/>'] * 2 + ["<use/>"] * 56 + ["<use>"]
    Page(drawing)


def test_a_prefix_is_one_word(tmp_path):
    (tmp_path / "a.svg").write_text('<svg><path id="b"/></svg>')
    drawing = inline_svg(tmp_path / "a.svg", 'a b" onclick="alert(1)', '<i> "x"')
    assert Page(drawing).elements == [
        ("svg", {"id": "a_20_b_22__20_onclick_3d__22_alert_28_1_29_", "role": "img", "aria-label": '<i> "x"'}),
        ("path", {"id": "a_20_b_22__20_onclick_3d__22_alert_28_1_29_-b"}),
    ]
