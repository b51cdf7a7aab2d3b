"""Publishes a weight folder on the Hub: checks it, pushes it in one commit under its tag, and writes its row."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, HfApi, metadata_load
from huggingface_hub.errors import LocalTokenNotFoundError

from .download import answer_within, first_line, network_fault, patience
from .factory import check_name, create_model
from .files import sha256_of
from .hub import find_weights, read_config
from .weights import CARD_FILE, CONFIG_FILE, WEIGHT_FILE, Weights, WeightsError

FILES = (WEIGHT_FILE, CONFIG_FILE, CARD_FILE)
"""What is published of a folder, and nothing else."""

_FROM_CARD = ("data", "terms", "recipe", "command", "protocol")  # fields of a row that the card's table may state


@dataclass(frozen=True)
class Publication:
    """A weight folder on its way to the Hub; as a string, what a person wants to know of it."""

    repository: str
    private: bool
    sizes: Mapping[str, int]
    """Of the files that are published, in bytes."""
    left_out: tuple[str, ...]
    """What else lies in the folder."""
    fields: Mapping[str, Any]
    """Those of `Weights`, without the location."""
    commit: str | None = None
    """Where it has been published, 40 hexadecimal digits; `None` for a dry run."""

    @property
    def row(self) -> Weights | None:
        """The row for the table, once there is a commit to pin it to."""
        return Weights(**self.fields, location=f"{self.repository}@{self.commit}") if self.commit else None

    def __str__(self) -> str:
        done = f"published at {self.commit}" if self.commit else "dry run, nothing was sent; to be published"
        new = " (private, if it has to be created)" if self.private else ""
        lines = [
            f"{done} in {self.repository}{new} as the tag {self.fields['tag']}:",
            *(f"  {name:<20}{size:>12} bytes" for name, size in self.sizes.items()),
        ]
        if self.left_out:
            lines.append(f"left out: {', '.join(self.left_out)} (only {', '.join(FILES)} are published)")
        unknown = [name for name in (*_FROM_CARD, "metrics") if not self.fields[name]]
        lines += ["", "the row to add to TABLE in pri3d_zoo/weights.py:", self._source()]
        if unknown:
            lines.append(f"the card does not say, so fill in by hand: {', '.join(unknown)}")
        return "\n".join(lines)

    def _source(self) -> str:
        values = {"location": f"{self.repository}@{self.commit or '<commit>'}", **self.fields}
        # a JSON string, number or object of these is Python as well, and has the quotes that ruff wants
        lines = (f"        {name}={json.dumps(value, ensure_ascii=False)}," for name, value in values.items())
        return "\n".join(("    Weights(", *lines, "    ),"))


def publish(folder: Path, repository: str, *, dry_run: bool = True, private: bool = False) -> Publication:
    """Check a weight folder, and unless it is a dry run push it to the Hub in one commit, with its tag as a git tag.

    Args:
        folder: the weight folder; its `config.json` names the tag, its card the licence.
        repository: `owner/<model>` or `owner/<model>.<tag>`; it is created if need be.
        dry_run: ask the network nothing.
        private: for a repository that does not exist yet.

    Returns:
        What was or would be published, with the row for the table.

    Raises:
        WeightsError: the folder is incomplete, does not fit its model to the last tensor or names no tag or licence,
            the tag exists, or the Hub could not be reached or refused.
    """
    owner_and_name = re.fullmatch(r"[\w.-]+/([\w-]+)(?:\.([\w-]+))?", repository)
    if owner_and_name is None:
        raise WeightsError(f"{repository!r} is no repository for a weight folder; give OWNER/MODEL or OWNER/MODEL.TAG")
    model, named_tag = owner_and_name.groups()
    check_name(model)
    if not folder.is_dir():
        raise WeightsError(f"{folder} is no folder; publish one that `pri3d-train export` wrote")
    file = find_weights(model, path=folder)
    tag = read_config(model, named_tag, folder / WEIGHT_FILE).get("tag")
    if not isinstance(tag, str) or not re.fullmatch(r"[a-z0-9_]+", tag):
        raise WeightsError(
            f"{folder / CONFIG_FILE} has the tag {tag!r}; give pretrained_cfg.tag a name of small letters, digits and _"
        )
    facts = _read_card(folder / CARD_FILE)
    create_model(model, checkpoint_path=folder)  # strict: every tensor, and no other
    fields: dict[str, Any] = {
        "model": model,
        "tag": tag,
        "sha256": sha256_of(file),
        "size": file.stat().st_size,
        "licence": facts["licence"],
        **{name: facts.get(name, "") for name in _FROM_CARD},
        "metrics": {},
    }
    return Publication(
        repository=repository,
        private=private,
        sizes={name: (folder / name).stat().st_size for name in FILES},
        left_out=tuple(sorted(path.name for path in folder.iterdir() if path.name not in FILES)),
        fields=fields,
        commit=None if dry_run else _push(folder, repository, f"{model}.{tag}", tag, private),
    )


def _read_card(card: Path) -> dict[str, str]:
    """The licence in the front matter of a model card, and the facts in its tables of two columns."""
    try:
        front_matter = metadata_load(card) or {}
    except Exception as error:  # also those of PyYAML, which huggingface_hub reads it with
        raise WeightsError(f"{card} is no model card ({first_line(error)}); export the weights again") from error
    licence = front_matter.get("license")
    if licence == "other":
        licence = front_matter.get("license_name")
    if not isinstance(licence, str) or not licence:
        raise WeightsError(
            f"{card} names no licence: add `license: cc-by-4.0`, or whichever holds, between the lines `---` at its "
            "beginning; for one without a Hub identifier `license: other` and `license_name: NAME`"
        )
    rows = re.findall(r"^\|\s*(\w[\w ]*?)\s*\|\s*(.+?)\s*\|\s*$", card.read_text(encoding="utf-8"), re.MULTILINE)
    return {key: re.sub(r"^`([^`]*)`$", r"\1", value) for key, value in rows} | {"licence": licence}


def _push(folder: Path, repository: str, name: str, tag: str, private: bool) -> str:
    api = HfApi()
    url = f"{api.endpoint}/{repository}"
    commit = None
    try:
        answer_within(patience(), api.whoami)  # a dead network or a bad token is known before anything is changed
        api.create_repo(repository, private=private, exist_ok=True)
        for other in api.list_repo_refs(repository).tags:
            if other.name == tag:
                raise WeightsError(
                    f"{repository} has the tag {tag} already, at {other.target_commit}, and a tag is never re-used for "
                    "other bytes; export the weights under another tag"
                )
        # not `upload_folder`, which may make several commits of it
        files = [CommitOperationAdd(path_in_repo=file, path_or_fileobj=folder / file) for file in FILES]
        commit = api.create_commit(repository, files, commit_message=f"Add {name}").oid
        api.create_tag(repository, tag=tag, revision=commit)
    except WeightsError:
        raise
    except Exception as error:
        done = f"{name} was not published"
        if commit is not None:
            done = (
                f"{name} is in {repository} at {commit}, but the tag {tag} could not be set (the same command sets it)"
            )
        raise WeightsError(f"{done}: {_refusal(error, url)}") from error
    return commit


def _refusal(error: Exception, url: str) -> str:
    if isinstance(error, LocalTokenNotFoundError):
        return "there is no token; log in with `hf auth login` or set HF_TOKEN to a token that may write"
    if isinstance(error, ValueError) and not isinstance(error, OSError):  # of the Hub's own check of the card
        return f"the Hub refuses it ({' '.join(str(error).split())})"
    return network_fault(error, url)
