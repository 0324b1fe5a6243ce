"""``sam`` on a tiny random model of the real class."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import SamImageProcessorPil, SamModel, SamProcessor

from threedis_core import DepthMap, Instance, Layout, RegionRefiner, load_plugins
from threedis_core.errors import OptionError, RenderError, WeightsError
from threedis_core.run.config import Choice, RunConfig
from threedis_core.run.plan import plan_run
from threedis_core.testing import sample_depth, sample_layout
from threedis_core.testing.checks import check_unknown_option_is_refused

WIDTH, HEIGHT = 96, 64


@pytest.fixture(scope="module")
def layout() -> Layout:
    return sample_layout(3)


@pytest.fixture(scope="module")
def depth(layout) -> DepthMap:
    return sample_depth(layout, WIDTH, HEIGHT)


def sam(model: Path | str, **options: object) -> RegionRefiner:
    return load_plugins().region_refiner("sam", {"model": str(model), **options})


def asked_alone(folder: Path, depth: DepthMap, instance: Instance) -> np.ndarray:
    """What the model says of one box, by transformers' own way."""
    model = SamModel.from_pretrained(folder).eval()
    processor = SamProcessor(SamImageProcessorPil.from_pretrained(folder))
    box = [float(side) for side in np.array(instance.box.xyxy) * [WIDTH, HEIGHT, WIDTH, HEIGHT]]
    inputs = processor(depth.to_image(), input_boxes=[[box]], return_tensors="pt")
    with torch.no_grad():
        output = model(
            pixel_values=inputs.pixel_values,
            input_boxes=inputs.input_boxes.float(),
            multimask_output=False,
        )
    sizes = inputs.original_sizes, inputs.reshaped_input_sizes
    return processor.post_process_masks(output.pred_masks, *sizes)[0][0, 0].numpy()


def test_each_box_gets_the_mask_that_the_model_gives_it_alone(layout, depth, sam_folder) -> None:
    found = sam(sam_folder).refine(layout, depth)
    assert (found.width, found.height, len(found)) == (WIDTH, HEIGHT, 3)
    alone = [asked_alone(sam_folder, depth, instance) for instance in layout.instances]
    for mask, wanted in zip(found.masks, alone, strict=True):
        assert mask is not None
        assert (mask == wanted).mean() > 0.999
    assert 0.05 < np.mean(alone) < 0.95
    assert not np.array_equal(alone[0], alone[1])


def test_masks_of_the_layout_stay_and_need_no_model(layout, depth, sam_folder) -> None:
    own = np.zeros((HEIGHT, WIDTH), dtype=bool)
    own[10:20, 5:30] = True
    first, *others = (part.model_copy() for part in layout.instances)
    masked = Instance(prompt=first.prompt, box=first.box, mask=own)
    some = Layout(prompt=layout.prompt, instances=(masked, *others))
    found = sam(sam_folder).refine(some, depth)
    assert np.array_equal(found.masks[0], own)
    assert not np.array_equal(found.masks[1], own)
    every = Layout(prompt=layout.prompt, instances=(masked,))
    assert np.array_equal(sam("nowhere/at-all").refine(every, depth).masks[0], own)
    assert len(sam("nowhere/at-all").refine(Layout(prompt="nothing"), depth)) == 0


@pytest.mark.parametrize("scale", [2, 0.25])
def test_masks_of_another_size_than_the_depth_map_keep_every_pixel(
    layout, depth, sam_folder, scale
) -> None:
    own = np.zeros((int(HEIGHT * scale), int(WIDTH * scale)), dtype=bool)
    own[3, 7] = True  # one pixel, lost in a smaller picture
    first, *others = layout.instances
    masked = Instance(prompt=first.prompt, box=first.box, mask=own)
    some = Layout(prompt=layout.prompt, instances=(masked, *others))
    found = sam(sam_folder).refine(some, depth)
    plain = sam(sam_folder).refine(layout, depth)
    assert np.array_equal(found.masks[0], own)
    for index in range(1, len(plain)):
        wanted = plain.pixels(index, *own.shape)
        assert np.array_equal(found.masks[index], wanted)


def test_a_run_looks_for_the_model_before_it_makes_a_depth_map(
    layout, sam_folder, dpt_folder
) -> None:
    def planned(model: Path | str, layout: Layout, **options: object) -> None:
        config = RunConfig(
            renderers={"pocket-sd15": {}},
            depth_model=Choice(name="ldm3d"),
            region_refiner=Choice(name="sam", options={"model": str(model), **options}),
        )
        plan_run(config, load_plugins(), layout)

    planned(sam_folder, layout)
    with pytest.raises(WeightsError, match="nowhere"):
        planned("nowhere/at/all", layout)
    with pytest.raises(WeightsError, match="of type 'dpt'; expected 'sam'"):
        planned(dpt_folder, layout)
    with pytest.raises(OptionError, match="no such device"):
        planned(sam_folder, layout, device="cuda:77")
    planned("nowhere/at/all", Layout(prompt="nothing"))


def test_where_nothing_is_found_the_box_is_the_region(layout, depth, sam_folder, tmp_path) -> None:
    folder = shutil.copytree(sam_folder, tmp_path / "blind")
    model = SamModel.from_pretrained(folder)
    for network in model.mask_decoder.output_hypernetworks_mlps:
        for weight in network.parameters():
            weight.data.zero_()
    model.save_pretrained(folder)
    assert sam(folder).refine(layout, depth).masks == (None, None, None)


def test_numbers_that_are_not_finite_are_an_error_and_no_empty_mask(
    layout, depth, sam_folder, tmp_path
) -> None:
    folder = shutil.copytree(sam_folder, tmp_path / "broken")
    model = SamModel.from_pretrained(folder)
    for weight in model.mask_decoder.output_hypernetworks_mlps.parameters():
        weight.data.fill_(float("nan"))
    model.save_pretrained(folder)
    with pytest.raises(RenderError, match="not finite in dtype float32; the weights are damaged"):
        sam(folder, device="cpu").refine(layout, depth)


def test_closing_and_refining_again_gives_the_same_regions(layout, depth, sam_folder) -> None:
    refiner = sam(sam_folder)
    first = refiner.refine(layout, depth)
    refiner.close()
    again = refiner.refine(layout, depth)
    assert all(np.array_equal(*pair) for pair in zip(first.masks, again.masks, strict=True))


def test_an_unknown_option_is_refused() -> None:
    check_unknown_option_is_refused(type(sam("any")).Options)


def test_what_is_missing_is_said_before_anything_is_loaded(
    layout, depth, sam_folder, dpt_folder, tmp_path
) -> None:
    folder = shutil.copytree(sam_folder, tmp_path / "model")
    (folder / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"has no file 'model\.safetensors'"):
        sam(folder).refine(layout, depth)
    with pytest.raises(WeightsError, match="of type 'dpt'; expected 'sam'"):
        sam(dpt_folder).refine(layout, depth)
    with pytest.raises(OptionError, match="no such device"):
        sam(sam_folder, device="cuda:77").refine(layout, depth)
