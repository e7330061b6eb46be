"""Office documents: every word that a reader sees, wherever it stands in the package."""

# ruff: noqa: DTZ001  # a cell has no time zone

from __future__ import annotations

import io
from datetime import datetime, time, timedelta
from typing import Any

import openpyxl
import pptx
import pytest
from openpyxl.comments import Comment
from pptx.util import Inches

from mmsearch.media.formats.numberformats import shown
from mmsearch.media.formats.opendocument import read as read_opendocument
from mmsearch.media.formats.sheets import xlsx
from mmsearch.media.formats.slides import pptx as read_slides
from mmsearch.media.formats.word import docx
from tests.support.documents import a_word_package, an_opendocument, zipped

LIMIT = 2**26


def run(text: str) -> str:
    return f'<w:r><w:t xml:space="preserve">{text}</w:t></w:r>'


def paragraph(*runs: str) -> str:
    return f"<w:p>{''.join(runs)}</w:p>"


def word_text(body: str, parts: dict[str, str] | None = None) -> str:
    _, sections = docx(a_word_package(body, parts), LIMIT)
    return "\n\f".join(section.text for section in sections)


# ------------------------------------------------------------------ Word


@pytest.mark.parametrize(
    ("inside", "text"),
    [
        ("<w:ins>{}</w:ins>", "before marmot after"),
        ("<w:moveTo>{}</w:moveTo>", "before marmot after"),
        ("<w:smartTag>{}</w:smartTag>", "before marmot after"),
        ("<w:customXml>{}</w:customXml>", "before marmot after"),
        ('<w:fldSimple w:instr="X">{}</w:fldSimple>', "before marmot after"),
        ("<w:hyperlink>{}</w:hyperlink>", "before marmot after"),
        ("<w:sdt><w:sdtPr/><w:sdtContent>{}</w:sdtContent></w:sdt>", "before marmot after"),
        ('<w:dir w:val="rtl">{}</w:dir>', "before marmot after"),
        ("<w:ins><w:smartTag><w:sdt><w:sdtContent>{}</w:sdtContent></w:sdt></w:smartTag></w:ins>",
         "before marmot after"),
        ("<w:moveFrom>{}</w:moveFrom>", "before  after"),
        ("<w:del><w:r><w:delText>badger</w:delText></w:r></w:del>", "before  after"),
        ("<w:r><w:instrText>PAGE</w:instrText></w:r>{}", "before marmot after"),
        ("<w:sdt><w:sdtPr><w:showingPlcHdr/></w:sdtPr><w:sdtContent>{}</w:sdtContent></w:sdt>",
         "before  after"),
        (("<w:r><w:ruby><w:rt><w:r><w:t>reading</w:t></w:r></w:rt><w:rubyBase>{}</w:rubyBase>"
         "</w:ruby></w:r>"), "before marmot after"),
        (("<m:oMath><m:f><m:num><m:r><m:t>a</m:t></m:r></m:num><m:den><m:r><m:t>b</m:t></m:r>"
         "</m:den></m:f></m:oMath>"), "before a/b after"),
        (('<w:r><w:fldChar><w:ffData><w:ddList><w:result w:val="1"/><w:listEntry w:val="one"/>'
         '<w:listEntry w:val="two"/></w:ddList></w:ffData></w:fldChar></w:r>'), "before two after"),
        (("<mc:AlternateContent><mc:Choice>{}</mc:Choice><mc:Fallback>{}</mc:Fallback>"
         "</mc:AlternateContent>"), "before marmot after"),
    ],
)  # fmt: skip
def test_what_wraps_a_run(inside: str, text: str) -> None:
    """Of tracked changes the newest version counts; of alternatives one."""
    body = paragraph(run("before "), inside.replace("{}", run("marmot")), run(" after"))
    assert word_text(body) == text


@pytest.mark.parametrize(
    "wrapped",
    [
        "<w:sdt><w:sdtContent>{}</w:sdtContent></w:sdt>",
        "<w:customXml>{}</w:customXml>",
        "<w:sdt><w:sdtContent><w:sdt><w:sdtContent>{}</w:sdtContent></w:sdt></w:sdtContent></w:sdt>",
        "<w:ins>{}</w:ins>",
    ],
)
def test_what_wraps_a_paragraph_a_table_a_row_a_cell(wrapped: str) -> None:
    cell = "<w:tc>{}</w:tc>".format(paragraph(run("heron")))
    row = f"<w:tr>{cell}{wrapped.format(cell)}</w:tr>"
    nested = f"<w:tc><w:tbl><w:tr>{cell.replace('heron', 'nested')}</w:tr></w:tbl></w:tc>"
    table = f"<w:tbl>{row}{wrapped.format(f'<w:tr>{cell}{nested}</w:tr>')}</w:tbl>"
    body = wrapped.format(paragraph(run("otter"))) + wrapped.format(table)
    assert word_text(body) == "otter\n\nheron; heron\n\nheron; nested"


