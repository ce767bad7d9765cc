"""--push uploads a folder as huggingface_hub does, and what forbids it is told before work is done."""

from __future__ import annotations

import socket
from pathlib import Path

import huggingface_hub.constants as hub_constants
import pytest

from harness.errors import HarnessError
from harness.export.publish import check_push, push
from tests.helpers.local_hub import local_hub


def test_folder_is_uploaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Private unless it is to be public; small files in the commit, large ones apart; refusals say what to do."""
    folder = tmp_path / "the export"
    folder.mkdir()
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# A model\n")
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 40)
    monkeypatch.setattr(hub_constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(
        hub_constants, "HF_HUB_DISABLE_XET", True
    )  # Xet's servers are another protocol, Git LFS is HTTP
    with local_hub() as hub:
        monkeypatch.setattr(hub_constants, "ENDPOINT", hub.address)
        monkeypatch.setenv("HF_TOKEN", "hf_other")
        with pytest.raises(HarnessError, match="does not accept the token in HF_TOKEN: set HF_TOKEN to another one"):
            check_push("shop/tickets", False)
        monkeypatch.delenv("HF_TOKEN")
        (tmp_path / "token").write_text("hf_other")
        monkeypatch.setattr(hub_constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        with pytest.raises(
            HarnessError, match="does not accept the token of this machine: run `hf auth login --force`"
        ):
            check_push("shop/tickets", False)
        monkeypatch.setenv("HF_TOKEN", hub.token)
        writes = dict(hub.user)
        hub.user["auth"] = {"type": "access_token", "accessToken": {"role": "read"}}
        with pytest.raises(HarnessError) as caught:
            check_push("others/tickets", False)
        assert ["the token in HF_TOKEN may only read" in each for each in caught.value.problems] == [True, False]
        assert caught.value.problems[1].endswith("an owner among someone, shop: --push someone/tickets")
        hub.user = writes
        check_push("Someone/tickets", False)
        check_push("shop/tickets", False)
        assert not hub.created
        assert push(folder, "shop/tickets", False) == f"{hub.address}/shop/tickets"
        assert hub.created[0]["name"] == "tickets" and hub.created[0]["organization"] == "shop"
        assert hub.created[0]["visibility"] == "private"
        check_push("shop/tickets", False)
        assert hub.files == {each.name: each.read_bytes() for each in folder.iterdir()}
        assert len(hub.large) == 1
        check_push("shop/open", True)
        push(folder, "shop/open", True)
        assert hub.created[1]["visibility"] == "public"
        check_push("shop/open", True)
        with pytest.raises(HarnessError, match="that everybody reads: add --public"):
            check_push("shop/open", False)
        (folder / "README.md").write_text("---\nlicense: mit\n---\n# Changed\n")
        hub.fails = 403
        with pytest.raises(HarnessError, match=r"to try again: hf upload shop/tickets '.*the export' --private$"):
            push(folder, "shop/tickets", False)
        with pytest.raises(HarnessError, match=r"hf upload shop/open '.*the export'$"):
            push(folder, "shop/open", True)
        hub.fails = 0


def test_what_forbids_it_is_told_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A name without its owner, no login, no network, and a program that was told to stay offline."""
    for name in ("nobody", "a/b/c", "/b", "a b/c"):
        with pytest.raises(HarnessError, match="write OWNER/NAME"):
            check_push(name, False)
    monkeypatch.setattr(hub_constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HarnessError, match="HF_HUB_OFFLINE is set: unset it"):
        check_push("a/b", False)
    monkeypatch.setattr(hub_constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(hub_constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(HarnessError, match="run `hf auth login` once"):
        check_push("a/b", False)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setattr(hub_constants, "ENDPOINT", f"http://127.0.0.1:{unused.getsockname()[1]}")
        monkeypatch.setenv("HF_TOKEN", "hf_any")
        with pytest.raises(HarnessError, match="cannot be reached"):
            check_push("a/b", False)
