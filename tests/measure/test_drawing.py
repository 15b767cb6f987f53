"""Pictures: what stands where, what names may hold, and files that need nothing else."""

from __future__ import annotations

import io
import math
import struct
import xml.etree.ElementTree as ET
import zlib

import numpy as np
import pytest

from whisper_max.measure.drawing.charts import Bar, Limited, Spread, bars, heat_map, limits, spreads
from whisper_max.measure.drawing.png import as_png, coloured
from whisper_max.measure.drawing.scales import linear, logarithmic, short, signed
from whisper_max.measure.drawing.svg import WIDTH, as_page, as_svg, fitted, text, write_plot

SVG = "{http://www.w3.org/2000/svg}"


def parsed(*drawings):
    return ET.fromstring(as_svg(drawings))


def classed(tree, tag, name):
    return [each for each in tree.iter(SVG + tag) if name in each.get("class", "").split()]


# ---------------------------------------------------------------- scales


@pytest.mark.parametrize(
    ("values", "ticks"), [([7.3], [0, 2, 4, 6, 8]), ([0.05, math.nan, math.inf], [0, 0.01, 0.02, 0.03, 0.04, 0.05])]
)
def test_a_linear_scale_has_round_ticks_from_0_to_above_all(values, ticks):
    scale = linear(values)
    np.testing.assert_allclose(scale.ticks, ticks)
    assert (scale.place(0), scale.place(ticks[-1]), scale.place(math.nan)) == (0, 1, 1)
    assert scale.place(ticks[1]) == pytest.approx(1 / (len(ticks) - 1))


def test_a_linear_scale_of_nothing():
    assert linear([]).place(0.0) == 0


def test_a_logarithmic_scale_goes_by_powers_of_ten_and_0_stands_at_its_end():
    scale = logarithmic([2e-6, 0.03, 0.0, math.inf])
    np.testing.assert_allclose(scale.ticks, [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1])
    assert scale.place(1e-6) == 0
    assert scale.place(1e-5) == pytest.approx(0.2)
    assert (scale.place(0.0), scale.place(math.inf), scale.place(math.nan)) == (0, 1, 1)


def test_a_signed_scale_shows_both_sides():
    scale = signed([-500.0, 20.0])
    assert list(scale.ticks) == [-100, -10, -1, 0, 1, 10]
    places = [scale.place(value) for value in (-500, -100, -1, 0, 1, 20)]
    assert places == sorted(places)
    assert (places[0], places[-1]) == (0, 1)
    assert signed([]).ticks


@pytest.mark.parametrize(
    ("value", "shown"), [(0.05, "0.05"), (120.0, "120"), (1e-5, "1e-05"), (0.0, "0"), (2e5, "2e+05")]
)
def test_numbers_are_short(value, shown):
    assert short(value) == shown


# ---------------------------------------------------------------- PNG


def test_a_png_holds_the_image():
    image = np.random.default_rng(0).integers(0, 256, (3, 5, 3)).astype(np.uint8)
    file = io.BytesIO(as_png(image))
    assert file.read(8) == b"\x89PNG\r\n\x1a\n"
    chunks = {}
    while head := file.read(8):
        size, kind = struct.unpack(">I4s", head)
        chunks[kind] = file.read(size)
        assert struct.unpack(">I", file.read(4))[0] == zlib.crc32(kind + chunks[kind])
    assert struct.unpack(">IIBBBBB", chunks[b"IHDR"]) == (5, 3, 8, 2, 0, 0, 0)
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(3, 16)
    assert not rows[:, 0].any()
    np.testing.assert_array_equal(rows[:, 1:].reshape(3, 5, 3), image)


def test_colours_go_from_dark_to_bright_and_what_is_no_number_is_white():
    image = coloured(np.array([[-5.0, 0.0, 0.5, 1.0, 9.0, math.nan, math.inf]]), 0, 1)
    assert image.shape == (1, 7, 3)
    np.testing.assert_array_equal(image[0, 0], image[0, 1])
    np.testing.assert_array_equal(image[0, 3], image[0, 4])
    assert image[0, 1].sum() < image[0, 2].sum() < image[0, 3].sum()
    assert (image[0, 5:] == 255).all()
    assert coloured(np.ones((1, 1)), 1, 1).shape == (1, 1, 3)


# ---------------------------------------------------------------- texts


def test_a_name_may_hold_anything():
    name = 'a<b>&"\x00\x1b[31m\ud800 \N{KATAKANA LETTER A}'
    assert "\x00" not in text(name)
    page = as_page(name, [bars(name, "s", ["x"], [Bar(name, [1.0], note=name)])], name)
    assert "<b>" not in page
    page.encode("utf-8")
    parsed(bars(name, "s", ["x"], [Bar(name, [1.0], note=name)]))


