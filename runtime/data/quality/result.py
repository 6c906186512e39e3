"""What was found out about the quality of data."""

from dataclasses import dataclass, field

from fsft.runtime.data.quality.duplicates import Pair
from fsft.runtime.data.quality.lengths import Lengths
from fsft.runtime.data.quality.texts import Place, Reading


@dataclass(frozen=True)
class Finding:
    """A hint at personal data or a secret; `shown` is masked."""

    kind: str
    group: str
    place: Place
    shown: str


@dataclass(frozen=True)
class SplitQuality:
    """One split. Counts are of samples; examples are some of them, in order."""

    name: str
    sources: tuple[Reading, ...]
    num_samples: int
    num_exact: int
    """Repeating an earlier sample of the split, but for case and spacing."""
    num_near: int
    """Much like an earlier sample of the split."""
    duplicates: tuple[Pair, ...]
    languages: dict[str, int]
    """Most frequent first."""
    lengths: tuple[Lengths, ...]
    hints: dict[str, int]
    """Samples with a hint of each kind."""
    findings: tuple[Finding, ...]

    @property
    def is_whole(self) -> bool:
        """Whether all samples were looked at."""
        return all(source.is_whole for source in self.sources)


@dataclass(frozen=True)
class Contamination:
    """Evaluation samples that training has seen, by the first of the three ways that holds."""

    num_exact: int = 0
    num_near: int = 0
    num_grams: int = 0
    """Whose sequences of 13 words are in training data, though no sample as a whole is alike."""
    examples: tuple[Pair, ...] = ()
    """`place` in the evaluation, `of` in training; only of samples that are alike as a whole."""

    @property
    def num_samples(self) -> int:
        """All of them."""
        return self.num_exact + self.num_near + self.num_grams


@dataclass(frozen=True)
class QualitySummary:
    """The main figures, over all splits."""

    num_samples: int
    is_whole: bool
    num_exact: int
    num_near: int
    num_contaminated: int
    languages: dict[str, float]
    """Shares of the three most frequent, of those that one in a hundred samples is in."""
    hints: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Quality:
    """All that was found out."""

    splits: tuple[SplitQuality, ...]
    contamination: Contamination | None
    """None without an evaluation split."""
    most_samples: int
    """The most that were looked at of a split."""

    def summary(self) -> QualitySummary:
        """The main figures."""
        total = sum(split.num_samples for split in self.splits)
        languages: dict[str, int] = {}
        hints: dict[str, int] = {}
        for split in self.splits:
            for counts, of_split in ((languages, split.languages), (hints, split.hints)):
                for name, number in of_split.items():
                    counts[name] = counts.get(name, 0) + number
        first = sorted(languages, key=lambda name: -languages[name])[:3]
        return QualitySummary(
            num_samples=total,
            is_whole=all(split.is_whole for split in self.splits),
            num_exact=sum(split.num_exact for split in self.splits),
            num_near=sum(split.num_near for split in self.splits),
            num_contaminated=self.contamination.num_samples if self.contamination else 0,
            languages={n: languages[n] / total for n in first if languages[n] >= total / 100},
            hints=hints,
        )
