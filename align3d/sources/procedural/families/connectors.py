"""Machine and circuit parts: pin header, terminal block, gear, bolt, pipe fitting."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from align3d.sources.procedural.attributes import (
    METALS,
    PAINTS,
    Attribute,
    Choice,
    Color,
    Count,
    Length,
    Parameters,
    count_word,
)
from align3d.sources.procedural.builder import Builder, aim, circle, moved, row, turn, turns
from align3d.sources.procedural.caption_grammar import Description
from align3d.sources.procedural.families.base import Family, family
from align3d.sources.procedural.primitives import (
    Facets,
    Lathe,
    Sweep,
    arc,
    box,
    cylinder,
    dome,
    polygon,
    prism,
    rectangle,
    sphere,
    tube,
)

HOUSINGS = ("black", "white", "red", "blue", "green", "yellow", "orange", "grey")
CONTACTS = ("gold", "steel", "copper")


@family
class PinHeader(Family):
    """A pin header: one or two rows of square pins through a plastic strip, straight or bent to the front."""

    name = "pin header"
    synonyms = ("header connector",)
    attributes: ClassVar[dict[str, Attribute]] = {
        "positions": Count(tuple(range(2, 13)), part=""),
        "rows": Choice(("single-row", "double-row")),
        "direction": Choice(("straight", "right-angled")),
        "shroud": Choice(("with", "without")),
        "pitch": Choice(("2.54", "2.00", "1.27")),
        "body_colour": Color(HOUSINGS, part="body"),
        "pin_colour": Color(CONTACTS, part="pin", unlike=("body_colour",)),
        "shroud_colour": Color(
            PAINTS, part="shroud", when=("shroud", ("with",)), unlike=("body_colour", "pin_colour")
        ),
    }

    def build(self, p: Parameters, shape: Builder) -> None:
        """Strip, pins, a wall around the pins."""
        pitch = float(p.text("pitch")) / 1000
        count, rows = p.count("positions"), 2 if p.text("rows") == "double-row" else 1
        thick, body, tail, long = 0.26 * pitch, pitch, 1.2 * pitch, 2.4 * pitch
        width, depth = count * pitch, rows * pitch
        shape.add("body", box(width, depth, body), (0, 0, tail))
        places = np.concatenate([row(count, pitch, y=y) for y in row(rows, pitch)[:, 0]])
        if p.text("direction") == "straight":
            shape.add("pin", box(thick, thick, tail, open_ends="top"), places)
            shape.add("pin", box(thick, thick, long, open_ends="bottom"), moved(places, 0, 0, tail + body))
        else:
            # each row bends at its own height, so that the front row passes below the one behind it
            shape.add("pin", box(thick, thick, tail, open_ends="top"), places)
            level = np.where(places[:, 1] > 0, 1.6 if rows == 2 else 0.6, 0.6)[:, None] * pitch
            top = tail + body
            for height in np.unique(level):
                here = places[level[:, 0] == height] + (0, 0, top)
                y = float(here[0, 1])
                shape.add("pin", box(thick, thick, float(height), open_ends="bottom"), here)
                reach = long + y + depth / 2
                forward = moved(here, 0, -reach / 2 - thick / 2, float(height) - thick)
                shape.add("pin", box(thick, reach, thick), forward)
        if p.text("shroud") == "with":
            wall = 0.2 * pitch
            tall = depth if p.text("direction") == "straight" else (rows + 0.2) * pitch
            outline = rectangle(width + 4 * wall, tall + 4 * wall)
            inner = rectangle(width + 2 * wall, tall + 2 * wall)
            if p.text("direction") == "straight":
                shape.add("shroud", prism(outline, body + 0.9 * pitch, hole=inner), (0, 0, tail))
            else:  # a tunnel to the front that stands on the body
                tunnel = prism(outline, depth + 0.9 * pitch, hole=inner)
                shape.add(
                    "shroud", tunnel, (0, depth / 2, tail + body + tall / 2 + wall), rotate=turn("x", 90)
                )

    def describe(self, p: Parameters, d: Description) -> None:
        """Positions, rows, direction, shroud, pitch."""
        rows = 2 if p.text("rows") == "double-row" else 1
        d.adjective("positions", f"{rows}x{p.count('positions'):02d}")
        d.adjective("rows")
        d.adjective("direction")
        body = d.part("body", "body_colour")
        pins = d.part(
            "pin",
            "pin_colour",
            count=("positions", rows * p.count("positions")),
            after=(("pitch", f"at {p.text('pitch')} mm pitch"),),
        )
        d.relation(pins, "through", body)
        if p.text("shroud") == "with":
            shroud = d.part("shroud", "shroud_colour", exists_by="shroud")
            d.relation(shroud, "around", pins)
        else:
            d.without("shroud", "a shroud")


@family
class TerminalBlock(Family):
    """A terminal block: a row of screws over a row of wire openings, pins below."""

    name = "terminal block"
    attributes: ClassVar[dict[str, Attribute]] = {
        "ways": Count((2, 3, 4, 5, 6, 7, 8), part="screw"),
        "profile": Choice(("stepped", "plain", "sloping")),
        "pitch": Choice(("3.50", "5.08", "7.62")),
        "flanges": Choice(("with", "without")),
        "body_colour": Color((*HOUSINGS, "turquoise"), part="body"),
        "screw_colour": Color(METALS, part="screw", unlike=("body_colour",)),
        "clamp_colour": Color(
            ("black", "white", "red", "yellow", "copper"), part="wire clamp", unlike=("body_colour",)
        ),
    }

    def build(self, p: Parameters, shape: Builder) -> None:
        """Housing, screws on top, clamps in front, pins below, mounting flanges at the ends."""
        pitch, ways = float(p.text("pitch")) / 1000, p.count("ways")
        width, depth, height, tail = ways * pitch, 1.7 * pitch, 2.0 * pitch, 0.7 * pitch
        profile = p.text("profile")
        screw_y = 0.0
        if profile == "plain":
            shape.add("body", box(width, depth, height), (0, 0, tail))
        elif profile == "stepped":
            shape.add("body", box(width, depth, 0.65 * height), (0, 0, tail))
            shape.add(
                "body",
                box(width, 0.58 * depth, 0.35 * height, open_ends="bottom"),
                (0, 0.21 * depth, tail + 0.65 * height),
            )
            screw_y = 0.21 * depth
        else:
            shape.add("body", box(width, depth, 0.5 * height, open_ends="top"), (0, 0, tail))
            upper = prism(rectangle(width, depth), 0.5 * height, open_ends="bottom")
            slanted = upper.vertices.reshape(-1, 3, 3).copy()
            high, front = slanted[..., 2] > 0, slanted[..., 1] < 0
            slanted[..., 1] = np.where(high & front, -0.15 * depth, slanted[..., 1])
            shape.add("body", Facets(slanted), (0, 0, tail + 0.5 * height))
            screw_y = 0.17 * depth
        shape.add(
            "screw",
            cylinder(0.25 * pitch, 0.12 * pitch, open_ends="bottom"),
            row(ways, pitch, y=screw_y, z=tail + height),
        )
        shape.add(
            "wire clamp",
            box(0.6 * pitch, 0.08 * pitch, 0.55 * pitch),
            row(ways, pitch, y=-depth / 2 - 0.04 * pitch, z=tail + 0.2 * pitch),
        )
        shape.add("pin", cylinder(0.1 * pitch, tail, open_ends="top"), row(ways, pitch), color="steel")
        if p.text("flanges") == "with":
            for side in (-1, 1):
                ear = tube(0.45 * pitch, 0.2 * pitch, 0.3 * pitch)
                shape.add(
                    "flange", ear, (side * (width / 2 + 0.45 * pitch), 0, tail), color=p.text("body_colour")
                )

    def describe(self, p: Parameters, d: Description) -> None:
        """Ways, profile, pitch, flanges."""
        d.adjective("profile")
        d.adjective("body_colour")
        d.adjective("ways", f"{count_word(p.count('ways'))}-way")
        screws = d.part(
            "screw", "screw_colour", count="ways", after=(("pitch", f"at {p.text('pitch')} mm pitch"),)
        )
        clamps = d.part("wire clamp", "clamp_colour", count=p.count("ways"))
        d.relation(screws, "above", clamps)
        if p.text("flanges") == "with":
            d.part("flange", count=2, exists_by="flanges")
        else:
            d.without("flanges", "flanges")


@family
class Gear(Family):
    """A spur gear: solid or spoked, with a hub and a bore."""

    name = "gear"
    synonyms = ("gear wheel", "cogwheel")
    attributes: ClassVar[dict[str, Attribute]] = {
        "teeth": Count((8, 10, 12, 14, 16, 18, 20, 24, 28, 32), part="tooth"),
        "web": Choice(("solid", "spoked")),
        "spokes": Count((3, 4, 5, 6), part="spoke", when=("web", ("spoked",))),
        "bore": Choice(("round", "square", "hexagonal")),
        "diameter": Length(20, 200, 5, unit="mm"),
        "thickness": Choice(("thin", "thick")),
        "wheel_colour": Color((*METALS, "black", "white"), part="rim"),
        "tooth_colour": Color((*METALS, *PAINTS), part="tooth", unlike=("wheel_colour",)),
        "hub_colour": Color((*METALS, *PAINTS), part="hub", unlike=("wheel_colour",)),
    }

    def build(self, p: Parameters, shape: Builder) -> None:
        """Rim, teeth around it, web or spokes, hub with its bore; it lies flat."""
        r = p.meters("diameter") / 2
        thick = (0.16 if p.text("thickness") == "thin" else 0.42) * r
        count, color = p.count("teeth"), p.text("wheel_colour")
        hub = 0.36 * r
        tall = min(0.22 * r, 3.2 * r / count)
        root = r - tall
        pitch = 2 * np.pi * root / count
        tooth = prism(rectangle(0.52 * pitch, thick * 0.999), tall, top_scale=0.62, open_ends="bottom")
        angle = np.arange(count) * 360 / count
        lying = np.stack([turn("z", a) @ turn("y", 90) @ turn("z", 90) for a in angle])
        shape.add("tooth", tooth, circle(count, root * 0.998, thick / 2), rotate=lying)
        if p.text("web") == "solid":
            shape.add("rim", Lathe([(hub, 0), (root, 0), (root, thick), (hub, thick)]))
        else:
            shape.add("rim", tube(root, root - 0.14 * r, thick))
            spokes = p.count("spokes")
            spoke = box(root - 0.12 * r - hub, 0.11 * r, 0.5 * thick)
            where = circle(spokes, (root - 0.14 * r + hub) / 2, 0.25 * thick)
            shape.add("spoke", spoke, where, rotate=turns("z", np.arange(spokes) * 360 / spokes), color=color)
        outer = polygon(48, hub)
        sides = {"round": 48, "square": 4, "hexagonal": 6}[p.text("bore")]
        shape.add(
            "hub", prism(outer, 1.35 * thick, hole=_matched(outer, sides, 0.62 * hub)), (0, 0, -0.175 * thick)
        )

    def describe(self, p: Parameters, d: Description) -> None:
        """Teeth, web, bore, diameter, thickness."""
        d.measure("diameter", "in diameter", "small", "large")
        d.adjective("thickness")
        d.adjective("wheel_colour")
        teeth = d.part("tooth", "tooth_colour", count="teeth")
        if p.text("web") == "spoked":
            d.part("spoke", count="spokes", exists_by="web")
        else:
            d.part("web", "web")
        hub = d.part("hub", "hub_colour", after=(("bore", f"with a {p.text('bore')} bore"),))
        d.relation(teeth, "around", hub)


def _matched(outline: np.ndarray, sides: int, radius: float) -> np.ndarray:
    """A regular polygon's outline with one point at the angle of each point of ``outline``: f64[N, 2]."""
    angle = np.arctan2(outline[:, 1], outline[:, 0])
    half = np.pi / sides
    reach = radius * np.cos(half) / np.cos((angle + half) % (2 * half) - half)
    return np.column_stack([reach * np.cos(angle), reach * np.sin(angle)])