def test_a_long_name_is_shown_by_its_ends():
    assert fitted("short", 100) == "short"
    shown = fitted("interview_with_somebody_2026-11-29.wav", 120)
    assert shown.startswith("inter")
    assert shown.endswith(".wav")
    assert "\N{HORIZONTAL ELLIPSIS}" in shown
    assert len(fitted("\N{CJK UNIFIED IDEOGRAPH-4E2D}" * 40, 120)) < len(fitted("a" * 40, 120))
    tree = parsed(bars("t", "s", ["x"], [Bar("n" * 200, [1.0])]))
    assert "n" * 200 in [each.text for each in tree.iter(SVG + "title")]


# ---------------------------------------------------------------- charts


def test_bars_are_as_long_as_their_parts_and_stand_after_each_other():
    drawing = bars("Errors", "%", ["sub", "del"], [Bar("a", [2.0, 2.0], 3.0, "4 %"), Bar("b", [1.0, 0.0])], "floor")
    tree = parsed(drawing)
    first, second = ([float(each.get("width")) for each in classed(tree, "rect", name)][1:] for name in "ab")
    assert first == [pytest.approx(2 * first[1]), first[1]]
    assert second == [pytest.approx(first[0]), 0]
    begins = [float(each.get("x")) for each in classed(tree, "rect", "b")][1:]
    assert begins[0] == pytest.approx(250 + first[0], abs=0.1)
    assert len(classed(tree, "line", "l")) == 2  # the legend's and one row's
    assert drawing.rows == [["a", "2", "2", "3", "4 %"], ["b", "1", "0", "", ""]]
    assert drawing.columns == ["", "sub, %", "del, %", "floor", ""]


def test_what_is_above_its_limit_stands_out():
    drawing = limits(
        "t", "error", [Limited("in", 1e-5, 1e-4), Limited("out", 1e-3, 1e-4), Limited("nan", math.nan, 1e-4)]
    )
    tree = parsed(drawing)
    assert len(classed(tree, "rect", "a")) == 2
    assert len(classed(tree, "rect", "bad")) == 3
    assert [row[3] for row in drawing.rows] == ["ok", "out of tolerance", "out of tolerance"]


def test_spreads_of_what_is_not_finite_are_drawn_too():
    drawing = spreads("t", [Spread("a", 0.0, 1.0, -600.0, 40.0), Spread("b", *(4 * [math.nan]))])
    parsed(drawing)
    assert drawing.rows[0] == ["a", "0", "1", "-600", "40"]


def test_a_map_has_its_rows_their_names_marks_and_seconds():
    drawing = heat_map("t", np.eye(3), seconds=(10.0, 13.0), names=["x", "y", "z"], marks={1: 1})
    tree = parsed(drawing)
    (image,) = tree.iter(SVG + "image")
    assert image.get("href").startswith("data:image/png;base64,")
    (mark,) = classed(tree, "rect", "bad")
    middle = float(image.get("x")) + float(image.get("width")) / 2
    assert float(mark.get("x")) + 1 == pytest.approx(middle, abs=0.1)
    texts = [each.text for each in tree.iter(SVG + "text")]
    assert {"x", "y", "z", "10", "13"} <= set(texts)
    parsed(heat_map("t", np.full((2, 2), math.nan), seconds=(0.0, 1.0)))


# ---------------------------------------------------------------- files


def test_drawings_stand_below_each_other():
    one, two = bars("one", "s", ["x"], [Bar("a", [1.0])]), bars("two", "s", ["x"], [Bar("a", [1.0])])
    tree = parsed(one, two)
    assert tree.get("viewBox") == f"0 0 {WIDTH:.0f} {one.height + two.height:.0f}"
    assert [each.get("transform") for each in tree.findall(SVG + "g")] == [
        "translate(0 0.0)",
        f"translate(0 {one.height:.1f})",
    ]


def test_a_suffix_chooses_the_kind_of_file(tmp_path):
    drawing = bars("one", "s", ["x"], [Bar("a", [1.5])])
    write_plot(tmp_path / "a" / "plot.svg", "title", [drawing])
    write_plot(tmp_path / "plot.HTML", "title", [drawing])
    ET.fromstring((tmp_path / "a" / "plot.svg").read_text())
    page = (tmp_path / "plot.HTML").read_text()
    assert page.startswith("<!doctype html>")
    assert "<td>1.5</td>" in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
