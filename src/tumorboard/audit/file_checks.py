"""Check the files themselves: unreadable, misnamed, of several frames, of extreme size, or blank."""

from collections import Counter

import numpy as np

from tumorboard.audit.dataset_facts import DatasetFacts
from tumorboard.audit.findings import Finding, NotApplicable, Outcome, check, separate_files
from tumorboard.data.grey import LOST_CONTRAST
from tumorboard.data.left_out import CHOSEN
from tumorboard.errors import display, plural

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
_TINY = 64  # pixels of the shorter side
_HUGE = 25_000_000  # pixels in total
_FACTOR = 50  # times the median number of pixels, or a fraction of it
_NAMED = 3  # of what is no input
_FLAT, _DARK = 2.0, 16  # grey levels: standard deviation, brightest


@check("TB101", "files that cannot be read", "error")
def unreadable_files(facts: DatasetFacts) -> Outcome:
    """Report files of the class folders that cannot be read as images.

    They are empty, damaged, truncated, too large or of another format, named pipes, folders named
    like an image, dangling links, or their name is not valid UTF-8.

    Why it matters: Other tools skip such files silently or fail in the middle of an epoch. The data set is
    then smaller than its folders suggest, and if one class has more damaged files than the others, its class
    balance differs too.

    How it is measured: Each file is identified by its content, not its name, and decoded completely by the
    reader that training and prediction use. What is no input at all is [TB107](#tb107).

    What to do: Repair or remove the files. `tumorboard train` lists all of them and does not begin, unless
    `--skip-bad` is given.
    """
    count = len(facts.problems)
    if not count:
        return ()
    subject = "file cannot be read as an image and is" if count == 1 else "files cannot be read and are"
    return (
        Finding(
            "error",
            f"{count} {subject} left out",
            "The data set is smaller than its folders suggest, perhaps more so in one class.",
            "Repair or remove the files; train stops at them unless --skip-bad is given.",
            separate_files(facts.problems),
            {"files": count},
        ),
    )


@check("TB102", "file extensions that do not match the content", "note")
def misnamed_files(facts: DatasetFacts) -> Outcome:
    """Report files whose extension names another format than their content, such as a JPEG named `.png`.

    Why it matters: Results here do not change, because files are read by content. Other programs may refuse
    or skip them, and a wrong extension shows that files were renamed without conversion: JPEG compression may
    have left its traces in some classes only.

    How it is measured: The format that the reader identified is compared with the usual extensions. A name
    without a known extension is not a finding.

    What to do: Rename the files.
    """
    formats = {
        sample.id: (image.header.format, _SUFFIXES.get(sample.path.suffix.casefold(), ""))
        for sample, image in zip(facts.samples, facts.images, strict=True)
    }
    misnamed = {name: pair for name, pair in formats.items() if all(pair) and pair[0] != pair[1]}
    if not misnamed:
        return ()
    counts = {f"{real} named {named}": n for (real, named), n in Counter(misnamed.values()).items()}
    return (
        Finding(
            "note",
            f"{plural(len(misnamed), 'file')} with a wrong extension: "
            + ", ".join(f"{n} {pair}" for pair, n in counts.items()),
            "They are read by content here, but other programs may refuse or skip them.",
            "Rename them.",
            separate_files(misnamed),
            counts,
        ),
    )


@check("TB103", "files with several frames")
def several_frames(facts: DatasetFacts) -> Outcome:
    """Report files with more than one frame or page, such as TIFF stacks or animated PNG and WebP.

    Why it matters: Only the first frame is read, and the label may describe another one.

    How it is measured: By the number of frames in the header. DICOM objects with several frames are read
    with `--frames` alone ([volumes](volumes.md)).

    What to do: Save each frame that is needed as a file of its own.
    """
    ids = [s.id for s, image in zip(facts.samples, facts.images, strict=True) if image.header.several]
    if not ids:
        return ()
    return (
        Finding(
            "warning",
            f"{plural(len(ids), 'file')} with more than one frame or page",
            "Only the first frame is read, and the label may describe another one.",
            "Save each frame that is needed as a file of its own.",
            separate_files(ids),
            {"files": len(ids)},
        ),
    )