def test_notes_headers_and_comments() -> None:
    """Headers first, footers last, notes behind the paragraph that refers to them."""
    body = paragraph(
        run("A claim."), '<w:r><w:footnoteReference w:id="2"/></w:r>',
        '<w:r><w:commentReference w:id="0"/></w:r>',
    ) + paragraph(run("More."), '<w:r><w:endnoteReference w:id="2"/></w:r>')  # fmt: skip
    text = word_text(
        body,
        {
            "header": paragraph(run("File 7K123")),
            "footer": paragraph(run("Register 99887")),
            "footnotes": '<w:footnote w:id="0" w:type="separator"><w:p/></w:footnote>'
            f'<w:footnote w:id="2">{paragraph(run("See Fresnel."))}</w:footnote>',
            "endnotes": f'<w:endnote w:id="2">{paragraph(run("Archive."))}</w:endnote>',
            "comments": '<w:comment w:id="0" w:author="Rev">'
            f"{paragraph(run('Ask Ockermann.'))}</w:comment>",
        },
    )
    assert text == (
        "File 7K123\n\nA claim.\n\nSee Fresnel.\n\nRev: Ask Ockermann.\n\nMore.\n\nArchive."
        "\n\nRegister 99887"
    )


def test_a_note_of_a_deleted_sentence_and_a_footer_that_counts_pages() -> None:
    body = paragraph(run("Kept."), '<w:del><w:r><w:footnoteReference w:id="2"/></w:r></w:del>')
    notes = f'<w:footnote w:id="2">{paragraph(run("Gone."))}</w:footnote>'
    assert word_text(body, {"footnotes": notes, "footer": paragraph(run("1"))}) == "Kept."


def test_a_text_box_comes_once() -> None:
    box = f"<w:txbxContent>{paragraph(run('In a box.'))}</w:txbxContent>"
    body = paragraph(
        run("Beside."),
        f"<w:r><mc:AlternateContent><mc:Choice>{box}</mc:Choice><mc:Fallback>{box}</mc:Fallback>"
        "</mc:AlternateContent></w:r>",
    )
    assert word_text(body) == "Beside.\nIn a box."


def test_deleted_rows_and_merged_cells() -> None:
    def cell(text: str, properties: str = "") -> str:
        return f"<w:tc><w:tcPr>{properties}</w:tcPr>{paragraph(run(text))}</w:tc>"

    rows = (
        cell("region") + cell("sales"),
        cell("North", '<w:vMerge w:val="restart"/>') + cell("1"),
        cell("", "<w:vMerge/>") + cell("2"),
    )
    table = "".join(f"<w:tr>{row}</w:tr>" for row in rows)
    gone = f"<w:tr><w:trPr><w:del/></w:trPr>{cell('gone')}</w:tr>"
    text = word_text(f"<w:tbl>{table}{gone}</w:tbl>")
    assert text == "region: North; sales: 1\n\nregion: North; sales: 2"


def test_a_strict_document() -> None:
    """Its elements have the same names in namespaces of their own."""
    package = a_word_package(paragraph(run("Strict words.")))
    strict = zipped(
        {
            "_rels/.rels": "<Relationships/>",
            "word/document.xml": '<w:document xmlns:w="http://purl.oclc.org/ooxml/wordprocessingml/'
            f'main"><w:body>{paragraph(run("Strict words."))}</w:body></w:document>',
        }
    )
    for content in (package, strict):
        assert [section.text for section in docx(content, LIMIT)[1]] == ["Strict words."]


# ------------------------------------------------------------------ slides


def test_slides_with_diagrams_tables_and_notes() -> None:
    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[5])
    slide.shapes.title.text = "Staff"
    box = slide.shapes.add_textbox(Inches(1), Inches(1), Inches(2), Inches(1))
    box.text_frame.text = "In a box"
    group = slide.shapes.add_group_shape()
    group.shapes.add_textbox(0, 0, Inches(1), Inches(1)).text_frame.text = "In a group"
    table = slide.shapes.add_table(2, 2, 0, 0, Inches(2), Inches(1)).table
    for place, text in {(0, 0): "Name", (0, 1): "Petra", (1, 0): "IBAN", (1, 1): "DE02"}.items():
        table.cell(*place).text = text
    slide.notes_slide.notes_text_frame.text = "Mention the walrus."
    buffer = io.BytesIO()
    deck.save(buffer)
    _, (section,) = read_slides(buffer.getvalue(), LIMIT)
    assert section.title == "Staff"
    assert section.text == (
        "Staff\n\nIn a box\n\nIn a group\n\nName; Petra\n\nIBAN; DE02\n\nMention the walrus."
    )


# ------------------------------------------------------------------ sheets


