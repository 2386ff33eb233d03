"""The page that says who signs a repository, and how it is verified."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opambin.publish.pages import front, rendering, wording

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opambin.publish.catalogue import Catalogue
    from opambin.publish.pages.signatures import Signed


def render(catalogue: Catalogue, signed: Signed | None, shared: Mapping[str, object]) -> bytes:
    """Make the page."""
    verify = ["opam-bin", "verify-repo", catalogue.base_url]
    add = ["opam", "repository", "add", front.REPOSITORY, catalogue.base_url]
    use = front.new_switch(catalogue, front.figures(catalogue), added=True)
    ask = ["opam", "option", "--global"]
    if signed is not None:
        prints = [fingerprint for _, fingerprint in signed.keys]
        verify += [word for it in prints for word in ("--anchor", it)] + ["--quorum", str(signed.quorum)]
        add += [str(signed.quorum), *prints, *(["--dont-select"] if use else [])]
        ask.append(f"repository-validation-command={signed.validation}")
    return rendering.render(
        "verify.html",
        **shared,
        up="../",
        trust=signed,
        verify=wording.command(*verify),
        add=wording.command(*add),
        ask=wording.command(*ask),
        use=use,
    )
