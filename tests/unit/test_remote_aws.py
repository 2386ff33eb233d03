from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from opambin.errors import MisuseError
from opambin.remote.aws import AwsSettings, settings

if TYPE_CHECKING:
    from pathlib import Path

KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}


def test_nothing_set() -> None:
    assert settings({}) == AwsSettings({"region": "us-east-1"}, anonymous=True, plain=False)


def test_the_environment() -> None:
    environ = {
        **KEYS,
        "AWS_REGION": "eu-west-3",
        "AWS_SESSION_TOKEN": "t",
        "AWS_ENDPOINT_URL": "http://h:9000",
    }
    assert settings(environ) == AwsSettings(
        {
            "access_key_id": "id",
            "secret_access_key": "secret",
            "session_token": "t",
            "region": "eu-west-3",
            "endpoint": "http://h:9000",
        },
        anonymous=False,
        plain=True,
    )


def test_the_endpoint_for_s3_wins() -> None:
    environ = {"AWS_ENDPOINT_URL": "http://h", "AWS_ENDPOINT_URL_S3": "https://s3"}
    assert settings(environ).options["endpoint"] == "https://s3"


def test_profiles_in_files(tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/credentials").write_text(
        "[default]\naws_access_key_id = a\naws_secret_access_key = b\naws_session_token = old\n"
        "[ci]\naws_access_key_id = c\naws_secret_access_key = d%x\n"
    )
    (tmp_path / ".aws/config").write_text("[profile ci]\nregion = eu-north-1\nendpoint_url = https://e\n")
    home = {"HOME": str(tmp_path)}
    assert settings(home).options == {
        "access_key_id": "a",
        "secret_access_key": "b",
        "session_token": "old",
        "region": "us-east-1",
    }
    found = settings({**home, "AWS_PROFILE": "ci"})
    assert found.options == {
        "access_key_id": "c",
        "secret_access_key": "d%x",
        "region": "eu-north-1",
        "endpoint": "https://e",
    }
    # the key of the environment does not go with the token of the file
    assert "session_token" not in settings({**home, **KEYS}).options


@pytest.mark.parametrize(
    "more",
    [
        {"AWS_WEB_IDENTITY_TOKEN_FILE": "/x"},
        {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://x"},
        {"AWS_EC2_METADATA_DISABLED": "false"},
    ],
)
def test_roles(more: dict[str, str]) -> None:
    assert not settings(more).anonymous


def test_half_of_the_credentials() -> None:
    with pytest.raises(MisuseError, match="one is missing"):
        settings({"AWS_ACCESS_KEY_ID": "id"})


def test_no_such_profile(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="no such profile"):
        settings({"HOME": str(tmp_path), "AWS_PROFILE": "ci"})


def test_a_file_that_can_not_be_read(tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/config").write_text("nonsense\n")
    with pytest.raises(MisuseError, match="config"):
        settings({"HOME": str(tmp_path)})
