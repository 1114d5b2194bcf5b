"""A drawing as a part of a page: nothing in it runs, loads anything, links anywhere or reaches beyond itself.

The drawing may come with a record from somebody else. So it is read as XML and written anew from the elements,
attributes and styles that drawings are made of. Everything else is left out.
"""

import re
from collections.abc import Iterator
from html import escape
from xml.parsers import expat

_SHAPES = ("path", "rect", "circle", "ellipse", "line", "polyline", "polygon")
_TEXTS = ("text", "tspan")
_ELEMENTS = {
    "svg", "g", "defs", "use", "style", "image", "clipPath", "mask", "pattern", "linearGradient", "radialGradient",
    "stop", "filter", "feColorMatrix", "feComposite", *_SHAPES, *_TEXTS,
}  # fmt: skip
# What a style may set. As an attribute, each is known too.
_PROPERTIES = {
    "clip-path", "clip-rule", "color", "display", "dominant-baseline", "fill", "fill-opacity", "fill-rule", "filter", "font",
    "font-family", "font-size", "font-stretch", "font-style", "font-variant", "font-weight", "image-rendering",
    "letter-spacing", "mask", "mix-blend-mode", "opacity", "paint-order", "shape-rendering", "stop-color", "stop-opacity",
    "stroke", "stroke-dasharray", "stroke-dashoffset", "stroke-linecap", "stroke-linejoin", "stroke-miterlimit",
    "stroke-opacity", "stroke-width", "text-anchor", "transform", "vector-effect", "visibility", "word-spacing",
}  # fmt: skip
_ATTRIBUTES = _PROPERTIES | {
    "clipPathUnits", "cx", "cy", "d", "dx", "dy", "filterUnits", "fx", "fy", "gradientTransform", "gradientUnits", "height",
    "in", "in2", "k1", "k2", "k3", "k4", "maskContentUnits", "maskUnits", "offset", "operator", "patternContentUnits",
    "patternTransform", "patternUnits", "points", "preserveAspectRatio", "r", "result", "rotate", "rx", "ry",
    "spreadMethod", "textLength", "type", "values", "version", "viewBox", "width", "x", "x1", "x2", "xml:space", "y",
    "y1", "y2",
}  # fmt: skip
_NAMESPACES = {"xmlns": "http://www.w3.org/2000/svg", "xmlns:xlink": "http://www.w3.org/1999/xlink"}
_FUNCTIONS = {
    "url", "rgb", "rgba", "hsl", "hsla", "matrix", "translate", "scale", "rotate", "skewx", "skewy",
}  # fmt: skip
_REFERENCE = re.compile(r"""url\(\s*['"]?#([^'"()\s]+)['"]?\s*\)""")
_PICTURE = re.compile(r"data:image/(png|jpeg|gif);base64,[A-Za-z0-9+/=]*")


def cleaned(text: str, prefix: str, label: str) -> str:
    """The drawing in an SVG file as an element that scales with its page.

    Args:
        text: the file.
        prefix: begins every id, so that drawings of one page do not mix; letters, digits, - and _.
        label: what a screen reader says.

    Raises ValueError if the file is no SVG drawing, or is not well-formed. An entity has no meaning here.
    """
    if (start := re.search(r"<svg[\s/>]", text)) is None:
        raise ValueError("it has no svg element")
    drawing = _Drawing(prefix, f' id="{prefix}" role="img" aria-label="{escape(label)}"')
    parser = expat.ParserCreate()
    parser.ordered_attributes = parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = drawing.start, drawing.end
    parser.CharacterDataHandler = drawing.text
    try:
        parser.Parse(text[start.start() :].rstrip(), True)
    except expat.ExpatError as error:
        line = text.count("\n", 0, start.start()) + error.lineno
        raise ValueError(f"line {line}: {expat.ErrorString(error.code)}") from error
    return drawing.written()


