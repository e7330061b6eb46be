"""CSV dialects, and whether a first row names the columns."""

from __future__ import annotations

import pytest

from mmsearch.media.formats.tables import readable_csv, table_text


@pytest.mark.parametrize(
    ("text", "readable"),
    [
        # Separators inside of quotation marks, and decimal commas.
        (
            '"Berg, Anna, Dr.";12,50;2024-01-02\n"Voss, Bernd";7,20;2024-01-03\n',
            "Berg, Anna, Dr.; 12,50; 2024-01-02\n\nVoss, Bernd; 7,20; 2024-01-03",
        ),
        ("sep=;\nName;Betrag\nBerg;12,50\n", "Name: Berg; Betrag: 12,50"),
        ("1,5;2,5\n3,5;4,5\n", "1,5; 2,5\n\n3,5; 4,5"),
        # A title above the table holds more commas than the table.
        (
            "List, made on 2 January, page 1\nName;Amount\nBerg;12,50\nVoss;7,20\n",
            (
                "List, made on 2 January, page 1\n\nName: Berg; Amount: 12,50"
                "\n\nName: Voss; Amount: 7,20"
            ),
        ),
        ("id,tags\n1,a;b\n2,c;d\n", "id: 1; tags: a;b\n\nid: 2; tags: c;d"),
        ('Name|Note\nAnna|"a|b"\n', "Name: Anna; Note: a|b"),
        ("Name\tPrice\nMüller\t12,50\n", "Name: Müller; Price: 12,50"),
        ("'a, b';'c'\n'd';'e, f'\n", "a, b; c\n\nd; e, f"),
        ('name,text\nAnna,"two\nlines"\n', "name: Anna; text: two lines"),
        # A quotation mark that is never closed takes no other row.
        ('a,b\n1,"five\n2,3\n', 'a: 1; b: "five\n\na: 2; b: 3'),
    ],
)
def test_separators(text: str, readable: str) -> None:
    assert readable_csv(text, None) == readable


@pytest.mark.parametrize(
    "text",
    [
        "Anna Berg,Kiel,anna@example.org\nBernd Voss,Ulm,bernd@example.org\n",
        "Berg,2024-01-02,12\nVoss,2024-01-03,7\n",
        "Anna,https://example.org/a\nBernd,https://example.org/b\n",
        "Anna,Kiel\nBernd,Kiel\nCora,Kiel\nDora,Ulm\nEmil,Kiel\n",
    ],
)
def test_rows_without_names_of_columns(text: str) -> None:
    """A first row that is like the others names nothing, and is told once."""
    first = text.split(",", 1)[0]
    assert readable_csv(text, None).count(first) == 1


@pytest.mark.parametrize(
    ("rows", "is_header"),
    [
        ([["Name", "Petra Holm"], ["IBAN", "DE02 1203 0000"], ["Ort", "Fulda"]], False),
        ([["Applicant:", "Ann"], ["Address:", "Main Road 5"]], False),
        ([["Titel", "Vertrag"], ["Datum", "1.2.2024"]], False),
        ([["Name", "Ort"], ["Anna", "Kiel"], ["Bernd", "Ulm"]], True),
        ([["river", "otters"], ["Wye", "14"]], True),
        ([["Vogel", "Farbe"], ["Reiher", "grau"], ["Ibis", "weiß"], ["Storch", "weiß"],
          ["Möwe", "weiß"]], True),
        ([["Species", "Seen on"], ["Heron", "2024-03-01"], ["Ibis", "2024-03-02"]], True),
    ],
)  # fmt: skip
def test_forms_and_tables(rows: list[list[str]], is_header: bool) -> None:
    """A form's labels stand in its first column, a table's names in its first row."""
    assert (f"{rows[0][1]}: " in table_text(rows)) is is_header


def test_a_document_that_marks_its_header_row() -> None:
    rows = [["Reiher", "Ibis"], ["Storch", "Möwe"]]
    assert table_text(rows, header=True) == "Reiher: Storch; Ibis: Möwe"
    assert table_text(rows, header=False) == "Reiher; Ibis\n\nStorch; Möwe"
