"""Hallucination filter: drops utterances that Whisper invented.

Whisper writes text even where nobody speaks: it repeats itself, writes the credits of the
subtitles in its training data, and turns noise into sentences. Dropped utterances are not indexed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mmsearch.types import Utterance


@dataclass(frozen=True, slots=True)
class Rules:
    """Thresholds; a model folder's `mmsearch.json` and the settings override them."""

    max_compression: float = 2.4
    """An utterance whose text compresses better than this repeats itself."""
    max_no_speech: float = 0.6
    """Above this, and below `min_logprob`, an utterance is dropped."""
    min_logprob: float = -1.0
    """Mean log probability of the tokens."""
    floor_logprob: float | None = None
    """Below this an utterance is always dropped."""


ALWAYS_HALLUCINATED = frozenset(
    """
    amara.org
    subtitles by the amara.org community
    subtitles by stephanie geiges
    subtitles by the amara org community
    captions by gettranscribed.com
    transcription outsourcing, llc
    translated by releska
    transcribed by otter.ai
    transcription by castingwords
    transcript emily beynon
    untertitel der amara.org-community
    untertitel von stephanie geiges
    untertitel der amara.org community
    untertitelung im auftrag des zdf für funk, 2017
    sous-titres par soustitreur.com
    sous-titrage fr ?
    sous-titres réalisés para la communauté d'amara.org
    subtítulos creados por la comunidad de amara.org
    subtitulado por la comunidad de amara.org
    sottotitoli a cura di qtss
    legendas por sônia ruberti
    ondertiteling door de amara.org gemeenschap
    tekstning av nicolai winther
    undertekster af amara.org
    tekstitys amara.org
    napisy: społeczność amara.org
    titulky vytvořil johnyx
    субтитры предоставил dimatorzok
    редактор субтитров а.синецкая корректор а.егорова
    字幕 by 索兰娅
    字幕由 amara.org 社群提供
    由 amara.org 社区提供的字幕
    중국어 자막 amara.org 커뮤니티
    untertitel im auftrag des zdf für funk
    untertitelung des zdf
    untertitelung aufgrund der amara.org-community
    copyright wdr
    sous-titres réalisés par la communauté d'amara.org
    sous-titrage société radio-canada
    sous-titrage st' 501
    subtítulos realizados por la comunidad de amara.org
    subtítulos por la comunidad de amara.org
    legendas pela comunidade amara.org
    sottotitoli creati dalla comunità amara.org
    sottotitoli e revisione a cura di qtss
    ondertitels ingediend door de amara.org gemeenschap
    napisy stworzone przez społeczność amara.org
    altyazı m.k.
    субтитры сделал dimatorzok
    субтитры создавал dimatorzok
    субтитры подогнал «симон»
    редактор субтитров а.семкин корректор а.егорова
    字幕由amara.org社区提供
    字幕志愿者 李宗盛
    字幕志愿者 杨茜茜
    中文字幕志愿者 李宗盛
    請不吝點贊訂閱轉發打賞支持明鏡與點點欄目
    请不吝点赞 订阅 转发 打赏支持明镜与点点栏目
    ご視聴ありがとうございました
    チャンネル登録をお願いいたします
    시청해주셔서 감사합니다
    한글자막 by 한효정
    mbc 뉴스 이덕영입니다
    """.strip().splitlines()
)
"""Credits of subtitles, which nobody says. Compared without case, space and punctuation."""

OFTEN_HALLUCINATED = frozenset(
    """
    thank you
    thanks
    thank you very much
    thank you for watching
    thanks for watching
    thank you so much for watching
    please subscribe to my channel
    please subscribe
    subscribe
    like and subscribe
    please like share and subscribe
    like share and subscribe
    like comment and subscribe
    don't forget to subscribe
    don't forget to like and subscribe to my channel
    please subscribe to the channel
    please subscribe to our channel
    subscribe to my channel
    thanks for watching and don't forget to like and subscribe
    thank you for watching and see you next time
    thank you for listening
    thanks for listening
    thank you for your attention
    thank you so much
    i hope you enjoyed this video
    see you next time
    see you in the next one
    until next time
    danke fürs zuschauen
    danke für die aufmerksamkeit
    vielen dank für ihre aufmerksamkeit
    abonniert den kanal
    abonniere jetzt
    bis zum nächsten video
    merci d'avoir regardé
    merci d'avoir regardé la vidéo
    n'oubliez pas de vous abonner
    à la prochaine
    gracias por ver
    gracias por ver el vídeo
    muchas gracias
    suscríbete
    no olvides suscribirte
    hasta la próxima
    obrigado por assistir
    inscreva-se no canal
    até a próxima
    grazie per aver guardato il video
    grazie per la visione
    iscriviti al canale
    bedankt voor het kijken
    tack för att du tittade
    tack för att ni tittade
    dziękuję za uwagę
    dziękuję za obejrzenie
    izlediğiniz için teşekkür ederim
    abone olmayı unutmayın
    подписывайтесь на канал
    подписывайтесь на мой канал
    спасибо за внимание
    ставьте лайки и подписывайтесь на канал
    дякую за перегляд
    感谢观看
    感謝觀看
    请订阅
    谢谢大家
    ご清聴ありがとうございました
    最後までご視聴ありがとうございました
    チャンネル登録よろしくお願いします
    구독과 좋아요 부탁드립니다
    다음 영상에서 만나요
    شكرا للمشاهدة
    اشتركوا في القناة
    תודה על הצפייה
    please like and subscribe
    don't forget to like and subscribe
    see you in the next video
    i'll see you next time
    bye
    bye bye
    you
    the end
    so
    music
    applause
    laughter
    silence
    foreign
    vielen dank
    vielen dank fürs zuschauen
    bis zum nächsten mal
    tschüss
    merci
    merci d'avoir regardé cette vidéo
    abonnez-vous
    gracias
    gracias por ver el video
    ¡suscríbete al canal
    obrigado
    e aí
    grazie
    grazie a tutti
    продолжение следует
    спасибо за просмотр
    谢谢观看
    謝謝觀看
    謝謝
    おやすみなさい
    감사합니다
    """.strip().splitlines()
)
"""Frequent hallucinations that people also say: dropped only if the model is uncertain."""