class _Drawing:
    """Writes the elements that a parser finds, as far as a drawing needs them."""

    def __init__(self, prefix: str, of_root: str) -> None:
        self._prefix, self._of_root = prefix, of_root
        self._out: list[str] = []
        self._open: list[str | None] = []  # None: an element that is left out, but not what is in it
        self._left_out = 0  # levels below an element that is left out with all that is in it
        self._style: list[str] = []
        self._ids: set[str] = set()
        self._shapes: set[str] = set()  # ids of single shapes
        self._uses: list[tuple[int, str]] = []  # where in `_out` a use of which id begins

    def start(self, name: str, pairs: list[str]) -> None:
        """Write the beginning of an element, without its >."""
        if self._left_out or (name not in _ELEMENTS and name != "a"):
            self._left_out += 1
            return
        self._close_tag()
        self._open.append(None if name == "a" else name)
        if name == "a":
            return
        attributes = dict(zip(pairs[::2], pairs[1::2], strict=True))
        if (own := attributes.get("id")) is not None and own not in self._ids:  # the first one counts
            self._ids.add(own)
            self._shapes |= {own} if name in _SHAPES else set()
        if name == "use":
            target = attributes.get("href", attributes.get("xlink:href", ""))
            self._uses.append((len(self._out), target.removeprefix("#")))
        root = len(self._open) == 1
        if root:
            attributes = {key: value for key, value in attributes.items() if key not in ("width", "height")}
        written = "".join(self._attributes(name, attributes)) if name != "style" else ' type="text/css"'
        self._out.append(f"<{name}{written}{self._of_root if root else ''}")

    def end(self, name: str) -> None:
        """Write the end of an element."""
        if self._left_out:
            self._left_out -= 1
            return
        name = self._open.pop() or ""
        if name == "style":
            self._close_tag()
            self._out.append(escape("".join(self._rules("".join(self._style))), quote=False))
            self._style = []
        if not name:
            return
        if self._out[-1].startswith(f"<{name}") and not self._out[-1].endswith(">"):
            self._out[-1] += "/>"
        else:
            self._out.append(f"</{name}>")

    def text(self, data: str) -> None:
        """Write the words of a text, keep those of a style, and leave out all others but spaces."""
        inside = self._open[-1] if self._open else None
        if self._left_out:
            return
        if inside == "style":
            self._style.append(data)
        elif inside in _TEXTS or data.isspace():
            self._close_tag()
            self._out.append(escape(data, quote=False))

    def written(self) -> str:
        """The element. A `use` shows a single shape or nothing: of one another, they would draw without an end."""
        for place, target in self._uses:
            if target not in self._shapes:
                self._out[place] = re.sub(r' (xlink:)?href="[^"]*"', "", self._out[place])
        return "".join(self._out)

    def _close_tag(self) -> None:
        """Write the > of an element that has something in it."""
        if self._out and self._out[-1].startswith("<") and not self._out[-1].endswith(">"):
            self._out[-1] += ">"

    def _attributes(self, element: str, attributes: dict[str, str]) -> Iterator[str]:
        """The attributes that a drawing needs, as they are written."""
        for key, value in attributes.items():
            kept = None
            if key == "id":
                kept = f"{self._prefix}-{value}"
            elif key in ("href", "xlink:href"):
                kept = self._link(element, value)
            elif key == "style":
                kept = self._declarations(value)
            elif key in _ATTRIBUTES:
                kept = self._value(value)
            elif _NAMESPACES.get(key) == value:
                kept = value
            if kept is not None:
                yield f' {key}="{escape(kept)}"'

    def _link(self, element: str, value: str) -> str | None:
        """A link within the drawing, or the picture that is in it; None for all others."""
        if value.startswith("#"):
            return f"#{self._prefix}-{value[1:]}"
        picture = "".join(value.split())
        return picture if element == "image" and _PICTURE.fullmatch(picture) else None

    def _rules(self, sheet: str) -> Iterator[str]:
        """The rules of a style sheet, each for this drawing alone."""
        for selectors, declarations in re.findall(r"([^{}]*)\{([^{}]*)\}", sheet):
            names = [name.strip() for name in selectors.split(",")]
            if all(re.fullmatch(r"\*|[A-Za-z]+", name) for name in names):
                places = ", ".join(f"#{self._prefix} {name}" for name in names)
                yield f"{places}{{{self._declarations(declarations)}}}"

    def _declarations(self, text: str) -> str:
        """The declarations of a style that a drawing needs."""
        kept = []
        for declaration in text.split(";"):
            key, _, value = (part.strip() for part in declaration.partition(":"))
            if key.lower() in _PROPERTIES and (found := self._value(value)) is not None:
                kept.append(f"{key}: {found}")
        return "; ".join(kept)

    def _value(self, value: str) -> str | None:
        """A value with the ids of this page; None if it might load something or hide what it says."""
        functions = re.findall(r"([\w-]*)\s*\(", value)
        plain = re.fullmatch(r"[\w\s.,#%()+'\"-]*", _REFERENCE.sub("", value))
        known = all(name.lower() in _FUNCTIONS for name in functions)
        if not plain or not known or len(_REFERENCE.findall(value)) != sum(name.lower() == "url" for name in functions):
            return None
        return _REFERENCE.sub(rf"url(#{self._prefix}-\1)", value)
