from tumorboard.data.class_folders import fault


def test_a_regular_file_has_no_fault(tmp_path):
    path = tmp_path / "narrow\u202fspace é 漢.png"
    path.write_bytes(b"x")
    assert fault(path, path.name) == ""


def test_names_that_no_table_can_carry(tmp_path):
    for name in ("a\nb.png", "a\rb.png", "a\x7fb.png", "a\udce9.png"):
        assert "control characters; rename" in fault(tmp_path / name, name)


def test_what_is_no_file_is_said(tmp_path):
    assert "found a folder" in fault(tmp_path, "x")
    assert "No such file" in fault(tmp_path / "gone", "gone")
