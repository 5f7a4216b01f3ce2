"""The U-Net, and timm's encoders in its place."""

import pytest
import torch

import gapfill
from gapfill import nets, testing
from gapfill.errors import UsageError

SMALL = "mobilenetv3_small_050"
FAMILIES = [SMALL, "resnet10t", "convnext_atto", "regnetx_002", "pvt_v2_b0"]
FIXED = "swin_tiny_patch4_window7_224"


def unet(**settings):
    return gapfill.create("unet", **({"size": 32, "width": 4} | settings))


def test_the_net_gives_a_picture_of_the_size_it_got():
    net = nets.UNet(4, 4, 2)
    assert net(torch.zeros(2, 4, 48, 32)).shape == (2, 2, 48, 32)


def test_the_bottleneck_sees_the_whole_picture():
    net = nets.UNet(3, 4)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    picture = torch.zeros(1, 3, 64, 64, requires_grad=True)
    net(picture)[0, :, 0, 0].sum().backward()
    assert picture.grad[0, :, -1, -1].abs().sum() > 0


def test_a_timed_net_hears_the_time_and_another_does_not():
    timed, plain = nets.UNet(3, 4, timed=True), nets.UNet(3, 4)
    for net in (timed, plain):
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    picture = torch.rand(2, 3, 32, 32)
    early, late = torch.zeros(2), torch.ones(2)
    assert not torch.equal(timed(picture, early), timed(picture, late))
    assert torch.equal(plain(picture, early), plain(picture, late))


def test_each_picture_has_a_time_of_its_own():
    net = nets.UNet(3, 4, timed=True).eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    picture = torch.rand(2, 3, 32, 32)
    both = net(picture, torch.tensor([0.2, 0.9]))
    torch.testing.assert_close(net(picture[1:], torch.tensor([0.9])), both[1:])


@pytest.mark.parametrize("encoder", FAMILIES)
def test_encoders_of_many_families_are_one_setting_away(encoder, tmp_path):
    model = unet(encoder=encoder)
    testing.every_weight_is_reached(model, tmp_path)
    testing.one_alone_equals_the_same_in_a_batch(model, tmp_path)


def test_a_model_with_an_encoder_is_saved_and_resumed_like_any(tmp_path):
    testing.save_and_load_give_the_same_fills(unet(encoder=SMALL), tmp_path)
    testing.resume_is_the_same_run(unet(encoder=SMALL), tmp_path)


def test_an_encoder_begins_untrained_whatever_its_name(monkeypatch):
    import timm

    def no_network(*args, **settings):
        raise AssertionError("something was downloaded")

    monkeypatch.setattr("timm.models._builder.load_pretrained", no_network)
    unet(encoder="resnet10t.c3_in1k")
    with pytest.raises(AssertionError, match="downloaded"):
        timm.create_model("resnet10t", pretrained=True)


def test_an_encoder_made_for_one_size_takes_that_size_alone():
    model = unet(encoder=FIXED, size=64)
    model.trained = True
    assert model.fill(torch.zeros(1, 3, 64, 64), torch.ones(1, 1, 64, 64)).shape[-1] == 64
    with pytest.raises(UsageError, match="made for 64×64"):
        model.check_size(128, 128)


def test_a_finest_map_at_a_quarter_gets_one_at_a_half_beside_it():
    quarter = nets.Backbone("convnext_atto", 4, 64, 8)
    half = nets.Backbone("resnet10t", 4, 64, 8)
    assert quarter.channels[0] == 8
    assert quarter.reductions == half.reductions == [2, 4, 8, 16, 32]
    assert quarter.stem is not None
    assert half.stem is None


class Pyramid(torch.nn.Module):
    """Stands in for a family whose finest map is at full resolution, such as vgg."""

    def forward(self, x):
        return [torch.nn.functional.avg_pool2d(x, side) for side in (1, 2, 4)]


def test_maps_at_full_resolution_are_left_out(monkeypatch):
    monkeypatch.setattr("timm.create_model", lambda *args, **settings: Pyramid())
    found = nets.Backbone("vgg11", 4, 32, 8)
    assert found.reductions == [2, 4]
    assert [feature.shape[-1] for feature in found(torch.zeros(1, 4, 32, 32))] == [16, 8]


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ("resnt18", "timm knows no encoder 'resnt18'. Did you mean 'resnet18'"),
        ("vit_tiny_patch16_224", "feature maps of the sides 4, 4, 4; each must be half"),
        ("inception_v4", "'inception_v4' gives no feature maps of 64×64 pictures: RuntimeError"),
    ],
)
def test_an_encoder_that_does_not_fit_is_refused_in_one_line(encoder, message):
    with pytest.raises(UsageError, match=message) as error:
        unet(encoder=encoder, size=64)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


def test_a_size_that_the_encoder_cannot_halve_is_refused():
    with pytest.raises(UsageError, match="'resnet10t' gives 48×48 pictures"):
        unet(encoder="resnet10t", size=48)


def test_dropout_hides_what_sees_past_the_hole_and_nothing_finer():
    net = nets.UNet(4, 4, dropout=0.5)
    shares = dict(zip(net.encoder.reductions, (hide.p for hide in net.hide), strict=True))
    assert shares == {2: 0.0, 4: 0.0, 8: 0.5, 16: 0.5}
    picture = torch.rand(2, 4, 32, 32)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    assert not torch.equal(net(picture), net(picture))
    net.eval()
    assert torch.equal(net(picture), net(picture))


def test_encoders_normalise_by_the_global_batch_and_alone_as_timm_does(monkeypatch):
    import timm

    for name in ("resnet18", "efficientnet_lite0"):  # torch's BatchNorm, and timm's own
        with torch.random.fork_rng():
            torch.manual_seed(0)
            ours = nets.Backbone(name, 4, 64, 8)
            torch.manual_seed(0)
            theirs = timm.create_model(name, features_only=True, in_chans=4)
        found = [each for each in ours.modules() if isinstance(each, torch.nn.BatchNorm2d)]
        assert found
        assert all(isinstance(each, nets.BatchNorm2d) for each in found)
        assert list(ours.body.state_dict()) == list(theirs.state_dict())
        x = torch.randn(2, 4, 64, 64, generator=torch.Generator().manual_seed(1))
        for mine, other in zip(ours.body(x), theirs(x), strict=True):
            torch.testing.assert_close(mine, other)
