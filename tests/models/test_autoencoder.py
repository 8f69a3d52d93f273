import json
import zipfile

import keras
import numpy as np
import pytest

from deepsphere.layers import ConvPool
from deepsphere.models import Autoencoder, VariationalAutoencoder
from deepsphere.sampling import Footprint, Healpix, Icosahedral, extend_pixels, regions
from harness import (
    HALF,
    QUICK,
    SINGLE,
    check_modes,
    check_saving,
    relative_error,
    to_numpy,
    trainings,
)

PART = Healpix(4, extend_pixels([0, 20, 100, 101], 4, 1, nest=True))
FOOTPRINT = Footprint.from_mask(
    regions.disc(Healpix(8), lon=20, lat=35, radius=40), coarse_nside=2, nest=True
)
SURVEY, OBSERVED = FOOTPRINT.sampling, FOOTPRINT.observed
BOTH = pytest.mark.parametrize("kind", [Autoencoder, VariationalAutoencoder])


def data(sampling=PART, channels=2, batch=3):
    rng = np.random.default_rng(0)
    return rng.standard_normal((batch, len(sampling), channels)).astype(np.float32)


def dipoles(sampling, batch):
    """Return maps with three degrees of freedom and a mean variance of 1."""
    amplitudes = np.random.default_rng(1).standard_normal((batch, 3))
    return (amplitudes @ sampling.points.T)[..., None].astype(np.float32)


def small(kind, sampling=PART, **options):
    options = {"outputs": 2, "filters": (3, 4), "latent": 2, "order": 2, **options}
    return kind(sampling, graph=4, **options)


def test_layers_of_the_notebook():
    model = Autoencoder(Healpix(8))
    encoder = [
        *((4, 1, 4), (4,), (4, 4, 8), (8,), (4, 8, 16), (16,)),  # learned down-sampling
        *((5 * 16, 16), (16,), (16,), (16,)),  # convolution, normalization
    ]
    decoder = [(4, 16, 16), (16,), (4, 16, 16), (16,), (4, 1, 16), (1,)]
    assert [w.shape for w in model.encoder.trainable_weights] == encoder
    assert [w.shape for w in model.decoder.trainable_weights] == decoder
    assert model.latent_sampling == Healpix(1)
    assert model.encoder.output_shape == (None, 12, 16)


@BOTH
def test_shapes(kind):
    model = small(kind, filters=(3, 5), latent=7, outputs=2, decoder_filters=[6])
    assert model.built
    assert model(data()).shape == model.compute_output_shape((3, 48, 2)) == (3, 48, 2)
    z = model.encode(data())
    for features in z if kind is VariationalAutoencoder else [z]:
        assert features.shape == (3, 3, 7)
    assert model.decode(np.zeros((4, 3, 7), np.float32)).shape == (4, 48, 2)
    lines = []
    model.summary(print_fn=lambda text, **_: lines.append(text))
    assert "unbuilt" not in "\n".join(lines)
    assert small(kind, filters=(3,), decoder_filters=()).decoder_filters == ()


@BOTH
def test_steps_down_by_graph_convolutions(kind, tmp_path):
    model = small(kind, pooling="conv", mask=None, activation="tanh")
    pools = model.encoder.layers[:2]
    assert [type(pool) for pool in pools] == [ConvPool, ConvPool]
    assert [pool.filters for pool in pools] == [3, 4]
    assert pools[0].resolved_graph.neighbors == 4
    x = data()
    y = to_numpy(model(x))
    encoded = model.encoder.layers[2](pools[1](pools[0](x)))
    for layer in model.encoder.layers[3:]:
        encoded = layer(encoded)
    assert relative_error(model.encoder(x), to_numpy(encoded)) < SINGLE
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config()
    np.testing.assert_array_equal(to_numpy(loaded(x)), y)


def test_decoder_undoes_the_patches():
    """Compared with NumPy: a one-step decoder is a linear map per coarse pixel."""
    model = small(Autoencoder, filters=(3,), output_activation="tanh")
    kernel, bias = (to_numpy(w) for w in model.decoder.trainable_weights)
    z = np.random.default_rng(0).standard_normal((2, 12, 2)).astype(np.float32)
    truth = np.tanh((np.einsum("bpi,koi->bpko", z, kernel) + bias).reshape(2, 48, 2))
    assert relative_error(model.decode(z), truth) < SINGLE
    normalized = to_numpy(model.encode(data()))
    np.testing.assert_allclose(normalized.mean(axis=2), 0, atol=1e-5)


@BOTH
def test_runs_in_every_way(kind, tmp_path):
    # Smooth, for finite differences; the normalization of two features leaves nothing but a sign.
    check_modes(lambda: small(kind, latent=3, activation="tanh"), data())
    check_saving(lambda: small(kind), data(), tmp_path)


