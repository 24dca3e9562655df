"""The words and signs that a condition may hold, and those it may not, each with what to write instead."""

FUNCTIONS = ("coalesce", "greatest", "least", "nullif", "abs", "round", "lower", "days_since", "days_until")
KEYWORDS = frozenset(
    ("and", "or", "not", "is", "in", "between", "null", "true", "false", "case", "when", "then", "else", "end", "date")
)

_SUBQUERY = "queries are not allowed; a condition reads the facts of one account"
_PATTERN = "patterns are not allowed; compare with = or IN"
_WINDOW = "window functions are not allowed; a condition reads the facts of one account"
_CAST = "casts are not allowed; facts already have their types"
_ARRAY = "arrays are not allowed; write IN ('a', 'b')"
_ZONE = "times are compared as they stand; AT TIME ZONE and INTERVAL are not allowed, use days_since or days_until"
_CLOCK = "the clock is not a fact; use days_since or days_until"
_WRITE = "statements are not allowed, only a condition over facts"

REFUSED_WORDS = (
    dict.fromkeys(
        ("select", "from", "where", "union", "intersect", "except", "with", "exists", "values", "table"), _SUBQUERY
    )
    | dict.fromkeys(("having", "group", "order", "limit", "offset", "join", "lateral", "returning"), _SUBQUERY)
    | dict.fromkeys(("like", "ilike", "similar", "escape", "regexp", "rlike", "glob"), _PATTERN)
    | dict.fromkeys(("over", "partition", "window", "filter", "within"), _WINDOW)
    | dict.fromkeys(("cast", "try_cast", "convert"), _CAST)
    | dict.fromkeys(("array", "any", "all", "some", "unnest"), _ARRAY)
    | dict.fromkeys(("at", "interval", "timestamp", "timestamptz", "time"), _ZONE)
    | dict.fromkeys(("now", "current_date", "current_timestamp", "current_time", "localtime", "localtimestamp"), _CLOCK)
    | dict.fromkeys(
        ("current_user", "session_user", "user", "current_role", "current_catalog"), "only facts can be read"
    )
    | dict.fromkeys(("insert", "update", "delete", "drop", "create", "alter", "grant", "copy", "do", "call"), _WRITE)
    | dict.fromkeys(("truncate", "set", "begin", "commit", "rollback", "execute", "declare", "explain"), _WRITE)
    | {
        "distinct": "IS DISTINCT FROM and DISTINCT are not allowed; use = with coalesce",
        "if": "IF is not allowed; write CASE WHEN ... THEN ... ELSE ... END",
        "isnull": "write IS NULL",
        "notnull": "write IS NOT NULL",
        "unknown": "write IS NULL",
        "symmetric": "write the lesser bound of BETWEEN first",
        "xor": "XOR is not allowed; compare the two conditions with <>",
        "div": "write / for a division",
        "mod": "remainders are not allowed",
        "collate": "collations are not allowed",
        "as": "names cannot be given inside a condition; give the expression a name under [facts]",
        "row": "rows are not allowed; compare one value at a time",
        "default": "only facts can be read",
    }
)
RESERVED = KEYWORDS | frozenset(FUNCTIONS) | frozenset(REFUSED_WORDS)
"""Words that mean something in a condition, so that no fact can be called so."""

AGGREGATES = ("count", "sum", "max", "min", "avg", "stddev", "median", "bool_or", "bool_and", "every", "rank")

REFUSED_SIGNS = (
    ("--", "-- begins a comment, and comments are not allowed here; to take away a negative number write - -1"),
    ("/*", "comments are not allowed here (they are in the file, after a #)"),
    ("*/", "comments are not allowed here (they are in the file, after a #)"),
    ("::", _CAST),
    (":=", _WRITE),
    ("->", "JSON operators are not allowed; declare the field under [attributes]"),
    ("#>", "JSON operators are not allowed; declare the field under [attributes]"),
    ("@>", "JSON operators are not allowed; declare the field under [attributes]"),
    ("<@", "JSON operators are not allowed; declare the field under [attributes]"),
    ("||", "texts cannot be joined; for a choice write OR"),
    ("&&", "write AND"),
    ("==", "write = once"),
    ("=>", "write >= for 'at least'"),
    ("=<", "write <= for 'at most'"),
    ("<=>", "IS DISTINCT FROM is not allowed; use = with coalesce"),
    ("<<", "bit operators are not allowed"),
    (">>", "bit operators are not allowed"),
    ("!~", _PATTERN),
    ("~", _PATTERN),
    (";", "a condition is one expression; remove the semicolon"),
    (":", "parameters are not allowed; write the value itself"),
    ("$", "parameters and dollar quotes are not allowed; write the value itself"),
    ("?", "parameters are not allowed; write the value itself"),
    ("@", "parameters are not allowed; write the value itself"),
    ('"', "names are written without quotes, and texts in single quotes: 'text'"),
    ("`", "names are written without quotes, and texts in single quotes: 'text'"),
    ("[", _ARRAY),
    ("]", _ARRAY),
    ("{", "braces belong in `because`; a condition names facts without them"),
    ("}", "braces belong in `because`; a condition names facts without them"),
    ("\\", "a backslash means nothing here; a quote inside a text is doubled: 'it''s'"),
    ("#", "comments are not allowed here (they are in the file, after a #)"),
    ("&", "write AND"),
    ("|", "write OR"),
    ("%", "percentages are written as shares: 0.4 for 40 %"),
    ("^", "powers are not allowed"),
    ("!", "write NOT, or <> for 'is not equal'"),
    (".", "facts have one-part names, without a dot"),
)
