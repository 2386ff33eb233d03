"""The badge of a package: a small SVG file that says that there is a binary, and of which version."""

from __future__ import annotations

from html import escape

from opambin.publish.pages.wording import visible

LABEL = "opam binary"
MOST_LETTERS = 40  # of the version
HEIGHT = 20
PADDING = 7  # left and right of a text
_NARROW, _WIDE = set("iljtfrI.,:;'|!()[] "), set("mwMW@%+~")


def badge(version: str) -> bytes:
    """Draw the badge of a package whose newest published version this is."""
    right = visible(version, MOST_LETTERS)
    left_width, right_width = _width(LABEL) + 2 * PADDING, _width(right) + 2 * PADDING
    width = left_width + right_width
    title = escape(f"{LABEL}: {right}")
    texts = "".join(
        f'<text x="{at:g}" y="14" textLength="{_width(text):g}" lengthAdjust="spacingAndGlyphs">'
        f"{escape(text)}</text>"
        for at, text in ((PADDING, LABEL), (left_width + PADDING, right))
        if text
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{HEIGHT}" role="img" '
        f'aria-label="{title}"><title>{title}</title>'
        f'<clipPath id="c"><rect width="{width:g}" height="{HEIGHT}" rx="4"/></clipPath>'
        f'<g clip-path="url(#c)"><rect width="{left_width:g}" height="{HEIGHT}" fill="#3d444c"/>'
        f'<rect x="{left_width:g}" width="{right_width:g}" height="{HEIGHT}" fill="#1d5f9e"/></g>'
        f'<g fill="#fff" font-family="Verdana,\'DejaVu Sans\',sans-serif" font-size="11">{texts}</g></svg>\n'
    ).encode("utf-8", "replace")


def _width(text: str) -> float:
    """Guess how wide a text is at 11 pixels; it is drawn to fit."""
    return sum(4.0 if it in _NARROW else 9.5 if it in _WIDE else 6.8 for it in text)
