"""Hand tools: hammer, screwdriver, wrench, rake. They lie along x, with the handle at -x."""

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
from align3d.sources.procedural.builder import Builder, moved, row, turn
from align3d.sources.procedural.caption_grammar import Description
from align3d.sources.procedural.families.base import Family, family
from align3d.sources.procedural.primitives import (
    Lathe,
    Sweep,
    bezier,
    box,
    cylinder,
    frustum,
    polygon,
    prism,
    rectangle,
    sector,
    sphere,
    tube,
)
from align3d.sources.procedural.profiles import between, gaps, spaced

GRIPS = (*PAINTS, *WOODS)
ALONG = turn("y", 90)
"""Takes the z axis to x: what stands on z = 0 then lies from x = 0 onwards."""


@family
class Hammer(Family):
    """A hammer: claw, ball, double-faced or wedge head on a handle with a grip."""

    name = "hammer"
    attributes: ClassVar[dict[str, Attribute]] = {
        "head": Choice(("claw", "ball-peen", "double-faced", "wedge")),
        "grip": Choice(("short", "long")),
        "bands": Count((1, 2, 3), part="band"),
        "length": Length(220, 480, 10),
        "head_colour": Color((*METALS, "black", "red", "blue"), part="head"),
        "handle_colour": Color(GRIPS, part="handle"),
        "grip_colour": Color(PAINTS, part="grip", unlike=("handle_colour",)),
        "band_colour": Color(PAINTS, part="band", unlike=("handle_colour", "grip_colour")),
    }

    def build(self, p: Parameters, shape: Builder) -> None:
        """Grip, handle with bands, head across its end (along y)."""
        length = p.meters("length")
        s = length / 3  # the head is as wide as a third of the length
        grip = (0.3 if p.text("grip") == "short" else 0.5) * length
        r = 0.045 * s * 2
        neck = length - 0.26 * s
        shape.add("grip", cylinder(1.35 * r, grip), rotate=ALONG)
        bands = spaced(p.count("bands"), (grip + neck) / 2, 0.05 * length, 0.022 * length)
        for low, high in gaps(grip, neck, bands):
            shape.add("handle", cylinder(r, high - low, open_ends="top bottom"), (low, 0, 0), rotate=ALONG)
        for low, high in bands:
            shape.add(
                "band",
                Lathe([(r, 0), (1.2 * r, 0), (1.2 * r, high - low), (r, high - low)]),
                (low, 0, 0),
                rotate=ALONG,
            )
        block = box(0.26 * s, 0.4 * s, 0.24 * s)
        shape.add("head", block, (length - 0.13 * s, 0, -0.12 * s))
        face = Lathe(
            [(0.09 * s, 0), (0.09 * s, 0.12 * s), (0.14 * s, 0.16 * s), (0.14 * s, 0.3 * s), (0, 0.3 * s)]
        )
        front = turn("x", 90)  # towards -y
        shape.add("head", face, (length - 0.13 * s, -0.2 * s, 0), rotate=front)
        behind = np.array([length - 0.13 * s, 0.2 * s, 0])
        back = turn("x", -90)
        style = p.text("head")
        if style == "double-faced":
            shape.add("head", face, behind, rotate=back)
        elif style == "ball-peen":
            shape.add("head", cylinder(0.08 * s, 0.12 * s, open_ends="top bottom"), behind, rotate=back)
            angle = np.linspace(-1.1, np.pi / 2, 17)
            ball = np.column_stack([np.cos(angle), np.sin(angle) + 0.9]) * 0.17 * s
            shape.add("head", Lathe(np.maximum(ball, 0)), moved(behind, 0, 0.1 * s, 0), rotate=back)
        elif style == "wedge":
            wedge = prism(rectangle(0.26 * s, 0.24 * s), 0.32 * s, top_scale=0.15, open_ends="bottom")
            shape.add("head", wedge, behind, rotate=back)
        else:
            for z in (-0.08 * s, 0.08 * s):
                claw = bezier(
                    [
                        (0, 0, 0.6 * z),
                        (0, 0.2 * s, z),
                        (-0.05 * s, 0.36 * s, 1.2 * z),
                        (-0.24 * s, 0.46 * s, 1.3 * z),
                    ]
                )
                width = np.linspace(0.075, 0.02, len(claw)) * s
                shape.add("head", Sweep(claw, width, (0, 0, 1), capped=True), behind - (0, 0.02 * s, 0))

    def describe(self, p: Parameters, d: Description) -> None:
        """Head, handle, grip, bands, length."""
        d.measure("length", "long", "short", "long")
        head = d.part("head", "head_colour", "head")
        handle = d.part("handle", "handle_colour")
        d.part("grip", ("grip", p.text("grip")), "grip_colour")
        bands = d.part("band", "band_colour", count="bands")
        d.relation(head, "at the end of", handle)
        d.relation(bands, "around", handle)


