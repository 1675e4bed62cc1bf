r"""Find which images belong together, such as those of one patient, from folders and file names.

File names are read as tokens: words, numbers and what separates them. Names of one form, such as
``person1261_virus_2147`` and ``person3_bacteria_10``, differ in some numbers and rare words, their values;
any combination of values may name the patient. A combination is a key if images that share it resemble each
other more than chance allows: their most similar other image shares it far more often than a random one
would, by binomial tests corrected for the number of combinations tried. It is also a key if a word in front
of a number says so, as ``patient`` and ``sub-`` do.
"""

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt
import scipy

from tumorboard.data import near_duplicates
from tumorboard.data.groups import captured, names_below_class
from tumorboard.data.manifest import Sample
from tumorboard.data.near_duplicates import Indices
from tumorboard.data.pixels import Pixels

_FAMILY_P = 0.01  # of all binomial tests together, by Bonferroni's correction
_MIN_LIFT = 1.5  # times chance
_MIN_AGREEMENT = 0.03  # beyond chance, as Cohen's kappa; little, as the nearest is rarely the other of a pair
# Of a class; what makes fewer or larger groups is a scanner or a view, not a patient.
_MIN_GROUPS, _LARGEST_GROUP = 3, 0.6
_MAX_IMAGES, _MAX_OF_GROUP = 2000, 50  # in one test, which makes N x N similarities
_VOCABULARY = 12  # different words at one place of a name, such as virus and bacteria, that name no patient
_MAX_COMBINED = 4  # values of which all combinations are tried
_SIDE = 32  # of the images compared
_FEW = 10  # images that share a key in a class: too few to contradict the other classes

# A number after the first names a patient, whatever the images show; after the second, an image.
_PATIENT_WORDS = frozenset(
    {"patient", "pat", "pid", "person", "subject", "subj", "sub", "participant", "donor"}
)
_IMAGE_WORDS = frozenset(
    {"image", "img", "slice", "sl", "frame", "page", "view", "layer", "crop", "patch", "tile"}
)

_SUFFIX = re.compile(r"(?:\.(?:nii|tar))?\.[^./]*$")
_COPIES = re.compile(r"(?: ?- copy(?: ?\(\d+\))?)+$", re.IGNORECASE)
_BRACKETS = re.compile(r" ?\((\d+)\)$")
_RUNS, _TOKENS = re.compile(r"[^\W_]+|[\W_]+"), re.compile(r"[^\W\d_]+|\d+|[\W_]+")
_EXPRESSION = {"number": r"\d+", "word": r"[^\W\d_]+", "code": r"[^\W_]+"}


