"""Texts: in pieces, in any encoding, by path; refused in the words of `clearhead look`."""

import gzip
from base64 import b64encode
from pathlib import Path

import pytest

from clearhead.cli.main import main
from studio.opened import Client, opened

VERSE = "Łódź liegt still, és a szél énekel — 風.\r\n" * 20


def names(client: Client) -> list[str]:
    return [text["name"] for text in client.get("/api/state")["texts"]]


def said_by_look(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["look", str(path)]) == 2
    return capsys.readouterr().err.removeprefix("clearhead: ").strip()


def test_a_text_comes_in_pieces_and_is_the_same(tmp_path: Path) -> None:
    data = VERSE.encode()
    with opened(tmp_path / "runs") as client:
        done, upload = client.upload("../My  Verse.txt", data, piece=101)
        assert done.json == {
            "id": upload,
            "name": "../My  Verse.txt",
            "kind": "uploaded",
            "characters": len(VERSE),
            "bytes": len(data),
            "problem": None,
        }
        (file,) = (tmp_path / "runs" / ".studio" / "texts" / upload).glob("*.txt")
        assert (file.name, file.read_bytes()) == ("My-Verse.txt", data)
        looked = client.get(f"/api/texts/{upload}/look")
        assert (looked["characters"], looked["corpus"]) == (len(VERSE), "My-Verse.txt")
    with opened(tmp_path / "runs") as again:
        assert "../My  Verse.txt" in names(again)
        again.post(f"/api/texts/{upload}/delete")
        assert "../My  Verse.txt" not in names(again)
        assert not file.exists()


def test_an_upload_goes_on_after_the_server_was_started_again(tmp_path: Path) -> None:
    with opened(tmp_path) as client:
        upload = client.post("/api/texts", name="a.txt", size=6)["upload"]
        client.post(f"/api/texts/{upload}", offset=0, data=b64encode(b"abc").decode())
    with opened(tmp_path) as client:
        assert client.post(f"/api/texts/{upload}", offset=3, data=b64encode(b"abd").decode()) == {"received": 6}
        assert client.post(f"/api/texts/{upload}/done")["characters"] == 6


def test_pieces_must_fit(tmp_path: Path) -> None:
    with opened(tmp_path) as client:
        upload = client.post("/api/texts", name="a.txt", size=4)["upload"]
        piece = b64encode(b"abc").decode()
        assert client.refused("POST", f"/api/texts/{upload}", offset=1, data=piece)[2] == "not_next"
        client.post(f"/api/texts/{upload}", offset=0, data=piece)
        assert client.refused("POST", f"/api/texts/{upload}", offset=0, data=piece)[2] == "not_next"
        assert client.refused("POST", f"/api/texts/{upload}", offset=3, data=piece)[0] == 400
        assert client.refused("POST", f"/api/texts/{upload}", offset=3, data="?")[1] == "the data is no base64"
        assert client.refused("POST", f"/api/texts/{upload}", offset=3, data="A" * (3 << 19))[0] == 413
        assert client.refused("POST", f"/api/texts/{upload}/done")[2] == "not_whole"
        assert client.refused("POST", "/api/texts/0123456789abcdef", offset=0, data=piece)[2] == "no_upload"


@pytest.mark.parametrize("size", [0, -1, (1 << 30) + 1])
def test_a_text_has_a_size(tmp_path: Path, size: int) -> None:
    with opened(tmp_path) as client:
        status, message, _ = client.refused("POST", "/api/texts", name="a.txt", size=size)
        assert status == 400
        assert "1 to 1,073,741,824" in message


def test_what_is_not_utf8_is_refused_with_its_offset_and_read_with_an_encoding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "Grüße aus Łódź — é\r\n" * 9
    with opened(tmp_path) as client:
        for encoding, data in (("cp1250", text.encode("cp1250", "replace")), ("utf-16", text.encode("utf-16"))):
            done, upload = client.upload("gruss.txt", data)
            (tmp_path / "gruss.txt").write_bytes(data)
            expected = said_by_look(tmp_path / "gruss.txt", capsys).replace(str(tmp_path / "gruss.txt"), "gruss.txt")
            assert (done.status, done.code) == (400, "not_utf8")
            assert done.json["error"]["message"] == expected
            assert encoding in client.get("/api/state")["encodings"]
            assert client.refused("POST", f"/api/texts/{upload}/done", encoding="klingon")[0] == 400
            whole = client.post(f"/api/texts/{upload}/done", encoding=encoding)
            assert whole["characters"] == len(data.decode(encoding))
            (file,) = (tmp_path / ".studio" / "texts" / upload).glob("*.txt")
            assert file.read_bytes().decode() == data.decode(encoding)


def test_an_encoding_that_does_not_fit_leaves_the_text_to_be_tried_again(tmp_path: Path) -> None:
    with opened(tmp_path) as client:
        done, upload = client.upload("a.txt", b"\xff\x81 a text")
        assert done.code == "not_utf8"
        status, message, code = client.refused("POST", f"/api/texts/{upload}/done", encoding="gb18030")
        assert (status, code) == (400, "not_utf8")
        assert "gb18030" in message
        assert client.post(f"/api/texts/{upload}/done", encoding="latin-1")["characters"] == 9


@pytest.mark.parametrize("data", [b"a\0b", b"\x1f\x8bbroken", b"\xef\xbb\xbf"])
def test_what_is_no_text_is_refused_as_look_refuses_it(tmp_path: Path, data: bytes, capsys) -> None:
    with opened(tmp_path) as client:
        done, _ = client.upload("file.txt", data)
        (tmp_path / "file.txt").write_bytes(data)
        expected = said_by_look(tmp_path / "file.txt", capsys).replace(str(tmp_path / "file.txt"), "file.txt")
        assert (done.status, done.code) == (400, "bad_text")
        assert done.json["error"]["message"] == expected


def test_gzip_and_json_lines_keep_their_endings(tmp_path: Path) -> None:
    lines = b'{"text": "one"}\n{"text": "three"}\n'
    with opened(tmp_path) as client:
        done, upload = client.upload("some lines.jsonl.gz", gzip.compress(lines))
        assert done.json["characters"] == len("onethree")
        (file,) = (tmp_path / ".studio" / "texts" / upload).glob("some*")
        assert file.name == "some-lines.jsonl.gz"


def test_a_text_on_this_machine_is_named_by_its_path(tmp_path: Path, poem: Path, capsys) -> None:
    with opened(tmp_path / "runs") as client:
        text = client.post("/api/texts/path", path=str(poem))
        assert (text["name"], text["kind"], text["bytes"]) == ("poem.txt", "path", poem.stat().st_size)
        assert client.get(f"/api/texts/{text['id']}/look")["characters"] == text["characters"]
        status, message, _ = client.refused("POST", "/api/texts/path", path=str(tmp_path / "poen.txt"))
        assert status == 400
        assert message == said_by_look(tmp_path / "poen.txt", capsys)
        assert client.refused("POST", "/api/texts/path", path="-")[0] == 400
        poem.unlink()
        (gone,) = [one for one in client.get("/api/state")["texts"] if one["id"] == text["id"]]
        assert "does not exist any more" in gone["problem"]
        assert client.refused("GET", f"/api/texts/{text['id']}/look")[0] == 400
        client.post(f"/api/texts/{text['id']}/delete")


def test_named_texts_stay(tmp_path: Path) -> None:
    with opened(tmp_path) as client:
        assert {"shakespeare", "names", "python-docs", "grammar"} <= set(names(client))
        assert client.refused("POST", "/api/texts/named-names/delete")[0] == 400
