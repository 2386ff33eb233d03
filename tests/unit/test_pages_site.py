from __future__ import annotations

import os
import posixpath
import re
import tarfile
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

import published_samples as samples
import pytest
from signedrepo import Publisher

from opambin.errors import UnavailableError
from opambin.model import PackageName, Version
from opambin.publish.catalogue import ContentKind, LeftOut, Licence, Mode, Platform
from opambin.publish.pages import crew, files
from opambin.publish.pages.contents import pages
from opambin.publish.pages.signatures import Signatory, Signed
from opambin.publish.pages.site import PagesWritten, Prepared, prepare, write_pages
from opambin.publish.signed.keys import key_fingerprint as metadata_fingerprint
from opambin.publish.signed.keys import metadata_key

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from opambin.publish.catalogue import Build, Catalogue
    from opambin.trust.keys import SecretKey

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'`&<!--\u202e\n{{7*7}}"
VOID = {"meta", "link", "input", "img"}
OWNER = Signatory("", (("release", "ab" * 32), (HOSTILE, "cd" * 32)), 2)
SIGNED = Signed(OWNER.keys, 2, '["opam-bin" "verify-update"]', OWNER)


class Seen(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute of {tag} stands twice"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def links(self) -> list[str]:
        return [str(attrs["href"]) for attrs in self.all("a")]


def names(build: Build) -> Sequence[str]:
    return samples.files(build.name)


def write(root: Path, catalogue: Catalogue, signed: Signed | None = None) -> PagesWritten:
    return write_pages(root, catalogue, signed=signed, names=names)


def content(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
    }


def page(root: Path, path: str) -> Seen:
    return Seen((root / path).read_text("utf-8"))


def hostile() -> Catalogue:
    base = samples.build("base", HOSTILE)
    bad = samples.build(
        HOSTILE,
        HOSTILE,
        [base],
        synopsis=HOSTILE,
        homepage="javascript:alert(3)",
        compiler=HOSTILE,
        platform=Platform(*[HOSTILE] * 4),
        licence=Licence((HOSTILE,), "", HOSTILE, (HOSTILE,)),
    )
    user = samples.build("user", "1", [bad, base], licence=Licence((), HOSTILE, "allowed"))
    out = LeftOut(PackageName(HOSTILE), Version(HOSTILE), bad.key, bad.output, HOSTILE)
    return samples.catalogue([base, bad, user], [out], base_url=f"https://example.org/{HOSTILE}")


@pytest.mark.parametrize("mode", Mode)
def test_nothing_that_a_package_says_becomes_markup(tmp_path: Path, mode: Mode) -> None:
    catalogue = replace(hostile(), mode=mode)
    write_pages(tmp_path, catalogue, signed=SIGNED, names=lambda _: [HOSTILE, f"lib/{HOSTILE}/x"])
    written = content(tmp_path)
    assert any("x.---" in path for path in written)
    for path, data in written.items():
        text = data.decode()
        assert "49" not in re.sub(r"[0-9a-f]{12,}", "", text) or "{{7*7}}" in text, "a template in a template"
        if path.endswith(".html"):
            seen = Seen(text)
            assert [attrs["src"] for attrs in seen.all("script")] == [
                f"{'../' * path.count('/')}pages/site.js?{site_mark(text)}"
            ]
            assert {tag for tag, _ in seen.tags} <= ALLOWED
            for _, attrs in seen.tags:
                assert not [name for name in attrs if name.startswith("on") or name == "style"]
                for name in ("href", "src", "action"):
                    assert urlsplit(attrs.get(name) or "").scheme in {"", "https"}
            assert "\u202e" not in text
        elif path.endswith(".svg"):
            assert {it.tag.rpartition("}")[2] for it in ElementTree.fromstring(text).iter()} <= SHAPES  # noqa: S314
            assert "alert(2)>" not in text


ALLOWED = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "link",
        "script",
        "body",
        "header",
        "nav",
        "main",
        "section",
        "footer",
        "div",
    ),
    *(
        "h1",
        "h2",
        "h3",
        "p",
        "a",
        "ul",
        "li",
        "dl",
        "dt",
        "dd",
        "pre",
        "code",
        "span",
        "img",
        "form",
        "label",
        "input",
    ),
    *(
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "figure",
        "figcaption",
        "details",
        "summary",
        "button",
        "noscript",
    ),
    *("svg", "path", "circle", "rect", "g", "text"),
}
SHAPES = {"svg", "title", "clipPath", "rect", "g", "text", "path", "circle", "style"}


def site_mark(text: str) -> str:
    found = re.search(r"site\.js\?([0-9a-f]{12})", text)
    assert found
    return found[1]


