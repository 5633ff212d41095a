"""Cleaned descriptions: without what is not about the part, and with every number."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from align3d.captions import clean_description, normalize_caption, unique_captions


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        (
            "Molex PicoBlade series connector, 53398-0471 (http://www.molex.com/pdm_docs/sd/533980271_sd.pdf)"
            ", generated with kicad-footprint-generator",
            "Molex PicoBlade series connector, 53398-0471",
        ),
        (
            "Through hole angled socket strip, 2x18, 2.54mm pitch, 8.51mm socket length, double cols "
            "(from Kicad 4.0.7), script generated",
            "Through hole angled socket strip, 2x18, 2.54mm pitch, 8.51mm socket length, double cols",
        ),
        (
            "C, Rect series, Radial, pin pitch=10.00mm, , length*width=11.0*5.1mm^2, Capacitor, https://a.b/c_564.pdf",
            "C, Rect series, Radial, pin pitch=10.00mm, length*width=11.0x5.1mm, Capacitor",
        ),
        (
            "QFN, 64 Pin (http://x.y/a.pdf (page 415)), generated with a-generator ipc_noLead.py",
            "QFN, 64 Pin",
        ),
        (
            "Resistor SMD 1210 (3225 Metric), square (rectangular) end terminal, IPC_7351 nominal with "
            "elongated pad for handsoldering. (Body size source: IPC-SM-782 page 72, https://x.y/z_1.pdf), "
            "generated with kicad-footprint-generator",
            "Resistor SMD 1210 (3225 Metric), square (rectangular) end terminal",
        ),
        (
            "Generic Phoenix Contact connector footprint for: MSTBVA_2,5/11-G-5,08; number of pins: 11; "
            "pin pitch: 5.08mm; Vertical || order number: 1755820 12A || order number: 1924392 16A (HC)",
            "Phoenix Contact connector MSTBVA_2,5/11-G-5,08; number of pins: 11; pin pitch: 5.08mm; Vertical",
        ),
        ("pin-PCB-offset 3.0300000000000002mm, see http://a.b/c.pdf", "pin-PCB-offset 3.03mm"),
        (
            "TO-92 leads molded, wide, drill 0.75mm (see NXP sot054_po.pdf)",
            "TO-92 leads molded, wide, drill 0.75mm",
        ),
        (
            "SMD 6x-dip-switch SPST, Slide, row spacing 8.9 mm (350 mils), body size  (see http://a.b/c.pdf)",
            "SMD 6x-dip-switch SPST, Slide, row spacing 8.9 mm (350 mils)",
        ),
        (
            "LED, diameter 3.0mm z-position of LED center 2.0mm, 2 pins, diameter 3.0mm z-position of "
            "LED center 6.0mm, 2 pins",
            "LED, diameter 3.0mm z-position of LED center 6.0mm, 2 pins",
        ),
        (
            'SMD diode bridge Low Profile DFS \\"Flat\\", see http://a.b/c.pdf',
            'SMD diode bridge Low Profile DFS "Flat"',
        ),
        (
            "DFN22 6*5*0.9 MM, 0.5 P; CASE 506AF\\\\xe2\\\\x88\\\\x9201",
            "DFN22 6x5x0.9 MM, 0.5 P; CASE 506AF-01",
        ),
        ("https://www.digchip.com/datasheets/parts/datasheet/161/MAN3640A-pdf.php", ""),
        (
            "SMD capacitor, aluminum electrolytic, Nichicon, 4.0x3mm",
            "SMD capacitor, aluminum electrolytic, Nichicon, 4.0x3mm",
        ),
        ("16-Lead Plastic DFN (5mm x 4mm) [DFN]", "16-Lead Plastic DFN (5mm x 4mm) [DFN]"),
        (
            "Omnidirectional, -42dB, reflowable microphone https://a.b/cmc.pdf",
            "Omnidirectional, -42dB, reflowable microphone",
        ),
        ("Molex Molex connector (https://x.y/a(1).pdf)", "Molex connector"),
    ],
)
def test_descriptions(raw: str, clean: str) -> None:
    assert clean_description(raw) == clean


@settings(deadline=None)
@given(st.text(alphabet='aB1 .,;:()[]/-_\\"*|see http://x.pdf', max_size=60))
def test_cleaning_never_fails_and_is_stable(text: str) -> None:
    once = clean_description(text)
    assert once == once.strip()
    assert "  " not in once
    assert "http://" not in once


def test_normal_form_ignores_case_blanks_and_punctuation_but_not_numbers() -> None:
    assert normalize_caption("Pin Header, 1x04 (2.54mm)") == normalize_caption("pin  header 1×04 2.54MM.")
    assert normalize_caption("4.0x3mm") != normalize_caption("40x3mm")
    assert normalize_caption("1x11") != normalize_caption("1x13")
    assert normalize_caption("2,5") != normalize_caption("25")
    assert normalize_caption(" ... ") == ""


def test_unique_captions_keep_their_order() -> None:
    assert unique_captions(["B b", "", "a", "b, B!", "A"]) == ("B b", "a")


def test_normal_form_keeps_what_tells_texts_apart() -> None:
    same = [
        ("grüne Stühle", "gru\u0308ne STÜHLE"),
        ('18" wide', "18 in wide"),
        ("½ inch", "1/2 inch"),
        ("x\u00ady", "xy"),
        ("a® box", "A box!"),
        ("pin-1", "pin 1"),
    ]
    different = [
        ("लाल कुर्सी", "लाल करस"),
        ('18"', "18'"),
        ('1½"', '11/2"'),
        ("10²", "102"),
        ("-40 °C", "40 °C"),
        (".5", "5"),
        ("3/4", "3 4"),
        ("🪑", "🔴"),
        ("🪑", ""),
    ]
    assert [pair for pair in same if normalize_caption(pair[0]) != normalize_caption(pair[1])] == []
    assert [pair for pair in different if normalize_caption(pair[0]) == normalize_caption(pair[1])] == []


@given(st.text())
def test_normal_form_is_stable(text: str) -> None:
    once = normalize_caption(text)
    assert normalize_caption(once) == once
