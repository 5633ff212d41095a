"""Outdoor objects: truck, road sign, rocket, airplane."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from align3d.sources.procedural.attributes import (
    PAINTS,
    Attribute,
    Choice,
    Color,
    Count,
    Length,
    Parameters,
    count_word,
)
from align3d.sources.procedural.builder import Builder, moved, row, turn, turns
from align3d.sources.procedural.caption_grammar import Description
from align3d.sources.procedural.families.base import Family, family
from align3d.sources.procedural.primitives import (
    Facets,
    Lathe,
    Torus,
    box,
    cylinder,
    disc,
    dome,
    frustum,
    polygon,
    prism,
    rectangle,
    sphere,
)


@family
class Truck(Family):
    """A truck that drives to the left: cab, chassis, load, two wheels on each axle."""

    name = "truck"
    synonyms = ("lorry",)
    attributes: ClassVar[dict[str, Attribute]] = {
        "axles": Count((2, 3, 4, 5), part=""),
        "load": Choice(("box", "tank", "open bed", "flat bed")),
        "cab": Choice(("flat-nosed", "long-nosed")),
        "lights": Count((2, 3, 4, 5), part="roof light"),
        "length": Length(5000, 14000, 500, unit="m"),
        "cab_colour": Color(PAINTS, part="cab"),
        "load_colour": Color(PAINTS, part="load", unlike=("cab_colour",)),
        "hub_colour": Color(("white", "red", "yellow", "steel"), part="wheel hub"),
    }

    def build(self, p: Parameters, shape: Builder) -> None:
        """Chassis along x, cab at -x, load behind it, wheels below."""
        length = p.meters("length")
        u = length / 8
        wide, floor, wheel = 1.9 * u, 1.05 * u, 0.5 * u
        front = -length / 2
        shape.add("chassis", box(length - 0.1 * u, 0.8 * u, 0.2 * u), (0, 0, floor - 0.25 * u), color="black")
        nose = 0.9 * u if p.text("cab") == "long-nosed" else 0.0
        cab = 1.7 * u
        if nose:
            shape.add("cab", box(nose, wide * 0.85, 0.9 * u), (front + nose / 2, 0, floor - 0.35 * u))
        shape.add("cab", box(cab, wide, 2.0 * u), (front + nose + cab / 2, 0, floor - 0.35 * u))
        shape.add(
            "window",
            box(0.9 * cab, wide + 0.03 * u, 0.6 * u, open_ends="bottom top"),
            (front + nose + 0.4 * cab, 0, floor + 0.85 * u),
            color="turquoise",
        )
        shape.add(
            "roof light",
            sphere(0.13 * u),
            row(p.count("lights"), 0.36 * u, axis=1, x=front + nose + 0.5 * cab, z=floor + 1.76 * u),
            color="yellow",
        )
        start = front + nose + cab + 0.15 * u
        room = length / 2 - start
        middle = start + room / 2
        self._load(p.text("load"), shape, middle, room, wide, floor, u)
        axles = p.count("axles")
        first = front + (0.6 * u if nose else 0.75 * u)
        last = length / 2 - 0.7 * u
        behind = last - (np.arange(axles - 1)[::-1]) * 1.15 * u
        xs = np.concatenate([[first + 0.2 * u], behind])
        for side in (-1, 1):
            hub = np.column_stack([xs, np.full(axles, side * wide * 0.5), np.full(axles, wheel)])
            tyre = cylinder(wheel, 0.34 * u)
            shape.add("wheel", tyre, moved(hub, 0, 0.17 * u, 0), rotate=turn("x", 90), color="black")
            face = moved(hub, 0, side * 0.18 * u, 0)
            shape.add("wheel hub", disc(0.55 * wheel), face, rotate=turn("x", 90))

    @staticmethod
    def _load(
        style: str, shape: Builder, middle: float, room: float, wide: float, floor: float, u: float
    ) -> None:
        """Load on the chassis between the cab and the rear end."""
        if style == "box":
            shape.add("load", box(room, wide, 2.1 * u), (middle, 0, floor))
        elif style == "tank":
            tank = [
                (0, 0),
                (0.7 * u, 0.02 * u),
                (0.85 * u, 0.2 * u),
                (0.85 * u, room - 0.2 * u),
                (0.7 * u, room - 0.02 * u),
                (0, room),
            ]
            shape.add("load", Lathe(tank), (middle - room / 2, 0, floor + 0.85 * u), rotate=turn("y", 90))
        else:
            shape.add("load", box(room, wide, 0.12 * u), (middle, 0, floor))
            if style == "open bed":
                wall = rectangle(room, wide)
                shape.add(
                    "load",
                    prism(wall, 0.7 * u, hole=wall * (1 - 0.1 * u / room, 0.94)),
                    (middle, 0, floor + 0.12 * u),
                )

    def describe(self, p: Parameters, d: Description) -> None:
        """Axles, load, cab, lights, length."""
        d.measure("length", "long", "short", "long")
        d.adjective("axles", f"{count_word(p.count('axles'))}-axle")
        cab = d.part("cab", ("cab", p.text("cab")), "cab_colour")
        noun = {"box": "box body"}.get(p.text("load"), p.text("load"))
        load = d.part(noun, "load_colour", exists_by="load")
        lights = d.part("roof light", count="lights")
        d.part("wheel hub", "hub_colour", count=2 * p.count("axles"))
        d.relation(lights, "above", cab)
        d.relation(load, "behind", cab)


@family
class RoadSign(Family):
    """One to three sign plates on a post: shape, field, border, symbol."""

    name = "road sign"
    synonyms = ("traffic sign",)
    attributes: ClassVar[dict[str, Attribute]] = {
        "plate": Choice(("round", "triangular", "octagonal", "square", "diamond-shaped")),
        "plates": Count((1, 2, 3), part="plate"),
        "symbol": Choice(("bar", "dot", "cross")),
        "base": Choice(("with", "without")),
        "height": Length(1200, 3200, 100, unit="m"),
        "plate_colour": Color(PAINTS, part="plate"),
        "border_colour": Color(PAINTS, part="border", unlike=("plate_colour",)),
        "symbol_colour": Color(PAINTS, part="symbol", unlike=("plate_colour",)),
        "post_colour": Color(("steel", "black", "white", "red", "yellow"), part="post"),
    }

    def build(self, p: Parameters, shape: Builder) -> None:
        """Post with a base, plates from the top down, each with a border and a symbol in front."""
        height, count = p.meters("height"), p.count("plates")
        size = 0.13 * height
        post = 0.018 * height
        shape.add("post", cylinder(post, height), (0, 0, 0))
        if p.text("base") == "with":
            shape.add("base", frustum(0.13 * height, 0.08 * height, 0.05 * height), color="black")
        outline = {
            "round": polygon(48, size),
            "triangular": polygon(3, 1.2 * size, turn=np.pi / 2),
            "octagonal": polygon(8, size, turn=np.pi / 8),
            "square": rectangle(1.75 * size, 1.75 * size),
            "diamond-shaped": polygon(4, 1.15 * size),
        }[p.text("plate")]
        places = np.array([(0, -post, height - size * 1.25 - at * 2.35 * size) for at in range(count)])
        facing = turn("x", 90)  # the plate's z goes to -y, the front
        if p.text("plate") == "triangular":
            places = places - (0, 0, 0.1 * size)
        thick = 0.05 * size
        shape.add("border", prism(outline, thick, hole=0.78 * outline), places, rotate=facing)
        shape.add("plate", prism(0.78 * outline, thick), places, rotate=facing)
        front = places - (0, thick, 0)
        if p.text("symbol") == "dot":
            shape.add("symbol", cylinder(0.28 * size, 0.08 * size, open_ends="bottom"), front, rotate=facing)
        else:
            bar = box(0.85 * size, 0.24 * size, 0.08 * size, open_ends="bottom")
            shape.add("symbol", bar, front, rotate=facing)
            if p.text("symbol") == "cross":
                shape.add("symbol", bar, front, rotate=facing @ turn("z", 90))

    def describe(self, p: Parameters, d: Description) -> None:
        """Plates, border, symbol, post, base, height."""
        d.measure("height", "tall", "low", "tall")
        plates = d.part("plate", "plate", "plate_colour", count="plates")
        many = p.count("plates")
        d.part("border", "border_colour", count=many)
        symbols = d.part(p.text("symbol"), "symbol_colour", count=many, exists_by="symbol")
        post = d.part("post", "post_colour")
        d.relation(plates, "on", post)
        d.relation(symbols, "in front of", plates)
        if p.text("base") == "with":
            d.part("base", exists_by="base")
        else:
            d.without("base", "a base")


@family
class Rocket(Family):
    """A standing rocket with fins, portholes and perhaps boosters."""

    name = "rocket"
    attributes: ClassVar[dict[str, Attribute]] = {
        "fins": Count((3, 4, 5, 6), part="fin"),
        "portholes": Count((1, 2, 3, 4), part="porthole"),
        "nose": Choice(("pointed", "rounded", "blunt")),
        "boosters": Choice(("with", "without")),
        "height": Length(5000, 40000, 1000, unit="m"),
        "body_colour": Color(PAINTS, part="body"),
        "fin_colour": Color(PAINTS, part="fin", unlike=("body_colour",)),
        "nose_colour": Color(PAINTS, part="nose"),
        "booster_colour": Color(
            PAINTS, part="booster", when=("boosters", ("with",)), unlike=("body_colour", "fin_colour")
        ),
    }

    def build(self, p: Parameters, shape: Builder) -> None:
        """Nozzle, body, nose, fins around the foot, portholes up the front, boosters left and right."""
        h = p.meters("height")
        r, foot, nose = 0.1 * h, 0.06 * h, 0.25 * h
        body = h - foot - nose
        shape.add("nozzle", frustum(0.07 * h, 0.045 * h, foot, open_ends="bottom top"), color="black")
        shape.add("body", cylinder(r, body, open_ends="top"), (0, 0, foot))
        style, top = p.text("nose"), (0, 0, h - nose)
        if style == "pointed":
            shape.add("nose", frustum(r, 0, nose, open_ends="bottom top"), top)
        elif style == "rounded":
            shape.add("nose", dome(r, nose), top)
        else:
            shape.add("nose", frustum(r, 0.55 * r, nose, open_ends="bottom"), top)
        fins = p.count("fins")
        thick = 0.012 * h
        flat = np.array([(0, 0.04), (0.13, 0.0), (0.13, 0.1), (0, 0.26)]) * h  # (outwards, up)
        center = flat.mean(0)
        fin = prism(flat - center, thick)
        upright = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # outline y becomes up
        spins = turns("z", 45 + np.arange(fins) * 360 / fins)
        places = np.einsum("kij,j->ki", spins, np.array([r + center[0], thick / 2, center[1]]))
        shape.add("fin", fin, places, rotate=spins @ upright)
        count = p.count("portholes")
        face = turn("x", 90)
        window = row(count, 0.105 * h, axis=2, y=-r, z=foot + 0.62 * body)
        shape.add("porthole", Torus(0.03 * h, 0.011 * h), window, rotate=face, color="black")
        shape.add("porthole", disc(0.03 * h), window - (0, 0.004 * h, 0), rotate=face)
        if p.text("boosters") == "with":
            for side in (-1, 1):
                at = np.array([side * 1.5 * r, 0, 0])
                shape.add("booster", cylinder(0.5 * r, 0.42 * h, open_ends="top"), moved(at, 0, 0, 0.02 * h))
                shape.add(
                    "booster", frustum(0.5 * r, 0, 0.1 * h, open_ends="bottom top"), moved(at, 0, 0, 0.44 * h)
                )

    def describe(self, p: Parameters, d: Description) -> None:
        """Fins, portholes, nose, boosters, height."""
        d.measure("height", "tall", "small", "tall")
        d.adjective("body_colour")
        nose = d.part("nose", "nose", "nose_colour")
        fins = d.part("fin", "fin_colour", count="fins")
        holes = d.part("porthole", count="portholes")
        d.relation(nose, "above", holes)
        d.relation(holes, "above", fins)
        if p.text("boosters") == "with":
            d.part("booster", "booster_colour", count=2, exists_by="boosters")
        else:
            d.without("boosters", "boosters")


@family
class Aeroplane(Family):
    """An airplane that flies to the front: fuselage, wings, engines below them, tail."""

    name = "airplane"
    synonyms = ("plane", "aircraft")
    attributes: ClassVar[dict[str, Attribute]] = {
        "engines": Choice(("two", "four")),
        "wings": Choice(("swept", "straight")),
        "tail": Choice(("T-shaped", "low")),
        "windows": Choice(("with", "without")),
        "length": Length(10000, 70000, 1000, unit="m"),
        "body_colour": Color(PAINTS, part="fuselage"),
        "wing_colour": Color(PAINTS, part="wing"),
        "engine_colour": Color(PAINTS, part="engine", unlike=("wing_colour",)),
        "tail_colour": Color(PAINTS, part="tail"),
    }

    def build(self, p: Parameters, shape: Builder) -> None:
        """Fuselage along y with its nose at -y; the whole stands with its belly on z = 0."""
        length = p.meters("length")
        r = 0.06 * length
        t = np.linspace(0, 1, 33)
        swell = np.minimum(1, np.sqrt(np.clip(t / 0.14, 0, 1)) * 1.0) * np.clip((1 - t) / 0.35, 0, 1) ** 0.7
        hull = np.column_stack([r * swell, length * t])
        shape.add("fuselage", Lathe(hull), (0, -length / 2, r), rotate=turn("x", -90))
        back = 0.2 * length if p.text("wings") == "swept" else 0.0
        z = 0.7 * r
        for side in (-1, 1):
            wing = _wing(side, 0.48 * length, 0.2 * length, 0.09 * length, back, 0.014 * length)
            shape.add("wing", wing, (0, -0.08 * length, z))
            stations = (0.2, 0.34) if p.text("engines") == "four" else (0.22,)
            for x in stations:
                place = np.array([side * x * length, -0.15 * length + back * x / 0.48, z - 0.045 * length])
                shape.add(
                    "engine",
                    frustum(0.032 * length, 0.024 * length, 0.13 * length),
                    place,
                    rotate=turn("x", -90),
                )
        fin = (
            np.array([(0, 0), (0.0, 0.16), (0.08, 0.16), (0.15, 0.0)]) * length
        )  # (back from the fin's front, up)
        center = fin.mean(0)
        sideways = np.array(
            [[0, 0, 1.0], [1, 0, 0], [0, 1, 0]]
        )  # outline x -> y, outline y -> z, thickness -> x
        tilted = fin - center
        tilted[1:3, 0] += 0.07 * length
        tilted = tilted[::-1] if _clockwise(tilted) else tilted
        root = np.array([-0.006 * length, 0.34 * length + center[0], r * 1.3 + center[1]])
        shape.add("tail", prism(tilted, 0.012 * length), root, rotate=sideways)
        high = r * 1.3 + 0.16 * length if p.text("tail") == "T-shaped" else 1.25 * r
        far = 0.42 if p.text("tail") == "T-shaped" else 0.39
        for side in (-1, 1):
            plane = _wing(side, 0.17 * length, 0.1 * length, 0.06 * length, 0.05 * length, 0.01 * length)
            shape.add("tail", plane, (0, far * length, high))
        if p.text("windows") == "with":
            for side in (-1, 1):
                shape.add(
                    "window",
                    disc(0.008 * length),
                    row(9, 0.045 * length, axis=1, y=-0.12 * length, z=1.25 * r, x=side * 0.975 * r),
                    rotate=turn("y", 90),
                    color="black",
                )

    def describe(self, p: Parameters, d: Description) -> None:
        """Engines, wings, tail, windows, length."""
        d.measure("length", "long", "small", "large")
        d.adjective("body_colour")
        wings = d.part("wing", "wings", "wing_colour", count=2)
        number = 4 if p.text("engines") == "four" else 2
        engines = d.part("engine", ("engines", p.text("engines")), "engine_colour", count=number)
        d.part("tail", "tail", "tail_colour")
        d.relation(engines, "under", wings)
        if p.text("windows") == "with":
            d.part("window", count=18, exists_by="windows")
        else:
            d.without("windows", "windows")


def _clockwise(outline: np.ndarray) -> bool:
    following = np.roll(outline, -1, axis=0)
    return float((outline[:, 0] * following[:, 1] - outline[:, 1] * following[:, 0]).sum()) < 0


def _wing(side: int, span: float, chord: float, tip: float, back: float, thick: float) -> Facets:
    """A tapering wing from the middle to one side: f64 triangles; its front edge starts at y = -chord / 2."""
    outline = np.array(
        [
            (0, -chord / 2),
            (side * span, -chord / 2 + back),
            (side * span, -chord / 2 + back + tip),
            (0, chord / 2),
        ]
    )
    center = outline.mean(0)
    outline = outline - center
    flat = prism(outline[::-1] if _clockwise(outline) else outline, thick)
    return Facets(moved(flat.vertices, float(center[0]), float(center[1]), -thick / 2).reshape(-1, 3, 3))
