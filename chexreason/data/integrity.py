"""Test sets stay test sets: no run trains on an image or a patient that some registered test set holds.

A test set is registered by writing a manifest of its images' content digests and patients under `<runs>/test-sets/`;
whoever scores or inspects a test set registers it, and whoever is about to train calls `vouch_for_training` first.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexreason.data import cache, paths, records
from chexreason.errors import ChexReasonError

if TYPE_CHECKING:
    import pandas as pd

    from chexreason.data.records import StudyTable

FOLDER, STUDIES = "test-sets", "studies.csv"


def manifest(table: StudyTable, runs: Path) -> pd.DataFrame:
    """One row per record: site, patient, path and sha256 of the image ("" for a label table alone)."""
    listed = table.records[["patient", "path"]].assign(site=table.site)
    if not table.images:
        return listed.assign(sha256="")
    return _with_digests(listed, [paths.image_file(table.root, path) for path in listed["path"]], runs)


def vouch_for_training(studies: Sequence[dict[str, Any]], folder: Path) -> None:
    """Refuse test data and altered images, and leave in the run's `folder` the list of studies that it will learn from.

    Args:
        studies: dictionaries with site, patient, root, path (relative to that) and sha256 of the image, as curated.

    Raises:
        ChexReasonError: an image is not the one that was curated (and decoded) then, or a test set holds it.
    """
    import pandas as pd

    curated = pd.DataFrame(studies, columns=["patient", "path", "site", "sha256"])
    files = [paths.image_file(Path(study["root"]), study["path"]) for study in studies]
    seen = _with_digests(curated, files, folder.parent)
    changed = seen[seen["sha256"] != curated["sha256"]]
    if not changed.empty:
        raise ChexReasonError(
            f"{len(changed)} images are not those that were curated; the first is {files[changed.index[0]]}. "
            "Put the images back, or curate anew (force=true) and go on from there"
        )
    refuse_test_data(seen, folder.parent)
    records.write_csv(folder / STUDIES, seen)


def _with_digests(listed: pd.DataFrame, files: Sequence[Path], runs: Path) -> pd.DataFrame:
    return listed.assign(sha256=cache.content_digests(files, runs / cache.DIGESTS))


def register(table: StudyTable, name: str, runs: Path) -> Path:
    """Make `table` a registered test set of the run folders under `runs`, beside what was registered by its name before.

    Registering it again is harmless; another draw of a test set does not set the one before free.
    """
    import pandas as pd

    path = runs / FOLDER / f"{name}.csv"
    listed = manifest(table, runs)
    if path.is_file():
        listed = pd.concat([pd.read_csv(path, dtype=str, keep_default_na=False), listed.astype("str")], ignore_index=True)
    return records.write_csv(path, listed.drop_duplicates())


def refuse_test_data(training: pd.DataFrame, runs: Path) -> None:
    """Pass silently if no image (by content) and no patient (by site and id) of `training` is in a registered test set.

    Args:
        training: `manifest` of the records to train on.
        runs: the folder of run folders, where test sets are registered.

    Raises:
        ChexReasonError: names the test set, the image and the patient.
    """
    import pandas as pd

    images = set(training["sha256"]) - {""}
    patients = pd.MultiIndex.from_frame(training[["site", "patient"]].astype("str"))
    for path in sorted((runs / FOLDER).glob("*.csv")):
        test = pd.read_csv(path, dtype=str, keep_default_na=False)
        same_image = test["sha256"].isin(images)
        same_patient = pd.MultiIndex.from_frame(test[["site", "patient"]]).isin(patients)
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
