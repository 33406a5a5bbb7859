"""DeepMixture: its responsibilities, its bound, its posterior, and its manners."""

import copy
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score
from tests.killing import Killed, Killer
from torch import Tensor, nn

import deepmixture
from deepmixture import augment, calibration, embedding, gradients, selection, starts
from deepmixture.cluster import deepmixture as clustering
from deepmixture.cluster import pretrained, refined
from deepmixture.cluster.deepmixture import Run
from deepmixture.estimator import LatentMixtureEstimator
from deepmixture.likelihoods import Bernoulli
from deepmixture.models.deepmixture import JointEvidence, Refinement, Responsibilities
from deepmixture.models.nvisa import NVISA
from deepmixture.nets import ClusterHead
from deepmixture.priors import DiagonalMixture
from deepmixture.progress import Silent

Make = Callable[..., LatentMixtureEstimator]
K, F = 3, 4


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def tiny() -> NVISA:
    """A model of one latent dimension in float64, q(y|x) with a network of its own."""
    encoder = nn.Sequential(nn.Linear(F, 5), nn.Tanh())
    encoder_y = nn.Sequential(nn.Linear(F, 6), nn.Tanh())
    decoder = nn.Sequential(nn.Linear(1, 5), nn.Tanh(), nn.Linear(5, F))
    head = ClusterHead(5, 1, K, width=6)
    prior = DiagonalMixture(K, 1)
    prior.start(torch.tensor([0.2, 0.5, 0.3]), torch.randn(K, 1), 0.3 + 0.5 * torch.rand(K, 1))
    model = NVISA(encoder, head, decoder, Bernoulli(), prior, gradients.Exact(), encoder_y, 6)
    nn.init.normal_(head.change.weight, std=0.5)
    nn.init.normal_(head.raw_scale.weight, std=0.3)
    return model.double()


def test_q_y_is_read_from_its_own_network() -> None:
    model, x = tiny(), torch.rand(5, F).double()
    before = model.log_q_y(x)
    nn.init.normal_(model.encoder[0].weight)
    torch.testing.assert_close(model.log_q_y(x), before)
    nn.init.normal_(model.encoder_y[0].weight)
    assert not torch.allclose(model.log_q_y(x), before)
    expected = model.classifier(model.encoder_y(x)).log_softmax(-1)
    torch.testing.assert_close(model.log_q_y(x), expected)


def test_the_posterior_over_y_is_that_of_bayes() -> None:
    model, x = tiny(), torch.rand(4, F).double()
    model.head.floor.fill_(1.0)  # so wide that few draws are needed
    z = torch.linspace(-9.0, 9.0, 4001).double()[:, None]
    with torch.no_grad():
        log_p_x = model.likelihood.log_prob(model.decoder(z)[:, None], x)  # (Z, B)
        joint = (model.prior.log_joint(z)[:, None] + log_p_x[:, :, None]).logsumexp(0)  # (B, K)
        found = model.log_posterior_y(x, torch.randn(4000, 1, 1).double())
    torch.testing.assert_close(found, joint.log_softmax(-1), atol=0.03, rtol=0.0)


def test_responsibilities_are_the_start_until_the_confusion_is_learned() -> None:
    start = torch.rand(6, K).softmax(1)
    responsibilities = Responsibilities(start)
    rows = torch.tensor([4, 1])
    responsibilities.see(rows, torch.rand(2, K).softmax(1))
    torch.testing.assert_close(responsibilities(rows), start[rows])


def test_responsibilities_are_equation_1() -> None:
    start = torch.eye(K)[torch.tensor([0, 1, 2, 1])]
    seen = torch.rand(4, K).softmax(1)
    responsibilities = Responsibilities(start, start_weight=0.7, memory=0.25)
    responsibilities.see(torch.arange(4), seen)
    responsibilities.learn_confusion()
    for n, s in enumerate([0, 1, 2, 1]):
        weight = []
        for y in range(K):
            together = [float(seen[m, y]) * float(start[m, s]) for m in range(4)]
            every = [float(seen[m, y]) for m in range(4)]
            a = (sum(together) + 1.0) / (sum(every) + K)
            weight.append(float(seen[n, y]) * a**0.7)
        expected = torch.tensor(weight) / sum(weight)
        torch.testing.assert_close(responsibilities(torch.tensor([n]))[0], expected)
    again = torch.full((1, K), 1.0 / K)
    responsibilities.see(torch.tensor([2]), again)
    torch.testing.assert_close(responsibilities.seen[2], 0.25 * seen[2] + 0.75 / K)