@family
class Bolt(Family):
    """A bolt with a head, a shank that is partly threaded, nuts and a washer."""

    name = "bolt"
    synonyms = ("machine screw",)
    attributes: ClassVar[dict[str, Attribute]] = {
        "head": Choice(("hexagonal", "round", "square", "domed")),
        "thread": Choice(("full", "half")),
        "nuts": Count((0, 1, 2, 3), part="nut"),
        "washer": Choice(("with", "without")),
        "length": Length(20, 120, 5, unit="mm"),
        "head_colour": Color((*METALS, "black", "red", "blue"), part="head"),
        "shank_colour": Color((*METALS, "black"), part="shank"),
        "nut_colour": Color(
            (*METALS, *PAINTS), part="nut", when=("nuts", (1, 2, 3)), unlike=("shank_colour",)
        ),
        "washer_colour": Color(
            (*METALS, *PAINTS),
            part="washer",
            when=("washer", ("with",)),
            unlike=("head_colour", "nut_colour"),
        ),
    }

    def build(self, p: Parameters, shape: Builder) -> None:
        """It stands on its head: head, washer, shank with rings of thread, nuts."""
        length = p.meters("length")
        r = 0.075 * length
        head, style = 1.3 * r, p.text("head")
        if style in ("hexagonal", "square"):
            shape.add("head", prism(polygon(6 if style == "hexagonal" else 4, 2.2 * r), head))
        elif style == "round":
            shape.add("head", cylinder(2 * r, head))
        else:
            shape.add("head", dome(2 * r, head, closed=True), (0, 0, head), rotate=turn("x", 180))
        if p.text("washer") == "with":
            shape.add("washer", tube(2.7 * r, r, 0.35 * r), (0, 0, head))
        plain = 0.0 if p.text("thread") == "full" else 0.45 * (length - head)
        if plain:
            shape.add("shank", cylinder(r, plain, open_ends="bottom top"), (0, 0, head))
        turns_of_thread = round((length - head - plain) / (0.5 * r))
        z = np.linspace(head + plain, length, 2 * turns_of_thread + 1)
        wave = np.where(np.arange(len(z)) % 2 == 0, r, 0.8 * r)
        shape.add("shank", Lathe(np.concatenate([np.column_stack([wave, z]), [(0, length)]])))
        nuts = p.count("nuts")
        if nuts:
            hexagon = polygon(6, 1.95 * r)
            nut = prism(hexagon, r, hole=_matched(hexagon, 48, r))
            shape.add(
                "nut", nut, row(nuts, 2.4 * r, axis=2, z=head + 0.6 * (length - head)) - (0, 0, 0.5 * r)
            )

    def describe(self, p: Parameters, d: Description) -> None:
        """Head, thread, nuts, washer, length."""
        d.measure("length", "long", "short", "long")
        head = d.part("head", "head", "head_colour")
        thread = "with a full thread" if p.text("thread") == "full" else "threaded over one half"
        shank = d.part("shank", "shank_colour", after=(("thread", thread),))
        if p.count("nuts"):
            nuts = d.part("nut", "nut_colour", count="nuts")
            d.relation(nuts, "above", head)
        else:
            d.without("nuts", "nuts")
        if p.text("washer") == "with":
            washer = d.part("washer", "washer_colour", exists_by="washer")
            d.relation(washer, "around", shank)
        else:
            d.without("washer", "a washer")


