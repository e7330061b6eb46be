"""What photos say about themselves, as programs and cameras really write it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pillow_heif
import pytest
from PIL import Image, PngImagePlugin

from mmsearch.media.formats import multipage
from mmsearch.media.formats.exif import image_metadata
from mmsearch.media.formats.image import open_image
from mmsearch.media.formats.xmp import xmp_metadata
from tests.support.tiffs import a_raw, directory

EXIF, GPS = 0x8769, 0x8825


def metadata_of(
    base: dict[int, Any] | None = None,
    detail: dict[int, Any] | None = None,
    gps: dict[int, Any] | None = None,
    kind: str = "JPEG",
) -> dict[str, Any]:
    exif = Image.Exif()
    for tag, value in (base or {}).items():
        exif[tag] = value
    for place, values in ((EXIF, detail), (GPS, gps)):
        if values:
            exif.get_ifd(place).update(values)
    buffer = io.BytesIO()
    if kind == "HEIF":
        pillow_heif.register_heif_opener()
    Image.new("RGB", (64, 64)).save(buffer, kind, exif=exif)
    found = image_metadata(open_image(buffer.getvalue(), 10**6))
    return {k: v for k, v in found.items() if k not in ("width", "height", "format")}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF"])
@pytest.mark.parametrize(
    "text",
    ["Müllers Geburtstag in Köln", "京都の紅葉", "Дача летом", "عيد ميلاد", "plain", "Ål på Öland"],
)
def test_exif_text_is_utf8(text: str, kind: str) -> None:
    """The standard says ASCII, programs write UTF-8, and Pillow reads Latin-1."""
    found = metadata_of({0x010E: text.encode(), 0x013B: text.encode()}, kind=kind)
    assert found == {"description": text, "artist": text}


def test_exif_of_a_tiff() -> None:
    """Its own directories, in both orders of bytes, also of the second page."""
    for order in ("<", ">"):
        pixels = b"\x80" * (64 * 48)
        at = 8 + len(pixels)
        detail = directory({0x9003: (2, b"2023:07:14 18:05:33\0")}, at, 0, order)
        base = {256: (4, 64), 257: (4, 48), 258: (3, 8), 259: (3, 1), 262: (3, 1), 273: (4, 8),
                277: (3, 1), 278: (4, 48), 279: (4, len(pixels)), EXIF: (4, at),
                0x010E: (2, "Дача летом\0".encode())}  # fmt: skip
        picture = open_image(a_raw([base, base], [pixels, detail], order=order), 10**6)
        for number in (0, 1):
            found = image_metadata(multipage.page(picture, number, 10**6))
            assert found["description"] == "Дача летом"
            assert found["taken_at"] == "2023-07-14T18:05:33"


def iptc(fields: list[tuple[int, bytes]], *, marked: bool = False) -> bytes:
    """A JPEG with an IPTC record (IIM 4.2) in a Photoshop resource; perhaps marked as UTF-8."""
    record = b"\x1c\x01\x5a\0\x03\x1b%G" if marked else b""
    for number, value in fields:
        record += b"\x1c\x02" + bytes([number]) + len(value).to_bytes(2, "big") + value
    resource = b"8BIM\x04\x04\0\0" + len(record).to_bytes(4, "big") + record
    block = b"Photoshop 3.0\0" + resource + b"\0" * (len(record) % 2)
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG")
    content = buffer.getvalue()
    return content[:2] + b"\xff\xed" + (len(block) + 2).to_bytes(2, "big") + block + content[2:]


@pytest.mark.parametrize(
    ("encoding", "marked"), [("utf-8", True), ("utf-8", False), ("latin-1", False)]
)
def test_iptc(encoding: str, marked: bool) -> None:
    """Text with and without the marker of UTF-8; people and places of picture agencies."""
    fields = [(5, "Straße"), (25, "Köln"), (25, "Brüder"), (80, "Jörg Weiß"), (90, "Zürich"),
              (101, "Schweiz"), (105, "Fön"), (120, "Müllers Geburtstag"), (55, "20230714"),
              (60, "180533+0200")]  # fmt: skip
    content = iptc([(number, text.encode(encoding)) for number, text in fields], marked=marked)
    found = image_metadata(open_image(content, 10**6))
    assert {k: v for k, v in found.items() if k not in ("width", "height", "format")} == {
        "title": "Straße", "keywords": ["Köln", "Brüder"], "artist": "Jörg Weiß", "city": "Zürich",
        "country": "Schweiz", "headline": "Fön", "description": "Müllers Geburtstag",
        "taken_at": "2023-07-14T18:05:33+02:00",
    }  # fmt: skip


def test_keywords_of_several_programs_add_up() -> None:
    """IPTC has the flat ones and XMP the tree."""
    packet = _PACKET.format(
        attributes="", elements=bag("lr:hierarchicalSubject", "Places|Rome")
    ).encode()
    content = iptc([(25, b"Rome"), (25, b"harbour")])
    segment = b"http://ns.adobe.com/xap/1.0/\0" + packet
    content = b"\xff\xd8\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + content[2:]
    found = image_metadata(open_image(content, 10**6))
    assert found["keywords"] == ["Rome", "Places/Rome", "harbour"]


def test_exif_text_in_latin_1_stays_readable() -> None:
    """What is no UTF-8 is the Latin-1 of old programs."""
    assert metadata_of({0x010E: "Grüße".encode("latin-1")})["description"] == "Grüße"


@pytest.mark.parametrize(
    "value",
    [
        b"UNICODE\0" + "Ausflug nach Brüggen".encode("utf-16-be"),
        b"UNICODE\0" + "Ausflug nach Brüggen".encode("utf-16-le"),
        b"UNICODE\0" + "Ausflug nach Brüggen".encode("utf-16"),
        b"ASCII\0\0\0" + "Ausflug nach Brüggen".encode(),
        b"\0" * 8 + "Ausflug nach Brüggen".encode(),
    ],
)
def test_user_comments(value: bytes) -> None:
    """Eight bytes name a character set; the order of UTF-16 is anybody's guess."""
    assert metadata_of(detail={0x9286: value}) == {"description": "Ausflug nach Brüggen"}