@family
class Screwdriver(Family):
    """A screwdriver: flat, pointed, square or hexagonal blade and a shaped handle with rings."""

    name = "screwdriver"
    attributes: ClassVar[dict[str, Attribute]] = {
        "handle": Choice(("round", "hexagonal", "square", "bulbous")),
        "tip": Choice(("flat", "pointed", "hexagonal")),
        "rings": Count((1, 2, 3, 4), part="ring"),
        "guard": Choice(("with", "without")),
        "length": Length(120, 360, 10),
        "shaft_colour": Color((*METALS, "black"), part="shaft"),
        "handle_colour": Color(GRIPS, part="handle"),
        "ring_colour": Color(PAINTS, part="ring", unlike=("handle_colour",)),
    }

    def build(self, p: Parameters, shape: Builder) -> None:
        """Handle with rings, a guard, shaft and tip, one behind the other."""
        length = p.meters("length")
        grip, r = 0.42 * length, 0.055 * length
        rings = spaced(p.count("rings"), 0.5 * grip, 0.06 * length, 0.026 * length)
        style = p.text("handle")
        at = np.linspace(0, 1, 25)
        swell = 0.55 + 0.75 * np.sin(np.pi * (0.15 + 0.8 * at)) ** 2 if style == "bulbous" else np.ones(25)
        profile = np.column_stack([r * swell, grip * at])
        for low, high in gaps(0, grip, rings):
            if style in ("round", "bulbous"):
                shape.add("handle", Lathe(between(profile, low, high)), rotate=ALONG)
            else:
                outline = polygon(6 if style == "hexagonal" else 4, 1.15 * r, turn=np.pi / 4)
                piece = prism(outline, high - low, open_ends="top bottom")
                shape.add("handle", piece, (low, 0, 0), rotate=ALONG)
        shape.add("handle", Lathe([(0, 0), (profile[0, 0], 0)]), rotate=ALONG)
        shape.add("handle", Lathe([(0, grip), (profile[-1, 0], grip)]), rotate=ALONG)
        for low, high in rings:
            wide = 1.06 * float(profile[(profile[:, 1] > 0.2 * grip) & (profile[:, 1] < 0.8 * grip), 0].max())
            wide = max(wide, 1.2 * r)
            ring = Lathe([(0.8 * wide, low), (wide, low), (wide, high), (0.8 * wide, high)])
            shape.add("ring", ring, rotate=ALONG)
        if p.text("guard") == "with":
            shape.add(
                "guard",
                cylinder(1.6 * r, 0.02 * length),
                (grip, 0, 0),
                rotate=ALONG,
                color=p.text("handle_colour"),
            )
        tip = 0.1 * length
        thin = 0.018 * length
        shape.add(
            "shaft", cylinder(thin, length - grip - tip, open_ends="bottom top"), (grip, 0, 0), rotate=ALONG
        )
        end = (length - tip, 0, 0)
        if p.text("tip") == "flat":
            blade = prism(rectangle(0.3 * thin, 4 * thin), tip, open_ends="bottom")
            shape.add("shaft", blade, end, rotate=ALONG)
        elif p.text("tip") == "pointed":
            shape.add("shaft", frustum(thin, 0.0, tip, open_ends="bottom top"), end, rotate=ALONG)
        else:
            shape.add("shaft", prism(polygon(6, 2.2 * thin), tip), end, rotate=ALONG)

    def describe(self, p: Parameters, d: Description) -> None:
        """Handle, rings, guard, shaft, tip, length."""
        d.measure("length", "long", "short", "long")
        handle = d.part("handle", "handle", "handle_colour")
        shaft = d.part("shaft", "shaft_colour")
        d.part("tip", "tip")
        rings = d.part("ring", "ring_colour", count="rings")
        d.relation(rings, "around", handle)
        d.relation(handle, "behind", shaft)
        if p.text("guard") == "with":
            d.part("guard", exists_by="guard")
        else:
            d.without("guard", "a guard")