def test_every_page_forbids_what_it_does_not_need(tmp_path: Path) -> None:
    write(tmp_path, samples.small())
    for path in tmp_path.rglob("*.html"):
        seen = Seen(path.read_text("utf-8"))
        policy = next(it["content"] for it in seen.all("meta") if it.get("http-equiv"))
        assert policy is not None
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert not [tag for tag in ("style", "iframe", "object", "base") if seen.all(tag)]


def test_nothing_is_loaded_from_elsewhere(tmp_path: Path) -> None:
    write(tmp_path, samples.small(), SIGNED)
    for path in tmp_path.rglob("*.html"):
        seen = Seen(path.read_text("utf-8"))
        for tag, name in (("script", "src"), ("img", "src"), ("link", "href"), ("form", "action")):
            for attrs in seen.all(tag):
                assert not urlsplit(attrs.get(name) or "").netloc
    for name in ("site.css", "icon.svg"):
        text = (tmp_path / "pages" / name).read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "http" not in text
        assert "url(" not in text


def test_every_link_leads_somewhere(tmp_path: Path) -> None:
    write(tmp_path, samples.small())
    there = set(content(tmp_path)) | {"opam-bin-index.json"}
    archives = {build.archive.path for build in samples.small().builds if build.archive}
    for path in tmp_path.rglob("*.html"):
        own = str(path.relative_to(tmp_path))
        seen = Seen(path.read_text("utf-8"))
        ids = {str(attrs["id"]) for _, attrs in seen.tags if "id" in attrs}
        for link in seen.links:
            parts = urlsplit(link)
            if parts.netloc:
                continue
            target = unquote(posixpath.normpath(f"{posixpath.dirname(own)}/{parts.path}").lstrip("/"))
            target = target if parts.path else own
            assert target in there | archives, f"{own}: {link}"
            if parts.fragment and target == own:
                assert parts.fragment in ids


def test_ids_are_unique_and_what_refers_to_them_finds_them(tmp_path: Path) -> None:
    write(tmp_path, samples.small(), SIGNED)
    for path in tmp_path.rglob("*.html"):
        seen = Seen(path.read_text("utf-8"))
        ids = [attrs["id"] for _, attrs in seen.tags if "id" in attrs]
        assert len(set(ids)) == len(ids)
        for _, attrs in seen.tags:
            for name in ("for", "aria-labelledby", "aria-describedby", "data-from"):
                assert attrs.get(name) is None or attrs[name] in ids


def test_a_package_can_be_read_without_a_script(tmp_path: Path) -> None:
    write(tmp_path, samples.small(), SIGNED)
    seen = page(tmp_path, "pages/p/lwt.html")
    for words in (
        "Promises and event-driven I/O",
        "opam install lwt.5.9.0",
        "5.7.0",
        "5.6.1",
        "ocaml-base-compiler.4.14.2",
        "x86_64 linux, debian 12",
        "in 34 files",
        "ocplib-endian",  # a dependency
        "csexp",  # through another
        "lwt_ppx",  # a user
        "lwt_stream.cmi",  # a file
        "MIT",
        "signed by the repository",
        "no differing build seen",
    ):
        assert words in seen.words, words
    assert "../../pages/p/csexp.html" in seen.links
    assert "../../pages/p/lwt/5.7.0.html" in seen.links
    hidden = [tag for tag, attrs in seen.tags if "hidden" in attrs]
    assert set(hidden) == {"form", "button"}  # what only a script can do


def test_the_graph_is_drawn_and_kept_from_screen_readers(tmp_path: Path) -> None:
    write(tmp_path, samples.small())
    text = (tmp_path / "pages/p/lwt_ppx.html").read_text("utf-8")
    drawn = text[text.index('<svg aria-hidden="true" class') : text.index("</svg></div>") + 6]
    svg = ElementTree.fromstring(drawn)  # noqa: S314 - ours
    assert {it.text for it in svg.iter("text")} >= {"lwt_ppx", "lwt", "ppxlib", "dune", "ocaml"}
    assert len(list(svg.iter("path"))) >= 15
    assert {it.get("tabindex") for it in svg.iter("a")} == {"-1"}


def test_states_are_told_in_words(tmp_path: Path) -> None:
    write(tmp_path, samples.small())
    tool = page(tmp_path, "pages/p/ocamlbuild.html").words
    assert "not reproducible: 3 different results seen" in tool
    assert "paths up to 120 bytes" in tool
    assert "works in a switch whose path has at most 120 bytes" in " ".join(tool.split())
    assert "not signed" in tool
    assert "needs opam-bin" in page(tmp_path, "pages/p/cppo.html").words
    assert "a definition only" in page(tmp_path, "pages/p/conf-gmp.html").words
    assert "no licence given" in page(tmp_path, "pages/p/conf-gmp.html").words
    assert "licence not allowed: proprietary" in page(tmp_path, "pages/left-out.html").words


