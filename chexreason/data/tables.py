"""Reading of label tables: every cell is text, and a row that cannot be trusted is reported as a problem with its line."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from chexreason.data import paths
from chexreason.data.records import ILLEGAL, Problem
from chexreason.errors import ChexReasonError, nearest
from chexreason.labels import FINDINGS
from chexreason.runs.files import utf16, write_text

if TYPE_CHECKING:
    import pandas as pd

MOST_CHARACTERS = 2 * 2**30  # of an uncompressed table: MIMIC-CXR-JPG's largest has a fortieth of it
FIELDS = "wrong number of fields"
GZIP = b"\x1f\x8b"
_BLANKS = re.compile(r'[,;\t\n"] | [,;\t\r\n"]')  # beside a cell, or beginning or ending it
_UNNAMED = re.compile(r"(?:Unnamed: \d+)?")  # header of an index column that pandas saved
_END = "\0end"  # appended to a table as a last row: an unclosed cell absorbs it
BLANK = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "<NA>"]


def read_table(path: Path, required: Collection[str]) -> tuple[pd.DataFrame, tuple[Problem, ...]]:
    """A CSV, plain or gzipped: cells as text (NaN where blank), with a column `row`, the line that each row ends on.

    Tables saved by a spreadsheet are read too: separated by semicolons or tabs, in UTF-16, with blanks around cells, with
    carriage returns alone, or with empty rows at the end. Columns without a name are left out.

    Rows with more or fewer fields than the header, and rows that a stray quotation mark merged, are returned as problems and
    left out, since their meaning cannot be known.

    Raises:
        ChexReasonError: the file is missing, is no CSV, lacks a required column, has one twice, or lies beside another version.
    """
    import pandas as pd

    if not path.is_file():
        raise ChexReasonError(f"there is no table {path}; see the dataset's published layout")
    try:
        text = _text(path)
        _refuse_versions(path, text)
        if not text.strip():
            raise ChexReasonError(f"{path} is empty; a table with the columns {listed([*required])} is wanted")
        text = _ended(text if "\n" in text else text.replace("\r", "\n"))
        first = text.partition("\n")[0]
        sign = max(",;\t", key=first.count)
        lines = _lines(text, sign)
        header = [name.strip() for name in next(lines, (1, []))[1]]
        if first.casefold().startswith(("sep=", "#")) and not {*required} <= {*header}:
            raise ChexReasonError(f"{path}, row 1: {shown(first.strip())!r} is no header; remove that line")
        rows = {line: _wrong(line, cells, len(header), sign) for line, cells in lines if cells}
        require(path, header, dict.fromkeys([*required, *filter(None, header)]))
        odd = {line: why for line, why in rows.items() if why}
        # By itself, pandas fills a short row with blanks, and shifts the columns if every row has one field too many.
        names = {place: name for place, name in enumerate(header) if not _UNNAMED.fullmatch(name)}
        frame = pd.read_csv(
            io.StringIO(_without(text, sign, odd) if odd else text),
            sep=sign,
            header=0,
            names=list(range(len(header))),
            usecols=list(names),
            dtype="str",
            na_values=BLANK,
            keep_default_na=False,
        ).rename(columns=names)
        if _BLANKS.search(text):
            frame = frame.apply(_bare)
        frame["row"] = [line for line in rows if line not in odd]
    except UnicodeError:
        raise ChexReasonError(f"{path}{_no_text(path)}; save it anew, as CSV in UTF-8") from None
    except (csv.Error, ValueError, OSError, EOFError, zlib.error) as error:
        raise ChexReasonError(f"{path} cannot be read as a CSV table: {error}") from None
    return frame, tuple(Problem(path.name, line, FIELDS, why) for line, why in odd.items())


def _ended(text: str) -> str:
    """The table without the rows of empty cells that a spreadsheet leaves at its end."""
    bare = text.rstrip(",;\t \r\n")
    last, _, below = text[len(bare) :].partition("\n")
    return f"{bare}{last}\n" if set(below) & set(",;\t") else text


def _lines(text: str, sign: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of a table with cells separated by `sign`, each with the line that it ends on."""
    reader = csv.reader(chain(io.StringIO(text), [_END]), delimiter=sign)
    try:
        for cells in reader:
            if cells != [_END]:
                cut = bool(cells) and cells[-1].endswith(_END)
                yield reader.line_num - cut, cells
    except csv.Error as error:
        stray = "\r" in text.split("\n")[reader.line_num - 1].removesuffix("\r")
        why = "a carriage return stands where no row ends" if stray else str(error)
        raise csv.Error(f"row {reader.line_num}: {why}") from None


