"""TB407: groups, such as patients, in more than one split."""

from collections import defaultdict

from tumorboard.auditing.outcome import Check, Finding, NotApplicable, Outcome
from tumorboard.auditing.study import Study
from tumorboard.data.manifest import Sample


def _look(study: Study) -> Outcome:
    if len(study.manifest.counts) < 2:
        return NotApplicable("the data has one part only")
    members: dict[str, list[Sample]] = defaultdict(list)
    for sample in study.samples:
        if sample.group:
            members[sample.group].append(sample)
    if not members:
        return NotApplicable("the data names no groups")
    torn = [group for group in members.values() if len({sample.split for sample in group}) > 1]
    if not torn:
        return ()
    images = sum(map(len, torn))
    return (
        Finding(
            "error",
            f"{len(torn)} of {len(members)} groups, with {images} images, are in more than one split",
            "A model can recognise the patient instead of the disease; for new ones figures are too good.",
            "Make new splits with tumorboard split, which keeps groups together.",
            tuple(tuple(sample.id for sample in group) for group in torn),
            {"groups": len(members), "torn": len(torn), "images": images},
        ),
    )


CHECK = Check("TB407", "groups across splits", _look)
