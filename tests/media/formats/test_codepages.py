"""8-bit code pages: the accented letters that were written come out, in short texts too."""

from __future__ import annotations

import pytest

from mmsearch.media.formats.encodings import decode

TEXTS = {
    "French": "Très chère amie, voilà l'été ; déjà les élèves préparent leurs bagages.",
    "Italian": "Perché così tardi? La città è già piena, ma l'università è chiusa lunedì.",
    "Portuguese": "Amanhã não há reunião, avô. A situação dos irmãos está difícil.",
    "Spanish": "El año pasado el niño pidió una piña y mañana cumplirá doce años.",
    "Danish": "Børnene spiser rødgrød på Ærø, mens købmanden sælger blåbær.",
    "Swedish": "Räksmörgås är gott på våren. Åsa åker till Malmö för att köpa ägg.",
    "Icelandic": "Það er kalt á Íslandi. Þórður fór út í búð að kaupa mjólk og brauð.",
    "German": "Schöne Grüße aus Köln! Die Straße über die Brücke ist gesperrt.",
    "Polish": "Zażółć gęślą jaźń. Łódź, Kraków, Gdańsk. Dziękuję bardzo.",
    "Czech": "Příliš žluťoučký kůň úpěl ďábelské ódy. Děkuji, uvidíme se.",
    "Hungarian": "Árvíztűrő tükörfúrógép. Köszönöm szépen, hétfőn találkozunk.",
    "Turkish": "Işık güneşli çağ, İstanbul'da şeker. Bugün hava çok güzel.",
    "Russian": "Встреча начнётся в пятницу в три часа. Не забудьте документы.",
    "Greek": "Η συνάντηση αρχίζει την Παρασκευή στις τρεις.",
}
WESTERN = ("cp1252", "cp850", "mac_roman")
CENTRAL = ("cp1250", "iso8859_2", "cp852")
PAGES = {
    "Icelandic": ("cp1252",), "Polish": CENTRAL, "Czech": CENTRAL, "Hungarian": CENTRAL,
    "Turkish": ("cp1254", "cp857"), "Russian": ("cp1251", "koi8_r", "cp866"),
    "Greek": ("cp1253", "iso8859_7"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("language", "codec"),
    [(language, codec) for language in TEXTS for codec in PAGES.get(language, WESTERN)],
)
def test_a_sentence_and_a_long_text(language: str, codec: str) -> None:
    text = TEXTS[language]
    for written in (text, f"{text}\n" * 40):
        decoded = decode(written.encode(codec))
        assert decoded is not None
        assert decoded.text == written, decoded.encoding
        assert not decoded.damaged


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        ("Größe\n", "cp1252"),
        ("Prénom;Ville\nHélène;Orléans\nJérôme;Besançon\n", "cp1252"),
        ("1\n00:00:01,000 --> 00:00:03,000\nDet er på gaden, sagde hun.\n", "cp1252"),
        ("It’s the company’s “best” offer – £5 or 7 €.", "cp1252"),
        ("Blåbærgrød", "cp1252"),
        ("Le cœur du bœuf", "iso8859_15"),
        ("café crème", "mac_roman"),
        ("Bröderna åkte hem", "cp850"),
        ("Łódź i Gdańsk", "iso8859_2"),
    ],
)
def test_a_few_words(text: str, codec: str) -> None:
    decoded = decode(text.encode(codec))
    assert decoded is not None
    assert decoded.text == text, decoded.encoding


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        ("会议将于星期五下午三点开始。", "hz"),
        ("これは日本語の文章です。", "iso2022_jp"),
        ("회의는 금요일에 시작합니다.", "iso2022_kr"),
        ("Größe der Bäume", "utf-7"),
        ("これは日本語の文章です。会議は金曜日です。", "utf-16-le"),
        ("회의는 금요일에 시작합니다. 자료를 잊지 마세요.", "utf-16-be"),
    ],
)
def test_encodings_that_look_like_something_else(text: str, codec: str) -> None:
    """Seven-bit encodings are valid ASCII, and UTF-16 of East Asian text has no zero bytes."""
    decoded = decode(text.encode(codec))
    assert decoded is not None
    assert decoded.text == text, decoded.encoding


@pytest.mark.parametrize("text", ["1 + 1 = 2, a+b-c", "x = {~{a}~}", "tel +49-89-1234", "C++ - x"])
def test_ascii_stays_ascii(text: str) -> None:
    decoded = decode(text.encode())
    assert decoded is not None
    assert (decoded.text, decoded.encoding) == (text, "utf-8")


def test_hints_for_line_breaking_and_direction_are_left_out() -> None:
    """Soft hyphens and marks of direction are no part of a word; joiners of Persian are."""
    decoded = decode("Donau\u00addampf\u2060schiff \u200eabc\u200f می\u200cخواهم\ufeff".encode())
    assert decoded is not None
    assert decoded.text == "Donaudampfschiff abc می\u200cخواهم"
