"""Metadata beside and inside a file."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from tests.indexer.inputs.conftest import Collection
from tests.support.fakes import a_picture

XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmp:Rating="4"><dc:subject><rdf:Bag><rdf:li>harbour</rdf:li><rdf:li>night</rdf:li></rdf:Bag>
 </dc:subject></rdf:Description></rdf:RDF></x:xmpmeta>"""


def test_what_stands_beside_a_file(collection: Collection, tmp_path: Path) -> None:
    """Sidecars add metadata and are no sources; a change in one is noticed."""
    folder = tmp_path / "files"
    picture = a_picture(folder / "a.png", "red")
    a_picture(folder / "b.png", "blue")
    a_picture(folder / "c.png", "green")
    (folder / "a.png.json").write_text('{"caption": "our red door", "tags": ["home"]}')
    (folder / "b.xmp").write_text(XMP)
    (folder / "c.json").write_text("[1, 2]")  # no object: somebody's data
    (folder / "lonely.json").write_text('{"title": "No picture"}')
    counts = collection.index(folder).counts
    assert (counts.indexed, counts.failed) == (5, 0)
    found = collection.sources()
    assert sorted(found) == ["a.png", "b.png", "c.json", "c.png", "lonely.json"]
    assert found["a.png"].metadata["caption"] == "our red door"
    assert found["a.png"].metadata["tags"] == ["home"]
    assert found["b.png"].metadata["keywords"] == ["harbour", "night"]
    assert found["b.png"].metadata["rating"] == 4
    hits = collection.engine.search("our red door", collection=collection.name).hits
    assert hits[0].source.path == str(picture)
    (folder / "a.png.json").write_text('{"tags": ["garden"]}')
    assert collection.index(folder).counts.indexed == 1
    metadata = collection.sources()["a.png"].metadata
    assert (metadata["tags"], "caption" in metadata) == (["garden"], False)
    (folder / "a.png.json").unlink()
    collection.index(folder)
    assert "tags" not in collection.sources()["a.png"].metadata


def test_a_sidecar_that_is_a_bomb(collection: Collection, tmp_path: Path) -> None:
    """Deep, long, or full of entities: left out, and the picture is taken in all the same."""
    entities = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>' + XMP
    bombs = {
        "deep.png.json": '{"a":' * 90_000 + "1" + "}" * 90_000,
        "long.png.json": json.dumps({"a": "x" * 2_000_000}),
        "many.png.json": json.dumps({str(n): "y" * 900 for n in range(900)}),
        "entities.xmp": entities,
        "junk.xmp": "\0\1\2<<<",
    }
    for name, content in bombs.items():
        a_picture(tmp_path / f"{name.split('.')[0]}.png", "red")
        (tmp_path / name).write_text(content)
    collection.index(*sorted(tmp_path.glob("*.png")))
    for source in collection.sources().values():
        assert source.status == "indexed"
        assert len(json.dumps(dict(source.metadata))) < 70_000
        assert "keywords" not in source.metadata


def test_in_file_xmp(collection: Collection, tmp_path: Path) -> None:
    """A packet inside of the picture is read like EXIF."""

    path = tmp_path / "x.webp"
    Image.new("RGB", (30, 30), "red").save(path, xmp=XMP.encode())
    collection.index(path)
    metadata = collection.sources()["x.webp"].metadata
    assert (metadata["keywords"], metadata["rating"]) == (["harbour", "night"], 4)
