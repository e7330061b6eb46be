"""Which 8-bit code page a text is in.

chardetng (the detector of Firefox) recognises scripts and multi-byte encodings. Among the code
pages of the Latin script it has no MacRoman and no DOS code page, and short texts often fool it.
For those, each code page is scored by how well the text that it gives fits a language: by its
accented letters and its most frequent words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

_WESTERN = ("cp1252", "iso8859_15", "cp850", "mac_roman")
_CENTRAL = ("cp1250", "iso8859_2", "cp852", "mac_latin2")
_TURKISH = ("cp1254", "cp857", "mac_turkish")


@dataclass(frozen=True, slots=True)
class _Language:
    codec_names: tuple[str, ...]
    frequent: str
    """The language's letters outside ASCII by frequency: these, ..."""
    common: str
    rare: str
    words: frozenset[str]
    """Its most frequent short words."""
    prior: float
    """Logarithm of how likely a text of unknown origin is in this language."""


def _language(
    codec_names: tuple[str, ...], letters: str, words: str, prior: float = 0.0
) -> _Language:
    frequent, common, rare = letters.split("|")
    return _Language(codec_names, frequent, common, rare, frozenset(words.split()), prior)


@lru_cache(maxsize=1)
def _languages() -> tuple[_Language, ...]:
    western, central = _WESTERN, _CENTRAL
    return (
        # English
        _language(western, "||éïèêñç", "the of and to in is that for it was on with as be at by"),
        # French
        _language(western, "é|èàêç|ôùîâûëïœæÿü",
                  "le la les de des et est un une du en que qui dans pour pas sur au avec ce il"),
        # German
        _language(western, "üäö|ß|éàèç",
                  "der die das und ist nicht ein eine zu den mit von im für auf dem sich des als"),
        # Spanish
        _language(western, "óíáé|ñú|üç",
                  "el la los las de y que en un una es por con para del se no su al lo como más"),
        # Italian
        _language(western, "àè|ùòéì|îç",
                  "il la le di e che è un una per non con del della sono si da in più al ma come"),
        # Portuguese
        _language(western, "ãçé|áóêí|úõôâàü",
                  "o a os as de e que em um uma do da não para com por se no na ao mais você foi"),
        # Danish
        _language(western, "øåæ|é|öäüô",
                  "og i er det en at til af på med for som den de ikke et har der han ikke", -0.5),
        # Norwegian
        _language(western, "øåæ|é|òôöä",
                  "og i er det en at til av på med for som den de ikke et har jeg han var", -0.5),
        # Swedish
        _language(western, "äåö|é|üà",
                  "och i att det som en på är av för med den till inte har de om ett han", -0.5),
        # Dutch
        _language(western, "ëé|ïèó|öüçêáí",
                  "de het een en van in is dat op te zijn met voor niet aan er om ook als", -0.5),
        # Finnish
        _language(western, "äö|å|éšž",
                  "ja on ei se että en hän oli mutta kun niin ole myös tai jos ovat mitä", -1.0),
        # Catalan
        _language(western, "àé|èòí|çóúïü",
                  "el la els les de i que en un una és per amb del no al són va més com", -1.5),
        # Icelandic
        _language((*western, "mac_iceland"), "áíðéó|æöþ|úý",
                  "og að í er á sem það til við en um ekki var með af fyrir hann ég þú", -1.5),
        # Albanian
        _language(western, "ë|ç|éâ", "dhe të e në i një për me që nga si është ka më do", -2.0),
        # Hungarian
        _language((*central, "cp1252"), "áéö|óőüí|úű",
                  "a az és hogy nem is egy van meg ez de volt csak ha már én mint még vagy", -1.0),
        # Polish
        _language(central, "ęłą|żśó|ćńź",
                  "i w z na do nie się to że jest o jak za po ale od przez dla czy tak są", -1.0),
        # Czech
        _language(central, "íáěéř|šžýčů|úňťďó",
                  "a je se na v že to o s do z i za ale pro jak si po jsem by co ve jako", -1.0),
        # Slovak
        _language(central, "áíčé|šžýľť|úňôäďĺŕó",
                  "a je sa na v že to o s do z aj za ale pre ako si po som by čo vo", -1.5),
        # Croatian
        _language(central, "čšž|ćđ|é",
                  "i je u na da se za su od ne što s o to kako ali bi iz sam koji", -1.5),
        # Slovenian
        _language(central, "čšž||ćđé",
                  "in je na se da za so ki v tudi z ne bi po kot pa še si iz od", -1.5),
        # Romanian
        _language((*central, "iso8859_16"), "ăîâşţ|șț|é",
                  "și şi în de la cu pe nu o un una din care este sunt să mai că pentru", -1.5),
        # Turkish
        _language((*_TURKISH, "iso8859_9"), "ıüş|çğö|âîûi̇",
                  "ve bir bu da de için ile o çok ne daha var ben gibi mi ama değil olarak", -1.0),
        # Lithuanian
        _language(("cp1257",), "ėšž|ųūįąč|ęé",
                  "ir yra kad į su iš tai bet kaip nuo ne po už jis ar apie", -1.5),
        # Latvian
        _language(("cp1257",), "āīēš|ūņģķļčž|ōŗ",
                  "un ir ka ar no uz par tas bet kā pie viņš lai nav es arī", -1.5),
        # Estonian
        _language(("cp1257", "cp1252", "iso8859_15"), "äõüö||šž",
                  "ja on ei et see kui oma ka mis ta nii aga siis või mida oli", -1.5),
        # Russian
        _language(("mac_cyrillic",), "оеаинтсрвл|кмдпуяыьгзб|чйхжшюцщэфъёіїє",
                  "и в не на что с он как это по но из у за от то для", -1.0),
        # Vietnamese
        _language(("cp1258",), "đôơưâêăáàéíóúý\u0300\u0301\u0309\u0303\u0323|èìòùãõ|ñ",
                  "là và có không của cho một người trong được", -4.0),
    )  # fmt: skip


