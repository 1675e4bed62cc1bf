"""TB102: files whose name says another format than their content."""

from collections import Counter

from tumorboard.auditing.outcome import Check, Finding, Outcome, alone
from tumorboard.auditing.study import Study

_SUFFIXES = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
    ".dcm": "DICOM",
    ".dicom": "DICOM",
}


def _look(study: Study) -> Outcome:
    kinds = {
        sample.id: (picture.header.format, _SUFFIXES.get(sample.path.suffix.casefold(), ""))
        for sample, picture in zip(study.samples, study.pictures, strict=True)
    }
    # A name without a known ending promises nothing.
    misnamed = {name: kind for name, kind in kinds.items() if kind[1] and kind[0] and kind[0] != kind[1]}
    if not misnamed:
        return ()
    counts = {f"{real} named {said}": n for (real, said), n in Counter(misnamed.values()).items()}
    title = f"{len(misnamed)} misnamed: {', '.join(f'{n} {what}' for what, n in counts.items())}"
    consequence = "They are read by their content here, but other programs may refuse them or skip them."
    return (Finding("note", title, consequence, "Rename them.", alone(list(misnamed)), counts),)


CHECK = Check("TB102", "names that do not fit the content", _look)
