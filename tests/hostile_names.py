"""A hundred names that would do something where a name is not treated as text."""

_MARKUP = (
    "<script>{}</script>",
    "</style><script>{}</script>",
    "</script><script>{}</script>",
    "<img src=x onerror={}>",
    "<svg onload={}>",
    "<iframe srcdoc='<script>{}</script>'>",
    "<a href=javascript:{}>x</a>",
    "<body onload={}>",
    "<details open ontoggle={}>",
    "<input autofocus onfocus={}>",
    "<style onload={}></style>",
    "<video><source onerror={}></video>",
    '"><script>{}</script>',
    "'><script>{}</script>",
    '" onerror="{}',
    "' onerror='{}",
    '" onmouseover={} x="',
    "--><script>{}</script><!--",
    "]]><script>{}</script>",
    "javascript:{}",
    "data:text/html,<script>{}</script>",
    "${{{}}}",
    "{{{{{}}}}}",
    "&lt;script&gt;{}&lt;/script&gt;",
    "&#60;script&#62;{}&#60;/script&#62;",
)
_FORMULAS = tuple(
    start + rest
    for start in ("=", "+", "-", "@", "'=")
    for rest in ("cmd()", "1+1", "SUM(A1:A9)", 'HYPERLINK("http://evil.example")', "cmd|' /C calc'!A1")
)
_MARKS = tuple(f"a{mark}b.png" for mark in "\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u200f\u200e\ufeff")
_OTHERS = (
    "http://evil.example/x.png",
    "//evil.example/x.png",
    "..%2f..%2fetc%2fpasswd",
    "../../etc/passwd",
    "C:\\Windows\\x.png",
    "a|b|c",
    'a,b",c',
    "[link](javascript:x)",
    "![image](http://evil.example/x.png)",
    "*a* _b_ `c`",
    "# title",
    "a" * 255,
    "\u0130\u0131\ud55c\U0001f600",
    "%s%n%x",
    "{0.__class__}",
)
NAMES = tuple(
    one
    for script in ("alert(1)", "document.title='broken'")
    for one in (form.format(script) for form in _MARKUP)
)
NAMES += _FORMULAS + _MARKS + _OTHERS
FORMULAS = _FORMULAS
