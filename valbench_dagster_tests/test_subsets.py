"""Subsets: whole articles, in proportion of every stratum, nested, and nobody preferred."""

import random
from collections import Counter, defaultdict
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valbench_dagster.records import Pair
from valbench_dagster.stages.subsets import WHOLE, Chosen, Subset, choose
from valbench_dagster_tests.examples import PAIR

CATEGORIES = (None, "Politics", "Sports")


def pair(page_id: int, scale: int = 2, category: str | None = None, split: str = "test", wiki: str = "sample") -> Pair:
    return replace(PAIR, page_id=page_id, scale=scale, category=category, split=split, wiki=wiki)


pairs_drawn = st.lists(
    st.builds(
        pair,
        st.integers(1, 25),
        st.integers(1, 3),
        st.sampled_from(CATEGORIES),
        st.sampled_from(["test", "train"]),
        st.sampled_from(["enwiki", "dewiki"]),
    ),
    max_size=60,
)
fractions = st.one_of(
    st.sampled_from([0.001, 0.01, 0.1, 1 / 3, 0.5, 1.0]), st.floats(0, 1, exclude_min=True, allow_subnormal=False)
)
seeds = st.integers(0, 10**6)


def strata(pairs: list[Pair]) -> dict[tuple[str | None, int], set[tuple[str, int]]]:
    """Assign articles to strata by a second implementation: sort by how often, then by category and scale."""
    by_article: dict[tuple[str, int], list[tuple[str | None, int]]] = defaultdict(list)
    for each in pairs:
        by_article[each.wiki, each.page_id].append((each.category, each.scale))
    found: dict[tuple[str | None, int], set[tuple[str, int]]] = defaultdict(set)
    for article, those in by_article.items():
        often = Counter(those)
        most = max(often.values())
        tied = [stratum for stratum, times in often.items() if times == most]
        found[sorted(tied, key=lambda each: (each[0] or "", each[1]))[0]].add(article)
    return found


@given(pairs_drawn, fractions, fractions, seeds)
def test_a_smaller_subset_lies_inside_a_larger_one_of_its_seed(
    pairs: list[Pair], one: float, other: float, seed: int
) -> None:
    small, large = (choose(pairs, "all", Subset(fraction, seed)) for fraction in sorted((one, other)))
    assert small.articles <= large.articles
    assert small.pairs <= large.pairs


@given(pairs_drawn, fractions, seeds, st.randoms(use_true_random=False))
def test_the_order_of_the_pairs_changes_nothing(
    pairs: list[Pair], fraction: float, seed: int, shuffling: random.Random
) -> None:
    shuffled = pairs.copy()
    shuffling.shuffle(shuffled)
    assert choose(pairs, "all", Subset(fraction, seed)) == choose(shuffled, "all", Subset(fraction, seed))


@given(pairs_drawn, fractions, seeds, st.sampled_from(["test", "train", "all"]))
def test_articles_are_taken_whole_and_from_the_split_alone(
    pairs: list[Pair], fraction: float, seed: int, split: str
) -> None:
    chosen = choose(pairs, split, Subset(fraction, seed))
    of_split = [each for each in pairs if split in ("all", each.split)]
    held = [each for each in pairs if chosen.holds(each)]
    assert held == [each for each in of_split if (each.wiki, each.page_id) in chosen.articles]
    assert (chosen.pairs, chosen.of_pairs) == (len(held), len(of_split))
    assert {(each.wiki, each.page_id) for each in held} == chosen.articles
    assert chosen.of_articles == len({(each.wiki, each.page_id) for each in of_split})


@given(pairs_drawn, seeds)
def test_the_whole_takes_all(pairs: list[Pair], seed: int) -> None:
    chosen = choose(pairs, "all", Subset(1.0, seed))
    assert all(chosen.holds(each) for each in pairs)
    assert (chosen.pairs, len(chosen.articles)) == (len(pairs), chosen.of_articles)


@given(pairs_drawn, fractions, seeds)
def test_each_stratum_and_the_total_are_close_to_their_share(pairs: list[Pair], fraction: float, seed: int) -> None:
    subset = Subset(fraction, seed)
    chosen = choose(pairs, "all", subset)
    members = strata(pairs)
    for articles in members.values():
        assert abs(len(articles & chosen.articles) - subset.share * len(articles)) < 1
    off = abs(len(chosen.articles) - subset.share * chosen.of_articles)
    assert off < len(members) or off == 0


def test_an_article_belongs_to_the_stratum_of_most_of_its_pairs() -> None:
    # Article 1: two pairs of scale 3, one of scale 1, so of scale 3, with 3. Article 2: a tie between no category and
    # Politics, so of no category, the smallest, with 4. Half of a stratum of two is one of the two, in every seed.
    pairs = [
        *(pair(1, 3), pair(1, 3), pair(1, 1), pair(3, 3)),
        *(pair(2, 2, "Politics"), pair(2, 2), pair(4, 2)),
    ]
    for seed in range(50):
        taken = {page_id for _, page_id in choose(pairs, "all", Subset(0.5, seed)).articles}
        assert len(taken & {1, 3}) == 1
        assert len(taken & {2, 4}) == 1


