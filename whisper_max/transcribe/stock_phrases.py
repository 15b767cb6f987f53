"""What models write where nobody speaks, because it stood at the ends of the subtitles that they learned from.

By language, in lower case and without marks. A phrase is doubted only where the audio does not support it: people do
thank for watching.
"""

from __future__ import annotations

import unicodedata
from functools import cache

PHRASES: dict[str, tuple[str, ...]] = {
    "ar": ("اشتركوا في القناة", "شكرا للمشاهدة", "شكرا على المشاهدة", "لا تنسوا الاشتراك في القناة"),
    "de": (
        *("vielen dank fürs zuschauen", "danke fürs zuschauen", "vielen dank für ihre aufmerksamkeit", "vielen dank"),
        *("untertitel der amaraorg community", "untertitelung im auftrag", "untertitel im auftrag", "untertitel von"),
        *("bis zum nächsten mal", "copyright", "abonniert den kanal"),
    ),
    "en": (
        *("thanks for watching", "thank you for watching", "thank you so much for watching", "thank you very much"),
        *("thank you", "thanks", "you", "bye", "bye bye", "subtitles by", "subtitles by the amaraorg community"),
        *("please subscribe", "subscribe to my channel", "like and subscribe", "dont forget to subscribe"),
        *("see you next time", "see you in the next video", "ill see you next time", "the end", "transcribed by"),
    ),
    "es": (
        *("gracias por ver el video", "gracias por ver", "muchas gracias por ver", "gracias", "muchas gracias"),
        *("subtítulos realizados por la comunidad de amaraorg", "subtítulos por la comunidad de amaraorg"),
        *("suscríbete al canal", "suscríbete", "hasta la próxima", "nos vemos en el próximo video"),
    ),
    "fr": (
        *("merci davoir regardé cette vidéo", "merci davoir regardé", "merci", "merci beaucoup", "sous titrage"),
        *("sous titres réalisés par la communauté damaraorg", "sous titres par la communauté damaraorg"),
        *("sous titres", "abonnez vous", "à la prochaine", "à bientôt"),
    ),
    "it": (
        *("grazie per aver guardato il video", "grazie per la visione", "grazie a tutti", "grazie"),
        *("sottotitoli creati dalla comunità amaraorg", "sottotitoli a cura di", "sottotitoli e revisione a cura di"),
        *("iscrivetevi al canale", "alla prossima"),
    ),
    "ja": (
        *("ご視聴ありがとうございました", "ご清聴ありがとうございました", "ありがとうございました", "おやすみなさい"),
        *("チャンネル登録お願いします", "チャンネル登録をお願いいたします", "最後までご視聴頂き有難うございました"),
    ),
    "ko": (
        "시청해주셔서 감사합니다",
        "시청해 주셔서 감사합니다",
        "감사합니다",
        "구독과 좋아요 부탁드립니다",
        "한글자막",
    ),
    "nl": (
        *("bedankt voor het kijken", "dank je wel", "dank u wel", "tot de volgende keer", "ondertiteling"),
        *("ondertitels ingediend door de amaraorg gemeenschap", "ondertiteld door de amaraorg gemeenschap"),
    ),
    "pl": (
        *("dziękuję za oglądanie", "dzięki za oglądanie", "dziękuję", "dziękuję za uwagę", "do zobaczenia"),
        *("napisy stworzone przez społeczność amaraorg", "subskrybujcie kanał"),
    ),
    "pt": (
        *("obrigado por assistir", "obrigada por assistir", "obrigado", "obrigada", "até a próxima", "tchau"),
        *("legendas pela comunidade amaraorg", "inscreva se no canal", "se inscreva no canal"),
    ),
    "ru": (
        *("спасибо за просмотр", "спасибо за внимание", "спасибо", "продолжение следует", "до новых встреч"),
        *("субтитры сделал", "субтитры создавал", "субтитры подготовил", "редактор субтитров"),
        *("подписывайтесь на канал",),
    ),
    "tr": ("izlediğiniz için teşekkür ederim", "izlediğiniz için teşekkürler", "teşekkürler", "abone olmayı unutmayın"),
    "zh": (
        *("谢谢观看", "感谢观看", "謝謝觀看", "感謝觀看", "谢谢大家", "下次再见", "字幕由amaraorg社区提供"),
        *("请订阅我的频道", "字幕志愿者"),
    ),
}
_CREDITS = 12  # characters: a longer phrase is one also where more follows it, as a name does "subtitles by"

_TURKISH = str.maketrans("İıI", "iii")  # the pairs of letters that other languages take for one


def stock_phrase(text: str, language: str | None) -> str | None:
    """The phrase that a text is, or begins with; of all languages where none is given, and of English always."""
    plain = _plain(text)
    codes = PHRASES if language is None else dict.fromkeys((language, "en"))
    for code in codes:
        for phrase in _plain_phrases(code):
            if plain == phrase or (len(phrase) >= _CREDITS and plain.startswith(phrase)):
                return phrase
    return None


@cache
def _plain_phrases(code: str) -> tuple[str, ...]:
    return tuple(map(_plain, PHRASES.get(code, ())))


def _plain(text: str) -> str:
    """Letters and digits in lower case, with single spaces; hyphens part words, other marks don't."""
    letters = (
        " " if each.isspace() or each in "-‐‑" else each
        for each in unicodedata.normalize("NFC", text.translate(_TURKISH).casefold())
        if each.isspace() or each in "-‐‑" or unicodedata.category(each)[0] in "LNM"
    )
    return " ".join("".join(letters).split())