@pytest.mark.parametrize(
    ("value", "number_format", "text"),
    [
        (1067, "00000", "01067"), (0.19, "0%", "19%"), (0.195, "0.0%", "19.5%"),
        (1234.5, '#,##0.00 "EUR"', "1,234.50 EUR"), (1234567.891, "#,##0", "1,234,568"),
        (-5, "0.00;[Red](0.00)", "(5.00)"), (-5, "0.00", "-5.00"), (0, '0;-0;"none"', "none"),
        (1234.5, "[$€-407] #,##0.00", "€ 1,234.50"), (49.99, "$#,##0.00", "$49.99"),
        (0.3, "0.00", "0.30"), (0.1 + 0.2, "General", "0.3"), (12, "General", "12"),
        (True, "General", "TRUE"), (1234567, "0.0,,\"M\"", "1.2M"), (12345, "0.00E+00", "1.23E+04"),
        (123456789, "000-00-0000", "123-45-6789"), (2.5, "# ?/?", "2 1/2"),
        (5, "0 \"pcs\"", "5 pcs"),
        (4915112345678, "0", "4915112345678"), (7, "@", "7"), (0.5, "#.##", ".5"),
        (150, "[>=100]0\" big\";0\" small\"", "150 big"),
        (5, "[>=100]0\" big\";0\" small\"", "5 small"),
        (datetime(2024, 3, 15), "DD.MM.YYYY", "15.03.2024"),
        (datetime(2024, 3, 15), "d mmm yy", "15 Mar 24"),
        (datetime(2024, 3, 15, 14, 5), "yyyy-mm-dd hh:mm", "2024-03-15 14:05"),
        (datetime(2024, 3, 15, 14, 5), "h:mm AM/PM", "2:05 PM"),
        (datetime(2024, 3, 15), "dddd, mmmm d", "Friday, March 15"),
        (datetime(2024, 3, 15), "mm-dd-yy", "2024-03-15"),
        (time(14, 30), "hh:mm", "14:30"), (timedelta(hours=26, minutes=3), "[h]:mm", "26:03"),
        ("text", "0.00", "text"), (0, "0;;", ""), (1.005, "0.00", "1.01"), (0.5, "0", "1"),
        (1234.5, '_-* #,##0.00\\ "€"_-;\\-* #,##0.00\\ "€"_-', " 1,234.50 € "),
        (datetime(2024, 3, 5), 'yyyy"年"m"月"d"日"', "2024年3月5日"),
    ],
)  # fmt: skip
def test_cells_as_they_are_shown(value: Any, number_format: str, text: str) -> None:
    assert shown(value, number_format) == text


@pytest.mark.parametrize(
    "number_format", ["", ";", "[", '"', "0/0", "[>x]", "0" * 600, ";;;", "\\"]
)
def test_formats_that_make_no_sense(number_format: str) -> None:
    assert isinstance(shown(1.5, number_format), str)
    assert isinstance(shown(datetime(2024, 1, 1), number_format), str)


def test_a_sheet_with_formats_merged_cells_and_a_comment() -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (["Region", "Postcode", "Share"], ["North", 1067, 0.19], [None, 1069, 0.2]):
        sheet.append(row)
    sheet.merge_cells("A2:A3")
    for cell in ("B2", "B3"):
        sheet[cell].number_format = "00000"
    for cell in ("C2", "C3"):
        sheet[cell].number_format = "0%"
    sheet["B2"].comment = Comment("Ask the otter.", "Ann")
    buffer = io.BytesIO()
    book.save(buffer)
    _, sections = xlsx(buffer.getvalue(), LIMIT, LIMIT)
    (section,) = sections
    assert section.text == (
        "Region: North; Postcode: 01067; Share: 19%\n\n"
        "Region: North; Postcode: 01069; Share: 20%\n\nB2: Ask the otter."
    )


# ------------------------------------------------------------------ OpenDocument


def open_text(body: str, kind: str = "text") -> str:
    _, sections = read_opendocument(an_opendocument(kind, body), LIMIT)
    return "\n\f".join(section.text for section in sections)


def test_notes_and_comments_stand_behind_the_sentence() -> None:
    body = (
        "<text:p>The contract<text:note><text:note-citation>1</text:note-citation><text:note-body>"
        "<text:p>See Fresnel.</text:p></text:note-body></text:note> ends<office:annotation>"
        "<text:p>Ask Ockermann.</text:p></office:annotation>.</text:p><text:p>Next.</text:p>"
    )
    assert open_text(body) == "The contract ends.\n\nSee Fresnel.\n\nAsk Ockermann.\n\nNext."


def test_readings_boxes_and_comments_of_cells() -> None:
    ruby = (
        "<text:ruby><text:ruby-base>漢字</text:ruby-base><text:ruby-text>かんじ</text:ruby-text>"
        "</text:ruby>"
    )
    box = "<draw:frame><draw:text-box><text:p>In a box.</text:p></draw:text-box></draw:frame>"
    assert open_text(f"<text:p>{ruby}を{box}読む</text:p>") == "漢字を読む\n\nIn a box."
    cell = (
        "<table:table-cell><office:annotation><text:p>Note.</text:p></office:annotation>"
        "<text:p>salt</text:p></table:table-cell>"
    )
    table = f"<table:table><table:table-row>{cell}</table:table-row></table:table>"
    assert open_text(table, "spreadsheet") == "salt\n\nNote."