_UNCERTAIN_NO_SPEECH, _UNCERTAIN_LOGPROB = 0.25, -0.7
_MAX_CHARACTERS_PER_SECOND = 45.0
"""Nobody speaks faster: either the text or its times are invented."""
_LOOP_SHARE, _LOOP_TIMES = 0.6, 4
_SAME_IN_A_ROW = 3
_SENTENCE, _COMMA = re.compile(r"[.!?…](?:\s|$)|[。！？]"), re.compile("[,;、，]")
_WORD = re.compile(r"\w+(?:['’]\w+)*", re.UNICODE)


def without_hallucinations(utterances: Iterable[Utterance], rules: Rules) -> list[Utterance]:
    """The utterances that pass the filter, in their order."""
    passed = [utterance for utterance in utterances if hallucination(utterance, rules) is None]
    return _without_repeats(passed)


def hallucination(utterance: Utterance, rules: Rules) -> str | None:
    """Why an utterance counts as hallucinated, in a word or two; None if it does not."""
    text = utterance.text.strip()
    plain = _plain(text)
    no_speech, logprob = utterance.no_speech_prob, utterance.avg_logprob
    if not plain:
        return "empty"
    if utterance.compression_ratio > rules.max_compression or loops(text):
        return "repeats"
    if no_speech > rules.max_no_speech and logprob < rules.min_logprob:
        return "no speech"
    if rules.floor_logprob is not None and logprob < rules.floor_logprob:
        return "improbable"
    if plain in _ALWAYS:
        return "boilerplate"
    uncertain = no_speech > _UNCERTAIN_NO_SPEECH or logprob < _UNCERTAIN_LOGPROB
    if uncertain and _is_stock(text):
        return "boilerplate"
    seconds = utterance.end - utterance.start
    if uncertain and len(plain) > _MAX_CHARACTERS_PER_SECOND * max(seconds, 0.2):
        return "too fast"
    return None


def _is_stock(text: str) -> bool:
    """Whether a text consists of stock phrases only."""
    return all(
        _plain(sentence) in _STOCK
        or all(_plain(part) in _STOCK for part in _COMMA.split(sentence) if _plain(part))
        for sentence in _SENTENCE.split(text)
    )


def loops(text: str) -> bool:
    """Whether most of a text is one repeated phrase ("no no no no no no")."""
    words = [word.casefold() for word in _WORD.findall(text)]
    if len(words) < 2 and len(text) >= 16:
        # A script without spaces: characters take the place of words.
        words = [character for character in text if not character.isspace()]
    for length in range(1, len(words) // _LOOP_TIMES + 1):
        run = longest = 0
        for at in range(length, len(words)):
            run = run + 1 if words[at] == words[at - length] else 0
            longest = max(longest, run)
        repeated = longest + length if longest else 0
        if repeated >= _LOOP_TIMES * length + (2 if length == 1 else 0) and (
            repeated >= _LOOP_SHARE * len(words)
        ):
            return True
    return False


def _without_repeats(utterances: Sequence[Utterance]) -> list[Utterance]:
    """Keep the first of three or more consecutive utterances with the same text."""
    kept: list[Utterance] = []
    at = 0
    while at < len(utterances):
        plain = _plain(utterances[at].text)
        end = at + 1
        while end < len(utterances) and _plain(utterances[end].text) == plain:
            end += 1
        kept += utterances[at : at + 1 if end - at >= _SAME_IN_A_ROW else end]
        at = end
    return kept


def _plain(text: str) -> str:
    """Letters and digits only, in lower case: punctuation and spacing vary."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(character for character in folded if character.isalnum())


_ALWAYS = frozenset(map(_plain, ALWAYS_HALLUCINATED))
_OFTEN = frozenset(map(_plain, OFTEN_HALLUCINATED))
_STOCK = _ALWAYS | _OFTEN
