"""Credentials, region and endpoint for S3, from where every tool looks: the environment, ``~/.aws``."""

from __future__ import annotations

import configparser
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from opambin.errors import MisuseError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_REGION = "us-east-1"
_SETTINGS = {  # in ~/.aws, the environment, obstore
    "aws_access_key_id": ("AWS_ACCESS_KEY_ID", "access_key_id"),
    "aws_secret_access_key": ("AWS_SECRET_ACCESS_KEY", "secret_access_key"),
    "aws_session_token": ("AWS_SESSION_TOKEN", "session_token"),
    "region": ("AWS_REGION", "region"),
    "endpoint_url": ("AWS_ENDPOINT_URL", "endpoint"),
}
_ROLES = (  # obstore finds these by itself: containers, and jobs with a token of their own
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
)


@dataclass(frozen=True, slots=True)
class AwsSettings:
    """How to reach an object store.

    Attributes:
        options: For obstore's ``S3Store``.
        anonymous: Whether there are no credentials at all; then nothing is signed.
        plain: Whether the endpoint is spoken to without TLS.
    """

    options: dict[str, str]
    anonymous: bool
    plain: bool


def settings(environ: Mapping[str, str]) -> AwsSettings:
    """Gather the settings; the environment wins over files.

    The metadata service of a virtual machine is asked for a role only where ``AWS_EC2_METADATA_DISABLED`` is
    ``false``: anywhere else the question costs seconds.

    Raises:
        MisuseError: A file can't be read, or only half of the credentials are there.
    """
    found = _profile(environ)
    options: dict[str, str] = {}
    for name, (variable, option) in _SETTINGS.items():
        value = environ.get(variable) or found.get(name)
        if value:
            options[option] = value
    options["endpoint"] = environ.get("AWS_ENDPOINT_URL_S3") or options.get("endpoint", "")
    options["region"] = options.get("region") or environ.get("AWS_DEFAULT_REGION") or DEFAULT_REGION
    if ("access_key_id" in options) != ("secret_access_key" in options):
        raise MisuseError("S3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY belong together; one is missing")
    if environ.get("AWS_ACCESS_KEY_ID") and not environ.get("AWS_SESSION_TOKEN"):
        options.pop("session_token", None)  # the file's belongs to the file's key
    if not options["endpoint"]:
        del options["endpoint"]
    roles = any(environ.get(name) for name in _ROLES)
    machine = environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "false"
    anonymous = "access_key_id" not in options and not roles and not machine
    return AwsSettings(options, anonymous, options.get("endpoint", "").startswith("http://"))


def _profile(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what the chosen profile says in the two files."""
    name = environ.get("AWS_PROFILE") or "default"
    folder = f"{environ.get('HOME', '')}/.aws"
    found: dict[str, str] = {}
    for variable, file, section in (
        ("AWS_CONFIG_FILE", "config", name if name == "default" else f"profile {name}"),
        ("AWS_SHARED_CREDENTIALS_FILE", "credentials", name),
    ):
        path = Path(environ.get(variable) or f"{folder}/{file}")
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError, OSError) as error:
            raise MisuseError(f"{path}: {' '.join(str(error).split())[:200]}") from error
        if parser.has_section(section):
            found.update(parser.items(section))
    if environ.get("AWS_PROFILE") and not found:
        raise MisuseError(f"S3: AWS_PROFILE is {name!r}, and there is no such profile in {folder}")
    return found