# A world with strata of 1, 2, 3, 7 and 12 articles: many too small for a whole article of their share.
SIZES = (1, 1, 1, 2, 2, 3, 7, 12)
WORLD = [
    pair(10 * stratum + article, stratum % 4, f"category {stratum // 4}")
    for stratum, size in enumerate(SIZES)
    for article in range(size)
]


@pytest.mark.parametrize("fraction", [0.05, 0.3])
def test_over_the_seeds_every_article_is_taken_as_often_as_the_fraction_says(fraction: float) -> None:
    # The times that one article is taken under m seeds are binomial(m, f): mean m f, deviation sqrt(m f (1 - f)). Of 29
    # articles one is further off than 5 deviations with a probability under 29 * 6e-7 = 2e-5; the seeds are fixed, so
    # that it is so or not, once for all.
    seeds = 1500
    times = Counter(
        article for seed in range(seeds) for article in choose(WORLD, "all", Subset(fraction, seed)).articles
    )
    bound = 5 * (seeds * fraction * (1 - fraction)) ** 0.5
    assert len(times) == sum(SIZES)
    assert {article: count for article, count in times.items() if abs(count - seeds * fraction) > bound} == {}


def test_the_total_is_hardly_ever_off_by_more_than_a_few() -> None:
    # 100 strata of 1 to 20 articles, as 20 categories by 5 scales make: 1,050 articles. Were the strata rounded each on
    # its own, the total would be off by sqrt(100 * x (1 - x)), up to 5, in the mean; here it is off by about 1.
    pairs = [
        pair(100 * stratum + article, stratum % 5, f"category {stratum // 5}")
        for stratum in range(100)
        for article in range(1 + stratum % 20)
    ]
    offs = [
        len(choose(pairs, "all", Subset(fraction, seed)).articles) - Fraction(str(fraction)) * 1050
        for fraction in (0.01, 0.1, 0.37)
        for seed in range(12)
    ]
    assert sum(off * off for off in offs) / len(offs) < 2.5**2
    assert max(map(abs, offs)) < 8


def test_another_seed_takes_others() -> None:
    taken = {choose(WORLD, "all", Subset(0.3, seed)).articles for seed in range(10)}
    assert len(taken) == 10


def test_the_choice_is_the_same_in_every_year_and_on_every_machine() -> None:
    # Read off once: whoever changes it asks every subset anew.
    taken = sorted(page_id for _, page_id in choose(WORLD, "all", Subset(0.3, 7)).articles)
    assert taken == [10, 30, 40, 50, 60, 64, 70, 72, 74]


@pytest.mark.parametrize(
    ("subset", "label"),
    [
        (WHOLE, "all"),
        (Subset(1.0, 7), "all"),
        (Subset(1, 7), "all"),
        (Subset(0.1), "0.1/seed-0"),
        (Subset(0.05, 3), "0.05/seed-3"),
        (Subset(0.00001, -1), "0.00001/seed--1"),
    ],
)
def test_a_subset_is_named_by_fraction_and_seed(subset: Subset, label: str) -> None:
    assert subset.label == label


@given(st.lists(st.floats(1e-9, 1), min_size=2, max_size=5))
def test_names_of_one_seed_sort_from_small_to_large(drawn: list[float]) -> None:
    ascending = sorted(drawn)
    assert sorted(Subset(fraction).label for fraction in drawn) == [Subset(fraction).label for fraction in ascending]


def test_a_tenth_is_a_tenth() -> None:
    # As a binary number 0.1 is a little more; of 10 articles a tenth is one in every seed, never two.
    pairs = [pair(page_id) for page_id in range(10)]
    assert {len(choose(pairs, "all", Subset(0.1, seed)).articles) for seed in range(100)} == {1}


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.1, float("nan")])
def test_a_fraction_that_is_none_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="fraction above 0 and up to 1"):
        Subset(fraction)


def test_how_much_it_is_is_said() -> None:
    chosen = Chosen("test", Subset(0.1), frozenset([("sample", page) for page in range(104)]), 1043, 1150, 11502)
    assert chosen.told == "1,150 of 11,502 pairs (104 of 1,043 articles, subset 0.1/seed-0)"


@settings(max_examples=20)
@given(fractions, seeds)
def test_no_pairs_make_an_empty_choice(fraction: float, seed: int) -> None:
    chosen = choose([], "test", Subset(fraction, seed))
    assert (chosen.articles, chosen.pairs, chosen.of_pairs) == (frozenset(), 0, 0)
