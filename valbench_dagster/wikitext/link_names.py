"""Link names: which prefixes make a link no prose on one wiki, and what a link shows.

Here belongs everything about the inside of `[[..]]`. Where a link begins and ends is found in `hidden.py` and by the
parsers.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from valbench_dagster.wikitext.marks import REMOVED, SEAM

FILE_NAMESPACE, CATEGORY_NAMESPACE = 6, 14

_FILES, _CATEGORIES = frozenset({"file", "image"}), frozenset({"category"})
_OLDER_FILES: Mapping[str, tuple[str, ...]] = {
    "archivo": ("imagen",),
    "bestand": ("afbeelding",),
    "datei": ("bild",),
    "fichier": (),
    "ficheiro": ("imagem", "arquivo"),
    "fil": ("bild", "billede", "bilde"),
    "fitxer": ("imatge",),
    "plik": ("grafika",),
    "soubor": (),
    "tiedosto": ("kuva",),
    "tập tin": ("hình", "tập_tin"),
    "файл": ("изображение", "зображення", "слика"),
    "датотека": ("слика",),
    "ファイル": ("画像",),
    "파일": ("그림",),
    "file": ("文件", "檔案", "档案", "图像", "圖像", "immagine"),
}
"""Other names that wikis with this name for files still take; siteinfo in a dump does not list them."""

_LANGUAGES = """
    aa ab ace ady af ak als alt am ami an ang ann anp ar arc ary arz as ast atj av avk awa ay az azb ba ban bar
    bat-smg bbc bcl be be-tarask be-x-old bew bg bh bi bjn blk bm bn bo bpy br bs bug bxr ca cbk-zam cdo ce ceb
    ch cho chr chy ckb co cr crh cs csb cu cv cy da dag de dga din diq dsb dtp dty dv dz ee el eml en eo es et
    eu ext fa fat ff fi fiu-vro fj fo fon fr frp frr fur fy ga gag gan gcr gd gl glk gn gom gor got gpe gu guc
    gur guw gv ha hak haw he hi hif ho hr hsb ht hu hy hyw hz ia iba id ie ig igl ii ik ilo inh io is it iu ja
    jam jbo jv ka kaa kab kbd kbp kcg kg kge ki kj kk kl km kn knc ko koi kr krc ks ksh ku kus kv kw ky la lad
    lb lbe lez lfn lg li lij lld lmo ln lo lrc lt ltg lv mad mai map-bms mdf mg mh mhr mi min mk ml mn mni mnw
    mo mos mr mrj ms mt mus mwl my myv mzn na nah nap nds nds-nl ne new ng nia nl nn no nov nqo nr nrm nso nv ny
    oc olo om or os pa pag pam pap pcd pcm pdc pfl pi pih pl pms pnb pnt ps pt pwn qu rm rmy rn ro roa-rup
    roa-tara rsk ru rue rup rw sa sah sat sc scn sco sd se sg sgs sh shi shn si simple sk skr sl sm smn sn so sq
    sr srn ss st stq su sv sw szl szy ta tay tcy tdd te tet tg th ti tig tk tl tly tn to tpi tr trv ts tt tum tw
    ty tyv udm ug uk ur uz ve vec vep vi vls vo vro wa war wo wuu xal xh xmf yi yo yue za zea zgh zh
    zh-classical zh-min-nan zh-yue zu
"""
"""Codes of the languages that Wikipedia is written in, as they stand before a colon."""


@dataclass(frozen=True, slots=True)
class LinkNames:
    """Prefixes, lower case and with blanks for underscores, of links that show no words in the text.

    `files` show pictures, `categories` nothing, `languages` a line in the side bar. A colon before the prefix makes
    each an ordinary link.
    """

    files: frozenset[str]
    categories: frozenset[str]
    languages: frozenset[str]


def link_names(namespaces: Mapping[int, str]) -> LinkNames:
    """The prefixes of a wiki whose siteinfo names these namespaces: its own and the English, which hold everywhere."""
    file_name = namespaces.get(FILE_NAMESPACE, "").lower().replace("_", " ")
    category_name = namespaces.get(CATEGORY_NAMESPACE, "").lower().replace("_", " ")
    return LinkNames(
        files=_FILES | {name for name in (file_name, *_OLDER_FILES.get(file_name, ())) if name},
        categories=_CATEGORIES | ({category_name} if category_name else set()),
        languages=frozenset(_LANGUAGES.split()),
    )


def is_no_prose(target: str, names: LinkNames) -> bool:
    """Whether a link to `target` shows a picture, or nothing, where it stands."""
    prefix, colon, _ = target.partition(":")
    prefix = prefix.strip(" \t\n_").lower().replace("_", " ")
    return bool(colon) and (prefix in names.files or prefix in names.categories or prefix in names.languages)


def link_text(target: str, label: str | None, names: LinkNames) -> str:
    """What a link shows: its label, else its target; nothing for pictures, categories and other languages.

    A target with a line break is no link and stays as it stands. An empty label is the pipe trick, which stored text
    has filled in already: the target without its prefix and without what stands in brackets or after a comma at its
    end.
    """
    if is_no_prose(target, names):
        return REMOVED
    if "\n" in target:
        return f"[[{target}]]" if label is None else f"[[{target}|{label}]]"
    shown = target.strip().removeprefix(":")
    if label is not None and label.strip():
        shown = label
    elif label is not None:
        shown = shown.rpartition(":")[2]
        shown = re.sub(r"[ _]\([^()]*\)$", "", shown) if shown.endswith(")") else shown.partition(", ")[0]
    return f"{SEAM}{shown}{SEAM}"