def test_the_front_page_says_how_to_opt_in(tmp_path: Path) -> None:
    write(tmp_path, samples.small())
    words = page(tmp_path, "index.html").words
    assert f"opam switch create ready 4.14.2 --repos=bin={samples.URL}" in words
    assert "opam repository add default --rank=-1" in words
    assert "compilers included" in words
    for name in {it.name for it in samples.small().builds}:
        assert name in words


def test_many_packages_are_listed_by_letter(tmp_path: Path) -> None:
    many = samples.catalogue([samples.build(f"p{at:03}") for at in range(260)] + [samples.build("0x")])
    write(tmp_path, many)
    front = page(tmp_path, "index.html")
    assert {"pages/all/0.html", "pages/all/p.html"} <= set(front.links)
    assert "p000" not in front.words
    first, second = page(tmp_path, "pages/all/p.html"), page(tmp_path, "pages/all/p-2.html")
    assert "p249" in first.words
    assert "p250" not in first.words
    assert "p250" in second.words
    assert "p-2.html" in first.links
    assert "p.html" in second.links


def test_an_empty_repository_has_pages(tmp_path: Path) -> None:
    write(tmp_path, samples.catalogue([]))
    assert page(tmp_path, "index.html").links
    assert (tmp_path / "pages/all/a.html").is_file()


def test_the_same_catalogue_gives_the_same_bytes(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    catalogue = samples.large(60)
    write(one, catalogue)
    backwards = replace(catalogue, builds=tuple(reversed(catalogue.builds)))
    write(other, backwards)
    assert content(one) == content(other)


def test_several_processes_write_what_one_does(tmp_path: Path) -> None:
    due = list(pages(samples.large(60), None, names))
    assert crew.carry_out(tmp_path / "one", due, 1) == crew.carry_out(tmp_path / "two", due, 2)
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_what_is_unchanged_is_not_written_again(tmp_path: Path) -> None:
    first = write(tmp_path, samples.small())
    assert first == PagesWritten(len(content(tmp_path)) - 1, 0, 0)  # but for the state
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    again = write_pages(tmp_path, samples.small(), names=never_asked)
    assert again == PagesWritten(0, first.written, 0)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_change_reaches_the_pages_that_show_it_and_no_other(tmp_path: Path) -> None:
    catalogue = samples.small()
    write(tmp_path, catalogue)
    before = content(tmp_path)
    changed = [replace(it, synopsis="New words") if it.name == "csexp" else it for it in catalogue.builds]
    write(tmp_path, replace(catalogue, builds=tuple(changed), serial=8))
    after = content(tmp_path)
    assert {path for path in after if after[path] != before[path]} == {
        "index.html",
        "pages/all/c.html",
        "pages/p/csexp.html",
        "pages/pages.json",
        "pages/words.txt",
    }


def test_a_new_version_below_reaches_the_pages_above(tmp_path: Path) -> None:
    catalogue = samples.small()
    write(tmp_path, catalogue)
    before = content(tmp_path)
    changed = [replace(it, version=Version("9")) if it.name == "csexp" else it for it in catalogue.builds]
    write(tmp_path, replace(catalogue, builds=tuple(changed)))
    after = content(tmp_path)
    for above in ("dune-configurator", "lwt", "lwt_ppx"):
        assert before[f"pages/p/{above}.html"] != after[f"pages/p/{above}.html"]
    assert before["pages/p/zarith.html"] == after["pages/p/zarith.html"]
    assert b">9<" in after["pages/badge/csexp.svg"]


def test_what_is_gone_is_removed(tmp_path: Path) -> None:
    catalogue = samples.small()
    write(tmp_path, catalogue)
    (tmp_path / "pages/p/.77.new").write_text("left by a publication that was killed")
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages/kept").write_text("not ours")
    fewer = [it for it in catalogue.builds if it.name not in ("lwt", "lwt_ppx")]
    result = write(tmp_path, replace(catalogue, builds=tuple(fewer)))
    assert result.removed == 9  # two packages, three builds of one, two badges, a letter, what was left
    assert not list(tmp_path.rglob("*lwt*"))
    assert not list(tmp_path.rglob(".*"))
    assert (tmp_path / "packages/kept").is_file()


def test_what_was_damaged_and_noticed_is_written_again(tmp_path: Path) -> None:
    write(tmp_path, samples.small())
    before = content(tmp_path)
    (tmp_path / "pages/p/lwt.html").unlink()
    (tmp_path / "pages/pages.json").write_text("[")
    (tmp_path / "pages/p/dune.html").write_text("damaged")
    assert write(tmp_path, samples.small()).written == 2
    assert content(tmp_path) == before


def test_a_page_that_can_not_be_written_leaves_the_others_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, samples.small())
    before = content(tmp_path)
    renew = replace(samples.small(), base_url="https://elsewhere.example.org")
    monkeypatch.setattr(files, "put", full_disk)
    with pytest.raises(UnavailableError, match="No space left"):
        write(tmp_path, renew)
    assert content(tmp_path) == before
    monkeypatch.undo()
    assert write(tmp_path, renew).written > 0  # nothing was noted as done
    assert b"elsewhere" in (tmp_path / "index.html").read_bytes()