def _wrong(line: int, cells: Sequence[str], width: int, sign: str) -> str:
    """What is wrong with a row that ends on `line`; empty where nothing is."""
    if cells[-1].endswith(_END):
        opened = line - cells[-1].removesuffix(_END).removesuffix("\n").count("\n")
        return f"the table ends inside a cell: a quotation mark in row {opened} is not closed"
    if len(cells) != width:
        return f"{len(cells)} fields, where the header has {width}"
    spans_lines = width > 1 and "\n" in "".join(cells)  # a cheap test that few rows pass
    swallowed = spans_lines and any("\n" in cell and cell.count(sign) >= width - 1 for cell in cells)
    return "an unclosed quotation mark merged this row with rows before it; close or remove it" if swallowed else ""


def _bare(column: pd.Series) -> pd.Series:
    """Cells without the blanks around them."""
    bare = column.str.strip() if column.notna().any() else column
    return bare.mask(bare == "")


def _without(text: str, sign: str, lines: Container[int]) -> str:
    """The table, with cells separated by `sign`, without the rows that end on `lines`."""
    kept = io.StringIO()
    reader = csv.reader(io.StringIO(text), delimiter=sign)
    csv.writer(kept, delimiter=sign).writerows(cells for cells in reader if reader.line_num not in lines)
    return kept.getvalue()


def require(path: Path, columns: Iterable[str], required: Iterable[str]) -> None:
    """Pass silently where each required column is there, once.

    Raises:
        ChexReasonError: names the first that is not, the nearest to it, and the columns that there are.
    """
    have = list(columns)
    for name in required:
        if name not in have:
            raise ChexReasonError(f"{path}: there is no column {name!r}.{nearest(name, have)} Columns: {listed(have)}")
        if have.count(name) > 1:
            raise ChexReasonError(f"{path}: there are {have.count(name)} columns {name!r}; leave one of them")


def _text(path: Path) -> str:
    """The table's text without a byte-order mark; ValueError if it is longer than MOST_CHARACTERS.

    Whether it is gzipped is decided by its first bytes, not by its name.
    """
    with path.open("rb") as start:
        opened = gzip.open if start.read(2) == GZIP else open
    with opened(path, "rb") as start:
        head = start.read(4)
    with opened(path, "rt", encoding=utf16(head) or "utf-8-sig", newline="") as stream:
        text = stream.read(MOST_CHARACTERS + 1)
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"it holds more than {MOST_CHARACTERS:,} characters")
    return text


def _refuse_versions(path: Path, text: str) -> None:
    """Raises ChexReasonError if both NAME.csv and NAME.csv.gz are there and differ."""
    other = path.with_suffix("") if path.suffix == ".gz" else path.with_name(f"{path.name}.gz")
    if other.is_file() and _text(other) != text:
        raise ChexReasonError(
            f"{path} and {other.name} beside it are two versions of one table: leave the right one there alone"
        )


def _no_text(path: Path) -> str:
    """Why a table cannot be decoded: what it is instead, or the row with a byte of another encoding."""
    content = path.read_bytes()
    if content.startswith(b"PK"):
        return " is an archive or a workbook: unpack it"
    content = gzip.decompress(content) if content.startswith(GZIP) else content
    for row, line in enumerate(content.split(b"\n"), start=1):
        try:
            line.decode()
        except UnicodeError:
            return f", row {row} is no text in UTF-8"
    return " is no text in UTF-8"


def listed(names: Sequence[str], most: int = 20) -> str:
    """Names for a message, the first few of very many, each cut to a readable length."""
    more = f" ... and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(shown(name) for name in names[:most]) + more


def shown(cell: object, most: int = 60) -> str:
    """A cell for a message: one line of printable characters, cut where it is long."""
    text = repr(str(cell))[1:-1]
    return text if len(text) <= most else f"{text[:most]}..."


