"""Normalises a DICOM file's tags to the form that the reader expects, or refuses them by name.

Empty, repeated or lower-case values are accepted; contradictory ones are refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from chexreason.data.lookup import COLOURS, PALETTE
from chexreason.data.pixels import ImageError, check_size

if TYPE_CHECKING:
    from pydicom import Dataset

RADIOGRAPHS = ("CR", "DX", "RG", "RF", "XA", "SC", "OT")  # DICOM modalities that a chest film may come under
NEEDED = (
    "Rows Columns SamplesPerPixel PhotometricInterpretation BitsAllocated BitsStored PixelRepresentation PixelData"
).split()
CHOSEN = (
    "Modality NumberOfFrames PlanarConfiguration HighBit PixelPaddingValue PixelPaddingRangeLimit RescaleSlope "
    "RescaleIntercept WindowCenter WindowWidth VOILUTFunction PresentationLUTShape PresentationIntentType SOPClassUID"
).split()
TABLES = ("ModalityLUTSequence", "VOILUTSequence")
# Tags with a pixel's height and width; the first one present is used.
SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio")
GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")  # of an enhanced object
GROUPED = ("PixelMeasuresSequence", "PixelValueTransformationSequence", "FrameVOILUTSequence")
PHOTOMETRIC = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
# Tags that determine the picture. No others are read, such as patients' names or millions of foreign elements.
WANTED = [*NEEDED, *CHOSEN, *TABLES, *PALETTE, *SPACINGS, *GROUPS, "PresentationLUTSequence"]
FIRST = ("WindowCenter", "WindowWidth", "VOILUTFunction")  # of several alternatives, a viewer shows the first

SAYS_WHAT = ("BodyPartExamined", "ViewPosition")
CHEST = re.compile("CHEST|THORA|T[O\u00d3]RAX|LUNG|HEART|CARDIAC|RIB|PULM|PECHO|BRUST")
FRONTAL = re.compile(r"\b(A[-./ ]?P|P[-./ ]?A)(?![A-Z])|ANTERO|POSTERO|FRONTAL")
UNTOLD = re.compile(r"\W*(UNKNOWN|UNSPECIFIED|UNDEFINED|NONE|N/?A|OTHER)?\W*")


def doubts(data: Dataset) -> list[str]:
    """Those of a file's tags SAYS_WHAT that say it shows something other than a frontal view of the chest."""
    found = []
    for keyword, wanted in zip(SAYS_WHAT, (CHEST, FRONTAL), strict=True):
        said = " ".join(str(data.get(keyword) or "").split())
        if not UNTOLD.fullmatch(said.upper()) and not wanted.search(said.upper()):
            found.append(f"{data[keyword].name} {data[keyword].tag} says {said[:64]}")
    return found


def tidy(data: Dataset, name: str) -> None:
    """Remove empty values, reduce repeated values to one, and write code words as the standard does.

    The functional groups of an enhanced object's one frame are copied to the top level, where other files have these tags.

    Raises:
        ImageError: a single-valued tag has several values, a numeric one is no number, or a lookup table lacks a part; names
            the file.
    """
    from pydicom.multival import MultiValue

    for group in [first for keyword in GROUPS for first in (data.get(keyword) or [])[:1]]:
        for item in [first for keyword in GROUPED for first in (group.get(keyword) or [])[:1]]:
            data.update({element.tag: element for element in item if element.keyword in (*CHOSEN, *TABLES, *SPACINGS)})
    for element in [data[keyword] for keyword in (*NEEDED, *CHOSEN) if keyword in data]:
        values = list(element.value) if isinstance(element.value, MultiValue | list) else [element.value]
        values = values[:1] if element.keyword in FIRST else values
        values = [value.strip().upper() if isinstance(value, str) else value for value in values]
        values = [value for value in values if value not in ("", b"", None)]
        if element.VR in ("DS", "IS") and any(isinstance(value, str) for value in values):  # pydicom leaves it as it is
            raise ImageError(f"{name}: {element.name} {element.tag} is {values[0]!r}; a number is wanted")
        if len(set(values)) > 1:
            said = ", ".join(map(str, values))
            raise ImageError(f"{name}: {element.name} {element.tag} has several values ({said}); keep the right one of them")
        if values:
            element.value = values[0]
        else:
            del data[element.tag]
    for keyword in TABLES:
        items = data.get(keyword) or []
        parts = [[part for part in ("LUTDescriptor", "LUTData") if part in item and not item[part].is_empty] for item in items]
        whole = [item for item, held in zip(items, parts, strict=True) if len(held) == 2]
        if any(parts) and not whole and not (keyword == "VOILUTSequence" and has_window(data)):
            lacking = "LUT Data (0028,3006)" if ["LUTDescriptor"] in parts else "LUT Descriptor (0028,3002)"
            raise ImageError(
                f"{name}: its {data[keyword].name} {data[keyword].tag} has no {lacking}; take it away or complete it"
            )
        if keyword in data:
            setattr(data, keyword, whole[:1])
    if data.file_meta.TransferSyntaxUID.is_encapsulated and "PlanarConfiguration" not in data:
        data.PlanarConfiguration = 0  # it only describes the layout of uncompressed pixels


