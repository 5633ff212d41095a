"""A box as a STEP file (ISO 10303-21, AP214), written by hand: the smallest solid of CAD programs."""

from __future__ import annotations

from itertools import count

CORNERS = [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
FACES = [
    ([0, 1, 3, 2], (-1, 0, 0)),
    ([4, 6, 7, 5], (1, 0, 0)),
    ([0, 4, 5, 1], (0, -1, 0)),
    ([2, 3, 7, 6], (0, 1, 0)),
    ([0, 2, 6, 4], (0, 0, -1)),
    ([1, 5, 7, 3], (0, 0, 1)),
]
"""Corners of each face, counterclockwise seen from outside, and its normal."""
HEAD = """ISO-10303-21;
HEADER;
FILE_DESCRIPTION((''),'2;1');
FILE_NAME('box','2024-01-01T00:00:00',(''),(''),'','','');
FILE_SCHEMA(('AUTOMOTIVE_DESIGN { 1 0 10303 214 1 1 1 1 }'));
ENDSEC;
DATA;
"""


def step_box(x: float, y: float, z: float) -> str:
    """A box of that size in millimeters, a corner at the origin."""
    lines: list[str] = []
    numbers = count(1)

    def add(text: str) -> str:
        name = f"#{next(numbers)}"
        lines.append(f"{name}={text};")
        return name

    def real(values: tuple[float, ...]) -> str:
        return "(" + ",".join(f"{value:.6f}" for value in values) + ")"

    def direction(values: tuple[float, ...]) -> str:
        return add(f"DIRECTION('',{real(values)})")

    places = [(a * x, b * y, c * z) for a, b, c in CORNERS]
    points = [add(f"CARTESIAN_POINT('',{real(place)})") for place in places]
    vertices = [add(f"VERTEX_POINT('',{point})") for point in points]
    edges: dict[tuple[int, int], str] = {}
    faces = []
    for corners, normal in FACES:
        bounds = []
        for begin, end in zip(corners, [*corners[1:], corners[0]], strict=True):
            if (end, begin) in edges:
                bounds.append(add(f"ORIENTED_EDGE('',*,*,{edges[end, begin]},.F.)"))
                continue
            along = tuple(b - a for a, b in zip(places[begin], places[end], strict=True))
            length = sum(value * value for value in along) ** 0.5
            vector = add(f"VECTOR('',{direction(tuple(value / length for value in along))},1.)")
            line = add(f"LINE('',{points[begin]},{vector})")
            edges[begin, end] = add(f"EDGE_CURVE('',{vertices[begin]},{vertices[end]},{line},.T.)")
            bounds.append(add(f"ORIENTED_EDGE('',*,*,{edges[begin, end]},.T.)"))
        loop = add(f"EDGE_LOOP('',({','.join(bounds)}))")
        bound = add(f"FACE_OUTER_BOUND('',{loop},.T.)")
        aside = direction((normal[1], normal[2], normal[0]))
        frame = add(f"AXIS2_PLACEMENT_3D('',{points[corners[0]]},{direction(normal)},{aside})")
        plane = add(f"PLANE('',{frame})")
        faces.append(add(f"ADVANCED_FACE('',({bound}),{plane},.T.)"))
    shell = add(f"CLOSED_SHELL('',({','.join(faces)}))")
    solid = add(f"MANIFOLD_SOLID_BREP('',{shell})")
    length = add("(LENGTH_UNIT() NAMED_UNIT(*) SI_UNIT(.MILLI.,.METRE.))")
    angle = add("(NAMED_UNIT(*) PLANE_ANGLE_UNIT() SI_UNIT($,.RADIAN.))")
    solid_angle = add("(NAMED_UNIT(*) SI_UNIT($,.STERADIAN.) SOLID_ANGLE_UNIT())")
    least = add(f"UNCERTAINTY_MEASURE_WITH_UNIT(LENGTH_MEASURE(1.E-7),{length},'','')")
    context = add(
        "(GEOMETRIC_REPRESENTATION_CONTEXT(3) "
        f"GLOBAL_UNCERTAINTY_ASSIGNED_CONTEXT(({least})) "
        f"GLOBAL_UNIT_ASSIGNED_CONTEXT(({length},{angle},{solid_angle})) REPRESENTATION_CONTEXT('',''))"
    )
    origin = add(f"AXIS2_PLACEMENT_3D('',{points[0]},{direction((0, 0, 1))},{direction((1, 0, 0))})")
    shape = add(f"ADVANCED_BREP_SHAPE_REPRESENTATION('',({origin},{solid}),{context})")
    application = add("APPLICATION_CONTEXT('automotive design')")
    kind = add(f"PRODUCT_CONTEXT('',{application},'mechanical')")
    product = add(f"PRODUCT('box','box','',({kind}))")
    formation = add(f"PRODUCT_DEFINITION_FORMATION('','',{product})")
    stage = add(f"PRODUCT_DEFINITION_CONTEXT('part definition',{application},'design')")
    definition = add(f"PRODUCT_DEFINITION('design','',{formation},{stage})")
    defined = add(f"PRODUCT_DEFINITION_SHAPE('','',{definition})")
    add(f"SHAPE_DEFINITION_REPRESENTATION({defined},{shape})")
    return HEAD + "\n".join(lines) + "\nENDSEC;\nEND-ISO-10303-21;\n"