@BOTH
def test_learns_maps_with_few_degrees_of_freedom(kind):
    sampling = Healpix(4)
    x = dipoles(sampling, 64)
    model = kind(sampling, filters=(4, 8), latent=4, order=2)
    if kind is VariationalAutoencoder:
        model.beta = 1e-3
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    losses = model.fit(x, x, batch_size=8, epochs=12, verbose=0).history["loss"]
    assert losses[-1] < 0.3 * losses[0], losses
    assert np.mean((model.predict(x, verbose=0) - x) ** 2) < 0.2 * x.var()


@BOTH
def test_what_was_not_observed_changes_nothing(kind):
    options = {"seed": 1} if kind is VariationalAutoencoder else {}
    model = small(kind, SURVEY, mask=OBSERVED, **options)
    model.compile(keras.optimizers.SGD(0.05), "mse", metrics=["mae"], **QUICK)
    maps = [np.where(OBSERVED[:, None], data(SURVEY), np.float32(fill)) for fill in (0, np.nan)]
    results = trainings(model, maps, lambda x: x)
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.isfinite(a).all()
    assert (results[0][2][:, ~OBSERVED] == 0).all()


@BOTH
def test_each_map_may_have_its_own_mask(kind):
    masks = np.random.default_rng(1).random((3, len(SURVEY))) < 0.1
    model = small(kind, SURVEY)
    x = data(SURVEY)
    y = to_numpy(model(x, mask=masks))
    hidden = np.where(masks[..., None], x, np.float32(np.nan))
    np.testing.assert_array_equal(to_numpy(model(hidden, mask=masks)), y)


@BOTH
def test_save_and_load(kind, tmp_path):
    rng = np.random.default_rng(0)
    sampling = Healpix(2, np.sort(rng.choice(48, 30, replace=False))).refine(2)
    mask = rng.random(len(sampling)) < 0.5
    model = small(kind, sampling, mask=mask, output_activation="tanh")
    model.compile("adam", "mse", **QUICK)
    x = data(sampling)
    model.fit(x, x, verbose=0)
    expected = model.predict(x, verbose=0)
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as file:
        config = file.read("config.json").decode()
    assert config.count(model.get_config()["mask"]) == 1
    assert config.count(json.dumps(model.get_config()["sampling"]["pixels"])) == 1
    assert "keras.src.backend" not in config
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded) is kind
    assert loaded.get_config() == model.get_config()
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), expected)
    if kind is VariationalAutoencoder:
        return  # draws begin anew
    for each in (model, loaded):  # training continues in the same way
        each.fit(x, x, verbose=0)
    after = model.predict(x, verbose=0)
    assert relative_error(loaded.predict(x, verbose=0), after) < 1e-5
    assert relative_error(after, expected) > 1e-5


@pytest.mark.slow
@BOTH
@pytest.mark.parametrize("policy", HALF)
def test_half_precision(kind, policy):
    model = small(kind)
    half = kind.from_config({**model.get_config(), "dtype": policy})
    half.set_weights(model.get_weights())
    y = half(data())
    assert keras.backend.standardize_dtype(y.dtype) == "float32"
    # Six layers' roundings, which add up at random.
    assert relative_error(y, to_numpy(model(data()))) < 3 * HALF[policy]
    half.compile("sgd", "mse", **QUICK)
    assert np.isfinite(half.fit(data(), data(), verbose=0).history["loss"]).all()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: small(Autoencoder, outputs=0), ValueError, "outputs must be at least 1"),
        (lambda: small(Autoencoder, pooling="max"), ValueError, "one of patch, conv; got 'max'"),
        (lambda: small(Autoencoder, latent=0), ValueError, "latent must be at least 1"),
        (
            lambda: small(Autoencoder, decoder_filters=(1, 2)),
            ValueError,
            r"one entry fewer than filters, that is 1 .* got \(1, 2\)",
        ),
        (
            lambda: small(Autoencoder).build((None, 48, 1)),
            ValueError,
            r"made with outputs=2 and needs as many input channels, got .* \(None, 48, 1\)",
        ),
        (
            lambda: small(Autoencoder)(data(channels=1)),
            ValueError,
            r"expected axis 2 of input shape to have value 2.*\(3, 48, 1\)",
        ),
        (
            lambda: small(Autoencoder).build((None, 64, 2)),
            ValueError,
            r"needs inputs of shape \(batch, 48, channels\), got \(None, 64, 2\)",
        ),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_hierarchy_without_an_order_is_refused_with_a_mask_too():
    sphere = Icosahedral(3)
    for mask in (None, np.arange(len(sphere)) < 500):
        with pytest.raises(ValueError, match="patches need points in the order of their"):
            Autoencoder(sphere, pooling="conv", mask=mask)
