"""Paths that try to lead out of the folder that they are joined to."""

from hypothesis import strategies as st

_PIECES = st.one_of(
    st.sampled_from(
        [
            "..",
            ".",
            "",
            "a",
            "config.json",
            "model.weights.h5",
            "C:",
            "c:x",
            "con",
            "~",
            "\0",
            "...",
            " ",
            ".. ",
        ]
    ),
    st.text(st.characters(codec="utf-8"), max_size=6),
)
_SEPARATORS = st.sampled_from(["/", "\\", "//", "/./", "\\\\", ""])
PATHS = st.tuples(_SEPARATORS, _PIECES, _SEPARATORS, _PIECES, _SEPARATORS, _PIECES).map("".join)