def test_a_planted_confusion_is_found() -> None:
    rng = np.random.default_rng(0)
    planted = np.array([[0.8, 0.2, 0.0], [0.0, 0.9, 0.1], [0.05, 0.05, 0.9]])
    y = rng.integers(0, K, 6000)
    s = np.array([rng.choice(K, p=planted[label]) for label in y])
    responsibilities = Responsibilities(torch.eye(K)[torch.from_numpy(s)])
    responsibilities.see(torch.arange(6000), torch.eye(K)[torch.from_numpy(y)])
    responsibilities.learn_confusion()
    assert responsibilities.log_confusion is not None
    found = responsibilities.log_confusion.exp().numpy()
    np.testing.assert_allclose(found, planted, atol=0.03)


def test_what_was_seen_comes_back_with_the_weights() -> None:
    responsibilities = Responsibilities(torch.eye(K))
    before = copy.deepcopy(responsibilities.state_dict())
    responsibilities.see(torch.arange(K), torch.full((K, K), float("nan")))
    responsibilities.learn_confusion()
    responsibilities.load_state_dict(before)
    torch.testing.assert_close(responsibilities.seen, torch.eye(K))
    assert not responsibilities.knows


def test_the_loss_is_the_consistency_and_the_evidence_of_drawn_clusters() -> None:
    model, x = tiny(), torch.rand(300, F).double()
    y = torch.randint(K, (300,))
    responsibilities = Responsibilities(torch.eye(K).double()[y])
    refinement = Refinement(model, responsibilities, augment.Unchanged())
    rows = torch.arange(300)
    torch.manual_seed(1)
    loss, terms = JointEvidence(refinement)(x, rows, {})
    torch.manual_seed(1)
    one_hot = torch.eye(K).double()[y][None]
    torch.multinomial(responsibilities(rows), 1)
    noise = torch.randn(1, 300, 1)
    evidence = sum(model.log_joint(x, model.encoder(x), one_hot, noise).values()).mean()
    consistency = model.log_q_y(x)[rows, y].mean()
    torch.testing.assert_close(loss, -evidence - consistency)
    torch.testing.assert_close(terms["consistency"], consistency)
    assert terms["cluster_entropy"] == pytest.approx(0.0)


def test_regular_mistakes_of_a_start_are_repaired(make: Make) -> None:
    rng = np.random.default_rng(0)
    classes = np.repeat([0, 1, 2], 200)
    x = rng.normal(size=(600, 2)) + np.array([[0, 0], [9, 0], [0, 9]])[classes]
    start = classes.copy()
    start[rng.choice(200, 50, replace=False)] = 1  # a quarter of the first group
    estimator = make("deepmixture", start=start, refine_epochs=60, consistency="noise")
    labels = estimator.fit_predict(x)
    assert adjusted_rand_score(classes, start) < 0.85
    assert adjusted_rand_score(classes, labels) > 0.97