def check(data: Dataset, name: str) -> None:
    """Refuse a file that is not a single radiograph, judged by its tags alone.

    Raises:
        ImageError: names the file.
    """
    from pydicom.uid import UID

    modality = data.get("Modality", "CR")
    if modality not in RADIOGRAPHS:
        raise ImageError(
            f"{name}: its modality is {modality}; a radiograph is wanted ({', '.join(RADIOGRAPHS)}); if it is one, correct "
            "Modality (0008,0060)"
        )
    needed = [*NEEDED, "PlanarConfiguration"] if data.get("SamplesPerPixel", 1) > 1 else NEEDED
    if missing := [tag for tag in needed if tag not in data]:
        raise ImageError(f"{name}: a DICOM file without a picture: it has no {', '.join(missing)}")
    if data.PhotometricInterpretation == "PALETTE COLOR":
        tables = [f"{colour}PaletteColorLookupTable" for colour in COLOURS]
        missing = [f"{table}Descriptor" for table in tables if not data.get(f"{table}Descriptor")]
        missing += [f"{table}Data" for table in tables if not (data.get(f"{table}Data") or data.get(f"Segmented{table}Data"))]
        if missing:
            raise ImageError(f"{name}: its colours are those of a palette that it lacks: it has no {', '.join(missing)}")
    check_size(int(data.Columns), int(data.Rows), name)
    if data.PhotometricInterpretation not in PHOTOMETRIC:
        raise ImageError(
            f"{name}: Photometric Interpretation (0028,0004) {data.PhotometricInterpretation} is not read here; have the film "
            "exported as MONOCHROME2 or RGB"
        )
    if data.get("PresentationLUTShape") == "INVERSE" and data.PhotometricInterpretation == "MONOCHROME2":
        raise ImageError(
            f"{name}: MONOCHROME2 (0028,0004) says that its largest values are bright, Presentation LUT Shape (2050,0020) "
            "INVERSE that they are dark; correct the one or the other"
        )
    if any(data.get("PresentationLUTSequence") or []):
        raise ImageError(
            f"{name}: its Presentation LUT Sequence (2050,0010) is not read here; have the film exported with it applied"
        )
    intent = data.get("PresentationIntentType") or UID(data.get("SOPClassUID", "")).name.upper()
    if intent.endswith("FOR PROCESSING"):
        raise ImageError(
            f"{name}: it is FOR PROCESSING by its Presentation Intent Type (0008,0068) or SOP Class UID (0008,0016), whose "
            "greys are not those of a film, often inverted; export the FOR PRESENTATION image"
        )
    if int(data.get("NumberOfFrames", 1)) > 1:
        raise ImageError(
            f"{name}: {data.NumberOfFrames} frames by Number of Frames (0028,0008); one radiograph a file is wanted, so export "
            "the one that is meant"
        )


def pixel_shape(data: Dataset) -> float:
    """A pixel's height divided by its width; 1 if no tag gives valid values."""
    for keyword in SPACINGS:
        try:
            high, wide = (float(side) for side in data.get(keyword) or ())
        except (TypeError, ValueError):
            continue
        if high > 0 and wide > 0:
            return high / wide
    return 1.0


def has_window(data: Dataset) -> bool:
    """Whether there is a window. Files without one omit the tag, leave it empty, or give a width of 0."""
    return "WindowCenter" in data and float(data.get("WindowWidth", 0)) > 0
