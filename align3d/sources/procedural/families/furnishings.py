"""Furnishings: shelf, dresser, lamp, candlestick."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from align3d.sources.procedural.attributes import (
    METALS,
    PAINTS,
    WOODS,
    Attribute,
    Choice,
    Color,
    Count,
    Length,
    Parameters,
)
from align3d.sources.procedural.builder import Builder, circle, moved, row, turn, turns
from align3d.sources.procedural.caption_grammar import Description
from align3d.sources.procedural.families.base import Family, family
from align3d.sources.procedural.primitives import (
    Ellipsoid,
    Lathe,
    Sweep,
    bezier,
    box,
    cylinder,
    dome,
    frustum,
    sphere,
)

FINISHES = (*PAINTS, *WOODS)


@family
class Shelf(Family):
    """A standing shelf: boards between posts or side panels."""

    name = "shelf"
    synonyms = ("shelving unit", "bookcase")
    attributes: ClassVar[dict[str, Attribute]] = {
        "boards": Count((2, 3, 4, 5, 6, 7), part="board"),
        "sides": Choice(("post", "panel")),
        "back": Choice(("open", "closed")),
        "height": Length(600, 2200, 50),
        "width": Length(500, 1500, 50),
        "board_colour": Color(FINISHES, part="board"),
        "post_colour": Color(
            (*FINISHES, "steel"), part="post", when=("sides", ("post",)), unlike=("board_colour",)
        ),
        "panel_colour": Color(FINISHES, part="side panel", when=("sides", ("panel",))),
    }

    def build(self, p: Parameters, shape: Builder) -> None:
        """Boards evenly from bottom to top, held by four posts or two side panels, perhaps a back."""
        height, width, depth, thick = p.meters("height"), p.meters("width"), 0.32, 0.03
        count = p.count("boards")
        heights = np.linspace(0.06, height - thick - 0.02, count)
        places = np.column_stack([np.zeros((count, 2)), heights])
        if p.text("sides") == "post":
            corners = np.array([(x, y, 0.0) for x in (-1, 1) for y in (-1, 1)])
            shape.add("post", box(0.04, 0.04, height), corners * (width / 2 - 0.02, depth / 2 - 0.02, 1))
            shape.add("board", box(width - 0.08, depth, thick), places)
        else:
            shape.add(
                "side panel",
                box(0.03, depth, height),
                np.array([(-1, 0, 0), (1, 0, 0)]) * (width / 2 - 0.015),
            )
            shape.add("board", box(width - 0.06, depth, thick), places)
        if p.text("back") == "closed":
            shape.add(
                "back", box(width - 0.08, 0.012, height - 0.08), (0, depth / 2 + 0.006, 0.05), color="white"
            )

    def describe(self, p: Parameters, d: Description) -> None:
        """Boards, sides, back, height, width."""
        d.measure("height", "tall", "low", "tall")
        d.measure("width", "wide", "narrow", "wide")
        boards = d.part("board", "board_colour", count="boards")
        if p.text("sides") == "post":
            sides = d.part("post", "post_colour", count=4, exists_by="sides")
        else:
            sides = d.part("side panel", "panel_colour", count=2, exists_by="sides")
        d.relation(boards, "between", sides)
        d.part("back", "back")


@family
class Dresser(Family):
    """A chest of drawers with knobs or bar handles."""

    name = "dresser"
    synonyms = ("chest of drawers",)
    attributes: ClassVar[dict[str, Attribute]] = {
        "drawers": Count((2, 3, 4, 5, 6), part="drawer"),
        "pull": Choice(("round knob", "bar handle")),
        "feet": Choice(("with", "without")),
        "height": Length(500, 1500, 50),
        "width": Length(400, 1200, 50),
        "body_colour": Color(FINISHES, part="body"),
        "drawer_colour": Color(FINISHES, part="drawer", unlike=("body_colour",)),
        "knob_colour": Color(
            ("black", "white", *METALS),
            part="round knob",
            when=("pull", ("round knob",)),
            unlike=("drawer_colour",),
        ),
        "bar_colour": Color(
            ("black", "white", *METALS),
            part="bar handle",
            when=("pull", ("bar handle",)),
            unlike=("drawer_colour",),
        ),
    }

    def build(self, p: Parameters, shape: Builder) -> None:
        """Body, drawer fronts one above the other, a pull on each, feet."""
        height, width, depth = p.meters("height"), p.meters("width"), 0.45
        low = 0.12 if p.text("feet") == "with" else 0.0
        if low:
            corners = np.array([(x, y, 0.0) for x in (-1, 1) for y in (-1, 1)])
            foot = frustum(0.02, 0.035, low, open_ends="top")
            shape.add(
                "foot", foot, corners * (width / 2 - 0.06, depth / 2 - 0.06, 1), color=p.text("body_colour")
            )
        shape.add("body", box(width, depth, height - low), (0, 0, low))
        count = p.count("drawers")
        pitch = (height - low - 0.08) / count
        places = row(count, pitch, axis=2, y=-depth / 2 - 0.011, z=low + 0.04 + pitch * count / 2)
        front = box(width - 0.08, 0.022, pitch * 0.8)
        shape.add("drawer", front, places - (0, 0, pitch * 0.4))
        if p.text("pull") == "round knob":
            for x in (-width / 4, width / 4):
                shape.add("round knob", sphere(0.022), moved(places, x, -0.03, 0))
        else:
            handle = cylinder(0.011, 0.5 * width)
            shape.add("bar handle", handle, moved(places, -0.25 * width, -0.035, 0), rotate=turn("y", 90))

    def describe(self, p: Parameters, d: Description) -> None:
        """Drawers, pulls, body, feet, height, width."""
        d.measure("height", "tall", "low", "tall")
        d.measure("width", "wide", "narrow", "wide")
        d.adjective("body_colour")
        drawers = d.part("drawer", "drawer_colour", count="drawers")
        if p.text("pull") == "round knob":
            pulls = d.part("round knob", "knob_colour", count=2 * p.count("drawers"), exists_by="pull")
        else:
            pulls = d.part("bar handle", "bar_colour", count=p.count("drawers"), exists_by="pull")
        d.relation(pulls, "on", drawers)
        if p.text("feet") == "with":
            d.part("foot", count=4, exists_by="feet")
        else:
            d.without("feet", "feet")


@family
class Lamp(Family):
    """A floor lamp with one to three shades on curved arms."""

    name = "lamp"
    noun = "floor lamp"
    synonyms = ("standing lamp",)
    attributes: ClassVar[dict[str, Attribute]] = {
        "shades": Count((1, 2, 3), part="shade"),
        "shade_style": Choice(("conical", "cylindrical", "domed", "spherical")),
        "base": Choice(("round", "square", "three-legged")),
        "height": Length(900, 2000, 50),
        "pole_colour": Color(("black", "white", *METALS), part="pole"),
        "shade_colour": Color(PAINTS, part="shade", unlike=("pole_colour",)),
        "base_colour": Color(("black", "white", "red", "blue", "green", *METALS), part="base"),
    }

    def build(self, p: Parameters, shape: Builder) -> None:
        """Base, pole, arms that end in shades; the highest point is the top of the shades."""
        height, count = p.meters("height"), p.count("shades")
        thick, foot = 0.018, 0.25 if p.text("base") == "three-legged" else 0.02
        if p.text("base") == "round":
            shape.add("base", frustum(0.2, 0.18, 0.04))
        elif p.text("base") == "square":
            shape.add("base", box(0.36, 0.36, 0.04))
        else:
            path = bezier([(0.02, 0, 0.3), (0.04, 0, 0.12), (0.2, 0, 0.06), (0.28, 0, 0.015)], segments=12)
            shape.add("base", Sweep(path, 0.015, (0, 1, 0), capped=True), rotate=turns("z", [90, 210, 330]))
        shade, tall, neck = self._shade(p.text("shade_style"), 0.2 if count == 1 else 0.15)
        if count == 1:
            shape.add("pole", cylinder(thick, height - foot - tall + neck), (0, 0, foot))
            shape.add("shade", shade, (0, 0, height - tall))
            return
        top = height - tall - 0.15
        shape.add("pole", cylinder(thick, top + 0.02 - foot), (0, 0, foot))
        arm = bezier(
            [(0, 0, top - 0.3), (0.05, 0, top - 0.1), (0.34, 0, top - 0.2), (0.34, 0, height - tall + neck)]
        )
        around = turns("z", np.arange(count) * 360 / count)
        shape.add("pole", Sweep(arm, 0.012, (0, 1, 0)), rotate=around)
        shape.add("shade", shade, circle(count, 0.34, height - tall), rotate=around)

    @staticmethod
    def _shade(style: str, radius: float) -> tuple[Lathe | Ellipsoid, float, float]:
        """A shade whose lowest point is z = 0, its height, and how far the pole goes into it."""
        if style == "conical":
            return frustum(radius, 0.4 * radius, 1.2 * radius, open_ends="bottom"), 1.2 * radius, 1.2 * radius
        if style == "cylindrical":
            return cylinder(radius, 1.2 * radius, open_ends="bottom"), 1.2 * radius, 1.2 * radius
        if style == "domed":
            return dome(radius, 0.9 * radius), 0.9 * radius, 0.9 * radius
        ball = np.linspace(-np.pi / 2, np.pi / 2, 25)
        profile = np.column_stack([np.abs(np.cos(ball)), 1 + np.sin(ball)]) * radius * 0.9
        return Lathe(profile), 1.8 * radius, 0.0

    def describe(self, p: Parameters, d: Description) -> None:
        """Shades, pole, base, height."""
        d.measure("height", "tall", "low", "tall")
        shades = d.part("shade", "shade_style", "shade_colour", count="shades")
        pole = d.part("pole", "pole_colour")
        base = d.part("base", "base", "base_colour")
        d.relation(shades, "above", base)
        d.relation(pole, "on", base)


@family
class Candlestick(Family):
    """A candle holder with one to five candles in a row of curved arms."""

    name = "candlestick"
    synonyms = ("candle holder",)
    attributes: ClassVar[dict[str, Attribute]] = {
        "candles": Count((1, 2, 3, 4, 5), part="candle"),
        "base": Choice(("round", "square", "stepped")),
        "stem": Choice(("plain", "beaded")),
        "height": Length(200, 600, 20),
        "metal": Color((*METALS, "black", "white"), part="stem"),
        "candle_colour": Color(PAINTS, part="candle", unlike=("metal",)),
    }

    def build(self, p: Parameters, shape: Builder) -> None:
        """Base, stem, U-shaped arms, cups and candles; height without the candles is two thirds."""
        height, count = p.meters("height"), p.count("candles")
        metal = p.text("metal")
        spread, foot, top = 0.085, 0.085, 0.62 * height
        if p.text("base") == "square":
            shape.add("base", box(2 * foot, 2 * foot, 0.025), color=metal)
        elif p.text("base") == "stepped":
            for at, scale in enumerate((1.0, 0.7, 0.42)):
                shape.add("base", cylinder(foot * scale, 0.018), (0, 0, 0.018 * at), color=metal)
        else:
            profile = [(0, 0), (foot, 0), (foot, 0.008), (0.5 * foot, 0.02), (0.012, 0.035)]
            shape.add("base", Lathe(profile), color=metal)
        shape.add("stem", cylinder(0.009, top if count % 2 else 0.7 * top))
        if p.text("stem") == "beaded":
            shape.add("stem", Ellipsoid((0.02, 0.02, 0.016)), row(3, 0.16 * top, axis=2, z=0.33 * top))
        places = row(count, spread, z=top)
        candle = cylinder(0.013, height - top - 0.015, open_ends="bottom")
        shape.add("candle", candle, moved(places, 0, 0, 0.015))
        shape.add("cup", frustum(0.014, 0.022, 0.02), places - (0, 0, 0.003), color=metal)
        for x in np.unique(np.round(np.abs(places[:, 0]), 6)):
            if x > 0:
                dip = 0.7 * top - 0.25 * x
                half = bezier([(0, 0, dip), (0.7 * x, 0, dip), (x, 0, dip), (x, 0, top)], segments=16)
                shape.add("arm", Sweep(half, 0.007, (0, 1, 0)), rotate=turns("z", [0, 180]), color=metal)

    def describe(self, p: Parameters, d: Description) -> None:
        """Candles, metal, base, stem, height."""
        d.measure("height", "tall", "small", "tall")
        d.adjective("metal")
        candles = d.part("candle", "candle_colour", count="candles")
        base = d.part("base", "base")
        d.part("stem", "stem")
        d.relation(candles, "above", base)