@family
class Wrench(Family):
    """A wrench: an open or ring end on each side of a bar with bands, perhaps a grip."""

    name = "wrench"
    synonyms = ("spanner",)
    attributes: ClassVar[dict[str, Attribute]] = {
        "left_end": Choice(("open", "ring-shaped", "hexagonal")),
        "right_end": Choice(("open", "ring-shaped", "hexagonal")),
        "grip": Choice(("with", "without")),
        "bands": Count((1, 2, 3, 4), part="band"),
        "length": Length(100, 400, 10),
        "colour": Color((*METALS, "black", "red", "blue"), part="bar"),
        "grip_colour": Color(PAINTS, part="grip", when=("grip", ("with",)), unlike=("colour",)),
        "band_colour": Color(PAINTS, part="band", unlike=("grip_colour", "colour")),
    }

    def build(self, p: Parameters, shape: Builder) -> None:
        """Bar, ends, grip around its middle, bands."""
        length, color = p.meters("length"), p.text("colour")
        thick, wide = 0.035 * length, 0.07 * length
        reach = {"left end": 0.095 * length, "right end": 0.115 * length}
        # an open end reaches out to its jaws' tips, which lie 40 degrees off the bar's direction
        out = {"open": np.cos(np.radians(40)), "ring-shaped": 1.0, "hexagonal": 1.0}
        left = -length / 2 + out[p.text("left_end")] * reach["left end"]
        right = length / 2 - out[p.text("right_end")] * reach["right end"]
        start, end = left + 0.85 * reach["left end"], right - 0.85 * reach["right end"]
        middle = (start + end) / 2
        bands = spaced(p.count("bands"), middle, 0.075 * length, 0.025 * length)
        for low, high in bands:
            band = box(high - low, 1.45 * wide, 2.1 * thick)
            shape.add("band", band, ((low + high) / 2, 0, -1.05 * thick))
        grip = (middle - 0.19 * length, middle + 0.19 * length)
        gripped = [grip] if p.text("grip") == "with" else []
        for low, high in gaps(start, end, [*bands, *gripped]):
            shape.add("bar", box(high - low, wide, thick), ((low + high) / 2, 0, -thick / 2))
        for low, high in gaps(*grip, bands) if gripped else []:
            shape.add("grip", box(high - low, 1.25 * wide, 1.7 * thick), ((low + high) / 2, 0, -0.85 * thick))
        for part, name, x in (("left end", "left_end", left), ("right end", "right_end", right)):
            r = reach[part]
            place = np.array([x, 0, -0.7 * thick])
            spin = turn("z", 180) if x < 0 else np.eye(3)
            if p.text(name) == "open":
                shape.add(part, sector(r, 0.55 * r, 40, 320, 1.4 * thick), place, rotate=spin, color=color)
            elif p.text(name) == "ring-shaped":
                shape.add(part, tube(r, 0.66 * r, 1.4 * thick), place, color=color)
            else:
                hexagon = polygon(6, r)
                shape.add(
                    part, prism(hexagon, 1.4 * thick, hole=0.62 * hexagon), place, rotate=spin, color=color
                )

    def describe(self, p: Parameters, d: Description) -> None:
        """Ends, grip, bands, color, length."""
        d.measure("length", "long", "short", "long")
        d.adjective("colour")
        d.part("left end", ("left_end", p.text("left_end")))
        d.part("right end", ("right_end", p.text("right_end")))
        bands = d.part("band", "band_colour", count="bands")
        if p.text("grip") == "with":
            grip = d.part("grip", "grip_colour", exists_by="grip")
            d.relation(bands, "around", grip)
        else:
            d.without("grip", "a grip")


@family
class Rake(Family):
    """A garden rake or fork: tines on a bar at the end of a long handle."""

    name = "rake"
    synonyms = ("garden rake",)
    attributes: ClassVar[dict[str, Attribute]] = {
        "tines": Count((3, 4, 5, 6, 7, 8, 10, 12), part="tine"),
        "tine_style": Choice(("straight", "curved")),
        "end": Choice(("plain", "ball", "crossbar")),
        "length": Length(600, 1800, 50),
        "handle_colour": Color(GRIPS, part="handle"),
        "bar_colour": Color(PAINTS, part="crossbar"),
        "tine_colour": Color((*METALS, *PAINTS), part="tine", unlike=("bar_colour",)),
    }

    def build(self, p: Parameters, shape: Builder) -> None:
        """Handle along x, a crossbar along y at its end, tines down and onwards from it."""
        length, count = p.meters("length"), p.count("tines")
        r, wide, tine = 0.018 * length, 0.36 * length, 0.16 * length
        bent = p.text("tine_style") == "curved"
        end = length - (0.75 * tine if bent else 0.018 * length)
        start = {"plain": 0.0, "ball": 0.07 * length, "crossbar": 0.05 * length}[p.text("end")]
        shape.add("handle", cylinder(r, end - start), (start, 0, 0), rotate=ALONG)
        if p.text("end") == "ball":
            shape.add("handle", sphere(0.04 * length), (0.04 * length, 0, 0))
        elif p.text("end") == "crossbar":
            bar = cylinder(0.025 * length, 0.24 * length)
            shape.add("handle", bar, (0.025 * length, 0.12 * length, 0), rotate=turn("x", 90))
        shape.add("crossbar", box(0.036 * length, wide, 0.036 * length), (end, 0, -0.018 * length))
        places = row(count, (wide - 0.03 * length) / (count - 1), axis=1, x=end)
        thin = min(0.011 * length, 0.3 * wide / count)
        if bent:
            path = bezier(
                [(0, 0, 0), (0.8 * tine, 0, 0), (0.75 * tine, 0, -0.5 * tine), (0.7 * tine, 0, -tine)]
            )
            shape.add("tine", Sweep(path, np.linspace(thin, 0.6 * thin, len(path)), (0, 1, 0)), places)
        else:
            shape.add("tine", frustum(thin, 0.5 * thin, tine), places, rotate=turn("x", 180))

    def describe(self, p: Parameters, d: Description) -> None:
        """Tines, crossbar, handle and its end, length."""
        d.measure("length", "long", "short", "long")
        tines = d.part("tine", "tine_style", "tine_colour", count="tines")
        bar = d.part("crossbar", "bar_colour")
        ends = {
            "plain": "with a plain end",
            "ball": "with a ball at its end",
            "crossbar": "with a T-shaped end",
        }
        d.part("handle", "handle_colour", after=(("end", ends[p.text("end")]),))
        d.relation(tines, "under", bar)
