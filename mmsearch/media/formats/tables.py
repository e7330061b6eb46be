"""Tables as text: which separator a CSV file has, and whether the first row names the columns."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence

_SEPARATORS = "\t;|,"
"""In the order of preference where several fit."""
_ROWS_LOOKED_AT = 100
_CHARACTERS_LOOKED_AT = 2**16
_MAX_NAME = 64
_MAX_LINES_OF_A_CELL = 200

_SEPARATOR_LINE = re.compile(r"sep=(.)\n")
_DECIMAL_COMMA = re.compile(r"(?<=\d),(?=\d)")
_NUMBER = re.compile(r"[-+]?[0-9][-+0-9.,:/ %€$£eE'’]*|[€$£] ?[-+]?[0-9][0-9.,]*")
_DATE = re.compile(
    r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}([ T]\d{1,2}:\d{2}(:\d{2})?)?|\d{1,2}:\d{2}(:\d{2})?"
)
_ADDRESS = re.compile(r"[^\s@]+@[^\s@]+\.\w+|(https?://|www\.)\S+")
_CODE = re.compile(r"(?=(?:\D*\d){4})[A-Z0-9][A-Z0-9 /._-]*")
_IDENTIFIER = re.compile(r"[a-z][a-z0-9]*([_ .-][a-z0-9]+)*|[a-z]+([A-Z][a-z0-9]+)+")
_NAMES = """
    account address adresse age alter amount anrede answer anzahl apellido arrival article
    artikel author autor bank bemerkung beschreibung betrag betreff bezeichnung birthday body
    cantidad category cell chapter city ciudad code colonna colonne column comment comments
    company cost count country currency customer data date datei datum day department departure
    description dirección e-mail einheit email end ende event excerpt fach fecha field file
    filename firma firstname format geburtsdatum geburtstag gender gewicht group gruppe größe
    height iban id importe index indirizzo ingredient item jahr kategorie key kind konto kosten
    kunde kundennummer label land language lastname length level lieferant link location mail
    market member menge mobile modified monat month nachname nachricht name nazwa no no. nom
    nombre nome note notes notiz nr nr. number nummer objekt oggetto order ort owner page
    parameter part payment pays person phone place plz position postcode postleitzahl preis
    prenom prezzo price prix product produkt project projekt property prénom qty quantity quelle
    question rang rank rating reason ref region remark result role rolle room salary score seite
    sender size source spalte speaker species stadt start state status strasse straße street
    stück subject sum summe surname tag tags team tel telefon telefono telephone teléfono text
    thema time titel title titolo titre total town typ type uhrzeit unit url user username
    valeur valor value vendor verantwortlich version ville vorname weight wert year zeile zeit
    zip zip-code zustand адрес город дата имя количество наименование сумма телефон фамилия цена
    住所 名前 地址 姓名 日付 日期 氏名 电话 金額 金额 電話番号 날짜 이름
"""
_COLUMN_NAMES = frozenset(_NAMES.split())
"""What people call columns: a first row with one of these is a header."""


def readable_csv(text: str, separator: str | None) -> str:
    """A CSV file as text; `text` itself where it cannot be parsed."""
    # Spreadsheets write and read a first line "sep=;".
    stated = _SEPARATOR_LINE.match(text)
    if stated:
        separator, text = stated[1], text[stated.end() :]
    quote = _quote(text)
    separator = separator or _separator(text, quote)
    # Fields can be as long as the file; the limit is the whole process's, so it only grows.
    csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
    try:
        rows = _parsed(text, separator, quote)
        unclosed = text.count(quote) % 2 == 1 and rows and rows[-1] and "\n" in rows[-1][-1]
        if unclosed or any(cell.count("\n") > _MAX_LINES_OF_A_CELL for row in rows for cell in row):
            # A quotation mark that is never closed took the rest of the file.
            rows = _parsed(text, separator, None)
    except csv.Error:
        return text
    tidy = [[" ".join(cell.split()) for cell in row] for row in rows]
    return readable_rows([row for row in tidy if any(row)])


def table_text(rows: Iterable[Iterable[str]], *, header: bool | None = None) -> str:
    """Rows as paragraphs; see `readable_rows`."""
    tidy: list[list[str]] = []
    for row in rows:
        cells = [" ".join(cell.split()) for cell in row]
        while cells and not cells[-1]:
            cells.pop()
        if cells:
            tidy.append(cells)
    return readable_rows(tidy, header=header)


def readable_rows(rows: list[list[str]], *, header: bool | None = None) -> str:
    """One row a paragraph: "column: value; column: value" where a row names the columns.

    `header`: whether the document says that the first row does; None if it says nothing.
    """
    first = _first_of_table(rows)
    paragraphs = ["; ".join(filter(None, row)) for row in rows[:first]]
    table = rows[first:]
    if header if header is not None and _can_name(table) else _has_header(table):
        names = table[0]
        for row in table[1:]:
            named = [f"{name}: {cell}" for name, cell in zip(names, row, strict=False) if cell]
            paragraphs.append("; ".join([*named, *filter(None, row[len(names) :])]))
    else:
        paragraphs += ["; ".join(filter(None, row)) for row in table]
    return "\n\n".join(paragraphs)


# ------------------------------------------------------------------ the first row


def _first_of_table(rows: Sequence[Sequence[str]]) -> int:
    """Where the table begins: a title may stand above it, alone in its row."""
    usual = max((sum(map(bool, row)) for row in rows[:_ROWS_LOOKED_AT]), default=0)
    for index, row in enumerate(rows[:10]):
        if usual < 2 or sum(map(bool, row)) > 1:
            return index
    return 0


def _can_name(rows: Sequence[Sequence[str]]) -> bool:
    if len(rows) < 2 or len(rows[0]) < 2:
        return False
    first = rows[0]
    return all(
        cell and len(cell) <= _MAX_NAME and not _NUMBER.fullmatch(cell) for cell in first
    ) and len(set(first)) == len(first)


def _has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names the columns rather than being a row like the others."""
    if not _can_name(rows):
        return False
    first, body = rows[0], rows[1 : 1 + _ROWS_LOOKED_AT]
    if len(first) == 2 and _is_form(rows[: 1 + _ROWS_LOOKED_AT]):
        return False
    evidence = 0
    for index, name in enumerate(first):
        cells = [row[index] for row in body if index < len(row) and row[index]]
        evidence += _column_evidence(name, cells)
    if all(_IDENTIFIER.fullmatch(name) for name in first):
        evidence += 1
    evidence += 2 * any(_is_column_name(name) for name in first)
    return evidence > 0


