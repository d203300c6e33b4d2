"""``saccade init``: what masks hold becomes classes.json, and neighbours stay in one split."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from saccade.cli import main
from saccade.data import open_data
from saccade.data.class_names import read_names
from saccade.data.draft import draft_folder
from saccade.data.grouping import grouped_stems, prefix_of, share_groups
from saccade.errors import DataFaults, FileProblem, InvalidInput

COLOURS = np.array([[10, 20, 30], [0, 0, 0], [250, 0, 7]], np.uint8)


def make(
    root: Path,
    stems: list[str],
    *,
    masks: str = "masks",
    ending: str = "",
    suffix: str = ".png",
    kind: str = "L",
) -> dict[str, np.ndarray]:
    """Images and masks of values 0 to 2, in a way of ``kind``; the values by stem."""
    rng = np.random.default_rng(4)
    found = {}
    for stem in stems:
        values = rng.integers(0, 3, (6, 9), np.uint8)
        image, mask = root / "images" / f"{stem}.JPG", root / masks / f"{stem}{ending}{suffix}"
        for path in (image, mask):
            path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (6, 9, 3), np.uint8)).save(image, format="JPEG")
        drawn = {"L": values, "binary": (values > 1) * np.uint8(255), "RGB": COLOURS[values]}[kind]
        Image.fromarray(drawn).save(mask, format="PNG")
        found[stem] = values
    return found


STEMS = [f"im_{k}" for k in range(8)]


def test_indices_become_classes_and_a_data_folder_without_faults(tmp_path: Path) -> None:
    values = make(tmp_path, STEMS)
    draft = draft_folder(tmp_path)
    assert not (tmp_path / "classes.json").exists()
    draft.write()
    data = open_data(tmp_path)
    assert data.classes.indices == (0, 1, 2)
    assert data.class_counts().tolist() == [
        sum(int((v == k).sum()) for v in values.values()) for k in range(3)
    ]
    assert [c.pixels for c in draft.classes] == data.class_counts().tolist()
    assert sorted(s for name in data.splits for s in (i.stem for i in data.split(name))) == STEMS


def test_0_and_255_are_background_and_foreground(tmp_path: Path) -> None:
    make(tmp_path, STEMS, kind="binary")
    draft_folder(tmp_path).write()
    table = open_data(tmp_path).classes
    assert (table.indices, table.names) == ((0, 255), ("background", "foreground"))


def test_255_beside_several_classes_counts_nowhere(tmp_path: Path) -> None:
    make(tmp_path, STEMS)
    Image.fromarray(np.full((6, 9), 255, np.uint8)).save(tmp_path / "masks" / "im_0.png")
    draft = draft_folder(tmp_path)
    assert draft.ignore_index == 255
    assert any("255 is taken for ignored" in note for note in draft.notes)
    draft.write()
    assert open_data(tmp_path).classes.indices == (0, 1, 2)


@pytest.mark.parametrize(
    ("masks", "ending", "suffix"),
    [("masks", "", ".PNG"), ("labels", "", ".png"), ("labels", "_mask", ".PNG"), ("masks", "-gt", ".png")],
)
def test_colours_are_read_wherever_masks_lie(tmp_path: Path, masks: str, ending: str, suffix: str) -> None:
    values = make(tmp_path, STEMS, masks=masks, ending=ending, suffix=suffix, kind="RGB")
    draft_folder(tmp_path).write()
    data = open_data(tmp_path)
    assert set(data.classes.colours) == {tuple(map(int, colour)) for colour in COLOURS}
    for name in data.splits:
        for item in data.split(name):
            shown = np.array(data.classes.colours, np.uint8)[data.read(item).labels]
            assert (shown == COLOURS[values[item.stem]]).all()


def test_a_colour_of_no_class_is_named_with_its_pixels(tmp_path: Path) -> None:
    make(tmp_path, STEMS, kind="RGB")
    draft_folder(tmp_path).write()
    mask = np.array(Image.open(tmp_path / "masks" / "im_3.png"))
    mask[0, :4] = (9, 9, 8)
    Image.fromarray(mask).save(tmp_path / "masks" / "im_3.png")
    with pytest.raises(
        DataFaults, match=r"im_3.png: expected only the colours .* found \[9, 9, 8\] \(4 pixels\)"
    ):
        open_data(tmp_path)


def test_the_ignored_colour_is_read_too(tmp_path: Path) -> None:
    make(tmp_path, STEMS, kind="RGB")
    rows = [{"index": k, "name": str(k), "colour": colour.tolist()} for k, colour in enumerate(COLOURS)]
    (tmp_path / "classes.json").write_text(json.dumps({"ignore_index": 2, "classes": rows}))
    draft_folder(tmp_path).write()
    assert open_data(tmp_path).ignored_pixels("train") > 0


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("sea\nland\nboat\n", ("sea", None, None)),
        ("0 sea\n1: land\n2, boat\n", ("sea", 0, None)),
        ("10 20 30\tsea\n0 0 0 land\n250 0 7 boat", ("sea", None, (10, 20, 30))),
        ("sea:10,20,30::\nland:0,0,0::\nboat:250,0,7::", ("sea", None, (10, 20, 30))),
        ("name,r,g,b\nsea,10,20,30\nland,0,0,0\nboat,250,0,7\n", ("sea", None, (10, 20, 30))),
        ("# comment\n\nsea\n", ("sea", None, None)),
    ],
)
def test_files_of_names_are_read(tmp_path: Path, text: str, first: tuple[object, ...]) -> None:
    (tmp_path / "n.txt").write_text(text)
    row = next(iter(read_names(tmp_path / "n.txt").values()))
    assert (row.name, row.index, row.colour) == first


def test_names_are_given_to_indices_and_to_colours(tmp_path: Path) -> None:
    make(tmp_path / "a", STEMS)
    (tmp_path / "a" / "classes.txt").write_text("sea\nland\nboat\n")
    assert [c.name for c in draft_folder(tmp_path / "a").classes] == ["sea", "land", "boat"]
    make(tmp_path / "b", STEMS, kind="RGB")
    (tmp_path / "n.csv").write_text("name,r,g,b\nland,0,0,0\nsea,10,20,30\nboat,250,0,7\n")
    draft = draft_folder(tmp_path / "b", names=tmp_path / "n.csv")
    assert (draft.classes[0].name, draft.classes[0].colour) == ("land", (0, 0, 0))
    assert all(c.pixels for c in draft.classes)


def test_nothing_is_overwritten_and_a_dry_run_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path, STEMS)
    assert main(["init", str(tmp_path), "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert not list(tmp_path.glob("*.json"))
    (tmp_path / "classes.json").write_text('{"classes": [{"index": 0, "name": "mine"}]}')
    assert main(["init", str(tmp_path), "-q"]) == 0
    assert "mine" in (tmp_path / "classes.json").read_text()
    assert json.loads((tmp_path / "splits.json").read_text()) == told["splits.json"]
    capsys.readouterr()
    assert main(["init", str(tmp_path)]) == 1
    assert "both are there" in capsys.readouterr().err
    assert "mine" in (tmp_path / "classes.json").read_text()
    assert main(["init", str(tmp_path), "--overwrite", "-q"]) == 0
    assert json.loads((tmp_path / "classes.json").read_text()) == told["classes.json"]


def test_what_cannot_be_drafted_is_told_with_a_way_out(tmp_path: Path) -> None:
    make(tmp_path / "a", STEMS)
    (tmp_path / "a" / "images").rename(tmp_path / "a" / "img")
    with pytest.raises(FileProblem, match=r"no folder images; rename: mv .*img .*images"):
        draft_folder(tmp_path / "a")
    make(tmp_path / "p", STEMS)
    shutil.rmtree(tmp_path / "p" / "masks")
    (tmp_path / "p" / "geojson").mkdir()
    (tmp_path / "p" / "geojson" / "im_0.geojson").write_text("{}")
    with pytest.raises(FileProblem, match=r"rename: mv .*geojson .*labels"):
        draft_folder(tmp_path / "p")
    make(tmp_path / "b", STEMS)
    for path in (tmp_path / "b" / "masks").iterdir():
        path.rename(path.with_name(f"other{path.name}"))
    with pytest.raises(FileProblem, match=r"images as im_0, masks as otherim_0\.png"):
        draft_folder(tmp_path / "b")
    make(tmp_path / "c", STEMS)
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "c" / "masks" / "im_0.png")
    with pytest.raises(DataFaults, match="at most 255 colours"):
        draft_folder(tmp_path / "c")
    with pytest.raises(FileProblem, match="no such folder"):
        draft_folder(tmp_path / "nothing")


def test_many_like_faults_are_one_line(tmp_path: Path) -> None:
    make(tmp_path, [f"im_{k}" for k in range(40)], kind="binary")
    rows = [{"index": k, "name": str(k)} for k in range(2)]
    (tmp_path / "classes.json").write_text(json.dumps({"classes": rows}))
    draft_folder(tmp_path).write()
    with pytest.raises(DataFaults) as caught:
        open_data(tmp_path)
    assert len(caught.value.faults) == 40
    assert len(str(caught.value).splitlines()) == 2
    assert "39 more files" in str(caught.value)


def test_a_split_of_any_name_is_opened_when_asked_for(tmp_path: Path) -> None:
    make(tmp_path, STEMS)
    draft_folder(tmp_path).write()
    splits = {"train": STEMS[:4], "val": STEMS[4:6], "site_b": STEMS[3:5]}
    (tmp_path / "splits.json").write_text(json.dumps(splits))
    assert list(open_data(tmp_path).splits) == ["train", "val"]
    data = open_data(tmp_path, splits=["site_b"])
    assert [item.stem for item in data.split("site_b")] == STEMS[3:5]
    assert any("1 images of site_b are in train too" in notice for notice in data.notices)


def test_a_stem_of_no_file_is_one_fault_with_the_nearest(tmp_path: Path) -> None:
    make(tmp_path, STEMS)
    draft_folder(tmp_path).write()
    (tmp_path / "splits.json").write_text(json.dumps({"train": ["im_0", "im_33"]}))
    with pytest.raises(DataFaults, match="the data set has 1 fault") as caught:
        open_data(tmp_path)
    assert "did you mean 'im_3'?" in str(caught.value)


# --- what stays together ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stem", "prefix"),
    [("0006R0_f01050", "0006R0"), ("leaf_12", "leaf"), ("a", "a"), ("7", ""), ("s1_x0_y512", "s1_x0")],
)
def test_a_prefix_is_the_stem_without_its_last_number(stem: str, prefix: str) -> None:
    assert prefix_of(stem) == prefix


def test_tiles_stay_with_their_slide() -> None:
    stems = [f"slide{s}_x{x}_y{y}" for s in range(6) for x in range(3) for y in range(4)]
    by, groups = grouped_stems(stems, "auto")
    assert by == "prefix"
    assert {len({stem.partition("_")[0] for stem in some}) for some in groups.values()} == {1}
    assert len(groups) == 6


def test_folders_come_first_and_patterns_are_taken() -> None:
    stems = [f"site{s}/im_{k}" for s in range(4) for k in range(5)]
    assert set(grouped_stems(stems, "auto")[1]) == {f"site{s}" for s in range(4)}
    assert len(grouped_stems(stems, r"im_(\d)")[1]) == 5
    with pytest.raises(InvalidInput, match="which site0/im_0 has not"):
        grouped_stems(stems, "leaf")
    with pytest.raises(InvalidInput, match="regular expression"):
        grouped_stems(stems, "(")


@given(st.lists(st.integers(1, 9), min_size=1, max_size=25), st.integers(0, 5))
def test_groups_are_shared_out_whole_and_each_once(sizes: list[int], seed: int) -> None:
    groups = {str(g): [f"{g}_{k}" for k in range(n)] for g, n in enumerate(sizes)}
    splits = share_groups(groups, seed)
    assert sorted(s for some in splits.values() for s in some) == sorted(
        s for g in groups.values() for s in g
    )
    homes = [{stem.partition("_")[0] for stem in some} for some in splits.values()]
    assert sum(map(len, homes)) == len(set().union(*homes)) == len(groups)
    assert list(splits) == ["train", "val", "test"][: min(3, len(groups))]
    assert splits == share_groups(dict(reversed(groups.items())), seed)


def test_twenty_images_are_shared_out_14_3_3() -> None:
    splits = share_groups({str(k): [str(k)] for k in range(20)})
    assert {name: len(some) for name, some in splits.items()} == {"train": 14, "val": 3, "test": 3}
