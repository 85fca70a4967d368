"""Subsets: which articles are asked about when not all of a split are.

A subset takes whole articles, since the article is the cluster of all statistics, and a share of every stratum
(category, scale), so that small ones are in it in proportion. It is systematic sampling: every article has a place
between 0 and 1 that its seed alone decides, and is taken where that place is below the fraction. So a smaller subset
lies inside every larger one of its seed: what was paid for the one is free in the other.

Here belongs the choice alone. Which of the pairs are asked what is `responses.py`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import ceil

from valbench_dagster.identity import identify
from valbench_dagster.records import Pair

Article = tuple[str, int]
"""Wiki and page id."""

Stratum = tuple[str | None, int]
"""Category (null until labelled) and scale."""

_STEPS = 2**64
_GOLDEN = 0x9E3779B97F4A7C15
"""`_STEPS` divided by the golden ratio: multiples of it lie as evenly in a circle of `_STEPS` as any can."""


@dataclass(frozen=True, slots=True)
class Subset:
    """A share of a split's articles: `fraction` above 0 and up to 1; another seed takes others."""

    fraction: float
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise ValueError(f"a subset is a fraction above 0 and up to 1, found {self.fraction}")

    @property
    def share(self) -> Fraction:
        """The fraction as it was written: 0.1 is one tenth, not the binary number beside it."""
        return Fraction(repr(self.fraction))

    @property
    def label(self) -> str:
        """How it is named in facts and tables: `all`, else as `0.1/seed-0`. Of one seed the larger sorts later."""
        return "all" if self.fraction == 1 else f"{Decimal(repr(self.fraction)):f}/seed-{self.seed}"


WHOLE = Subset(1.0)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The articles of a split that a subset takes; `pairs` counts theirs, `of_pairs` and `of_articles` the split's."""

    split: str
    subset: Subset
    articles: frozenset[Article]
    of_articles: int
    pairs: int
    of_pairs: int

    def holds(self, pair: Pair) -> bool:
        """Tell whether a pair is asked about."""
        return self.split in ("all", pair.split) and (pair.wiki, pair.page_id) in self.articles

    @property
    def told(self) -> str:
        """How much it is, for people: `1,150 of 11,502 pairs (104 of 1,043 articles, subset 0.1/seed-0)`."""
        return (
            f"{self.pairs:,} of {self.of_pairs:,} pairs "
            f"({len(self.articles):,} of {self.of_articles:,} articles, subset {self.subset.label})"
        )


def choose(pairs: Iterable[Pair], split: str, subset: Subset) -> Chosen:
    """Choose the articles of a split (`all`: of every one); the order of `pairs`, read once, changes nothing.

    An article belongs to the stratum of most of its pairs, the smallest of several. Its articles stand in an order
    shuffled by the seed, the one of rank i of n at (i + v) / n; v in [0, 1) differs between strata. Over all seeds each
    article is as likely as any other to be taken, with `fraction` as its probability. A stratum of n has less than one
    article more or less than `fraction` * n; a split of N articles in s strata less than s more or less than
    `fraction` * N, and hardly ever more than a few, since the v of strata of like sizes are spread evenly.
    """
    counted: dict[Article, Counter[Stratum]] = defaultdict(Counter)
    for pair in pairs:
        if split in ("all", pair.split):
            counted[pair.wiki, pair.page_id][pair.category, pair.scale] += 1
    strata: dict[Stratum, list[Article]] = defaultdict(list)
    for article, pairs_in in counted.items():
        strata[min(pairs_in, key=lambda stratum: (-pairs_in[stratum], _order(stratum)))].append(article)
    offset = int(identify("subset", [subset.seed]), 16) % _STEPS
    taken: set[Article] = set()
    for stratum in sorted(strata, key=lambda stratum: (len(strata[stratum]), _order(stratum))):
        members = sorted(strata[stratum], key=lambda article: (identify("subset", [subset.seed, *article]), article))
        # Those of rank i with (i + v) / n < fraction, counted without rounding.
        taken.update(members[: ceil(subset.share * len(members) - Fraction(offset, _STEPS))])
        offset = (offset + _GOLDEN) % _STEPS
    return Chosen(
        split=split,
        subset=subset,
        articles=frozenset(taken),
        of_articles=len(counted),
        pairs=sum(counted[article].total() for article in taken),
        of_pairs=sum(pairs_in.total() for pairs_in in counted.values()),
    )


def _order(stratum: Stratum) -> tuple[bool, str, int]:
    """Strata without a category first, then by category, then by scale."""
    category, scale = stratum
    return (category is not None, category or "", scale)