@check("TB104", "very large and very small images", "warning or note")
def extreme_sizes(facts: DatasetFacts) -> Outcome:
    """Report images that are much smaller or larger than the network's input or than the other images.

    Small images have a side below 64 pixels or 50 times fewer pixels than the median (warning), large ones
    more than 25 million pixels or 50 times the median (note).

    Why it matters: Enlarged to the network's input, a small image shows no detail: often it is a thumbnail
    that was collected by mistake. Reduced, a large one loses its detail: often it is a montage or a whole
    page.

    How it is measured: Height times width, EXIF orientation applied.

    What to do: Look at them; get the full images, crop the relevant region, or leave them out.
    """
    areas = np.array([image.height * image.width for image in facts.images], np.int64)
    median = np.median(areas) if len(areas) else 0
    images = list(zip(facts.samples, facts.images, areas, strict=True))
    small = [s.id for s, i, area in images if min(i.height, i.width) < _TINY or area * _FACTOR < median]
    large = [s.id for s, _, area in images if area > _HUGE or area > _FACTOR * median]
    tiny = Finding(
        "warning",
        f"{plural(len(small), 'image')} with a side below {_TINY} pixels or {_FACTOR} times fewer pixels "
        "than the median",
        "Enlarged to the network's input, they show no detail that would distinguish the classes.",
        "Check whether they are thumbnails or crops; get the full images or leave them out.",
        separate_files(small),
        {"files": len(small)},
    )
    huge = Finding(
        "note",
        f"{plural(len(large), 'image')} with more than {_HUGE // 10**6} million pixels or {_FACTOR} times "
        "the median",
        "Reduced to the network's input, they lose nearly all detail; they also cost time and memory.",
        "Check whether they are montages or whole pages; crop the region that the label describes.",
        separate_files(large),
        {"files": len(large)},
    )
    return tuple(finding for finding in (tiny, huge) if finding.files)


@check("TB105", "blank images")
def blank_images(facts: DatasetFacts) -> Outcome:
    """Report images that are blank, or nearly black after reading.

    Why it matters: From them a model learns only that a blank image has this label.

    How it is measured: The grey thumbnail of 64 x 64 pixels has a standard deviation below 2 grey levels of
    255, or no pixel above 15.

    What to do: Look at them. Set a window for values of more than 8 bits; leave blank images out.
    """
    small = facts.thumbnails
    blank = (small.std(axis=(1, 2)) < _FLAT) | (small.max(axis=(1, 2), initial=0) < _DARK)
    ids = [facts.samples[i].id for i in np.flatnonzero(blank)]
    if not ids:
        return ()
    return (
        Finding(
            "warning",
            f"{len(ids)} {'image is' if len(ids) == 1 else 'images are'} blank or nearly black after reading",
            "From them a model learns only that a blank image has this label.",
            "Look at them; set a window for values of more than 8 bits, leave blank images out.",
            separate_files(ids),
            {"files": len(ids)},
        ),
    )


@check("TB106", "images that lose most of their grey levels")
def lost_contrast(facts: DatasetFacts) -> Outcome:
    """Report images of more than 8 bits that keep few grey levels when they are read.

    Why it matters: What distinguishes the classes may be in the levels that are lost. Hounsfield units plus
    32,768 in 16-bit PNG, for example, keep fewer than 16 of several thousand levels without a window.

    How it is measured: The image has fewer than 32 grey levels as it is read, and its file at least 4 times
    as many values.

    What to do: Set a window that fits the values, `--window=CENTER,WIDTH`; for Hounsfield units plus 32,768,
    lung is 32168,1500.
    """
    if all(image.header.bits <= 8 for image in facts.images):
        return NotApplicable("no images of more than 8 bits")
    ids = facts.noted(LOST_CONTRAST)
    if not ids:
        return ()
    return (
        Finding(
            "warning",
            f"{plural(len(ids), 'image loses', 'images lose')} most of the grey levels",
            "What distinguishes the classes may be in the levels that are lost.",
            "Set a window that fits the values, --window=CENTER,WIDTH.",
            separate_files(ids),
            {"files": len(ids)},
        ),
    )


@check("TB107", "images and files that are left out", "note")
def no_input(facts: DatasetFacts) -> Outcome:
    """Report files and folders among the images that are left out as no input, and images left out by choice.

    Why it matters: Files that are no input change no metric; an image with such a name would be missed. All
    results are about the images that were not left out by choice (`--exclude`).

    How it is measured: Left out by their names are those that begin with a dot, `Thumbs.db`, `desktop.ini`,
    `__MACOSX`, `DICOMDIR`, README and LICENSE. What Tumorboard wrote (tables, heat maps, reports, manifests,
    run folders) is recognised by the notice in it.

    What to do: Nothing, unless an image is among them: rename it. State which images you left out, and why.
    """
    chosen = [entry for entry in facts.left_out if entry.reason == CHOSEN]
    by_choice = tuple(
        Finding(
            "note",
            f"{plural(entry.count, 'image')} left out by choice (--exclude)",
            "All results are about the other images.",
            "State with the results which images were left out, and why.",
            separate_files(entry.names),
            {"images": entry.count},
        )
        for entry in chosen
    )
    others = [entry for entry in facts.left_out if entry not in chosen]
    count = sum(entry.count for entry in others)
    if not count:
        return by_choice
    names = [display(name) for entry in others for name in entry.names][:_NAMED]
    more = f" and {count - _NAMED} more" if count > _NAMED else ""
    return (
        *by_choice,
        Finding(
            "note",
            f"{plural(count, 'file or folder', 'files or folders')} left out as no input: "
            f"{', '.join(names)}{more}",
            "Metrics do not change, unless an image is among them.",
            "Look at the names; rename an image that is among them.",
            separate_files(map(str, others)),
            {"files": count},
        ),
    )


CHECKS = (
    unreadable_files,
    misnamed_files,
    several_frames,
    extreme_sizes,
    blank_images,
    lost_contrast,
    no_input,
)
