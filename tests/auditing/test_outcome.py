from tumorboard.auditing.outcome import alone


def test_each_file_alone_is_a_group() -> None:
    assert alone(["a", "b"]) == (("a",), ("b",))
    assert alone([]) == ()