def never_asked(build: Build) -> list[str]:
    raise AssertionError(f"{build.name} was rendered")


def full_disk(root: Path, path: str, data: bytes) -> bool:
    raise OSError(28, os.strerror(28), f"{root}/{path}", len(data))


def test_a_file_that_is_being_written_is_not_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, samples.small())
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: full_disk(tmp_path, "x", b""))
    with pytest.raises(OSError, match="No space left"):
        files.put(tmp_path, "pages/p/lwt.html", b"new")
    assert (tmp_path / "pages/p/lwt.html").read_bytes() != b"new"
    assert not list(tmp_path.rglob("*.new"))


def test_odd_names_get_no_command(tmp_path: Path) -> None:
    odd = samples.build("-rf", "1; reboot")
    write(tmp_path, samples.catalogue([odd]))
    assert "opam install" not in page(tmp_path, "pages/p/x.--2d.rf.html").words


def test_mixed_repositories_name_exact_versions(tmp_path: Path) -> None:
    both = [
        samples.build("lwt", "5.9.0", published=f"5.9.0+bin+{serial}+abcd", serial=serial)
        for serial in (1, 2)
    ]
    write(tmp_path, samples.catalogue(both, mode=Mode.MIXED))
    seen = page(tmp_path, "pages/p/lwt.html")
    assert "opam install lwt.5.9.0+bin+2+abcd" in seen.words
    assert "opam install lwt+bin" in seen.words
    front = page(tmp_path, "index.html").words
    assert "opam switch create" not in front
    assert f"opam repository add bin {samples.URL}" in front
    assert "../../pages/p/lwt/5.9.0.-2b.bin.-2b.1.-2b.abcd.html" in seen.links


def test_definitions_are_no_examples(tmp_path: Path) -> None:
    virtual = samples.build("aaa", kind=ContentKind.DEFINITION, archive=None)
    write(tmp_path, samples.catalogue([virtual, samples.build("user", needs=[virtual])]))
    words = page(tmp_path, "index.html").words
    assert "opam install user" in words
    assert "opam install aaa" not in words
    assert "compilers included" not in words


def test_a_limit_that_all_have_is_no_state_of_one(tmp_path: Path) -> None:
    """A build for paths of up to 203 bytes was marked as limited; all others stop at 200."""
    write(tmp_path, samples.catalogue([samples.build("wide", max_prefix=203)]))
    words = " ".join(page(tmp_path, "pages/p/wide.html").words.split())
    assert "works in a switch at any path of at most 200 bytes" in words
    assert "203" not in words


def test_what_is_signed_is_told(tmp_path: Path) -> None:
    write(tmp_path, samples.small(), SIGNED)
    words = " ".join(page(tmp_path, "pages/verify.html").words.split())
    assert "2 of these 2 keys" in words
    assert f"opam-bin verify-repo {samples.URL} --anchor {'ab' * 32} --anchor {'cd' * 32} --quorum 2" in words
    assert f"opam repository add bin {samples.URL} 2 {'ab' * 32} {'cd' * 32} --dont-select" in words
    assert "opam switch create ready 4.14.2 --repos=binCopy" in words
    assert """opam option --global 'repository-validation-command=["opam-bin" "verify-update"]'""" in words
    write(tmp_path, samples.small())
    assert "not signed" in page(tmp_path, "pages/verify.html").words


