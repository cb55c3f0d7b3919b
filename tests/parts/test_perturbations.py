"""Perturbations: seeded, bounded, aligned with the model's patches."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from vlcal.perturbations import (
    Blank,
    Blur,
    CenterCrop,
    GaussianNoise,
    Mixture,
    NoPerturbation,
    PatchMask,
    Perturbation,
)

GRID = (3, 4)
MEMBERS = [PatchMask, GaussianNoise, Blur, CenterCrop, Blank]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def picture(height: int = 24, width: int = 32) -> Tensor:
    return torch.rand(3, height, width, generator=seeded(99)) * 0.4


def mixture() -> Mixture:
    return Mixture([PatchMask(), GaussianNoise(), Blank()], [1.0, 1.0, 2.0])


@pytest.mark.parametrize("perturbation", [*(member() for member in MEMBERS), mixture(), NoPerturbation()])
@pytest.mark.parametrize("strength", [0.0, 0.01, 0.5, 1.0])
def test_shape_range_and_input_are_kept(perturbation: Perturbation, strength: float) -> None:
    perturbation.strength = strength
    for image in (picture(), picture(17, 33), torch.ones(3, 8, 8), picture(1, 1)):
        before = image.clone()
        perturbed = perturbation(image, seeded(), GRID)
        assert perturbed.shape == image.shape
        assert perturbed.dtype == image.dtype
        assert float(perturbed.min()) >= 0.0
        assert float(perturbed.max()) <= 1.0
        torch.testing.assert_close(image, before, rtol=0, atol=0)


@pytest.mark.parametrize("perturbation", [*(member() for member in MEMBERS), mixture(), NoPerturbation()])
def test_strength_zero_is_the_identity(perturbation: Perturbation) -> None:
    perturbation.strength = 0.0
    torch.testing.assert_close(perturbation(picture(), seeded(), GRID), picture())


@pytest.mark.parametrize("perturbation", [*(member() for member in MEMBERS), mixture()])
def test_defaults_change_the_image(perturbation: Perturbation) -> None:
    assert not torch.equal(perturbation(picture(), seeded(), GRID), picture())


@pytest.mark.parametrize("perturbation", [PatchMask(), GaussianNoise(), mixture()])
def test_one_generator_state_gives_one_image_and_another_another(perturbation: Perturbation) -> None:
    first = perturbation(picture(), seeded(1), GRID)
    assert torch.equal(first, perturbation(picture(), seeded(1), GRID))
    assert any(not torch.equal(first, perturbation(picture(), seeded(seed), GRID)) for seed in range(2, 6))


@pytest.mark.parametrize("member", MEMBERS)
@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_strength_outside_the_unit_interval_is_refused_at_once_and_later(member: type, strength: float) -> None:
    with pytest.raises(ValueError, match=r"`strength` must lie in \[0, 1\]"):
        member(strength=strength)
    perturbation = member()
    with pytest.raises(ValueError, match=r"`strength` must lie in \[0, 1\]"):
        perturbation.strength = strength


def test_no_perturbation_stays_at_strength_zero() -> None:
    perturbation = NoPerturbation()
    perturbation.strength = 0.7
    assert perturbation.strength == 0.0


@pytest.mark.parametrize(("strength", "masked"), [(0.0, 0), (0.01, 1), (0.25, 3), (0.8, 10), (1.0, 12)])
def test_exactly_the_asked_share_of_whole_patches_is_masked(strength: float, masked: int) -> None:
    image = picture(24, 32)
    perturbed = PatchMask(strength, fill=0.9)(image, seeded(), GRID)
    cells = (perturbed == 0.9).all(dim=0).view(3, 8, 4, 8).transpose(1, 2).flatten(2)
    assert int(cells.all(dim=-1).sum()) == masked
    assert int(cells.any(dim=-1).sum()) == masked
    visible = ~cells.all(dim=-1).repeat_interleave(8, 0).repeat_interleave(8, 1)
    assert torch.equal(perturbed[:, visible], image[:, visible])


def test_every_patch_is_masked_equally_often() -> None:
    rng, mask = seeded(), PatchMask(0.5, fill=1.0)
    hits = sum((mask(torch.zeros(3, 3, 4), rng, GRID)[0] for _ in range(1000)), torch.zeros(3, 4)) / 1000
    torch.testing.assert_close(hits, torch.full((3, 4), 0.5), rtol=0, atol=0.05)


def test_a_side_that_no_patch_size_divides_is_shared_out_evenly() -> None:
    perturbed = PatchMask(0.5, fill=1.0)(torch.zeros(3, 2, 5), seeded(), (1, 2))
    assert perturbed[0].sum(dim=-1).tolist() in ([2.0, 2.0], [3.0, 3.0])


def test_the_patch_mask_refuses_a_fill_that_is_no_pixel_and_an_empty_grid() -> None:
    with pytest.raises(ValueError, match=r"`fill` must lie in \[0, 1\].*got 127.0"):
        PatchMask(fill=127.0)
    with pytest.raises(ValueError, match=r"`grid` must hold at least one row.*\(0, 4\)"):
        PatchMask()(picture(), seeded(), (0, 4))


def test_strength_is_the_standard_deviation_of_the_noise() -> None:
    noise = GaussianNoise(0.05)(torch.full((3, 100, 100), 0.5), seeded(), GRID) - 0.5
    assert float(noise.std()) == pytest.approx(0.05, rel=0.02)
    assert abs(float(noise.mean())) < 0.002


def test_blurring_axis_by_axis_equals_the_square_kernel() -> None:
    image = picture(32, 40)
    expected = gaussian_blur(image, kernel_size=[11, 11], sigma=[1.6, 1.6])  # 0.5 * 0.1 * 32, reach ceil(4.8)
    torch.testing.assert_close(Blur(0.5)(image, seeded(), GRID), expected)


def test_blurring_keeps_a_flat_image_and_refuses_no_width() -> None:
    flat = torch.full((3, 16, 16), 0.3)
    torch.testing.assert_close(Blur(1.0)(flat, seeded(), GRID), flat)
    with pytest.raises(ValueError, match=r"`widest` must lie in \(0, 1\].*got 0.0"):
        Blur(widest=0.0)


def test_cropping_half_keeps_the_centre_and_drops_the_border() -> None:
    image = torch.zeros(3, 8, 8)
    image[:, 2:6, 2:6] = 1.0
    torch.testing.assert_close(CenterCrop(0.5)(image, seeded(), GRID), torch.ones(3, 8, 8))


def test_a_full_blank_is_the_mean_colour_and_half_of_it_lies_between() -> None:
    image = torch.zeros(3, 2, 2)
    image[0, 0, 0] = 1.0
    torch.testing.assert_close(Blank(1.0)(image, seeded(), GRID)[0], torch.full((2, 2), 0.25))
    torch.testing.assert_close(Blank(0.5)(image, seeded(), GRID)[0], torch.tensor([[0.625, 0.125], [0.125, 0.125]]))


def test_a_mixture_draws_its_members_as_often_as_weighted() -> None:
    white, black = PatchMask(1.0, fill=1.0), PatchMask(1.0, fill=0.0)
    rng, mixed = seeded(), Mixture([white, black], [3.0, 1.0])
    share = sum(float(mixed(picture(), rng, GRID).mean()) for _ in range(600)) / 600
    assert share == pytest.approx(0.75, abs=0.06)
    mixed.weights = [0.0, 1.0]
    assert all(float(mixed(picture(), rng, GRID).max()) == 0.0 for _ in range(20))


def test_the_strength_of_a_mixture_scales_that_of_its_members() -> None:
    mixed = Mixture([PatchMask(0.8), GaussianNoise(0.4)], [1.0, 1.0])
    mixed.strength = 0.5
    assert [member.strength for member in mixed.members] == pytest.approx([0.4, 0.2])
    mixed.strength = 0.0
    mixed.strength = 1.0
    assert [member.strength for member in mixed.members] == pytest.approx([0.8, 0.4])


def test_a_mixture_refuses_no_members_and_weights_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="`members` must name at least one"):
        Mixture([], [])
    with pytest.raises(ValueError, match="`weights` must hold one number per member; got 2 for 1"):
        Mixture([Blur()], [1.0, 1.0])
    for weights in ([0.0, 0.0], [-1.0, 2.0], [float("nan"), 1.0]):
        with pytest.raises(ValueError, match="`weights` must be finite, at least 0 and not all 0"):
            Mixture([Blur(), Blank()], weights)