def odd(table: str, kind: str, rows: pd.DataFrame, why: Callable[..., str]) -> tuple[Problem, ...]:
    """A problem for each of `rows`, whose first column is the line: `why` says what is wrong with its other cells."""
    return tuple(Problem(table, int(row), kind, why(*cells)) for row, *cells in rows.itertuples(index=False))


def label_values(frame: pd.DataFrame, table: str) -> tuple[Problem, ...]:
    """Make the 14 label columns of `frame` floats, in place; the problems are the cells that hold no label state."""
    import pandas as pd

    problems = []
    for finding in FINDINGS:
        raw = frame[finding]
        values = pd.to_numeric(raw, errors="coerce")
        wrong = raw.notna() & ~values.isin((1.0, 0.0, -1.0))
        for row, value in zip(frame.loc[wrong, "row"], raw[wrong], strict=True):
            problems.append(Problem(table, int(row), ILLEGAL, f"{finding} is {shown(value)}; 1, 0, -1 or blank is wanted"))
        frame[finding] = values.where(~wrong).astype(float)
    return tuple(problems)


def plain_numbers(frame: pd.DataFrame, columns: Sequence[str], table: str) -> tuple[Problem, ...]:
    """A problem for each cell that is no plain number: ids written in different forms would not match between tables."""
    problems = []
    for column in columns:
        cells = frame[column].fillna("")
        wrong = ~cells.str.fullmatch(r"[1-9][0-9]*")
        for row, cell in zip(frame.loc[wrong, "row"], cells[wrong], strict=True):
            meant = re.fullmatch(r"\s*[A-Za-z]*0*([0-9]+)(?:\.0*)?\s*", cell)
            hint = f", such as {meant[1]}" if meant else ""
            detail = f"{column} is {shown(cell) or 'blank'}; a plain number is wanted{hint}"
            problems.append(Problem(table, int(row), "illegal id", detail))
    return tuple(problems)


def unlisted(frame: pd.DataFrame, column: str, known: Collection[str], other: str) -> Iterator[tuple[int, str, bool]]:
    """For each cell of `column` that is not `known` to the table `other`: its row, what is wrong, and whether another spelling
    of it is known there (other case, with a file extension, or without leading zeros).
    """
    lost = frame[column].dropna()[~frame[column].dropna().isin(known)]
    near = {_plain(one): one for one in known} if len(lost) else {}
    for row, cell in zip(frame.loc[lost.index, "row"], lost, strict=True):
        meant = near.get(_plain(cell))
        said = f"{column} {shown(cell)} is not in {other}"
        yield int(row), f"{said}, which has {shown(meant)}: one spelling is wanted" if meant else said, meant is not None


def _plain(name: str) -> str:
    return re.sub(r"^0+|\.(?:jpe?g|png|dcm|dicom)$", "", name.strip().casefold())


def newest(root: Path, pattern: str) -> Path | None:
    """The newest version at `root` of the table, plain or gzipped, whose names fit `pattern`; None where there is none."""
    return max((path for path in root.glob(pattern) if path.name.endswith((".csv", ".csv.gz"))), key=_version, default=None)


def _version(path: Path) -> tuple[bool, list[int], str]:
    """A key that sorts versions of one table by the numbers in their names, the newest last; a browser's copies come first."""
    copied = bool(re.search(r" \(\d+\)|\bcopy\b", path.name, re.IGNORECASE))
    return not copied, [int(number) for number in re.findall(r"\d+", path.name)], path.name


def write_csv(path: Path, frame: pd.DataFrame) -> Path:
    """A CSV (`as_csv`) by atomic rename."""
    return write_text(path, as_csv(frame))


def as_csv(frame: pd.DataFrame) -> str:
    """A CSV in which no cell can run as a spreadsheet's formula."""

    def safely(cell: object) -> object:
        if not isinstance(cell, str):
            return cell
        line = cell.replace("\r", " ")  # pandas does not quote it, so it would start a new row
        return f"'{line}" if cell.startswith(paths.FORMULA) else line

    return str(frame.map(safely).to_csv(index=False, lineterminator="\n"))