@dataclass(frozen=True, slots=True)
class NameKey:
    """A part of file names that ties images together.

    Args:
        pattern: The expression for --group-by-name that captures it; "" for the first folder below the class.
        word: The word in front of it that names a patient, such as "person"; "" if only the images show it.
        classes: Those in which it holds.
        across_classes: Whether images of different classes with the same key belong together.
        groups: Group by sample id.
        agreement: Of the images with those most similar to them, in all these classes.
    """

    pattern: str
    word: str
    classes: tuple[str, ...]
    across_classes: bool
    groups: Mapping[str, str]
    agreement: "Agreement"


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often the most similar other image has the same key.

    Args:
        hits: Images of which it has.
        images: Images of which any other has; of near duplicates one counts.
        expected: How many hits there would be by chance.
    """

    hits: int = 0
    images: int = 0
    expected: float = 0.0

    def __add__(self, other: "Agreement") -> "Agreement":
        return Agreement(self.hits + other.hits, self.images + other.images, self.expected + other.expected)

    @property
    def beyond(self) -> float:
        """Hits beyond those by chance."""
        return self.hits - self.expected

    @property
    def exceeds_chance(self) -> bool:
        """Whether there are clearly more hits than by chance, whatever the significance."""
        enough = self.beyond >= _MIN_AGREEMENT * (self.images - self.expected)
        return self.hits >= _MIN_LIFT * self.expected and self.beyond > 0 and enough

    def is_significant(self, tests: int) -> bool:
        """Whether the hits exceed chance in a binomial test, corrected for the number of tests."""
        if not self.exceeds_chance:
            return False
        p = float(scipy.stats.binom.sf(self.hits - 1, self.images, self.expected / self.images))
        return p < _FAMILY_P / tests


@dataclass(frozen=True, slots=True)
class _Token:
    """A part of a name: a "word", a "number", a "code" that mixes letters and digits, or a "separator".

    Args:
        kind: As above; "brackets" for the number in brackets that a name may end with.
        text: What all names of the form have there; "" if they differ.
        is_value: Whether it may name a patient: names differ in it, and not only by words of a vocabulary.
    """

    kind: str
    text: str
    is_value: bool = False

    @property
    def expression(self) -> str:
        """A regular expression for it."""
        if self.text:
            return _escaped(self.text)
        return _EXPRESSION[self.kind]


@dataclass(frozen=True, slots=True)
class _Name:
    """A name, from the last token in front of its first value.

    Args:
        prefix: The text before that, with which values make a group.
        form: Its tokens.
        values: The texts of those that are values; last the number in brackets, or "".
    """

    prefix: str
    form: tuple[_Token, ...]
    values: tuple[str, ...]


def _escaped(text: str) -> str:
    """Escape a text for a regular expression, without the backslashes that nothing needs."""
    return re.sub(r"\\([ -])", r"\1", re.escape(text))


def _tokens(stem: str) -> list[tuple[str, str]]:
    """Split a name into kinds and texts of tokens."""
    tokens = []
    for run in _RUNS.findall(stem):
        parts = _TOKENS.findall(run)
        for part in parts if len(parts) < 3 else [run]:
            kind = "number" if part.isdecimal() else "word" if part.isalpha() else "code"
            tokens.append((kind if part[0].isalnum() else "separator", part))
    return tokens


def _read_names(names: Iterable[str]) -> list[_Name]:
    """Read names without what ends them: the suffix, and " - Copy" and the like."""
    stems = [_COPIES.sub("", _SUFFIX.sub("", name)) for name in names]
    brackets = [match[1] if (match := _BRACKETS.search(stem)) else "" for stem in stems]
    tokenised = [_tokens(_BRACKETS.sub("", stem)) for stem in stems]
    forms = [tuple(text if kind == "separator" else kind for kind, text in tokens) for tokens in tokenised]
    count = Counter(forms)
    texts: dict[tuple[str, ...], list[set[str]]] = {form: [set() for _ in form] for form in count}
    for form, tokens in zip(forms, tokenised, strict=True):
        for different, (_, text) in zip(texts[form], tokens, strict=True):
            different.add(text)

    def generalised(form: tuple[str, ...], place: int, kind: str, text: str) -> _Token:
        different = len(texts[form][place])
        if different == 1:
            return _Token(kind, text)
        return _Token(kind, "", kind != "word" or different > min(_VOCABULARY, count[form] / 5))

    read = []
    for form, tokens, bracket in zip(forms, tokenised, brackets, strict=True):
        general = [generalised(form, place, *token) for place, token in enumerate(tokens)]
        places = [place for place, token in enumerate(general) if token.is_value]
        before = range(places[0]) if places else range(0)
        start = max((place for place in before if tokens[place][0] != "separator"), default=len(before))
        read.append(
            _Name(
                "".join(text for _, text in tokens[:start]),
                (*general[start:], _Token("brackets", "", True)),
                (*(tokens[place][1] for place in places), bracket),
            )
        )
    return read


@dataclass(frozen=True)
class _Family:
    """Samples whose names have one form, or that lie in folders below their class.

    Args:
        form: Of their names; () for folders.
        rows: Which samples.
        prefixes: Of each.
        values: Of each.
    """

    form: tuple[_Token, ...]
    rows: Indices
    prefixes: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]

    def candidates(self) -> list[tuple[int, ...]]:
        """Combinations of values that may name a patient; none of a number that counts images."""
        places = [
            place
            for place, column in enumerate(zip(*self.values, strict=True))
            if len(set(column)) > 1 and self.word_before(place) not in _IMAGE_WORDS
        ]
        sizes = range(1, len(places) + 1)
        if len(places) <= _MAX_COMBINED:
            return [key for size in sizes for key in itertools.combinations(places, size)]
        return [(place,) for place in places] + [tuple(places[:size]) for size in sizes[1:]]

    def keys(self, candidate: Sequence[int]) -> Indices:
        """Number the different keys; (N,) for the rows."""
        texts = [
            (prefix, *(values[place] for place in candidate))
            for prefix, values in zip(self.prefixes, self.values, strict=True)
        ]
        numbers: dict[tuple[str, ...], int] = {}
        return np.array([numbers.setdefault(text, len(numbers)) for text in texts], np.int64)

    def word_before(self, value: int) -> str:
        """Return the word in front of a value, at most a separator away; "" for none."""
        if not self.form:
            return ""
        place = [k for k, token in enumerate(self.form) if token.is_value][value]
        words = [token.text for token in self.form[max(0, place - 2) : place] if token.kind == "word"]
        return words[-1].casefold() if words else ""

    def pattern(self, candidate: Sequence[int]) -> str:
        """Return the expression that captures a key in the names of this form; "" for folders."""
        if not self.form:
            return ""
        prefixes = sorted({_escaped(prefix) for prefix in self.prefixes} - {""})
        optional = "?" * ("" in self.prefixes)
        several = len(prefixes) > 1 or (prefixes and optional)
        pattern = "^" + (f"({'|'.join(prefixes)}){optional}" if several else "".join(prefixes))
        value, end = -1, 0
        for token in self.form:
            value += token.is_value
            captured = token.is_value and value in candidate
            if token.kind == "brackets":
                pattern += r"(?: ?\((\d+)\))?" if captured else ""
            else:
                pattern += f"({token.expression})" if captured else token.expression
            end = len(pattern) if captured else end
        return pattern[:end]


@dataclass(frozen=True)
class _Evidence:
    """The images of all samples, to test whether those of a key resemble each other."""

    labels: tuple[str, ...]
    distinct: npt.NDArray[np.bool_]
    thumbnails: Pixels

    def agreement(self, rows: Indices, key: Indices, barred: Indices) -> Agreement:
        """Look for each image's most similar one among those that differ from it in `barred`.

        Args:
            rows: Which samples.
            key: (N,) of each.
            barred: (N,) of each; different for each where every other image is allowed.
        """
        chosen = _sample(key)
        rows, key, barred = rows[chosen], key[chosen], barred[chosen]
        if len(rows) < 2:
            return Agreement()
        size = near_duplicates.SIDE // _SIDE
        images = self.thumbnails[rows].reshape(len(rows), _SIDE, size, _SIDE, size).mean(axis=(2, 4))
        images = images.reshape(len(rows), -1).astype(np.float32)
        images -= images.mean(axis=1, keepdims=True)
        images /= np.maximum(np.linalg.norm(images, axis=1, keepdims=True), 1e-6)
        allowed = barred[:, None] != barred
        shared = allowed & (key[:, None] == key)
        nearest = np.where(allowed, images @ images.T, -2).argmax(axis=1)
        tested = shared.any(axis=1)
        hits = shared[np.arange(len(rows)), nearest][tested].sum()
        expected = (shared[tested].sum(axis=1) / allowed[tested].sum(axis=1)).sum()
        return Agreement(int(hits), int(tested.sum()), float(expected))

    def within_class(
        self, family: _Family, key: Indices, barred: Indices | None = None
    ) -> dict[str, Agreement]:
        """Compare images of each class in which the key makes groups of a patient's size."""
        barred = np.arange(len(key)) if barred is None else barred
        agreements = {}
        for label, places in self.by_class(family).items():
            sizes = np.unique(key[places], return_counts=True)[1]
            if len(sizes) >= _MIN_GROUPS and sizes.max() <= _LARGEST_GROUP * len(places):
                agreements[label] = self.agreement(family.rows[places], key[places], barred[places])
        return agreements

    def by_class(self, family: _Family) -> dict[str, Indices]:
        """Return by class the places in the family of its samples, one of each set of near duplicates."""
        labels = np.array([self.labels[row] for row in family.rows])
        distinct = self.distinct[family.rows]
        return {str(label): np.flatnonzero(distinct & (labels == label)) for label in np.unique(labels)}

    def between_classes(self, family: _Family, key: Indices, classes: Collection[str]) -> Agreement:
        """Compare images with those of the other classes."""
        by_class = {label: places for label, places in self.by_class(family).items() if label in classes}
        if len(by_class) < 2:
            return Agreement()
        places = np.concatenate([*by_class.values()])
        number = np.repeat(np.arange(len(by_class)), [len(part) for part in by_class.values()])
        return self.agreement(family.rows[places], key[places], number)


