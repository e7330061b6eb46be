"""Languages as files name them: ISO 639 codes of two and three letters, and common names."""

from __future__ import annotations

_CODES = (
    "aa ab af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cv cy da "
    "de dv dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu "
    "hy hz ia id ie ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la "
    "lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc "
    "oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st "
    "su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za "
    "zh zu"
)
_TWO_LETTERS = frozenset(_CODES.split())
# Three letters (bibliographic and terminological) and names, by the code of two.
_OTHERS = {
    name: code
    for code, names in {
        "ar": "ara arabic", "bg": "bul bulgarian", "bn": "ben bengali", "bs": "bos bosnian",
        "ca": "cat catalan", "cs": "cze ces czech cesky", "da": "dan danish dansk",
        "de": "ger deu german deutsch", "el": "gre ell greek", "en": "eng english",
        "es": "spa esp spanish espanol español castellano", "et": "est estonian",
        "eu": "baq eus basque", "fa": "per fas persian farsi", "fi": "fin finnish suomi",
        "fr": "fre fra french francais français", "ga": "gle irish", "gl": "glg galician",
        "he": "heb hebrew iw", "hi": "hin hindi", "hr": "hrv scr croatian",
        "hu": "hun hungarian magyar", "hy": "arm hye armenian", "id": "ind indonesian",
        "is": "ice isl icelandic", "it": "ita italian italiano", "ja": "jpn japanese jap",
        "ka": "geo kat georgian", "kk": "kaz kazakh", "ko": "kor korean", "lt": "lit lithuanian",
        "lv": "lav latvian", "mk": "mac mkd macedonian", "ml": "mal malayalam", "mr": "mar marathi",
        "ms": "may msa malay", "nb": "nob", "nl": "dut nld dutch nederlands flemish",
        "nn": "nno", "no": "nor norwegian norsk", "pa": "pan punjabi", "pl": "pol polish polski",
        "pt": "por pob portuguese portugues português brazilian", "ro": "rum ron romanian",
        "ru": "rus russian", "sk": "slo slk slovak", "sl": "slv slovenian",
        "sq": "alb sqi albanian",
        "sr": "srp scc serbian", "sv": "swe swedish svenska", "ta": "tam tamil", "te": "tel telugu",
        "th": "tha thai", "tl": "tgl tagalog filipino", "tr": "tur turkish",
        "uk": "ukr ukrainian", "ur": "urd urdu", "vi": "vie vietnamese",
        "zh": "chi zho chinese chs cht mandarin cantonese",
    }.items()
    for name in names.split()
}  # fmt: skip


def language_code(name: str) -> str | None:
    """ "de" for "ger", "deu", "German", "de-AT"; None for what is no language, and for "und"."""
    primary = name.strip().lower().replace("_", "-").split("-", 1)[0]
    return primary if primary in _TWO_LETTERS else _OTHERS.get(primary)
