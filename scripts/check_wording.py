#!/usr/bin/env python3
"""Search comments, messages and documents for the phrases that CONTRIBUTING.md, section "Writing", advises against.

    scripts/check_wording.py                 check every tracked file
    scripts/check_wording.py FILE...         check these files
    scripts/check_wording.py --self-test

The table of that section is the configuration: phrases in backticks in the first column, the replacement in the second.
A phrase matches in any case, as whole words, and across line breaks. Searched are Markdown text, comments, and string
literals that contain a space. Code is not searched, nor code in backticks or in the braces of a format string. Prints
`file:line: "phrase" (write: replacement)`; exits with 1 if it found any, with 2 if there is no table.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TABLE = "CONTRIBUTING.md"
SUFFIXES = {".rs", ".md", ".py", ".sh", ".toml", ".cu", ".cuh", ".h", ".cpp", ".html", ".js"}
NOT_PROSE = re.compile(r"^(CONTRIBUTING\.md|LICENSE|Cargo\.lock|scripts/check_wording\.py|.*/snapshots/.*)$")

STRING = r'"(?:\\.|[^"\\])*"'
# Alternatives in order: a literal that hides comment markers has to be consumed before them.
PROSE = {
    "c": re.compile(rf"//[^\n]*|/\*.*?\*/|r(?P<hashes>#*)\".*?\"(?P=hashes)|b?{STRING}|'(?:\\.[^']*|[^'\\\n])'", re.S),
    "hash": re.compile(rf"\"\"\".*?\"\"\"|\#[^\n]*|{STRING}|'[^'\n]*'", re.S),
}
# What stands between the words of a sentence in comments: line breaks, comment markers, escaped line ends, quotes.
MARKERS = re.compile(r"(?m)^[ \t]*(?://[/!]?|#+|\*(?!\*)|>)|\\n|\\\n")
INLINE_CODE = re.compile(r"`[^`\n]*`|\{[^{}\n]*\}")


def blank(text: str) -> str:
    """Spaces in place of everything but line breaks, so that positions and line numbers stay."""
    return re.sub(r"[^\n]", " ", text)


def prose(text: str, suffix: str) -> str:
    """The text with everything that is not prose blanked out."""
    if suffix not in {".md", ".html"}:
        language = "hash" if suffix in {".py", ".sh", ".toml"} else "c"
        kept, end = [], 0
        for match in PROSE[language].finditer(text):
            kept.append(blank(text[end : match.start()]))
            part = match.group()
            is_comment = part.startswith(("//", "/*", "#", '"""'))
            kept.append(part if is_comment or " " in part else blank(part))
            end = match.end()
        text = "".join(kept) + blank(text[end:])
    for pattern in (INLINE_CODE, MARKERS):
        text = pattern.sub(lambda match: blank(match.group()), text)
    return text


def read_table(contributing: str) -> dict[str, str]:
    """Phrases, in lower case, with their replacements."""
    section = re.search(r"(?ms)^## Writing$(.*?)(?=^## |\Z)", contributing)
    table = {}
    for row in re.finditer(r"(?m)^\|([^|]*)\|([^|]*)\|", section.group(1) if section else ""):
        for phrase in re.findall(r"`([^`]+)`", row.group(1)):
            table[" ".join(phrase.lower().split())] = row.group(2).strip()
    return table


def pattern_of(table: dict[str, str], between_words: str = r"\s+") -> re.Pattern[str]:
    phrases = sorted(table, key=len, reverse=True)
    words = "|".join(between_words.join(re.escape(word) for word in phrase.split()) for phrase in phrases)
    return re.compile(rf"\b(?<!-)(?:{words})(?![\w-])", re.I)


def find(text: str, suffix: str, table: dict[str, str], pattern: re.Pattern[str]) -> list[tuple[int, str, str]]:
    """Line, phrase and replacement of every match."""
    found = []
    text = prose(text, suffix)
    for match in pattern.finditer(text):
        phrase = " ".join(match.group().split())
        if phrase.endswith(" None"):  # the value, as in "if it is None"
            continue
        found.append((text.count("\n", 0, match.start()) + 1, phrase, table[phrase.lower()]))
    return found


def tracked_files() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    return listed.stdout.split("\0")


def check(names: list[str], table: dict[str, str]) -> int:
    pattern = pattern_of(table)
    anywhere = pattern_of(table, r"\W+")  # finds out quickly which files need a closer look
    count = 0
    for name in names:
        path = ROOT / name
        if path.suffix not in SUFFIXES or NOT_PROSE.match(name) or not path.is_file():
            continue
        text = path.read_text()
        if not anywhere.search(text):
            continue
        for line, phrase, replacement in find(text, path.suffix, table, pattern):
            print(f'{name}:{line}: "{phrase}" (write: {replacement})')
            count += 1
    if count:
        print(f"error: {count} phrases to replace; {TABLE}, section Writing, has the list", file=sys.stderr)
    return 1 if count else 0


def self_test() -> None:
    table = read_table(
        "# Contributing\n## Code\n| `code` | no |\n## Writing\n\n| instead of | write |\n|---|---|\n"
        "| `lies` | is |\n| `so long`, `so much` | this long |\n## After\n| `after` | no |\n"
    )
    assert table == {"lies": "is", "so long": "this long", "so much": "this long"}, table
    pattern = pattern_of(table)

    def lines(suffix: str, text: str) -> list[int]:
        return [line for line, _, _ in find(text, suffix, table, pattern)]

    assert lines(".rs", "// It Lies here.\nlet lies = 1;\n/// so\n/// long as\n") == [1, 3]
    assert lines(".rs", 'panic!("it lies"); key("lies"); let c = \'"\'; // so much\n') == [1, 1]
    assert lines(".rs", 'let s = r#"a "so long" b"#; f("// x", lies);\n') == [1]
    assert lines(".rs", "/* a\n lies */ lies // `lies` flies, lies-like\n") == [2]
    assert lines(".rs", "fn f<'a>(x: &'a str) { lies } // lies\n") == [1]
    assert lines(".rs", 'let m = "waits so \\\n    long";\n') == [1]
    assert lines(".md", "It lies.\n\n> so\n> much `lies`\n") == [1, 3]
    assert lines(".py", '"""It\nlies."""\nlies = "lies"  # so long\n') == [2, 3]
    assert lines(".sh", 'echo "it lies" # lies\nlies\n') == [1, 1]
    assert lines(".toml", 'description = "It lies"\nlies = "lies" # lies\n') == [1, 2]
    assert lines(".py", 'f"{a if lies else b} so long"  # if so\n') == [1]
    assert lines(".h", "int lies; // lies\n") == [1]
    assert find("it lies", ".md", table, pattern) == [(1, "lies", "is")]
    print("check_wording: self-test passed")


def main() -> int:
    if sys.argv[1:] == ["--self-test"]:
        self_test()
        return 0
    table = read_table((ROOT / TABLE).read_text())
    if not table:
        print(f'error: {TABLE} has no table of phrases under "## Writing"', file=sys.stderr)
        return 2
    return check(sys.argv[1:] or tracked_files(), table)


if __name__ == "__main__":
    sys.exit(main())