@pytest.mark.parametrize(
    "text", ["OLYMPUS DIGITAL CAMERA         ", "SONY DSC", "Samsung camera pictures"]
)
def test_descriptions_that_every_picture_has_are_none(text: str) -> None:
    """A camera's placeholder hides no comment and is not found by its words."""
    comment = b"ASCII\0\0\0A heron"
    assert metadata_of({0x010E: text}) == {}
    assert metadata_of({0x010E: text}, {0x9286: comment}) == {"description": "A heron"}


def test_dates_of_photos() -> None:
    """The camera's own moment, its time zone, the satellites' where there is no other."""
    assert metadata_of(detail={0x9003: "2023:07:14 23:30:00", 0x9011: "Z"})["taken_at"].endswith(
        "Z"
    )
    assert metadata_of(detail={0x9003: "2023:07:14"}) == {"taken_at": "2023-07-14"}
    fixed = {29: "2023:07:14", 7: (16.0, 5.0, 33.0)}
    assert metadata_of(gps=fixed) == {"taken_at": "2023-07-14T16:05:33Z"}
    both = metadata_of(detail={0x9003: "2023:07:14 18:05:33"}, gps=fixed)
    assert both == {"taken_at": "2023-07-14T18:05:33"}
    # Editing writes the third date; the satellites' is nearer to the moment.
    assert metadata_of({0x0132: "2024:01:01 00:00:00"}, gps=fixed)["taken_at"].startswith("2023")


def test_png_prompts_are_descriptions() -> None:
    """Programs that generate pictures write the prompt as a text of their own."""
    info = PngImagePlugin.PngInfo()
    info.add_itxt("parameters", "a photograph of a wombat\nSteps: 20")
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG", pnginfo=info)
    assert "wombat" in image_metadata(open_image(buffer.getvalue(), 10**6))["description"]


_PACKET = """<x:xmpmeta xmlns:x="adobe:ns:meta/"
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/"
 xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" xmlns:lr="http://ns.adobe.com/lightroom/1.0/"
 xmlns:digiKam="http://www.digikam.org/ns/1.0/" xmlns:ms="http://ns.microsoft.com/photo/1.0/"
 xmlns:MP="http://ns.microsoft.com/photo/1.2/" xmlns:MPReg="http://ns.microsoft.com/photo/1.2/t/Region#"
 xmlns:mwg="http://www.metadataworkinggroup.com/schemas/regions/"
 xmlns:ext="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:core="http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/">
<rdf:RDF><rdf:Description {attributes}>{elements}</rdf:Description></rdf:RDF></x:xmpmeta>"""


def xmp(attributes: str = "", elements: str = "") -> dict[str, Any]:
    return xmp_metadata(_PACKET.format(attributes=attributes, elements=elements).encode())


