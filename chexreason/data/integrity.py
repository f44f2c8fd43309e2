"""Test sets stay test sets: no run trains on an image or a patient that some registered test set holds.

A test set is registered by writing a list of its images' content digests and patients under `<runs>/test-sets/`;
whoever scores or inspects a test set registers it, and whoever is about to train calls `vouch_for_training` first.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexreason.data import cache, paths, tables
from chexreason.data.fingerprint import ALIKE, likeness
from chexreason.data.images import read_image
from chexreason.errors import ChexReasonError
from chexreason.runs import folders
from chexreason.runs.files import write_text
from chexreason.runs.identity import DIGESTS, sha256_of

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

    from chexreason.data.records import StudyTable
    from chexreason.runs.folders import Run

FOLDER, STUDIES, FILMS = "test-sets", "studies.csv", "films.csv"
LISTED = ("site", "patient", "path", "sha256")
SEAL = "# sha256 of the lines below: "  # how a registered test set's list begins


def listing(table: StudyTable, runs: Path) -> pd.DataFrame:
    """One row per record: site, patient, path and sha256 of the image ("" for a label table alone)."""
    listed = table.records[["patient", "path"]].assign(site=table.site)
    if not table.images:
        return listed.assign(sha256="")
    files = [paths.image_file(table.root, path) for path in listed["path"]]
    return listed.assign(sha256=cache.content_digests(files, runs / DIGESTS))


def refuse_other_images(files: Sequence[Path], curated: Sequence[str], runs: Path) -> None:
    """Check that each of `files` holds the image that was curated; `curated` has the SHA-256 of the contents.

    Raises:
        ChexReasonError: names the first that does not; ImageError if a file is missing.
    """
    found = cache.content_digests(files, runs / DIGESTS)
    changed = [file for file, sha256, meant in zip(files, found, curated, strict=True) if sha256 != meant]
    if changed:
        raise ChexReasonError(
            f"{len(changed)} images are not those that were curated; the first is {changed[0]}. "
            "Put the images back, or curate anew (force=true) and go on from there"
        )


def vouch_for_training(
    studies: Sequence[dict[str, Any]], folder: Path, read: Callable[[Path], Image.Image] | None = None
) -> None:
    """Refuse test data and altered images, and write the list of studies to be trained on to the run's `folder`.

    Args:
        studies: dictionaries with site, patient, root, path (relative to that) and sha256 of the image, as curated.
        read: reads an image file as training will, so that the decoded image is cached for training; None: at full size.

    Raises:
        ChexReasonError: an image is not the one that was curated (and decoded) then, or a test set holds it.
    """
    import pandas as pd

    files = [paths.image_file(Path(study["root"]), study["path"]) for study in studies]
    refuse_other_images(files, [study.get("sha256", "") for study in studies], folder.parent)
    seen = pd.DataFrame(studies, columns=["patient", "path", "site", "sha256"])
    refuse_test_data(seen, folder.parent)
    tables.write_csv(folder / STUDIES, seen.assign(fingerprint=cache.fingerprints(files, read or read_image, folder.parent)))


def note_films(folder: Path, root: Path, names: Sequence[str]) -> None:
    """Record in the run's `folder` which films it answers, with digests of their content."""
    import pandas as pd

    paths.write_root(folder, root)
    digests = cache.content_digests([paths.image_file(root, name) for name in names], folder.parent / DIGESTS)
    tables.write_csv(folder / FILMS, pd.DataFrame({"path": names, "sha256": digests}))


def changed_film(folder: Path) -> str | None:
    """The first film whose content is not what the run in `folder` answered; missing films count as unchanged.

    Costs one `stat` per film; only files that have changed since are read.
    """
    if not (folder / FILMS).is_file():  # a label table alone
        return None
    root = paths.read_root(folder)
    with (folder / FILMS).open(encoding="utf-8", newline="") as stream:
        noted = {paths.image_file(root, row["path"]): row["sha256"] for row in csv.DictReader(stream)}
    there = [film for film in noted if Path(str(film).partition("#")[0]).is_file()]
    found = cache.content_digests(there, folder.parent / DIGESTS)
    return next((str(film) for film, sha256 in zip(there, found, strict=True) if sha256 != noted[film]), None)


def refuse_what_was_trained_on(table: StudyTable, name: str, trained: Sequence[Path], runs: Path) -> None:
    """Check that no run among `trained` (folders of a checkpoint's training) learnt from `table`'s images or patients.

    Raises:
        ChexReasonError: names the run, the image and the patient; also where the test set was not registered at that time.
    """
    listed = listing(table, runs)
    for folder, seen in _learnt(trained):
        shared = listed[listed["sha256"].isin(set(seen["sha256"]) - {""}) | _people(listed).isin(_people(seen))]
        if not shared.empty:
            first = shared.iloc[0]
            raise ChexReasonError(
                f"{folder.name} was trained on {len(shared)} images of dataset={name} or on their patients; the first is image "
                f"{first['path']}, patient {first['patient']}. What it answers there proves nothing: train without them, or "
                "choose another test set"
            )