def test_one_run_of_several_is_kept(
    make: Make, blobs: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_space: list[bool] = []

    ask = deepmixture.DeepMixture._witnesses

    def witnesses(
        self: deepmixture.DeepMixture, runs: Sequence[Run], kept: Run
    ) -> list[np.ndarray]:
        with_space.extend(run.beginning.space is not None for run in runs)
        assert kept.beginning.space is not None
        return ask(self, runs, kept)

    monkeypatch.setattr(deepmixture.DeepMixture, "_witnesses", witnesses)
    estimator = make("deepmixture", n_init=3).fit(blobs)
    assert with_space.count(True) == 1  # the coordinates of many rows are large
    assert [run["kept"] for run in estimator.runs_].count(True) == 1
    assert len({run["seed"] for run in estimator.runs_}) == 3
    assert all(0.0 <= run["agreement"] <= 1.0 for run in estimator.runs_)
    stages = [record["stage"] for record in estimator.history_]
    assert stages.count("joint evidence") == 10  # the history is that of one run
    assert 0.0 <= estimator.disagreement_ <= 1.0


def test_probabilities_are_about_as_often_right_where_normals_overlap(make: Make) -> None:
    rng = np.random.default_rng(0)
    classes = np.repeat([0, 1], 600)
    x = rng.normal(size=(1200, 4))
    x[:, 0] += 3.0 * classes
    estimator = make("deepmixture", n_clusters=2, hidden=(16,), refine_epochs=10).fit(x)
    p = estimator.predict_proba(x)
    assert np.array_equal(p.argmax(1), estimator.labels_)
    q = p**estimator.temperature_
    q /= q.sum(1, keepdims=True)
    right = max((estimator.labels_ == classes).mean(), (estimator.labels_ != classes).mean())
    assert estimator.temperature_ > 1.1
    assert abs(p.max(1).mean() - right) < min(0.02, abs(q.max(1).mean() - right))


@pytest.mark.parametrize("n_init", [1, 2])
def test_witnesses_are_a_start_of_fewer_rows_and_those_of_other_runs(
    make: Make, blobs: np.ndarray, monkeypatch: pytest.MonkeyPatch, n_init: int
) -> None:
    seen: list[int] = []
    witnessed: list[np.ndarray] = []
    find, temperature = starts.gaussian_mixture, calibration.temperature

    def counted(space: np.ndarray, *others: Any) -> starts.Start:
        seen.append(len(space))
        return find(space, *others)

    def asked(log_q_y: np.ndarray, witnesses: Sequence[np.ndarray]) -> float:
        witnessed.extend(witnesses)
        return temperature(log_q_y, witnesses)

    monkeypatch.setattr(clustering, "WITNESSED_ROWS", 80)
    monkeypatch.setitem(pretrained.STARTS, "gmm", counted)
    monkeypatch.setattr(calibration, "temperature", asked)
    make("deepmixture", start="gmm", n_rounds=1, n_init=n_init).fit(blobs)
    assert seen == [len(blobs)] * n_init + [80]
    assert [witness.shape for witness in witnessed] == [(len(blobs), 3)] * n_init


@pytest.mark.parametrize(("start", "itself"), [("graph", True), ("gmm", False)])
def test_a_start_on_the_graph_of_some_rows_is_its_own_witness(
    make: Make, blobs: np.ndarray, monkeypatch: pytest.MonkeyPatch, start: str, itself: bool
) -> None:
    monkeypatch.setattr(deepmixture.DeepMixture, "_most_embedded", lambda _: len(blobs) // 2)
    monkeypatch.setattr(clustering, "LEARNED_BY_HEART", 1.0)
    found = make("deepmixture", start=start, n_rounds=1).fit(blobs)
    assert ("calibration" in found.timings_) is not itself


def test_a_start_that_is_never_contradicted_leaves_probabilities_alone(
    make: Make, blobs: np.ndarray
) -> None:
    assert make("deepmixture").fit(blobs).temperature_ == pytest.approx(1.0, abs=0.05)
    assert make("deepmixture", start="random").fit(blobs).temperature_ == 1.0


def test_responsibilities_may_be_given(make: Make, blobs: np.ndarray, classes: np.ndarray) -> None:
    given = np.eye(3)[classes]
    estimator = make("deepmixture", start=given).fit(blobs)
    assert adjusted_rand_score(classes, estimator.labels_) == 1.0


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (np.zeros(7, int), r"start has shape \(7,\)"),
        (np.full(120, 3), "start holds labels from 3 to 3; expected 0 to 2"),
        (np.full((120, 3), 0.5), "do not sum to one"),
        ("best", "start='best' is not known"),
    ],
)
def test_a_bad_start_is_refused(
    make: Make, blobs: np.ndarray, start: object, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make("deepmixture", start=start).fit(blobs)


def test_affine_changes_are_for_images(make: Make, blobs: np.ndarray) -> None:
    with pytest.raises(ValueError, match="consistency='affine' needs images"):
        make("deepmixture", consistency="affine").fit(blobs)


@pytest.mark.parametrize("change", ["neighbours", "mixup", "dropout", "noise", None])
def test_every_change_finds_distant_groups(
    make: Make, blobs: np.ndarray, classes: np.ndarray, change: str | None
) -> None:
    labels = make("deepmixture", consistency=change).fit_predict(blobs)
    assert adjusted_rand_score(classes, labels) > 0.95


def test_a_change_of_ones_own_is_used_and_not_saved(
    make: Make, blobs: np.ndarray, tmp_path: Path
) -> None:
    calls = []

    def change(x: Tensor) -> Tensor:
        calls.append(len(x))
        return x + 0.01 * torch.randn_like(x)

    estimator = make("deepmixture", consistency=change).fit(blobs)
    # Two refinements, the joint evidence, and four looks at who passes from cluster to cluster.
    assert sum(calls) == len(blobs) * (20 + 20 + 10 + 4)
    estimator.save(tmp_path / "model")
    loaded = deepmixture.load(tmp_path / "model")
    assert loaded.consistency == "auto"
    np.testing.assert_array_equal(loaded.predict(blobs), estimator.labels_)
    assert loaded.runs_ == estimator.runs_


def test_the_latent_of_the_start_is_without_noise(
    make: Make, blobs: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    space = deepmixture.DeepMixture._space

    def twice(self: deepmixture.DeepMixture, x: torch.Tensor, latent: np.ndarray) -> np.ndarray:
        statistics = {name: value.clone() for name, value in self.model_.named_buffers()}
        found.append(self._evaluate(self.model_.latent, x).double().numpy())
        np.testing.assert_array_equal(found[0], latent)
        for name, value in self.model_.named_buffers():
            assert value.equal(statistics[name])
        return space(self, x, latent)

    monkeypatch.setattr(deepmixture.DeepMixture, "_space", twice)
    make("deepmixture", start="kmeans").fit(blobs)
    assert len(found) == 1


def test_the_random_start_maximises_the_evidence_alone(make: Make, blobs: np.ndarray) -> None:
    estimator = make("deepmixture", start="random", epochs=30).fit(blobs)
    assert {record["stage"] for record in estimator.history_} == {"joint evidence"}
    first, last = estimator.history_[0], estimator.history_[-1]
    assert last["loss"] < first["loss"]
    assert math.isfinite(estimator.score(blobs))


def test_the_number_of_clusters_is_found_kept_and_loaded(
    make: Make, blobs: np.ndarray, classes: np.ndarray, tmp_path: Path
) -> None:
    estimator = make("deepmixture", n_clusters="auto", start="graph").fit(blobs)
    assert estimator.n_clusters_ == 3
    assert estimator.means_.shape == (3, 2)
    assert adjusted_rand_score(classes, estimator.labels_) > 0.95
    estimator.save(tmp_path / "model")
    loaded = deepmixture.load(tmp_path / "model")
    assert loaded.n_clusters == "auto"
    assert loaded.n_clusters_ == 3
    assert loaded.merges_ == estimator.merges_
    np.testing.assert_array_equal(loaded.predict(blobs), estimator.labels_)
    with pytest.raises(TypeError, match="n_clusters must be an integer; got 'auto'"):
        make("vade", n_clusters="auto").fit(blobs)


def test_the_number_of_groups_of_images_is_found_by_changes_too(
    make: Make, images: np.ndarray, classes: np.ndarray, tmp_path: Path
) -> None:
    images = images.repeat(3, axis=1).repeat(3, axis=2)  # whose pixels are too many to trust
    settings = {"n_clusters": "auto", "start": "graph", "batch_size": 16, "refine_epochs": 40}
    estimator = make("deepmixture", **settings).fit(images)
    assert estimator.n_clusters_ == 3
    assert adjusted_rand_score(classes, estimator.labels_) > 0.95
    assert any("and those between which rows pass" in what for what in estimator.decisions_)
    by_changes = [merge for merge in estimator.merges_ if merge["n_clusters"] <= 3]
    assert len(by_changes) == 2
    assert not any(merge["done"] for merge in by_changes)
    with pytest.raises(Killed):
        make("deepmixture", **settings).fit(
            images, callback=Killer(150), resume_from=tmp_path, checkpoint_every=0
        )
    again = make("deepmixture", **settings).fit(images, resume_from=tmp_path)
    assert again.merges_ == estimator.merges_
    for one, other in zip(again.model_.parameters(), estimator.model_.parameters(), strict=True):
        assert one.equal(other)


def bars() -> np.ndarray:
    """100 images of a level bar at any height, and 20 of an upright one."""
    rng = np.random.default_rng(0)
    distance = np.arange(8) - rng.uniform(1, 6, size=(120, 1))
    level = np.exp(-(distance**2))[:, :, None].repeat(8, axis=2)
    level[100:] = level[100:].transpose(0, 2, 1)
    return np.clip(level + 0.05 * rng.normal(size=level.shape), 0.0, 1.0)


def lifted(x: Tensor) -> Tensor:
    """Move the images up or down: what was at any height is one group."""
    return x.roll(int(torch.randint(8, ())), dims=2)


OF_BARS = {
    "n_clusters": 2,
    "pretrain_epochs": 10,
    "refine_epochs": 5,
    "start": "kmeans",
    "consistency": lifted,
}


@pytest.mark.parametrize("joined", [True, False])
def test_where_a_group_is_cut_more_clusters_are_refined_and_joined(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, joined: bool
) -> None:
    chosen = 1 if joined else None
    monkeypatch.setattr(selection, "clearest", lambda found, before: chosen)
    images = bars()
    estimator = make("deepmixture", **OF_BARS).fit(images)
    stages = list(dict.fromkeys(str(record["stage"]) for record in estimator.history_))
    more = ["refinement of 6 clusters", "refinement of 8 clusters"]
    assert stages[1:5] == ["refinement", *more, "refinement 2"]
    assert estimator.predict_proba(images).shape == (120, 2)
    assert joined == any("more clusters were refined" in what for what in estimator.decisions_)
    # After 40 steps of the representation, and 20 of each refinement.
    for number, steps in enumerate((70, 90)):
        folder = tmp_path / str(number)
        with pytest.raises(Killed):
            make("deepmixture", **OF_BARS).fit(
                images, callback=Killer(steps), resume_from=folder, checkpoint_every=0
            )
        again = make("deepmixture", **OF_BARS).fit(images, resume_from=folder)
        assert again.temperature_ == estimator.temperature_
        for one, other in zip(
            again.model_.parameters(), estimator.model_.parameters(), strict=True
        ):
            assert one.equal(other)


def test_a_fit_stopped_among_more_clusters_has_the_number_asked_for(make: Make) -> None:
    class Stop(Silent):
        stage = ""

        def begin(self, stage: str, epochs: int, steps: int, done: int = 0) -> None:
            self.stage = stage

        def step(self) -> bool:
            return self.stage == "refinement of 6 clusters"

    images = bars()
    estimator = make("deepmixture", **OF_BARS).fit(images, callback=Stop())
    assert estimator.interrupted_
    assert estimator.n_clusters_ == 2
    assert estimator.predict_proba(images).shape == (120, 2)


def test_a_group_a_hundredth_the_size_of_the_other_is_kept(make: Make) -> None:
    rng = np.random.default_rng(0)
    classes = np.repeat([0, 1], [2000, 20])
    x = rng.normal(size=(2020, 4)) + 9.0 * classes[:, None]
    estimator = make("deepmixture", n_clusters=2, start="auto", epochs=2, refine_epochs=5).fit(x)
    assert np.bincount(estimator.labels_).tolist() == [2000, 20]


def test_one_group_is_one_cluster(make: Make) -> None:
    x = np.random.default_rng(0).normal(size=(150, 3))
    estimator = make("deepmixture", n_clusters="auto", start="graph", n_rounds=1).fit(x)
    assert estimator.n_clusters_ == 1
    assert any("All rows are one cluster" in decision for decision in estimator.decisions_)
    np.testing.assert_allclose(estimator.predict_proba(x), 1.0)
    assert estimator.sample(4)[0].shape == (4, 3)


def test_the_number_is_found_on_the_graph_alone(make: Make, blobs: np.ndarray) -> None:
    with pytest.raises(ValueError, match="needs start='graph'"):
        make("deepmixture", n_clusters="auto", start="gmm").fit(blobs)


def test_a_cluster_that_is_two_groups_is_told_of():
    rng = np.random.default_rng(0)
    groups = np.array([0.0, 30.0, 60.0])[rng.integers(3, size=600)]
    rows = groups[:, None] * [1.0, 0.5, -0.5] + rng.normal(size=(600, 3))
    settings = {"hidden": (16,), "pretrain_epochs": 3, "refine_epochs": 5, "epochs": 2}
    fitted = deepmixture.DeepMixture(2, start="gmm", random_state=0, **settings).fit(rows)
    both = int(np.bincount(fitted.labels_).argmax())
    said = f"Cluster {both} falls into two groups that are hardly neighbours: it may be two."
    assert said in fitted.decisions_


@pytest.mark.parametrize(
    ("kind", "shift", "what"),
    [
        ("embedding", 0.0, "the directions of the rows"),
        ("embedding", 50.0, "the directions from the mean, which is far, in deviations of"),
        ("counts", 0.0, "the directions of the rows, each column weighed by how few rows have it"),
        ("table", 50.0, "the columns"),
    ],
)
def test_it_says_where_rows_are_neighbours(make: Make, kind: str, shift: float, what: str) -> None:
    rows = np.random.default_rng(0).poisson(2.0, size=(90, 6)) + shift
    settings = {"kind": kind, "start": "kmeans", "n_rounds": 1, "pretrain_epochs": 1}
    estimator = make("deepmixture", **settings, refine_epochs=1, epochs=1).fit(rows)
    assert any(said.startswith(f"Rows are neighbours in {what}") for said in estimator.decisions_)


@pytest.mark.parametrize(
    ("kind", "start", "embedded"),
    [("embedding", "auto", 150), ("counts", "graph", 150), ("table", "graph", 90)],
)
def test_of_embeddings_more_rows_are_embedded(
    make: Make, monkeypatch: pytest.MonkeyPatch, kind: str, start: str, embedded: int
) -> None:
    groups = np.arange(200) % 4
    rows = np.random.default_rng(0).poisson(1.0 + 30.0 * np.eye(4, 12)[groups]).astype(float)
    umap, sizes = embedding.umap, []

    def remembering(some: np.ndarray, *arguments: int, **options: float) -> np.ndarray:
        sizes.append(len(some))
        return umap(some, *arguments, **options)

    monkeypatch.setattr(embedding, "umap", remembering)
    monkeypatch.setattr(embedding, "TRIAL_ROWS", 90)
    monkeypatch.setattr(refined, "EMBEDDED_DIRECTIONS", 150)
    monkeypatch.setattr(starts, "TRIAL_ROWS", 90)
    settings = {"kind": kind, "start": start, "n_clusters": 4, "pretrain_epochs": 1, "epochs": 1}
    estimator = make("deepmixture", **settings).fit(rows)
    assert set(sizes) == {embedded}
    assert adjusted_rand_score(groups, estimator.labels_) == 1.0


def rings(by_angle: bool) -> np.ndarray:
    """Three groups about zero, of either three directions and any length, or the reverse."""
    rng = np.random.default_rng(0)
    groups = np.arange(300) % 3
    directions = rng.normal(size=(300, 6))
    lengths = np.exp(2.0 * groups)
    if by_angle:
        turns = 2.0 * np.pi * groups / 3.0
        directions = 0.1 * directions
        directions[:, :2] += np.stack([np.cos(turns), np.sin(turns)], axis=1)
        lengths = np.repeat(np.exp(1.5 * rng.normal(size=100)), 3)
    rows = lengths[:, None] * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    return rows - rows.mean(0)


@pytest.mark.parametrize(
    ("by_angle", "what"), [(True, "the directions of the rows"), (False, "the columns, which lie")]
)
def test_rows_about_zero_are_neighbours_where_clusters_tell_more(
    make: Make, by_angle: bool, what: str
) -> None:
    settings = {"kind": "embedding", "start": "kmeans", "n_rounds": 1, "pretrain_epochs": 1}
    estimator = make("deepmixture", **settings, n_clusters=3, refine_epochs=1, epochs=1)
    estimator.fit(rings(by_angle))
    assert any(said.startswith(f"Rows are neighbours in {what}") for said in estimator.decisions_)


@pytest.mark.parametrize(
    ("start", "found_by"),
    [
        ("kmeans", "k-means"),
        ("gmm", "a Gaussian mixture"),
        ("graph", "the neighbour graph"),
        ("auto", "the latent class model"),
        (np.arange(90) % 3, None),
        ("random", None),
    ],
)
def test_it_says_what_the_first_clusters_are(make: Make, start: object, found_by: str) -> None:
    answers = np.random.default_rng(0).integers(0, 3, size=(90, 6)).astype(float)
    settings = {"kind": "table", "start": start, "n_rounds": 1, "pretrain_epochs": 1}
    estimator = make("deepmixture", **settings, refine_epochs=1, epochs=1).fit(answers)
    said = [what for what in estimator.decisions_ if "first clusters" in what]
    assert said == ([f"The first clusters are those of {found_by}."] if found_by else [])
