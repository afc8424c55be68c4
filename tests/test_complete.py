"""Completion: names of the cluster, by kind, as a shell asks for them."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.apiserver import failing, json_answer, kubeconfig, serving

JOBSETS = "/apis/jobset.x-k8s.io/v1alpha2/namespaces/team/jobsets"
ITEMS = [{"metadata": {"name": name}} for name in ("train", "tune", "serve")]


def completed(folder: Path, *words: str, broken: bool = False) -> list[str]:
    """What the shell is offered for the last of the words, options for the cluster apart."""

    async def main() -> list[str]:
        async with serving() as server:
            answer = failing(500, "InternalError") if broken else json_answer({"metadata": {}, "items": ITEMS})
            server.on("GET", JOBSETS, answer)
            config = kubeconfig(folder / "config", server.url)
            line = ["jsr", words[0], "-n", "team", "--kubeconfig", str(config), *words[1:]]
            environment = {
                **os.environ,
                "_JSR_COMPLETE": "complete_bash",
                "COMP_WORDS": "\n".join(line),
                "COMP_CWORD": str(len(line) - 1),
            }
            command = [sys.executable, "-m", "jobset_restart"]
            process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE)
            out, _ = await process.communicate()
            return out.decode().split()

    return asyncio.run(asyncio.wait_for(main(), 60))


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("restart", "t"), ["train", "tune", "trainjob/"]),
        (("status", "jobset/t"), ["jobset/train", "jobset/tune"]),
        (("status", "JS/se"), ["JS/serve"]),
        (("wait", "jobsets", "t"), ["train", "tune"]),
        (("restart", "jobs"), ["jobset/"]),
        (("restart", "job"), ["jobset/", "job/"]),
        (("restart", "nosuchkind/"), []),
        (("restart", "train", ""), []),
    ],
)
def test_names_are_offered_by_kind(tmp_path: Path, words: tuple[str, ...], offered: list[str]) -> None:
    assert completed(tmp_path, *words) == offered


def test_an_error_offers_nothing(tmp_path: Path) -> None:
    assert completed(tmp_path, "restart", "s", broken=True) == []