def _column_evidence(name: str, cells: Sequence[str]) -> int:
    """Above 0: the column's first cell is unlike those below it."""
    if not cells:
        return 0
    kind, count = Counter(map(_kind, cells)).most_common(1)[0]
    if kind != "text" and count * 10 >= 6 * len(cells):
        return -3 if _kind(name) == kind else 2
    distinct = set(cells)
    if name in distinct:
        return -2
    # A value of few that recur would most likely be one of them.
    return 1 if len(cells) >= 4 and len(distinct) * 2 <= len(cells) else 0


def _is_form(rows: Sequence[Sequence[str]]) -> bool:
    """Two columns that are labels and what was filled in."""
    labels = [row[0] for row in rows if row and row[0]]
    if sum(label.endswith(":") for label in labels) * 2 > len(labels):
        return True
    if _is_column_name(rows[0][-1]):
        return False
    kinds = Counter(_kind(row[1]) for row in rows[1:] if len(row) > 1 and row[1])
    mixed = len(kinds) > 1 or len(rows) == 2
    return mixed and any(_is_column_name(label) for label in labels[1:])


def _is_column_name(cell: str) -> bool:
    words = re.sub(r"[\s\d:_*()/]+", " ", cell.lower()).split()
    return 0 < len(words) <= 3 and any(word in _COLUMN_NAMES for word in words)


def _kind(cell: str) -> str:
    for kind, pattern in (
        ("date", _DATE), ("number", _NUMBER), ("address", _ADDRESS), ("code", _CODE),
    ):  # fmt: skip
        if pattern.fullmatch(cell):
            return kind
    return "text"


# ------------------------------------------------------------------ separators


def _parsed(text: str, separator: str, quote: str | None) -> list[list[str]]:
    if quote is None:
        return list(csv.reader(io.StringIO(text), delimiter=separator, quoting=csv.QUOTE_NONE))
    return list(csv.reader(io.StringIO(text), delimiter=separator, quotechar=quote))


def _quote(text: str) -> str:
    """The quotation mark: the double one unless cells stand in single ones only."""
    sample = text[:_CHARACTERS_LOOKED_AT]
    double, single = (
        len(
            re.findall(
                rf"(?:^|[,;\t|]){mark}[^{mark}\n]*{mark}(?=[,;\t|\n]|$)", sample, re.MULTILINE
            )
        )
        for mark in "\"'"
    )
    return "'" if single > 1 and not double else '"'


def _separator(text: str, quote: str) -> str:
    """The delimiter that splits most rows into equally many cells; quoted ones are skipped."""
    sample = text[:_CHARACTERS_LOOKED_AT]
    if len(sample) < len(text):
        sample = sample[: sample.rfind("\n") + 1] or sample
    scores = {}
    for separator in _SEPARATORS:
        if separator not in sample:
            continue
        try:
            rows = [row for row in _parsed(sample, separator, quote) if any(row)]
        except csv.Error:
            continue
        widths = Counter(map(len, rows[:_ROWS_LOOKED_AT]))
        alike = max((count for width, count in widths.items() if width > 1), default=0)
        scores[separator] = alike / max(1, widths.total())
    if not scores:
        return ","
    best = max(scores.values())
    fitting = [separator for separator, score in scores.items() if score == best]
    if len(fitting) > 1:
        # A quoted cell ends at a separator.
        beside = Counter(re.findall(rf"{quote}([{_SEPARATORS}])", sample))
        if any(separator in beside for separator in fitting):
            return max(fitting, key=lambda separator: beside[separator])
        # Commas between digits are those of decimal fractions.
        if "," in fitting and len(_DECIMAL_COMMA.findall(sample)) * 2 < sample.count(","):
            return "," if fitting[0] != "\t" else "\t"
    return fitting[0]