def _sample(key: Indices) -> Indices:
    """Which images to compare: all, or whole groups in random order and some others."""
    if len(key) <= _MAX_IMAGES:
        return np.arange(len(key))
    random = np.random.default_rng(0)
    order = random.permutation(len(key))
    _, group, sizes = np.unique(key, return_inverse=True, return_counts=True)
    turn = random.permutation(len(sizes))[group]
    order = order[np.argsort(turn[order], kind="stable")]
    place_in_group = np.arange(len(key)) - np.searchsorted(turn[order], turn[order])
    order = order[place_in_group < _MAX_OF_GROUP]
    several = order[sizes[group[order]] > 1][: _MAX_IMAGES * 3 // 4]
    others = random.permutation(np.setdiff1d(np.arange(len(key)), several))[: _MAX_IMAGES - len(several)]
    return np.sort(np.concatenate([several, others]))


def _key_of_family(
    family: _Family, samples: Sequence[Sample], evidence: _Evidence, tests: int
) -> NameKey | None:
    """The values that name a patient in names of one form, if any do."""
    choice = _choose(family, evidence, tests)
    if choice is None:
        return None
    candidate, classes, agreement = choice
    word = family.word_before(candidate[0]) if len(candidate) == 1 else ""
    word = word if word in _PATIENT_WORDS else ""
    across = bool(word) or evidence.between_classes(family, family.keys(candidate), classes).is_significant(
        tests
    )
    pattern = family.pattern(candidate)
    if pattern:
        expression = re.compile(pattern)
        named = (
            (s.id, captured(expression, s.path.name, s.label, across))
            for s in samples
            if s.label in classes and not s.group
        )
        groups = {name: group for name, group in named if group}
    else:
        folders = zip(family.rows.tolist(), family.values, strict=True)
        groups = {
            samples[row].id: folder if across else f"{samples[row].label}/{folder}"
            for row, (folder,) in folders
            if samples[row].label in classes
        }
    return NameKey(pattern, word, tuple(sorted(classes)), across, groups, agreement)


def _choose(
    family: _Family, evidence: _Evidence, tests: int
) -> tuple[tuple[int, ...], set[str], Agreement] | None:
    """Return the values of the key, the classes in which it holds, and the evidence."""
    classes = set(evidence.by_class(family))
    best: tuple[tuple[int, ...], set[str], Agreement] | None = None
    for candidate in family.candidates():
        key = family.keys(candidate)
        within = evidence.within_class(family, key)
        pooled = sum(within.values(), Agreement())
        if len(candidate) == 1 and family.word_before(candidate[0]) in _PATIENT_WORDS:
            return candidate, classes, pooled
        is_key = pooled.is_significant(tests)
        holding = {
            label
            for label, part in within.items()
            if part.is_significant(tests) or (is_key and (part.exceeds_chance or part.images < _FEW))
        }
        total = sum((within[label] for label in holding), Agreement())
        if not holding and (between := evidence.between_classes(family, key, classes)).is_significant(tests):
            holding, total = classes, between
        if holding and (best is None or total.beyond > best[2].beyond):
            best = candidate, holding, total
    if best is None:
        return None
    # Fewer of its values, a patient instead of each examination, if that ties more images together.
    fine = family.keys(best[0])
    for size in range(1, len(best[0])):
        for candidate in itertools.combinations(best[0], size):
            key = family.keys(candidate)
            within = evidence.within_class(family, key, fine)
            if sum((within[label] for label in best[1] & within.keys()), Agreement()).is_significant(tests):
                total = sum((part for part in evidence.within_class(family, key).values()), Agreement())
                return candidate, best[1], total
    return best


def find_name_keys(samples: Sequence[Sample], thumbnails: Pixels, component: Indices) -> tuple[NameKey, ...]:
    """Find the parts of file names, and folders, that tie samples without a group together.

    Args:
        samples: The N samples.
        thumbnails: uint8 (N, 64, 64), grey.
        component: int64 (N,): equal numbers are near duplicates, of which one counts as evidence.

    Returns:
        The keys, the one of most images first; a sample has a group in one of them at most.
    """
    names = names_below_class(
        [sample.id for sample in samples],
        [sample.split for sample in samples],
        [sample.label for sample in samples],
    )
    read = _read_names(PurePosixPath(name).name for name in names)
    families: dict[tuple[_Token, ...], list[int]] = defaultdict(list)
    for row, (sample, name) in enumerate(zip(samples, read, strict=True)):
        if not sample.group:
            families[name.form].append(row)
    in_folders = [row for row, name in enumerate(names) if "/" in name and not samples[row].group]
    folder_of = tuple((names[row].partition("/")[0],) for row in in_folders)
    candidates = [
        _Family((), np.array(in_folders, np.int64), ("",) * len(in_folders), folder_of),
        *(
            _Family(
                form,
                np.array(rows, np.int64),
                tuple(read[row].prefix for row in rows),
                tuple(read[row].values for row in rows),
            )
            for form, rows in families.items()
        ),
    ]
    distinct = np.zeros(len(samples), np.bool_)
    distinct[np.unique(component, return_index=True)[1]] = True
    evidence = _Evidence(tuple(sample.label for sample in samples), distinct, thumbnails)
    tested = [family for family in candidates if len(family.rows) >= _MIN_GROUPS]
    # In each class, in all of them, and between them.
    tests = sum(len(family.candidates()) * (len(evidence.by_class(family)) + 2) for family in tested) or 1
    keys = [key for family in tested if (key := _key_of_family(family, samples, evidence, tests))]
    ordered, taken = [], set[str]()
    for key in sorted(keys, key=lambda key: -len(key.groups)):
        left = {name: group for name, group in key.groups.items() if name not in taken}
        if left:
            ordered.append(replace(key, groups=left))
            taken |= left.keys()
    return tuple(ordered)
