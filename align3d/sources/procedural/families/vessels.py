"""Vessels: mug, bottle, vase, teapot, pot."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from align3d.sources.procedural.attributes import PAINTS, Attribute, Choice, Color, Count, Length, Parameters
from align3d.sources.procedural.builder import Builder, turn, turns
from align3d.sources.procedural.caption_grammar import Description
from align3d.sources.procedural.families.base import Family, family
from align3d.sources.procedural.primitives import (
    Ellipsoid,
    Lathe,
    Sweep,
    arc,
    bezier,
    box,
    cylinder,
    disc,
    prism,
    rectangle,
    sphere,
)
from align3d.sources.procedural.profiles import between, gaps, loop, radius_at, smooth, spaced

GLAZES = (*PAINTS, "terracotta")


@family
class Mug(Family):
    """A mug with a round, angular or no handle, colored inside and perhaps with bands around it."""

    name = "mug"
    synonyms = ("cup",)
    attributes: ClassVar[dict[str, Attribute]] = {
        "body": Choice(("straight", "tapered", "bulbous")),
        "handle": Choice(("round", "angular", "none")),
        "side": Choice(("left", "right"), when=("handle", ("round", "angular"))),
        "bands": Count((1, 2, 3), part="band"),
        "height": Length(60, 160, 5),
        "body_colour": Color(GLAZES, part="body"),
        "inside_colour": Color(PAINTS, part="inside"),
        "handle_colour": Color(GLAZES, part="handle", when=("handle", ("round", "angular"))),
        "band_colour": Color(PAINTS, part="band", unlike=("body_colour",)),
    }

    def build(self, p: Parameters, shape: Builder) -> None:
        """Outer wall, inner wall, bands, handle."""
        h = p.meters("height")
        knots = {
            "straight": [(0, 0.04), (h, 0.04)],
            "tapered": [(0, 0.03), (h, 0.046)],
            "bulbous": [(0, 0.03), (0.4 * h, 0.047), (h, 0.036)],
        }[p.text("body")]
        outer = smooth([(z, r) for z, r in knots])
        bands = spaced(p.count("bands"), 0.5 * h, 0.15 * h, 0.06 * h)
        shape.add("body", disc(outer[0, 0]))
        shape.add("body", disc(outer[-1, 0], outer[-1, 0] - 0.004), (0, 0, h))
        for low, high in gaps(0, h, bands):
            shape.add("body", Lathe(between(outer, low, high)))
        for low, high in bands:
            shape.add("band", Lathe(between(outer, low, high)))
        inner = outer[2:] - (0.004, 0)
        shape.add("inside", Lathe(np.concatenate([[(0, inner[0, 1])], inner])))
        if p.text("handle") == "none":
            return
        spin = turn("z", 180) if p.text("side") == "left" else None
        if p.text("handle") == "round":
            shape.add("handle", Sweep(loop(outer, 0.2 * h, 0.8 * h, 0.035), 0.005, (0, 1, 0)), rotate=spin)
        else:
            for z in (0.2 * h, 0.8 * h):
                near = radius_at(outer, z)
                bar = box(0.076 - near, 0.01, 0.008)
                place = np.array([(0.076 + near) / 2, 0, z - 0.004])
                shape.add("handle", bar, place if spin is None else spin @ place)
            post = np.array([0.08, 0, 0.2 * h - 0.004])
            shape.add("handle", box(0.008, 0.01, 0.6 * h + 0.008), post if spin is None else spin @ post)

    def describe(self, p: Parameters, d: Description) -> None:
        """Body, handle, bands, inside, height."""
        d.measure("height", "tall", "low", "tall")
        d.adjective("body")
        d.adjective("body_colour")
        d.part("band", "band_colour", count="bands")
        if p.text("handle") == "none":
            d.without("handle", "a handle")
        else:
            d.part("handle", "handle", "handle_colour", after=(("side", f"on the {p.text('side')}"),))
        d.part("inside", "inside_colour")


@family
class Bottle(Family):
    """A bottle with a cap and a label."""

    name = "bottle"
    attributes: ClassVar[dict[str, Attribute]] = {
        "section": Choice(("round", "square")),
        "neck": Choice(("long", "short")),
        "shoulder": Choice(("sloping", "sharp")),
        "label": Choice(("with", "without")),
        "height": Length(120, 400, 10),
        "body_colour": Color((*PAINTS, "glass"), part="body"),
        "cap_colour": Color((*PAINTS, "gold"), part="cap"),
        "label_colour": Color(PAINTS, part="label", when=("label", ("with",)), unlike=("body_colour",)),
    }

    def build(self, p: Parameters, shape: Builder) -> None:
        """Body up to the shoulder, neck, cap, a label around the body."""
        h = p.meters("height")
        r, slim = 0.15 * h, 0.05 * h
        neck = (0.28 if p.text("neck") == "long" else 0.1) * h
        slope = (0.2 if p.text("shoulder") == "sloping" else 0.03) * h
        body = h - neck - slope
        labels = [(0.25 * body, 0.75 * body)] if p.text("label") == "with" else []
        if p.text("section") == "round":
            shape.add("body", disc(r))
            for low, high in gaps(0, body, labels):
                shape.add("body", cylinder(r, high - low, open_ends="top bottom"), (0, 0, low))
            for low, high in labels:
                shape.add("label", cylinder(r, high - low, open_ends="top bottom"), (0, 0, low))
            shape.add(
                "body", Lathe(smooth([(body, r), (body + slope * 0.35, r * 0.9), (body + slope, slim)]))
            )
        else:
            outline = rectangle(1.8 * r, 1.8 * r, 0.15 * r)
            for low, high in gaps(0, body, labels):
                piece = prism(outline, high - low, open_ends="top bottom" if low else "top")
                shape.add("body", piece, (0, 0, low))
            for low, high in labels:
                shape.add("label", prism(outline, high - low, open_ends="top bottom"), (0, 0, low))
            shape.add(
                "body", prism(outline, slope, top_scale=slim / (0.9 * r), open_ends="bottom"), (0, 0, body)
            )
        cap = min(0.08 * h, neck)
        if neck > cap:
            shape.add("body", cylinder(slim, neck - cap, open_ends="top bottom"), (0, 0, body + slope))
        shape.add("cap", cylinder(slim * 1.15, cap), (0, 0, h - cap))

    def describe(self, p: Parameters, d: Description) -> None:
        """Body, neck, shoulder, cap, label, height."""
        d.measure("height", "tall", "small", "tall")
        d.adjective("section")
        d.adjective("body_colour")
        cap = d.part("cap", "cap_colour")
        neck = d.part("neck", "neck")
        d.part("shoulder", "shoulder", count=1)
        d.relation(cap, "on", neck)
        if p.text("label") == "with":
            label = d.part("label", "label_colour", exists_by="label")
            d.relation(cap, "above", label)
        else:
            d.without("label", "a label")


@family
class Vase(Family):
    """A vase with bands, with or without handles."""

    name = "vase"
    attributes: ClassVar[dict[str, Attribute]] = {
        "profile": Choice(("bulbous", "flared", "cylindrical", "waisted", "pear-shaped")),
        "handles": Count((0, 1, 2), part="handle"),
        "bands": Count((1, 2, 3, 4), part="band"),
        "height": Length(120, 500, 10),
        "body_colour": Color(GLAZES, part="body"),
        "band_colour": Color(PAINTS, part="band", unlike=("body_colour",)),
        "handle_colour": Color(GLAZES, part="handle", when=("handles", (1, 2))),
    }

    def build(self, p: Parameters, shape: Builder) -> None:
        """Wall, bands around it, loop handles on the sides."""
        h = p.meters("height")
        shares: dict[str, list[tuple[float, float]]] = {
            "bulbous": [(0, 0.16), (0.4, 0.32), (0.8, 0.12), (1, 0.16)],
            "flared": [(0, 0.12), (0.5, 0.15), (1, 0.32)],
            "cylindrical": [(0, 0.2), (1, 0.2)],
            "waisted": [(0, 0.25), (0.5, 0.12), (1, 0.25)],
            "pear-shaped": [(0, 0.2), (0.25, 0.29), (0.65, 0.12), (1, 0.1)],
        }
        outer = smooth([(z * h, r * h) for z, r in shares[p.text("profile")]], segments=28)
        bands = spaced(p.count("bands"), 0.42 * h, 0.12 * h, 0.045 * h)
        shape.add("body", disc(outer[0, 0]))
        shape.add("body", Lathe(between(outer, 0.7 * h, h) - (0.015 * h, 0)))
        for low, high in gaps(0, h, bands):
            shape.add("body", Lathe(between(outer, low, high)))
        for low, high in bands:
            shape.add("band", Lathe(between(outer, low, high)))
        if p.count("handles"):
            path = loop(outer, 0.5 * h, 0.88 * h, 0.14 * h)
            spins = turns("z", [0, 180][: p.count("handles")])
            shape.add("handle", Sweep(path, 0.018 * h, (0, 1, 0)), rotate=spins)

    def describe(self, p: Parameters, d: Description) -> None:
        """Profile, bands, handles, height."""
        d.measure("height", "tall", "small", "tall")
        d.adjective("profile")
        d.adjective("body_colour")
        bands = d.part("band", "band_colour", count="bands")
        if p.count("handles"):
            handles = d.part("handle", "handle_colour", count="handles")
            d.relation(handles, "above", bands)
        else:
            d.without("handles", "handles")


@family
class Teapot(Family):
    """A teapot with a spout, a handle behind or above, and a lid with a knob."""

    name = "teapot"
    attributes: ClassVar[dict[str, Attribute]] = {
        "body": Choice(("round", "squat", "tall-bodied", "conical")),
        "handle": Choice(("side", "top")),
        "spout_side": Choice(("left", "right")),
        "spout": Choice(("curved", "straight")),
        "feet": Choice(("with", "without")),
        "width": Length(120, 280, 10),
        "body_colour": Color(GLAZES, part="body"),
        "lid_colour": Color(GLAZES, part="lid"),
        "handle_colour": Color((*PAINTS, "walnut"), part="handle"),
        "knob_colour": Color((*PAINTS, "brass"), part="knob", unlike=("lid_colour",)),
    }

    def build(self, p: Parameters, shape: Builder) -> None:
        """Body, spout, handle, lid and knob, scaled so that the whole is as wide as the width says."""
        tall = {"round": 0.62, "squat": 0.42, "tall-bodied": 0.85, "conical": 0.62}[p.text("body")]
        waist = {"round": 0.33, "squat": 0.36, "tall-bodied": 0.27, "conical": 0.2}[p.text("body")]
        low = 0.05 if p.text("feet") == "with" else 0.0
        knots = (
            [(0, 0.2), (0.45, waist), (1, 0.14)]
            if p.text("body") != "conical"
            else [(0, 0.3), (0.55, 0.22), (1, 0.14)]
        )
        outer = smooth([(low + z * tall, r) for z, r in knots])
        # the spout reaches 0.55 of the unit to its side, a handle 0.45 to the other, or else the body does
        unit = p.meters("width") / (0.55 + (0.45 if p.text("handle") == "side" else outer[:, 0].max()))
        outer = outer * unit
        shape.add("body", Lathe(np.concatenate([[(0, outer[0, 1])], outer])))
        top = float(outer[-1, 1])
        shape.add(
            "lid", Lathe(np.array([(0.15, 0), (0.14, 0.03), (0.08, 0.06), (0, 0.07)]) * unit), (0, 0, top)
        )
        shape.add("knob", sphere(0.04 * unit), (0, 0, top + 0.1 * unit))
        spin = turn("z", 180) if p.text("spout_side") == "left" else np.eye(3)
        z0, z1 = (low + 0.3 * tall) * unit, (low + 0.92 * tall) * unit
        start = radius_at(outer, z0) * 0.96
        tip, bend = 0.55 * unit, 0.46 * unit
        if p.text("spout") == "curved":
            path = bezier([(start, 0, z0), (bend, 0, z0), (bend * 0.9, 0, z1), (tip, 0, z1)], segments=16)
        else:
            path = np.linspace((start, 0, z0), (tip - 0.018 * unit, 0, z1), 9)
        shape.add(
            "spout",
            Sweep(path, np.linspace(0.055, 0.025, len(path)) * unit, (0, 1, 0)),
            rotate=spin,
            color=p.text("body_colour"),
        )
        thick = 0.022 * unit
        if p.text("handle") == "side":
            z_low, z_high = (low + 0.2 * tall) * unit, (low + 0.8 * tall) * unit
            r_low, r_high = radius_at(outer, z_low) * 0.97, radius_at(outer, z_high) * 0.97
            # a Bezier curve of this kind goes three quarters of the way to its control points
            out = ((0.45 * unit - thick) - 0.125 * (r_low + r_high)) / 0.75
            path = bezier([(r_high, 0, z_high), (out, 0, z_high), (out, 0, z_low), (r_low, 0, z_low)])
            shape.add("handle", Sweep(path, thick, (0, 1, 0)), rotate=turn("z", 180) @ spin)
        else:
            z = (low + 0.8 * tall) * unit
            r = radius_at(outer, z) * 0.97
            path = bezier(
                [(-r, 0, z), (-1.3 * r, 0, z + 0.5 * unit), (1.3 * r, 0, z + 0.5 * unit), (r, 0, z)]
            )
            shape.add("handle", Sweep(path, thick, (0, 1, 0)))
        if low:
            feet = np.array([(np.cos(a), np.sin(a), 0) for a in np.radians([30, 150, 270])]) * 0.16 * unit
            shape.add(
                "foot",
                cylinder(0.03 * unit, (low + 0.02) * unit, open_ends="top"),
                feet,
                color=p.text("body_colour"),
            )

    def describe(self, p: Parameters, d: Description) -> None:
        """Body, lid, knob, spout, handle, feet, width."""
        d.measure("width", "wide", "small", "large")
        d.adjective("body")
        d.adjective("body_colour")
        side = p.text("spout_side")
        d.part("spout", "spout", after=(("spout_side", f"on the {side}"),))
        where = "above the body" if p.text("handle") == "top" else "at the side"
        d.part("handle", "handle_colour", after=(("handle", where),))
        lid = d.part("lid", "lid_colour")
        knob = d.part("knob", "knob_colour")
        d.relation(knob, "on", lid)
        if p.text("feet") == "with":
            d.part("foot", count=3, exists_by="feet")
        else:
            d.without("feet", "feet")


@family
class Pot(Family):
    """A cooking pot with one long or two short handles, with or without a lid."""

    name = "pot"
    noun = "cooking pot"
    attributes: ClassVar[dict[str, Attribute]] = {
        "handles": Choice(("long", "short")),
        "lid": Choice(("with", "without")),
        "depth": Choice(("shallow", "medium", "deep")),
        "diameter": Length(140, 320, 10),
        "body_colour": Color(("steel", "copper", *PAINTS), part="body"),
        "handle_colour": Color(("black", "red", "blue", "green", "white", "brass", "walnut"), part="handle"),
        "lid_colour": Color(("steel", "copper", "glass", *PAINTS), part="lid", when=("lid", ("with",))),
        "knob_colour": Color(
            ("black", "red", "blue", "white", "brass"),
            part="knob",
            when=("lid", ("with",)),
            unlike=("lid_colour",),
        ),
    }

    def build(self, p: Parameters, shape: Builder) -> None:
        """Wall inside and outside, handles, lid with a knob."""
        r = p.meters("diameter") / 2
        h = {"shallow": 0.55, "medium": 1.0, "deep": 1.7}[p.text("depth")] * r
        shape.add("body", Lathe([(0, 0), (0.94 * r, 0), (r, 0.06 * r), (r, h), (0.96 * r, h)]))
        if p.text("lid") == "with":
            shape.add(
                "lid", Lathe([(r, 0), (0.98 * r, 0.06 * r), (0.6 * r, 0.17 * r), (0, 0.22 * r)]), (0, 0, h)
            )
            shape.add("knob", Ellipsoid((0.13 * r, 0.13 * r, 0.1 * r)), (0, 0, h + 0.3 * r))
        else:
            shape.add("body", Lathe([(0.96 * r, h), (0.96 * r, 0.03 * r)]))
            shape.add("body", disc(0.96 * r), (0, 0, 0.03 * r))
        if p.text("handles") == "long":
            bar = Sweep(
                [(r * 0.99, 0, 0.82 * h), (1.5 * r, 0, 0.9 * h), (2.9 * r, 0, 0.98 * h)],
                0.08 * r,
                (0, 1, 0),
                capped=True,
            )
            shape.add("handle", bar)
        else:
            path = turn("x", 90) @ (arc(0.3 * r, -90, 90) * (1.1, 1, 1)).T
            grip = Sweep(path.T, 0.055 * r, (0, 0, 1))
            shape.add(
                "handle", grip, [(0.97 * r, 0, 0.8 * h), (-0.97 * r, 0, 0.8 * h)], rotate=turns("z", [0, 180])
            )

    def describe(self, p: Parameters, d: Description) -> None:
        """Handles, lid, depth, diameter."""
        d.measure("diameter", "in diameter", "small", "large")
        d.adjective("depth", {"medium": "medium-deep"}.get(p.text("depth"), p.text("depth")))
        d.adjective("body_colour")
        if p.text("handles") == "long":
            d.part("handle", ("handles", "long"), "handle_colour", exists_by="handles")
        else:
            d.part("handle", ("handles", "short"), "handle_colour", count=2, exists_by="handles")
        if p.text("lid") == "with":
            lid = d.part("lid", "lid_colour", exists_by="lid")
            knob = d.part("knob", "knob_colour")
            d.relation(knob, "on", lid)
        else:
            d.without("lid", "a lid")
