"""The shell of the embedded cluster does what a real one does, or says that it cannot."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from jobset_restart.simulator.controllers.sh import Interpreter, Output, Unsupported

FILE = "Name:\tsh\nSigCgt:\t0000000000014002\nlast line\n"
SCRIPTS = [
    "echo hi; exit 3",
    "false || echo no && true",
    "true && false; echo $?",
    "! false && echo turned",
    "{ echo a; echo b; } && echo c",
    'x=1; y="$x 2"; echo $y "$y" \'$y\' ${x}3',
    'a="x   y"; echo $a; echo "$a"',
    "if false; then echo 1; elif true; then echo 2; else echo 3; fi",
    "if false; then echo 1; fi; echo $?",
    "case abc in x*) echo x;; a?c|z) echo yes;; *) echo no;; esac",
    'case "a*" in "a*") echo star;; esac; case ab in "a*") echo no;; esac; echo $?',
    'while read -r k v; do echo "$v|$k"; done </FILE',
    'while read -r l; do case "$l" in SigCgt:*[4567cdef]???) echo caught; exit;; esac; done </FILE; exit 97',
    'while read -r l; do case "$l" in SigCgt:*[89abcdef]???) echo caught; exit;; esac; done </FILE; exit 97',
    "until true; do echo never; done; echo $?",
    "read -r a b </FILE; echo $b$a",
    "echo a # a comment\necho 'b # no comment'",
    "echo one\\\n two; echo a\\ b",
    "echo x >/dev/null; nosuch 2>/dev/null; echo $?",
    'echo ""a""',
    "[ a = a ] && [ a != b ] && [ -n x ] && [ -z '' ] && echo ok",
    "exit",
    "false; exit",
    "echo a;\n\necho b",
]


def run(words: list[str]) -> Output:
    """What the scripts use, with a real program behind it."""
    if shutil.which(words[0]) is None:
        return "", "", 127
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout, done.stderr, done.returncode


@pytest.mark.parametrize("script", SCRIPTS)
def test_it_does_what_sh_does(script: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("sh") / "file"
    file.write_text(FILE)
    script = script.replace("/FILE", str(file))
    real = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    mine = Interpreter(run, lambda path: FILE if path == str(file) else None, shutil.which).script(script)
    assert (mine[0], mine[2]) == (real.stdout, real.returncode)


def test_programs_are_looked_up() -> None:
    def find(name: str) -> str | None:
        return "/bin/known" if name == "known" else None

    assert Interpreter(run, lambda path: None, find).script("command -v known || :") == ("/bin/known\n", "", 0)
    assert Interpreter(run, lambda path: None, find).script("command -v other || true") == ("", "", 0)


@pytest.mark.parametrize(
    "script",
    [
        "for i in 1 2; do echo $i; done",
        "echo $(id)",
        "echo `id`",
        "echo $((1 + 1))",
        "echo ${x##*}",
        "echo a | cat",
        "sleep 1 &",
        "f() { echo; }; f",
        "(echo a)",
        "echo a >file",
        "echo 'a",
        'echo "a',
        "if true; then echo",
        "while :; do :; done",
        "echo *",
        "done",
        "this is no script at all (((",
    ],
)
def test_what_is_not_in_the_subset_is_refused_in_words(script: str) -> None:
    def nothing(words: list[str]) -> Output:
        return "", "", 0

    with pytest.raises(Unsupported):
        Interpreter(nothing, lambda path: None, lambda name: None).script(script)
