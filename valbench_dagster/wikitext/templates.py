"""Templates: the table of those whose words belong to the sentence they stand in. Any other template is dropped.

Data only: names in lower case with blanks for underscores, aliases beside them. How each kind is shown is
`template_text.py`.
"""

from collections.abc import Mapping


def _words(names: str) -> frozenset[str]:
    return frozenset(name.strip() for name in names.split(","))


FIRST = _words(
    """
    abbr, abbreviation, abbrlink, allcaps, allsc, arabic, b, big, block indent, blue, bold, caps, center, centre,
    char, chem2, citation needed span, clarify span, cn span, cns, cnspan, code, date, del, delink, disputed inline,
    em, fact span, flag, flag+, flagcountry, flagu, flatlist, gray, greek, green, grey, hebrew, hi, highlight,
    hover title, i, initialism, italic, italics, kbd, key, keypress, lang-latn, larger, link-interwiki, linktext,
    lower, maroon, math, mono, mvar, navy, nihongo foot, no bold, no italic, no ligatures, no wrap, nobold, nobr,
    nobreak, noitalic, nolig, normal, normalfont, not typo, nowr, nowrap, nowraplinks, nwr, percentage,
    plain link text, plainlist, polytonic, purple, quoted, raise, red, resize, s, samp, sc, sc1, sc2, scaps, script,
    small, small caps, smallcaps, smalldiv, smaller, strikethrough, strong, sub, sup, talk quote inline, text,
    tooltip, tq, tt, u, underline, unicode, va, vanchor, var, visible anchor, wikicite, xt
    """
)
"""Shown: the first argument (or `text`)."""

SECOND = _words(
    """
    align, background color, bg, color, colour, font color, font colour, fontcolor, lang, rtl-lang, sort, wikt-lang,
    wt
    """
)
"""Shown: the second argument (or `text`): a language code, a colour or a sort key comes first."""

LAST = _words(
    """
    columns-list, hebr, iast, ipa, iso 15919, ltr, rtl, script/arabic, script/hebrew, tlit, transl, translit,
    transliteration
    """
)
"""Shown: the last argument without a name."""

JOINED = _words("as written, chem, gaps, no typo, not a typo, proper name, typo")
"""Shown: all arguments without a name, with nothing between."""

SPACED = _words("bible, bible verse, bibleverse, hmas, hmcs, hms, ins, ms, mv, rms, sms, ss, uss")
"""Shown: the first two arguments without a name (for ships: the prefix, then the first), with a blank between."""

SHIP_PREFIXES = _words("uss, hms, ss, ins, hmcs, hmas, rms, mv, sms, ms")

LITERAL: Mapping[str, str] = {
    **dict.fromkeys(
        ("spaced ndash", "spaced en dash", "snd", "sndash", "spnd", "spaced dash", "dash", "s-ndash", "spndash"), " – "
    ),
    **dict.fromkeys(("spaced mdash", "spaced em dash", "smd", "smdash"), " — "),
    **dict.fromkeys(("mdash", "emdash", "em dash", "mdashb", "—"), "—"),
    **dict.fromkeys(("ndash", "endash", "en dash", "nsndns", "–"), "–"),
    **dict.fromkeys(
        ("nbsp", "space", "spaces", "sp", "nnbsp", "thinsp", "thin space", "hair space", "hsp", "ensp", "emsp"), " "
    ),
    **dict.fromkeys(("·", "dot", "middot", "interpunct", "•", "bullet", "*"), " · "),
    **dict.fromkeys(("'", "apostrophe", "`"), "'"),
    **dict.fromkeys(("okina", "'okina"), "ʻ"),
    "'s": "'s",
    "hamza": "ʼ",
    "ayin": "ʽ",
    "!": "|",
    "=": "=",
    "(": "{",
    ")": "}",
    "pipe": "|",
    "\"'": "\"'",
    "' \"": "'\"",
    "'\"": "'\"",
    "minus": "−",
    "prime": "′",
    "times": "×",
    "ellipsis": "…",
    "number sign": "#",
}
"""Shown: a character, whatever the arguments."""

WORD_BREAK = _words("lrm, rlm, shy, wbr, zwj, zwnj, zwsp")
"""Shown: nothing, and nothing is missing."""

CURRENCY: Mapping[str, str] = {
    "usd": "$",
    "us$": "US$",
    "gbp": "£",
    "pound sterling": "£",
    "£": "£",
    "eur": "€",
    "euro": "€",
    "€": "€",
    "jpy": "¥",
    "yen": "¥",
    "¥": "¥",
    "inr": "₹",
    "₹": "₹",
    "indian rupee": "₹",
    "aud": "A$",
    "a$": "A$",
    "cad": "CA$",
    "ca$": "CA$",
    "nzd": "NZ$",
    "hkd": "HK$",
    "cny": "CN¥",
    "cn¥": "CN¥",
    "rmb": "CN¥",
    "krw": "₩",
    "brl": "R$",
    "chf": "CHF ",
    "sek": "kr ",
    "php": "₱",
    "ils": "₪",
    "nis": "₪",
}
"""Shown: the sign and the first argument."""