def bag(name: str, *items: str) -> str:
    listed = "".join(f"<rdf:li>{item}</rdf:li>" for item in items)
    return f"<{name}><rdf:Bag>{listed}</rdf:Bag></{name}>"


@pytest.mark.parametrize(
    ("attributes", "elements", "expected"),
    [
        ("", bag("ext:PersonInImage", "Vera Holm", "Ali"), {"people": ["Vera Holm", "Ali"]}),
        (
            "",
            (
                "<mwg:Regions rdf:parseType='Resource'><mwg:RegionList><rdf:Bag>"
                "<rdf:li><rdf:Description mwg:Name='Vera Holm' mwg:Type='Face'/></rdf:li>"
                "<rdf:li rdf:parseType='Resource'><mwg:Name>Ali</mwg:Name><mwg:Type>Face</mwg:Type>"
                "</rdf:li>"
                "<rdf:li mwg:Name='A dog' mwg:Type='Pet'/></rdf:Bag></mwg:RegionList></mwg:Regions>"
            ),
            {"people": ["Vera Holm", "Ali"]},
        ),
        (
            "",
            (
                "<MP:RegionInfo><rdf:Description><MPReg:Regions><rdf:Bag><rdf:li"
                " MPReg:PersonDisplayName='Vera Holm'/></rdf:Bag></MPReg:Regions></rdf:Description>"
                "</MP:RegionInfo>"
            ),
            {"people": ["Vera Holm"]},
        ),
        (
            "",
            bag("lr:hierarchicalSubject", "Tiere|Vögel|Eisvogel") + bag("dc:subject", "Eisvogel"),
            {"keywords": ["Eisvogel", "Tiere/Vögel/Eisvogel"]},
        ),
        ("", bag("digiKam:TagsList", "Orte/Rom"), {"keywords": ["Rom", "Orte/Rom"]}),
        (
            (
                "photoshop:City='Lissabon' photoshop:Country='Portugal' photoshop:Headline='Markt'"
                " photoshop:State='Lisboa' core:Location='Alfama'"
            ),
            "",
            {
                "headline": "Markt",
                "location": "Alfama",
                "city": "Lissabon",
                "state": "Lisboa",
                "country": "Portugal",
            },
        ),
        ("xmp:Rating='4.0'", "", {"rating": 4}),
        ("xmp:Rating='0'", "", {"rating": 0}),
        ("xmp:Rating='-1'", "", {"rating": -1}),
        ("ms:Rating='75'", "", {"rating": 4}),
        ("xmp:Rating='many'", "", {}),
        (
            "exif:GPSLatitude='48.137' exif:GPSLongitude='-11.575'",
            "",
            {"latitude": 48.137, "longitude": -11.575},
        ),
        (
            "exif:GPSLatitude='48.137S' exif:GPSLongitude='11.575E'",
            "",
            {"latitude": -48.137, "longitude": 11.575},
        ),
        (
            "exif:GPSLatitude='0.0' exif:GPSLongitude='11.575'",
            "",
            {"latitude": 0.0, "longitude": 11.575},
        ),
        ("exif:GPSLatitude='95.1' exif:GPSLongitude='11.575'", "", {}),
        ("photoshop:DateCreated='2023-07-14T18:05:33'", "", {"taken_at": "2023-07-14T18:05:33"}),
        ("xmp:CreateDate='2023-07-14'", "", {"taken_at": "2023-07-14"}),
    ],
)
def test_properties_of_photo_programs(
    attributes: str, elements: str, expected: dict[str, Any]
) -> None:
    """People, places, trees of tags, ratings, positions: in each program's own spelling."""
    assert xmp(attributes, elements) == expected


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("20-exif-utf8/utf8-ru.jpg", {"description": "Дача летом"}),
        ("20-exif-utf8/usercomment.jpg", {"description": "Ausflug nach Brüggen"}),
        ("21-photo-dates/spaces.jpg", {"taken_at": "2023-07-14T18:05:33"}),
        ("44-xmp-people-places/msregion.jpg", {"people": ["Vera Holm"]}),
        ("44-xmp-people-places/gps-decimal.jpg", {"latitude": 48.137, "longitude": 11.575}),
    ],
)
def test_cases_from_the_field(data: Path, file: str, expected: dict[str, Any]) -> None:
    """Files that were read wrongly before."""
    path = data.parent / "cases" / file
    if not path.exists():
        pytest.skip("the shared cases are not here")
    found = image_metadata(open_image(path, 10**8))
    assert {k: v for k, v in found.items() if k not in ("width", "height", "format")} == expected