# Logarithms of how likely a character outside ASCII is, by what it is.
_FREQUENT, _COMMON, _RARE, _FOREIGN = -1.0, -2.0, -4.0, -8.0
_SIGN, _ODD_SIGN, _SIGN_IN_WORD, _UNDEFINED = -3.0, -6.0, -10.0, -15.0
_ODD_LETTER = -6.0
"""A capital behind a small letter, scripts mixed in one word."""
_WORD = 2.0
_CHARDETNG = 2.0
"""What the detector's own opinion counts."""
_ENOUGH = 4096
"""Bytes that are scored: longer texts would cost tenths of a second each."""
_FRACTIONS = "½¼¾²³¹"
_SIGNS = frozenset("“”„‘’‚«»–—…€£§°©®·•¡¿№½²³×±\u00a0\u00ad")

# Python's codecs for the names of the WHATWG Encoding standard, where they differ.
_CODECS = {
    "shift_jis": "cp932", "euc-kr": "cp949", "gbk": "gb18030", "big5": "big5hkscs",
    "windows-874": "cp874", "x-mac-cyrillic": "mac_cyrillic", "iso-8859-8-i": "iso8859_8",
}  # fmt: skip
_LATIN = ("windows-1250", "windows-1252", "windows-1254", "windows-1257", "windows-1258",
          "iso-8859-2", "iso-8859-3", "iso-8859-4", "iso-8859-10", "iso-8859-13", "iso-8859-14",
          "iso-8859-15", "iso-8859-16", "x-mac-cyrillic", "macintosh")  # fmt: skip


def guess(sample: bytes) -> str:
    """The likeliest Python codec of a text that is neither UTF-8 nor UTF-16."""
    import chardetng_py

    detector = chardetng_py.EncodingDetector()
    detector.feed(sample, last=True)
    name: str = detector.guess(tld=None, allow_utf8=False).lower()
    codec = _CODECS.get(name, name.replace("windows-", "cp").replace("iso-8859-", "iso8859_"))
    codec = codec.replace("-", "_")
    if name not in _LATIN and not _is_mixed(sample.decode(codec, "replace")):
        return codec
    return _latin(sample, codec)


def _is_mixed(text: str) -> bool:
    """Whether letters of ASCII stand inside of the words in another script: Latin text that was
    decoded wrongly. Japanese and Chinese write some (as in "T-shirt"), but not everywhere."""
    runs = touching = 0
    before = ""
    for char in text:
        if char > "\x7f" and not before > "\x7f":
            runs += 1
            touching += before.isascii() and before.isalpha()
        elif char.isascii() and char.isalpha() and before > "\x7f":
            touching += 1
        before = char
    return touching > runs / 2


def _latin(sample: bytes, favourite: str) -> str:
    # Only lines with letters outside of ASCII, and only as many as are needed.
    lines = [line for line in sample.splitlines() if not line.isascii()]
    sample = b"\n".join(lines)[:_ENOUGH]
    scores: dict[str, float] = {}
    contexts: dict[str, tuple[float, Counter[str], list[str]]] = {}
    for language in _languages():
        for codec in language.codec_names:
            if codec not in contexts:
                text = sample.decode(codec, "replace")
                contexts[codec] = (*_characters(text), _words(text))
            fixed, letters, words = contexts[codec]
            score = fixed + language.prior + sum(
                count * _likelihood(language, letter) for letter, count in letters.items()
            )  # fmt: skip
            score += _WORD * sum(word in language.words for word in words)
            score += _CHARDETNG * (codec == favourite)
            scores[codec] = max(scores.get(codec, score), score)
    # Code pages that give the same text are many: the first is the usual one.
    return max(scores, key=lambda codec: scores[codec])


def _likelihood(language: _Language, letter: str) -> float:
    if letter in language.frequent:
        return _FREQUENT
    if letter in language.common:
        return _COMMON
    return _RARE if letter in language.rare else _FOREIGN


def _characters(text: str) -> tuple[float, Counter[str]]:
    """(score of what is no letter or stands where no letter can, the letters outside ASCII)."""
    fixed = 0.0
    letters: Counter[str] = Counter()
    for before, char, after in _with_neighbours(text):
        inside = before.isalpha() and after.isalpha()
        if char.isalpha() or "\u0300" <= char <= "\u036f":
            letters[char.lower()] += 1
            cyrillic = "\u0400" <= char <= "\u04ff"
            if (char.isupper() and before.islower()) or (
                cyrillic and (_is_ascii_letter(before) or _is_ascii_letter(after))
            ):
                fixed += _ODD_LETTER
            elif not char.isalpha() and not before.isalpha():
                fixed += _UNDEFINED
        elif char in _FRACTIONS and after.isalpha():
            fixed += _SIGN_IN_WORD
        elif char == "\ufffd" or (not char.isprintable() and char not in _SIGNS):
            fixed += _UNDEFINED
        elif inside and char not in "’·\u00ad":
            fixed += _SIGN_IN_WORD
        else:
            fixed += _SIGN if char in _SIGNS else _ODD_SIGN
    return fixed, letters


def _is_ascii_letter(char: str) -> bool:
    return char.isascii() and char.isalpha()


def _with_neighbours(text: str) -> Iterator[tuple[str, str, str]]:
    padded = f" {text} "
    for index, char in enumerate(text):
        if char > "\x7f":
            yield padded[index], char, padded[index + 2]


def _words(text: str) -> list[str]:
    return "".join(char if char.isalpha() else " " for char in text.lower()).split()