QUOTES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    **dict.fromkeys(
        ("quote", "blockquote", "quotation", "bquote", "block quote", "block quotation", "quote block"),
        (("text", "1", "quote"), ("author", "by", "2", "sign"), ("title", "source", "3", "cite")),
    ),
    **dict.fromkeys(
        ("cquote", "centered pull quote", "centred pull quote", "pull quote", "pullquote", "cquotetxt"),
        (("quote", "text", "1"), ("author", "by", "4"), ("source", "5")),
    ),
    **dict.fromkeys(
        ("rquote", "right pull quote", "quote right", "quote frame"),
        (("quote", "text", "2"), ("author", "3"), ("source", "4")),
    ),
    **dict.fromkeys(
        ("quote box", "quotebox", "quote box2", "quote box3"),
        (("quote", "text", "1"), ("author", "2"), ("source", "3")),
    ),
    **dict.fromkeys(
        ("poemquote", "poem quote", "verse quote", "quote poem"),
        (("text", "1"), ("author", "sign", "2"), ("title", "source", "3")),
    ),
}
"""Shown: a paragraph, and the author and source beneath. Arguments that hold text, author, source: first one filled."""

LISTS: Mapping[str, str] = {
    **dict.fromkeys(("ubl", "ublist", "unbulleted list", "plain list", "bulleted list", "vunblist"), "\n* "),
    **dict.fromkeys(("ordered list", "olist", "numbered list"), "\n# "),
}
"""Shown: each argument without a name as a list item."""

INLINE_LISTS = _words("flat list, hlist, horizontal list")
"""Shown: arguments without a name with commas between."""

_LANGUAGES = """
    ar Arabic, arc Aramaic, be Belarusian, bg Bulgarian, bn Bengali, ca Catalan, cs Czech, cy Welsh, da Danish,
    de German, el Greek, en English, eo Esperanto, es Spanish, et Estonian, eu Basque, fa Persian, fi Finnish,
    fr French, ga Irish, gl Galician, grc Ancient Greek, gu Gujarati, he Hebrew, hi Hindi, hr Croatian,
    hu Hungarian, hy Armenian, id Indonesian, is Icelandic, it Italian, ja Japanese, ka Georgian, kk Kazakh,
    kn Kannada, ko Korean, ku Kurdish, la Latin, lt Lithuanian, lv Latvian, mk Macedonian, ml Malayalam,
    mn Mongolian, mr Marathi, ms Malay, my Burmese, ne Nepali, nl Dutch, no Norwegian, pa Punjabi, pl Polish,
    ps Pashto, pt Portuguese, ro Romanian, ru Russian, sa Sanskrit, sh Serbo-Croatian, si Sinhala, sk Slovak,
    sl Slovene, sq Albanian, sr Serbian, sv Swedish, sw Swahili, ta Tamil, te Telugu, th Thai, tl Tagalog,
    tr Turkish, uk Ukrainian, ur Urdu, uz Uzbek, vi Vietnamese, yi Yiddish, zh Chinese
"""
LANGUAGES: Mapping[str, str] = {
    code: name for code, _, name in (item.partition(" ") for item in sorted(_words(_LANGUAGES)))
}
"""Names that `{{lang-xx}}` and `{{langx}}` put before the text."""

COMPOUND_UNITS = frozenset({("ft", "in"), ("foot", "in"), ("lb", "oz"), ("st", "lb"), ("mi", "yd"), ("yd", "ft")})
"""Units of `{{convert}}` that follow each other in one measure."""

RANGE_WORDS: Mapping[str, str] = {
    "to": " to ",
    "and": " and ",
    "or": " or ",
    "-": "–",
    "–": "–",
    "to(-)": " to ",
    "by": " by ",
    "x": " × ",
    "×": " × ",
    "+/-": " ± ",
    "±": " ± ",
}
"""Words of `{{convert}}` between two numbers."""

UNITS: Mapping[str, str] = {
    "sqmi": "sq mi",
    "sqft": "sq ft",
    "cuft": "cu ft",
    "cumi": "cu mi",
    "m2": "m²",
    "km2": "km²",
    "cm2": "cm²",
    "m3": "m³",
    "km3": "km³",
    "C": "°C",
    "F": "°F",
    "kph": "km/h",
    "usgal": "US gal",
    "impgal": "imp gal",
}
"""Codes of `{{convert}}` that are shown otherwise than they are written."""