def test_who_signs_a_package_is_told_in_words(tmp_path: Path) -> None:
    friend = Signatory("friend", (("hers", "ef" * 32),), 1, frozenset({"packages/lwt/lwt.5.9.0/opam"}))
    write(tmp_path, samples.small(), replace(SIGNED, others=(friend,)))
    theirs = " ".join(page(tmp_path, "pages/p/lwt.html").words.split())
    assert "signed by friend" in theirs
    assert "by the publisher friend, to whom the owner of this repository has given this package" in theirs
    assert f"hers {'ef' * 32}" in theirs
    ours = " ".join(page(tmp_path, "pages/p/lwt/5.7.0.html").words.split())
    assert "signed by the repository" in ours
    assert "2 of these 2 must have signed" in ours
    assert "signs lwt with this key:" in " ".join(page(tmp_path, "pages/verify.html").words.split())
    assert write(tmp_path, samples.small(), replace(SIGNED, others=(friend,))).written == 0
    assert write(tmp_path, samples.small(), SIGNED).written == 3  # lwt, lwt 5.9.0, and how to verify


def test_what_a_publication_is_given_is_what_a_folder_gets(tmp_path: Path) -> None:
    write(tmp_path / "folder", samples.small())
    prepared = prepare(tmp_path / "work", samples.small(), None, names=names)
    given = {path: it if isinstance(it, bytes) else it.read_bytes() for path, it in prepared.files.items()}
    assert given == content(tmp_path / "folder")
    assert next(reversed(prepared.files)) == files.STATE
    state = given[files.STATE]
    assert prepare(tmp_path / "no", samples.small(), state, names=never_asked) == Prepared({}, ())
    fewer = replace(samples.small(), builds=tuple(it for it in samples.small().builds if it.name != "zarith"))
    after = prepare(tmp_path / "w2", fewer, state, names=names)
    assert after.gone == ("pages/all/z.html", "pages/badge/zarith.svg", "pages/p/zarith.html")
    assert "pages/p/lwt.html" not in after.files


def test_a_state_from_elsewhere_removes_nothing_but_pages(tmp_path: Path) -> None:
    paths = (
        "repo",
        "archives/x",
        "pages/../repo",
        "/etc/passwd",
        "pages//x",
        files.STATE,
        "pages/p/old.html",
    )
    state = files.render_state(dict.fromkeys(paths, "0"))
    assert prepare(tmp_path, samples.small(), state, names=names).gone == ("pages/p/old.html",)


def test_names_of_files_are_taken_from_the_pages_that_are_there(tmp_path: Path) -> None:
    write(tmp_path, samples.small())
    expected = (tmp_path / "pages/p/lwt.html").read_bytes()
    (tmp_path / files.STATE).unlink()
    write_pages(tmp_path, samples.small(), signed=SIGNED, names=never_asked)
    write_pages(tmp_path, samples.small(), names=never_asked)
    assert (tmp_path / "pages/p/lwt.html").read_bytes() == expected


def test_names_come_from_the_archive_where_nothing_else_has_them(tmp_path: Path) -> None:
    build = samples.build("lwt")
    assert build.archive is not None
    archive = tmp_path / build.archive.path
    archive.parent.mkdir(parents=True)
    with tarfile.open(archive, "w:gz") as made:
        made.addfile(tarfile.TarInfo("lib/lwt/from_the_archive.ml"))
    write_pages(tmp_path, samples.catalogue([build]))
    assert "from_the_archive.ml" in page(tmp_path, "pages/p/lwt.html").words
    archive.write_bytes(b"damaged")
    (tmp_path / "pages/p/lwt.html").unlink()
    write_pages(tmp_path, samples.catalogue([build]))
    assert "Their names are in the archive" in page(tmp_path, "pages/p/lwt.html").words


def test_more_files_than_a_page_names_are_counted(tmp_path: Path) -> None:
    write_pages(
        tmp_path,
        samples.catalogue([samples.build("big")]),
        names=lambda _: [f"lib/{at}" for at in range(3010)],
    )
    assert "And 10 more" in page(tmp_path, "pages/p/big.html").words


def test_pages_say_who_signs_as_soon_as_somebody_does(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path)
    (tmp_path / "repo").write_text('opam-version: "2.0"\n')
    write(tmp_path, samples.small())
    (tmp_path / "opam-bin-index.json").write_bytes(samples.small().render())
    assert "not signed" in page(tmp_path, "pages/p/lwt.html").words
    publisher.begin()
    assert "signed by the repository" in page(tmp_path, "pages/p/lwt.html").words
    assert "lwt_stream.cmi" in page(tmp_path, "pages/p/lwt.html").words
    assert key_fingerprint(publisher.keys["root"]) in page(tmp_path, "pages/verify.html").words
    assert publisher.sign().written == ()  # what the pages say now is what was signed


def key_fingerprint(key: SecretKey) -> str:
    found = metadata_fingerprint(metadata_key(key.public))
    assert found
    return found
