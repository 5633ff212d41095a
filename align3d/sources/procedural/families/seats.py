"""Seats and tables: table, stool, chair, bed."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from align3d.sources.procedural.attributes import (
    PAINTS,
    WOODS,
    Attribute,
    Choice,
    Color,
    Count,
    Length,
    Parameters,
)
from align3d.sources.procedural.builder import Builder, aim, circle, row, turn
from align3d.sources.procedural.caption_grammar import Description
from align3d.sources.procedural.families.base import Family, family
from align3d.sources.procedural.primitives import (
    Floats,
    Torus,
    box,
    cylinder,
    frustum,
    polygon,
    prism,
    rectangle,
)

FINISHES = (*PAINTS, *WOODS)


def slab(shape: str, width: float) -> tuple[Floats, float]:
    """Outline of a table top or seat, and the half width of the square that its legs stand in."""
    outlines = {
        "round": (polygon(48, width / 2), 0.78 * width / 2),
        "oval": (polygon(48, width / 2, depth=0.32 * width), 0.62 * width / 2),
        "square": (rectangle(width, width, 0.03 * width), 0.9 * width / 2),
        "rectangular": (rectangle(width, 0.6 * width, 0.02 * width), 0.9 * width / 2),
        "hexagonal": (polygon(6, width / 2), 0.75 * width / 2),
    }
    return outlines[shape]


def places_under(shape: str, count: int, width: float) -> Floats:
    """Leg positions at a slab, f64[count, 3]: its corners if it is angular and they are four, else a ring."""
    _, reach = slab(shape, width)
    if count == 4 and shape in ("square", "rectangular"):
        deep = 0.6 * width / 2 - (width / 2 - reach) if shape == "rectangular" else reach
        return np.array([(-reach, -deep, 0), (reach, -deep, 0), (reach, deep, 0), (-reach, deep, 0)])
    ring = circle(count, 1.0, first=-90 + 180 / count)
    deep = 0.5 * width / 2 if shape == "rectangular" else 0.42 * width / 2 if shape == "oval" else reach
    return ring * (reach * 0.9, deep * 0.9 if deep != reach else reach * 0.9, 1.0)


def splay(tops: Floats, height: float, within: float = np.inf) -> tuple[float, float]:
    """Distance that splayed legs move inwards at their top and outwards at their foot, in meters.

    Args:
        tops: f64[K, 3], where the legs would be if they were straight.
        height: Height of the legs.
        within: Half width that the feet must not leave.
    """
    distance = np.linalg.norm(tops[:, :2], axis=1)
    share = float(np.abs(tops[:, 0]).max() / distance.max())  # of a step outwards that widens the whole
    room = (within - float(np.abs(tops[:, 0]).max())) / max(share, 1e-6)
    return min(0.08 * height, 0.35 * float(distance.min())), min(0.16 * height, room)


def add_legs(
    shape: Builder, style: str, tops: Floats, height: float, thick: float, within: float = np.inf
) -> None:
    """Legs from the floor up to this height, below places f64[K, 3]; ``within`` as for ``splay``."""
    feet = tops * (1.0, 1.0, 0.0)
    if style == "splayed":
        outward = tops[:, :2] / np.linalg.norm(tops[:, :2], axis=1, keepdims=True)
        inward, outward_by = splay(tops, height, within - thick / 2)
        upper = feet.copy()
        upper[:, :2] -= outward * inward
        feet[:, :2] += outward * outward_by
        directions = upper - feet + (0, 0, height)
        leg = cylinder(thick / 2, float(np.linalg.norm(directions[0])), open_ends="top")
        shape.add("leg", leg, feet, rotate=aim(directions))
    elif style == "tapered":
        shape.add("leg", frustum(0.35 * thick / 2, 1.5 * thick / 2, height, open_ends="top"), feet)
    elif style == "square":
        shape.add("leg", box(thick, thick, height, open_ends="top"), feet)
    else:
        shape.add("leg", cylinder(thick / 2, height, open_ends="top"), feet)


@family
class Table(Family):
    """A table with three to six legs and perhaps a shelf below its top."""

    name = "table"
    attributes: ClassVar[dict[str, Attribute]] = {
        "top_shape": Choice(("round", "square", "rectangular", "oval", "hexagonal")),
        "legs": Count((3, 4, 5, 6), part="leg"),
        "leg_style": Choice(("straight", "splayed", "tapered", "square")),
        "shelf": Choice(("with", "without")),
        "height": Length(350, 1100, 10),
        "width": Length(600, 1400, 50),
        "top_colour": Color(FINISHES, part="top"),
        "leg_colour": Color(FINISHES, part="leg"),
        "shelf_colour": Color(
            FINISHES, part="lower shelf", when=("shelf", ("with",)), unlike=("leg_colour",)
        ),
    }

    def build(self, p: Parameters, shape: Builder) -> None:
        """Top, legs, shelf."""
        height, width = p.meters("height"), p.meters("width")
        style, top = p.text("top_shape"), p.meters("width") * 0.03
        outline, _ = slab(style, width)
        shape.add("top", prism(outline, top), (0, 0, height - top))
        places = places_under(style, p.count("legs"), width) * (
            0.7 if p.text("leg_style") == "splayed" else 1
        )
        add_legs(shape, p.text("leg_style"), places, height - top, 0.06 * width, width / 2)
        if p.text("shelf") == "with":
            shape.add("lower shelf", prism(outline * 0.6, top), (0, 0, 0.3 * height))

    def describe(self, p: Parameters, d: Description) -> None:
        """Top, legs, shelf, height, width."""
        d.adjective("top_shape")
        d.measure("height", "tall", "low", "tall")
        d.measure("width", "wide", "narrow", "wide")
        top = d.part("top", "top_colour")
        legs = d.part("leg", "leg_style", "leg_colour", count="legs")
        d.relation(top, "on", legs)
        if p.text("shelf") == "with":
            shelf = d.part("lower shelf", "shelf_colour", exists_by="shelf")
            d.relation(top, "above", shelf)
        else:
            d.without("shelf", "a lower shelf")


@family
class Stool(Family):
    """A stool with three to five legs and perhaps a ring for the feet."""

    name = "stool"
    attributes: ClassVar[dict[str, Attribute]] = {
        "seat_shape": Choice(("round", "square", "hexagonal")),
        "legs": Count((3, 4, 5), part="leg"),
        "leg_style": Choice(("straight", "splayed", "tapered", "square")),
        "footrest": Choice(("with", "without")),
        "cushion": Choice(("flat", "thick")),
        "height": Length(300, 900, 10),
        "seat_colour": Color(FINISHES, part="seat"),
        "leg_colour": Color(FINISHES, part="leg"),
        "footrest_colour": Color(
            ("steel", "brass", "black", "white", "red", "blue"),
            part="footrest",
            when=("footrest", ("with",)),
            unlike=("leg_colour",),
        ),
    }

    def build(self, p: Parameters, shape: Builder) -> None:
        """Seat, legs, footrest ring."""
        height, width = p.meters("height"), 0.38
        thick = 0.03 if p.text("cushion") == "flat" else 0.1
        style = p.text("seat_shape")
        shape.add("seat", prism(slab(style, width)[0], thick), (0, 0, height - thick))
        tops = places_under(style, p.count("legs"), width)
        add_legs(shape, p.text("leg_style"), tops, height - thick, 0.035)
        if p.text("footrest") == "with":
            radius, level = float(np.linalg.norm(tops[0, :2])), 0.35
            if p.text("leg_style") == "splayed":
                inward, outward = splay(tops, height - thick)
                radius += (1 - level) * outward - level * inward
            shape.add("footrest", Torus(radius, 0.012), (0, 0, level * (height - thick)))

    def describe(self, p: Parameters, d: Description) -> None:
        """Seat, legs, footrest, height."""
        d.adjective("seat_shape")
        d.measure("height", "tall", "low", "tall")
        seat = d.part("seat", "cushion", "seat_colour")
        legs = d.part("leg", "leg_style", "leg_colour", count="legs")
        d.relation(seat, "above", legs)
        if p.text("footrest") == "with":
            ring = d.part("footrest", "footrest_colour", exists_by="footrest")
            d.relation(ring, "around", legs)
        else:
            d.without("footrest", "a footrest")


@family
class Chair(Family):
    """A chair with a solid, slatted or barred back, with or without armrests."""

    name = "chair"
    attributes: ClassVar[dict[str, Attribute]] = {
        "back": Choice(("solid", "vertical", "horizontal")),
        "slats": Count((2, 3, 4, 5), part="back slat", when=("back", ("vertical", "horizontal"))),
        "armrests": Choice(("with", "without")),
        "seat_shape": Choice(("round", "square")),
        "leg_style": Choice(("straight", "splayed", "tapered", "square")),
        "height": Length(750, 1250, 10),
        "seat_colour": Color(FINISHES, part="seat"),
        "leg_colour": Color(FINISHES, part="leg"),
        "panel_colour": Color(FINISHES, part="back panel", when=("back", ("solid",))),
        "slat_colour": Color(
            FINISHES, part="back slat", when=("back", ("vertical", "horizontal")), unlike=("leg_colour",)
        ),
        "armrest_colour": Color(FINISHES, part="armrest", when=("armrests", ("with",))),
    }

    def build(self, p: Parameters, shape: Builder) -> None:
        """Seat, four legs, a back between two posts, armrests."""
        width, thick, seat = 0.44, 0.04, 0.45
        height = p.meters("height")
        style = p.text("seat_shape")
        shape.add("seat", prism(slab(style, width)[0], thick), (0, 0, seat - thick))
        add_legs(shape, p.text("leg_style"), places_under(style, 4, width), seat - thick, 0.04)
        rise = height - seat
        back = 0.2 if style == "square" else 0.13
        posts = np.array([(-0.19, back, seat), (0.19, back, seat)])
        post_color = p.text("leg_colour")
        shape.add("back post", box(0.035, 0.035, rise, open_ends="bottom"), posts, color=post_color)
        if style == "round":  # the posts of a round seat stand on a bar behind it
            shape.add("back post", box(0.415, 0.05, thick), (0, back, seat - thick), color=post_color)
        if p.text("back") == "solid":
            shape.add("back panel", box(0.345, 0.02, rise * 0.72), (0, back, seat + rise * 0.26))
        elif p.text("back") == "vertical":
            count = p.count("slats")
            shape.add("back post", box(0.345, 0.03, 0.05), (0, back, height - 0.06), color=post_color)
            shape.add(
                "back slat",
                box(0.035, 0.018, rise - 0.06, open_ends="top bottom"),
                row(count, 0.345 / (count + 1), y=back, z=seat),
            )
        else:
            count = p.count("slats")
            places = row(count, (rise - 0.1) / count, axis=2, y=back, z=seat + 0.05 + (rise - 0.1) / 2)
            shape.add("back slat", box(0.345, 0.018, 0.045), places - (0, 0, 0.02))
        if p.text("armrests") == "with":
            for side in (-1, 1):
                shape.add("armrest", box(0.05, 0.36, 0.03), (side * 0.235, back - 0.17, seat + 0.2))
                shape.add("armrest", box(0.03, 0.03, 0.2), (side * 0.235, back - 0.31, seat - 0.005))
                shape.add("armrest", box(0.03, 0.03, 0.2), (side * 0.235, back - 0.01, seat - 0.005))

    def describe(self, p: Parameters, d: Description) -> None:
        """Seat, legs, back, armrests, height."""
        d.measure("height", "tall", "low", "tall")
        if p.text("back") == "solid":
            back = d.part("back panel", ("back", "solid"), "panel_colour")
        else:
            back = d.part("back slat", "back", "slat_colour", count="slats")
        seat = d.part("seat", "seat_shape", "seat_colour")
        legs = d.part("leg", "leg_style", "leg_colour", count=4)
        d.relation(back, "above", seat)
        d.relation(seat, "above", legs)
        if p.text("armrests") == "with":
            d.part("armrest", "armrest_colour", count=2, exists_by="armrests")
        else:
            d.without("armrests", "armrests")


@family
class Bed(Family):
    """A bed with a headboard, pillows, a blanket and perhaps four tall posts."""

    name = "bed"
    attributes: ClassVar[dict[str, Attribute]] = {
        "pillows": Count((1, 2, 3), part="pillow"),
        "headboard": Choice(("rectangular", "arched", "barred")),
        "posts": Choice(("with", "without")),
        "width": Length(800, 2000, 100),
        "frame_colour": Color(FINISHES, part="frame"),
        "blanket_colour": Color(PAINTS, part="blanket"),
        "headboard_colour": Color(FINISHES, part="headboard"),
        "pillow_colour": Color(PAINTS, part="pillow", unlike=("blanket_colour", "headboard_colour")),
    }

    def build(self, p: Parameters, shape: Builder) -> None:
        """Frame on four feet, blanket, pillows, headboard, posts; the head end is at the back (+y)."""
        width, length = p.meters("width"), 2.0
        corners = np.array([(x, y, 0.0) for x in (-1, 1) for y in (-1, 1)]) * (
            width / 2 - 0.05,
            length / 2 - 0.05,
            1,
        )
        tall = 1.7 if p.text("posts") == "with" else 0.2
        shape.add("frame", box(0.1, 0.1, tall), corners)
        shape.add("frame", box(width, length, 0.18, open_ends="top"), (0, 0, 0.17))
        mattress = box(width - 0.08, 0.54, 0.18, open_ends="bottom")
        shape.add("mattress", mattress, (0, 0.69, 0.35), color="white")
        shape.add("blanket", box(width - 0.04, 1.4, 0.2, open_ends="bottom"), (0, -0.28, 0.35))
        count = p.count("pillows")
        pitch = (width - 0.1) / count
        pillow = prism(rectangle(min(pitch * 0.82, 0.7), 0.4, 0.08), 0.13, top_scale=0.8)
        shape.add("pillow", pillow, row(count, pitch, y=0.68, z=0.53))
        add_headboard(shape, p.text("headboard"), width, 0.98)

    def describe(self, p: Parameters, d: Description) -> None:
        """Pillows, blanket, headboard, frame, posts, width."""
        d.measure("width", "wide", "narrow", "wide")
        pillows = d.part("pillow", "pillow_colour", count="pillows")
        blanket = d.part("blanket", "blanket_colour")
        headboard = d.part("headboard", "headboard", "headboard_colour")
        if p.text("posts") == "with":
            d.part("frame", "frame_colour", after=(("posts", "with four tall posts"),))
        else:
            d.part("frame", "frame_colour", after=(("posts", "without posts"),))
        d.relation(headboard, "behind", pillows)
        d.relation(pillows, "behind", blanket)


def add_headboard(shape: Builder, style: str, width: float, y: float) -> None:
    """A headboard that stands at this y, as wide as the bed, 1.0 to 1.1 m high."""
    inner = width - 0.12
    if style == "barred":
        shape.add("headboard", box(inner, 0.05, 0.06), (0, y, 0.95))
        count = max(5, round(inner / 0.14))
        shape.add(
            "headboard", cylinder(0.015, 0.6, open_ends="top bottom"), row(count, inner / count, y=y, z=0.35)
        )
        return
    shape.add("headboard", box(inner, 0.05, 0.45 if style == "arched" else 0.75), (0, y, 0.3))
    if style == "arched":
        half = polygon(48, inner / 2, depth=0.35)
        half = np.concatenate([half[:25], [[-1e-9, 0.0]]])  # the upper half of an ellipse
        upright = turn("x", 90)
        shape.add("headboard", prism(half, 0.05), (0, y + 0.025, 0.75), rotate=upright)