@family
class PipeFitting(Family):
    """An elbow, tee or cross of pipe with plain, ribbed or flanged ends."""

    name = "pipe fitting"
    synonyms = ("pipe joint",)
    attributes: ClassVar[dict[str, Attribute]] = {
        "openings": Count((2, 3, 4, 5), part="collar"),
        "ends": Choice(("flanged", "ribbed", "hexagonal")),
        "bolts": Count((3, 4, 6, 8), part="", when=("ends", ("flanged",))),
        "bore": Choice(("large-bore", "small-bore")),
        "width": Length(60, 400, 10, unit="mm"),
        "pipe_colour": Color((*METALS, *PAINTS), part="pipe"),
        "collar_colour": Color((*METALS, *PAINTS), part="collar", unlike=("pipe_colour",)),
    }

    def build(self, p: Parameters, shape: Builder) -> None:
        """Branches from a common middle, each with a collar at its end."""
        slim = 0.3 if p.text("bore") == "large-bore" else 0.17
        bulge = {"flanged": min(2 * slim, 0.55), "ribbed": 1.3 * slim, "hexagonal": 1.45 * slim}[
            p.text("ends")
        ]
        # an elbow has one arm along x, and there the width ends at the collar of the other
        half = p.meters("width") / (1 + bulge if p.count("openings") == 2 else 2)
        r = slim * half
        arms = {
            2: [(-1, 0, 0), (0, 0, 1)],
            3: [(-1, 0, 0), (1, 0, 0), (0, 0, 1)],
            4: [(-1, 0, 0), (1, 0, 0), (0, 0, 1), (0, 0, -1)],
            5: [(-1, 0, 0), (1, 0, 0), (0, 0, 1), (0, 0, -1), (0, -1, 0)],
        }[p.count("openings")]
        directions = np.array(arms, dtype=np.float64)
        frames = aim(directions)
        count = p.count("openings")
        if count == 2:  # the branches of an elbow meet in a bend of the pipe
            bend = moved(arc(0.5 * half, -90, 0), -0.5 * half, 0, 0.5 * half)
            shape.add("pipe", Sweep(bend, r, (0, 1, 0)))
            shape.add("pipe", tube(r, 0.8 * r, 0.5 * half), directions * half * 0.5, rotate=frames)
        else:
            shape.add(
                "pipe",
                Lathe([(r, 0.9 * r), (r, half), (0.8 * r, half), (0.8 * r, 0.7 * half)]),
                np.zeros((count, 3)),
                rotate=frames,
            )
            shape.add("pipe", sphere(1.2 * r))
        style, outer = p.text("ends"), bulge * half
        if style == "flanged":
            shape.add("collar", tube(outer, r, 0.13 * half), directions * 0.84 * half, rotate=frames)
            bolts = p.count("bolts")
            ring = circle(bolts, (outer + r) / 2)
            for direction, frame in zip(directions, frames, strict=True):
                shape.add(
                    "bolt",
                    cylinder(0.16 * (outer - r) + 0.02 * half, 0.3 * half),
                    ring @ frame.T + direction * 0.73 * half,
                    rotate=frame,
                    color="black",
                )
        elif style == "ribbed":
            z = np.linspace(0, 0.3 * half, 9)
            wave = np.where(np.arange(9) % 2 == 0, 1.05, 1.3) * r
            shape.add("collar", Lathe(np.column_stack([wave, z])), directions * 0.68 * half, rotate=frames)
        else:
            hexagon = polygon(6, 1.45 * r)
            nut = prism(hexagon, 0.25 * half, hole=_matched(hexagon, 48, r))
            shape.add("collar", nut, directions * 0.7 * half, rotate=frames)

    def describe(self, p: Parameters, d: Description) -> None:
        """Openings, ends, bolts, bore, width."""
        d.measure("width", "wide", "narrow", "wide")
        kind = {2: "elbow", 3: "tee", 4: "cross", 5: "five-way"}[p.count("openings")]
        d.adjective("bore")
        d.adjective("pipe_colour")
        d.adjective("openings", kind)
        after = [("bolts", f"with {count_word(p.count('bolts'))} bolts each")] if "bolts" in p else []
        d.part("collar", "ends", "collar_colour", count="openings", after=after)
