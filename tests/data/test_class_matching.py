import pytest

from tumorboard.data.class_matching import match, parse_groups
from tumorboard.errors import DataError, UsageError

STUDY = [
    "adenocarcinoma_left.lower.lobe_T2_N0_M0_Ib",
    "large.cell.carcinoma_left.hilum_T2_N2_M0_IIIa",
    "normal",
    "squamous.cell.carcinoma_left.hilum_T1_N2_M0_IIIa",
]
SHORT = ["adenocarcinoma", "large.cell.carcinoma", "normal", "squamous.cell.carcinoma"]


def test_the_studys_folders_match():
    found = match({"train": STUDY, "valid": STUDY, "test": SHORT})
    assert found.splits == ("train", "valid", "test")
    assert found.rows == tuple((s, long, long, s) for s, long in zip(SHORT, STUDY, strict=True))
    assert found.class_of == dict(zip(STUDY, SHORT, strict=True)) | {name: name for name in SHORT}


@pytest.mark.parametrize(
    ("train", "test", "name"),
    [
        ("Large_Cell Carcinoma", "large.cell.carcinoma", "Large_Cell Carcinoma"),
        ("NORMAL", "normal", "NORMAL"),
        ("benign", "Benign-case", "benign"),
        ("malignant.left", "malignant", "malignant"),
        ("Länge", "länge", "Länge"),
    ],
)
def test_spellings_of_one_class(train, test, name):
    found = match({"train": [train, "other"], "test": [test, "other"]})
    assert found.class_of[train] == found.class_of[test] == name


def test_an_exact_name_is_not_given_to_a_longer_one():
    both = ["large", "large.cell.carcinoma"]
    assert match({"train": both, "test": both}).class_of == {name: name for name in both}


def test_a_name_of_separators_is_no_prefix():
    with pytest.raises(DataError, match="no counterpart"):
        match({"train": ["carcinoma", "x"], "test": ["--", "x"]})


def test_a_prefix_ends_at_a_separator():
    with pytest.raises(DataError, match="no counterpart"):
        match({"train": ["car", "x"], "test": ["carcinoma", "x"]})


@pytest.mark.parametrize(
    ("folders", "named"),
    [
        ({"train": ["adeno_left", "adeno_right"], "test": ["adeno"]}, ["adeno_left", "adeno_right"]),
        (
            {"train": ["large.cell_x", "b"], "test": ["large", "large.cell", "b"]},
            ["large.cell", "large"],
        ),
        (
            {"train": ["large", "carcinoma"], "test": ["large", "large.cell.carcinoma"]},
            ["large.cell.carcinoma"],
        ),
        ({"train": ["a"], "test": ["a", "b"]}, ["test", "'b'"]),
        ({"": ["Normal", "normal"]}, ["Normal", "normal"]),
        ({"train": ["a_x", "a_y"], "valid": ["a", "a_y"], "test": ["a", "a_x"]}, ["'a'", "two classes"]),
    ],
)
def test_what_is_ambiguous_or_unmatched_is_listed(folders, named):
    with pytest.raises(DataError, match="--class-map") as caught:
        match(folders)
    assert len(str(caught.value)) <= 300
    listed = "\n".join(caught.value.details)
    assert all(name in listed for name in named), listed


def test_a_class_that_a_split_lacks_is_named_with_what_mends_it():
    folders = {"train": ["a", "b"], "valid": ["a"], "test": ["a", "b"]}
    with pytest.raises(DataError, match=r"nothing here for 'b' in valid; .* or make new splits") as caught:
        match(folders, source="scans/")
    assert "tumorboard split scans/ --out splits.csv" in str(caught.value)
    assert caught.value.details == ("valid: nothing here for 'b' (train)",)
    assert set(match(folders, complete=False).class_of) == {"a", "b"}


def test_an_accent_in_two_unicode_forms_is_one_name():
    one, two = "L\u00e4nge", "La\u0308nge"
    assert match({"": [one, "b"]}, merge={"x": [two, "b"]}).class_of == {one: "x", "b": "x"}
    assert match({"": [one, "b"]}, {two: [two]}).class_of[one] == one


def test_many_problems_fit_one_line():
    folders = {"train": [f"class {'x' * 200} {n}" for n in range(50)], "test": ["other"]}
    with pytest.raises(DataError) as caught:
        match(folders)
    assert len(str(caught.value)) <= 300
    assert len(caught.value.details) == 51


def test_class_map_decides():
    folders = {"train": ["adeno_left", "adeno_right", "n"], "test": ["adeno", "healthy"]}
    found = match(folders, {"adeno": ["adeno_left", "adeno_right"], "normal": ["n", "healthy"]})
    assert found.rows == (("adeno", "adeno_left, adeno_right", "adeno"), ("normal", "n", "healthy"))


def test_a_forced_name_is_kept_although_a_shorter_one_matches():
    found = match({"train": ["x", "b"], "test": ["lung", "b"]}, {"lung.cancer": ["x"]})
    assert found.class_of == {"x": "lung.cancer", "lung": "lung.cancer", "b": "b"}


@pytest.mark.parametrize(
    ("class_map", "reason"),
    [
        ({"a": ["nowhere"]}, "no folder is called 'nowhere'; known: one, two"),
        ({"a": ["one"], "b": ["one"]}, "choose one"),
    ],
)
def test_a_class_map_that_does_not_fit(class_map, reason):
    with pytest.raises(DataError, match=reason):
        match({"train": ["one", "two"]}, class_map)


def test_merge_asks_the_binary_question():
    cancers = [name for name in SHORT if name != "normal"]
    found = match({"train": STUDY, "test": SHORT}, merge={"cancer": cancers})
    assert [row[0] for row in found.rows] == ["cancer", "normal"]
    assert {found.class_of[name] for name in STUDY} == {"cancer", "normal"}
    assert found.class_of["adenocarcinoma"] == "cancer"


def test_merge_may_take_the_name_of_a_class_that_it_holds():
    assert match({"": ["a", "b", "c"]}, merge={"a": ["a", "b"]}).class_of == {"a": "a", "b": "a", "c": "c"}


@pytest.mark.parametrize(
    ("merge", "reason"),
    [
        ({"x": ["a", "zebra"]}, "no class is called 'zebra'; known: a, b, c"),
        ({"x": ["a"], "y": ["a"]}, "choose one"),
        ({"c": ["a", "b"]}, "not in the list"),
    ],
)
def test_a_merge_that_does_not_fit(merge, reason):
    with pytest.raises(DataError, match=reason):
        match({"": ["a", "b", "c"]}, merge=merge)


def test_groups_of_the_command_line():
    assert parse_groups(["cancer=a, b", "n=normal"]) == {"cancer": ("a", "b"), "n": ("normal",)}
    assert parse_groups([]) == {}


@pytest.mark.parametrize("values", [["cancer"], ["=a"], ["a="], ["a=b,,c"], ["a=b", "a=c"], ["a=b,b"]])
def test_malformed_groups(values):
    with pytest.raises(UsageError, match="expected"):
        parse_groups(values)