def learnt_from(run: Run) -> list[Path]:
    """The local training runs behind a run's model and adapter: its parents or, for paths, the run folder that they lie in."""
    named = [Path(one).absolute() for one in (run.checkpoint.adapter, run.model.weights) if one]
    holding = (next((place for place in one.parents if folders.read_manifest(place)), None) for one in named)
    return list(folders.ancestors(*filter(None, [run.parents.get("checkpoint"), *holding])))


def _learnt(trained: Sequence[Path]) -> Iterator[tuple[Path, pd.DataFrame]]:
    """The runs among `trained` that learnt from studies, each with the list of studies that it wrote."""
    import pandas as pd

    for folder in trained:
        file, left = folder / STUDIES, (folders.read_manifest(folder) or {}).get("outputs", {}).get(STUDIES)
        if left and (not file.is_file() or sha256_of(file) != left):
            raise ChexReasonError(
                f"{file} is not what its run left there, so what that run learnt from is not known. Put it back, or make it "
                "again (force=true)"
            )
        if file.is_file():
            yield folder, pd.read_csv(file, dtype=str, keep_default_na=False)


def look_alikes(table: StudyTable, trained: Sequence[Path], read: Callable[[Path], Image.Image]) -> list[str]:
    """Images of `table` that look like one that a run among `trained` learnt from, a line each; `read` reads an image file.

    They are named and not refused: see `chexreason.data.fingerprint`.
    """
    import pandas as pd

    lists = [seen for _, seen in _learnt(trained) if "fingerprint" in seen]
    if not lists or not table.images:
        return []
    seen = pd.concat(lists).drop_duplicates("fingerprint")
    found = []
    films = (read(paths.image_file(table.root, path)) for path in table.records["path"])
    for path, alike in zip(table.records["path"], likeness(films, list(seen["fingerprint"])), strict=True):
        if alike.max() >= ALIKE:
            other = seen.iloc[alike.argmax()]
            found.append(
                f"{path} looks like {other['path']} of {other['site']}, patient {other['patient']} ({alike.max():.2f})"
            )
    return found


def register(table: StudyTable, name: str, runs: Path) -> Path:
    """Register `table` as a test set of the run folders under `runs`, in addition to earlier records under the same name.

    Registering it again is harmless; registering another draw of a test set does not release the earlier draw for training.
    """
    import pandas as pd
    from filelock import FileLock

    path = runs / FOLDER / f"{name}.csv"
    listed = listing(table, runs)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.parent / ".lock"):  # else one of two concurrent registrations would be lost
        if path.is_file():
            listed = pd.concat([_registered(path), listed.astype("str")], ignore_index=True)
        text = tables.as_csv(listed.drop_duplicates())
        return write_text(path, f"{SEAL}{hashlib.sha256(text.encode()).hexdigest()}\n{text}")


def _registered(path: Path) -> pd.DataFrame:
    """A registered test set's list. A damaged one is refused, as it would protect only a part; one made by hand has no seal."""
    import pandas as pd

    text = path.read_text(encoding="utf-8", errors="replace")
    sealed, _, rest = text.removeprefix(SEAL).partition("\n") if text.startswith(SEAL) else ("", "", text)
    head = sorted(rest.partition("\n")[0].split(","))
    if not rest.endswith("\n") or head != sorted(LISTED) or sealed not in ("", hashlib.sha256(rest.encode()).hexdigest()):
        raise ChexReasonError(
            f"{path} is cut short, changed or no list of a test set: delete it, then inspect or score that test set again"
        )
    return pd.read_csv(io.StringIO(rest), dtype=str, keep_default_na=False)


def patient_keys(patients: pd.Series) -> pd.Series:
    """Keys by which a site's patients are compared: "Patient 00017", "patient00017", "17" and "17.0" are one patient."""
    plain = patients.astype("str").str.replace(r"\s+", "", regex=True).str.casefold()
    return plain.str.extract(r"^[a-z_-]*?0*([0-9]+)(?:\.0*)?$")[0].fillna(plain)


def _people(listed: pd.DataFrame) -> pd.MultiIndex:
    """Each row's (site, patient) key, whatever the spelling of site and patient."""
    import pandas as pd

    site = listed["site"].astype("str").str.replace(r"\s+", "", regex=True).str.casefold()
    return pd.MultiIndex.from_arrays([site, patient_keys(listed["patient"])])


def refuse_test_data(training: pd.DataFrame, runs: Path) -> None:
    """Check that no image (by content) and no patient (by site and id) of `training` is in a registered test set.

    Args:
        training: `listing` of the records to train on.
        runs: the folder of run folders, where test sets are registered.

    Raises:
        ChexReasonError: names the test set, the image and the patient.
    """
    images = set(training["sha256"]) - {""}
    patients = _people(training)
    for path in sorted((runs / FOLDER).glob("*.csv")):
        test = _registered(path)
        same_image = test["sha256"].isin(images)
        same_patient = _people(test).isin(patients)
        shared = test[same_image | same_patient]
        if shared.empty:
            continue
        first = shared.iloc[0]
        what = "image" if same_image[shared.index[0]] else "patient"
        raise ChexReasonError(
            f"the training data holds {int(same_image.sum())} images and {int(same_patient.sum())} images' patients of "
            f"the test set {path.stem}; the first is the {what} of {first['site']}: image {first['path']}, patient "
            f"{first['patient']}. Leave them out of the training data (another dataset.split, or another source), or, "
            f"if this is no test set any more, delete {path}"
        )
