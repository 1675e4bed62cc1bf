"""Check for marks and text in the pixels and for identifiers in DICOM headers."""

from collections import Counter
from collections.abc import Sequence

from tumorboard.audit.dataset_facts import DatasetFacts
from tumorboard.audit.findings import Finding, NotApplicable, Outcome, check, separate_files
from tumorboard.data.dicom.reader import BURNED_IN
from tumorboard.data.manifest import Sample
from tumorboard.errors import plural

_GREY = 8  # median spread of red, green and blue, 0-255
_MIN_COLOURED = 20  # pixels
_MIN_CHARACTERS = 3  # in a line
_BURNED_IN_NOTE = BURNED_IN.partition("{")[0]


def _by_class(facts: DatasetFacts, samples: Sequence[Sample]) -> tuple[dict[str, int], str]:
    """Count samples by class, as numbers and in words: "3 of 120 a, 1 of 80 b"."""
    totals = Counter(sample.label for sample in facts.samples)
    counts = dict(sorted(Counter(sample.label for sample in samples).items()))
    return counts, ", ".join(f"{n} of {totals[name]} {name}" for name, n in counts.items())


@check("TB601", "coloured marks on grey images")
def coloured_marks(facts: DatasetFacts) -> Outcome:
    """Report grey images with clearly coloured pixels: arrows, lines, text, overlays.

    Why it matters: Somebody marked a lesion. If that happened more often in one class, a network learns the
    marks.

    How it is measured: Red, green and blue differ by less than 8 in the median pixel, and by 60 or more in at
    least 20 pixels, which JPEG compression of grey images does not cause. White, grey and black marks are not
    searched for, except [text](#tb604): no finding does not mean that there are none.

    What to do: Get the images without marks, or crop them away. Look at the heat maps of these images.
    """
    marked = [
        sample
        for sample, image in zip(facts.samples, facts.images, strict=True)
        if image.median_spread < _GREY and image.coloured * image.height * image.width >= _MIN_COLOURED
    ]
    if not marked:
        return ()
    counts, words = _by_class(facts, marked)
    return (
        Finding(
            "warning",
            f"{len(marked)} grey images have coloured marks ({words})",
            "A network can learn the marks, arrows or text of one class instead of the disease.",
            "Get the images without them, or crop them away; check the Grad-CAM heat maps of these images.",
            separate_files(sample.id for sample in marked),
            counts,
        ),
    )


@check("TB602", "text burned into DICOM images")
def burned_in_text(facts: DatasetFacts) -> Outcome:
    """Report DICOM images whose header states or suggests that there is text in the pixels.

    Why it matters: Burned-in text may name the patient, and it may reveal the class.

    How it is measured: BurnedInAnnotation is YES, or the object is a secondary capture or ultrasound. Headers
    are often incomplete or wrong, so no finding is no proof; [TB604](#tb604) analyses the pixels.

    What to do: Look at them. Crop or black out the text before sharing images, models or reports with heat
    maps.
    """
    if all(image.header.format != "DICOM" for image in facts.images):
        return NotApplicable("no DICOM files, whose headers would state burned-in text")
    ids = facts.noted(_BURNED_IN_NOTE)
    if not ids:
        return ()
    return (
        Finding(
            "warning",
            f"{plural(len(ids), 'image')} may contain burned-in text, according to their headers",
            "Burned-in text may name the patient, and a network can learn it instead of the disease.",
            "Look at them; crop or black out the text before sharing images, models or reports.",
            separate_files(ids),
            {"files": len(ids)},
        ),
    )


@check("TB603", "identifiers in DICOM headers")
def identifiers(facts: DatasetFacts) -> Outcome:
    """Report DICOM files whose header identifies somebody.

    The elements are PatientName, PatientID, PatientBirthDate, PatientAddress, AccessionNumber,
    InstitutionName and ReferringPhysicianName, if they are not empty.

    Why it matters: Metrics do not change. But whoever receives the files may learn who the patients are, and
    file names often contain the same.

    How it is measured: Only whether the elements are empty is checked. No value is copied into any output;
    groups are keyed hashes. Private elements, other elements and free text are not searched: this does not
    verify a de-identification.

    What to do: De-identify the files by a profile of DICOM PS3.15 before sharing them; keep a pseudonym of
    each patient, or grouping is lost.
    """
    if all(image.header.format != "DICOM" for image in facts.images):
        return NotApplicable("no DICOM files")
    elements = {s.id: image.header.identifiers for s, image in zip(facts.samples, facts.images, strict=True)}
    ids = [name for name, names in elements.items() if names]
    if not ids:
        return ()
    counts = dict(sorted(Counter(element for names in elements.values() for element in names).items()))
    return (
        Finding(
            "warning",
            f"{len(ids)} headers contain identifiers ({', '.join(counts)}); none is copied anywhere",
            "Metrics do not change, but the files may reveal patients to whoever receives them.",
            "De-identify the files before sharing them; keep a pseudonym of each patient.",
            separate_files(ids),
            counts,
        ),
    )


@check("TB604", "text in the pixels")
def text_in_pixels(facts: DatasetFacts) -> Outcome:
    """Report images with a row of three or more small bright characters on a dark background.

    It may be a name, a date, a side marker or a scale.

    Why it matters: Text may name the patient. If one scanner or hospital writes text and another does not, a
    network can learn the text instead of the disease.

    How it is measured: Connected bright shapes of 5 pixels to 8% of the image's height, brighter than their
    neighbourhood by 50 grey levels of 255, on a background of 40 or less, on one line, of one height and
    close together. Text on tissue or on a bright background, dark text, single characters and characters that
    touch are not found: no finding does not mean that there is none.

    What to do: Look at the files. Crop or black out the text before training or sharing anything.
    """
    samples = [
        sample
        for sample, image in zip(facts.samples, facts.images, strict=True)
        if image.text_length >= _MIN_CHARACTERS
    ]
    if not samples:
        return ()
    counts, words = _by_class(facts, samples)
    return (
        Finding(
            "warning",
            f"{len(samples)} of {len(facts.samples)} images probably contain text ({words})",
            "Text may name the patient, and a network can learn it instead of the disease.",
            "Look at them; crop or black out the text before training or sharing anything.",
            separate_files(sample.id for sample in samples),
            counts,
        ),
    )


CHECKS = (coloured_marks, burned_in_text, identifiers, text_in_pixels)
