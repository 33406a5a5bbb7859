"""The estimator DeepMixture: the default, by a neighbour graph, consistency and the evidence."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepmixture import (
    calibration,
    checks,
    data,
    engine,
    gradients,
    nets,
    normals,
    presets,
    schedules,
    seeds,
    selection,
    starts,
    trials,
)
from deepmixture.batches import ScaledRows
from deepmixture.cluster.pretrained import STARTS
from deepmixture.cluster.refined import Refined
from deepmixture.cluster.runs import Beginning, Run
from deepmixture.docstrings import shares_docstring
from deepmixture.models import deepmixture, nvisa
from deepmixture.priors import DiagonalMixture

JUDGED_ROWS = 2000
WITNESSED_ROWS = 6000  # of which a start is found that witnesses how sure q(y|x) may be
FEWER = 2  # times as many rows as the first start embedded: then it, too, is of fewer rows
LEARNED_BY_HEART = 0.99  # a start of which q(y|x) has more rows is no witness of how sure it is


@shares_docstring
@dataclass(eq=False, repr=False)
class DeepMixture(Refined):
    """A mixture variational autoencoder that gets the clusters right by default.

    p(y) p(z|y) p(x|z) with q(y|x) q(z|y, x), the factorisation of NVISA (Li et al. 2020), where
    q(y|x) has a network of its own. Trained in four stages: a representation; a start on the
    neighbour graph; a refinement, in which q(y|x) must say the same of a row and of changed copies
    of it, and the start is one witness of the clusters, whose regular mistakes are learned; and
    the joint evidence, in which the generative model learns beside it.

    Parameters
    ----------
    %(shared parameters)s
    n_clusters : int or "auto", default=10
        Number of clusters K. "auto" begins with up to 60 and joins the two whose rows are most
        often neighbours, and those of images that changes carry into one another, as long as
        they are so more than two groups would be; it needs start="graph" or "auto". `merges_`
        has the whole tree.
    hidden : tuple of int or "auto", default="auto"
        Widths of the fully connected encoder; the decoder mirrors it. Automatically (256, 256)
        for tables, else (500, 500, 2000).
    n_init : int, default=1
        Runs, each from its own seed. The one with the most mutual information I(x; y) is kept;
        `runs_` shows all.
    start : {"auto", "graph", "gmm", "kmeans", "random"} or array, default="auto"
        "graph" is a mixture on a UMAP embedding of the neighbour graph: of the latent means for
        images, or of the pixels where these are 256 or fewer, of the directions of embeddings and
        counts, of the columns of tables; "gmm" and "kmeans" are on the same without a graph;
        "random" is nothing, in which case the evidence alone finds the clusters; or labels (N,)
        or responsibilities (N, K) are given. "auto" is the graph, but in the latent of images
        the Gaussian mixture where that is far likelier, and of a table those clusters of graph
        and Gaussian mixtures that neighbours know of and that are likeliest as normals.
    start_weight : float, default=0.5
        How much the start has to say beside q(y|x), from 0, which forgets it, to 1, as much as
        independent rows would.
    consistency : {"auto", "affine", "neighbours", "mixup", "dropout", "noise", None} or \
callable, default="auto"
        The change under which q(y|x) stays what it is: small turns, shifts and stretches of
        images; steps to a neighbour; steps to any other row; entries put to their mean; noise; no
        change; or a function of rows (B, F), or of images (B, C, H, W) as torchvision's
        transforms are. Automatically "affine" for images of known shape, else "neighbours".
    n_rounds : int, default=2
        Rounds of start and refinement. From the second on the clusters go on from those there are
        on the features that q(y|x) has learned, in which a row and its changed copies are one.
        Where changes of images carry many rows between two clusters, 3 K and 6 K are refined
        between the first two rounds and joined to K. Given starts have one round.
    refine_epochs : int or "auto", default="auto"
        Passes over the rows in each refinement. Automatically 5 for large data, more for small.
    epochs : int or "auto", default="auto"
        Passes in which the evidence is maximised. Automatically 4 for large data, more for small.

    Attributes
    ----------
    %(shared attributes)s
    runs_ : list of dict
        Of each run: its seed, the mutual information I(x; y) in nats, the agreement with
        the other runs (normalised mutual information of the labels), and whether it was kept.
    merges_ : list of dict
        With n_clusters="auto", from many clusters to one: the number before each merge, the two
        that are merged (numbers of those it began with), their connection, the smaller one's
        share of the rows, whether it was done, and how stable the clustering before it is. Else
        empty.
    disagreement_ : float
        Share of rows for which argmax q(y|x) is not that of the model's own posterior p(y|x), on
        at most 2,000 of them.

    temperature_ : float
        What log q(y|x) is divided by in `predict_proba`, for q(y|x) is surer than it is right: at
        least 1, and such that clusterings that err elsewhere are predicted best: another start,
        found on at most 6,000 of the rows, and the first ones of the other runs. A first start
        on the graph of at most half of the rows, or joined of more clusters, is one itself; see
        `deepmixture.calibration`.

    References
    ----------
    Li et al. (2020), the paper of NVISA; the equations are in `deepmixture.models.deepmixture`.
    """

    n_clusters: int | Literal["auto"] = 10
    _: KW_ONLY
    hidden: Sequence[int] | Literal["auto"] = "auto"
    n_init: int = 1
    start: Any = "auto"
    start_weight: float = 0.5
    consistency: Any = "auto"
    n_rounds: int = 2
    refine_epochs: int | Literal["auto"] = "auto"
    epochs: int | Literal["auto"] = "auto"

    name: ClassVar[str] = "deepmixture"
    choices: ClassVar[Mapping[str, tuple[str | None, ...]]] = {
        "start": ("auto", *STARTS, "random")
    }
    automatic: ClassVar[tuple[str, ...]] = ("n_clusters",)
    objects: ClassVar[tuple[str, ...]] = ("start", "consistency")
    facts: ClassVar[tuple[str, ...]] = ("runs_", "merges_", "disagreement_", "temperature_")

    def predict_proba(self, X: object) -> NDArray[np.float64]:
        """Return q(y|x) at the temperature `temperature_`, (N, K), each row summing to one."""
        log_q_y = self._log_q_y(self._scaled(X)).double()
        return (log_q_y / self.temperature_).softmax(1).numpy()

    def _build(self) -> None:
        encoder, plain, decoder, likelihood = self._networks()
        shape = self._image_sides()
        n_features = self.n_features_in_
        encoder_y = (
            nets.normalised_convolutions(shape) if shape else nets.normalised_mlp(n_features)
        )
        width = checks.check_network("encoder_y", encoder_y, n_features)
        self.model_ = nvisa.NVISA(
            encoder,
            nets.ClusterHead(plain.mean.in_features, self.n_latent, self.n_clusters_),
            decoder,
            likelihood,
            DiagonalMixture(self.n_clusters_, self.n_latent),
            gradients.make("top-k", self.n_clusters_, min(5, self.n_clusters_), width),
            encoder_y,
            width,
        )

    def _image_sides(self) -> tuple[int, int, int] | None:
        # Of images that came flat the squares are known.
        flat = self.kind_ == "image" and not self.image_shape_
        side = data.square_side(self.n_features_in_) if flat else None
        return (side, side, 1) if side else super()._image_sides()

    def _automatic_network(self) -> str:
        return presets.network_for_representation(self.kind_, self._image_sides())

    def _representation_length(self) -> tuple[int, int]:
        return presets.representation_length_for(self.kind_, self.n_features_in_)

    def _train(self, x: ScaledRows) -> None:
        few = self._few(x)
        self._check(len(x), len(few))
        runs, best = self._train_runs(x, few)
        kept = runs[best]
        self.model_, self.history_ = kept.model, kept.history
        self.timings_, self.merges_ = kept.timings, kept.merges
        self._doubts, self._beginning = kept.doubts, kept.beginning
        self.n_clusters_ = kept.log_q_y.shape[1]
        self.temperature_ = calibration.temperature(kept.log_q_y, self._witnesses(runs, kept))
        responsibilities = [run.responsibilities for run in runs]
        agreements = selection.agreements(responsibilities)
        self.runs_ = [
            {
                "seed": run.seed,
                "mutual_information": trials.mutual_information(q_y),
                "agreement": agreement,
                "kept": run is kept,
            }
            for run, q_y, agreement in zip(runs, responsibilities, agreements, strict=True)
        ]
        self.disagreement_ = self._disagreement(few)

    def _train_runs(self, x: ScaledRows, few: Tensor) -> tuple[list[Run], int]:
        """Return the runs, each from its own seed, and which of them is kept."""
        seed = self.seed_
        runs: list[Run] = []
        best = 0
        for number in range(self.n_init):
            self.merges_: list[selection.Merge] = []
            if number:
                self.n_clusters_ = 2 if self.n_clusters == "auto" else self.n_clusters
                self.seed_ = seeds.derive_seed(seed, "run", number)
                seeds.seed_noise(seeds.derive_seed(self.seed_, "weights"), x.device)
                self._build()
                self.history_, self.timings_ = [], {}
            beginning = self._train_once(x, few)
            log_q_y = self._log_q_y(few).double().numpy()
            doubts: list[selection.Doubt] = []
            if beginning.space is not None:
                of_doubts = seeds.derive_seed(self.seed_, "doubts")
                doubts = selection.doubts(beginning.space, log_q_y.argmax(1), of_doubts)
            of_model = (self.model_, self.history_, self.timings_, self.merges_)
            runs.append(Run(self.seed_, log_q_y, *of_model, doubts, beginning))
            best = selection.choose([run.responsibilities for run in runs])
            # The spaces of many rows are large, and only that of the kept run is looked at again.
            runs = [run if k == best else run.without_space() for k, run in enumerate(runs)]
            if self.interrupted_:
                break
        self.seed_ = seed
        return runs, best

    def _check(self, n_rows: int, n_few: int) -> None:
        """Refuse before any training what cannot be used with these rows."""
        if self.n_clusters == "auto" and not (
            isinstance(self.start, str) and self.start in ("auto", "graph")
        ):
            raise ValueError(
                "n_clusters='auto' is found on the graph; it needs start='graph' or 'auto'"
            )
        if not isinstance(self.start, str):
            checks.check_responsibilities(self.start, n_rows, self.n_clusters_)
            if n_few < n_rows:
                raise ValueError(
                    f"a given start has a label for each row, and of {n_rows:,} rows a start is "
                    f"found on {n_few:,}; take start='auto', or fewer rows"
                )
        if self.consistency == "affine" and self._image_sides() is None:
            raise ValueError(
                "consistency='affine' needs images: X of shape (N, H, W) or (N, H, W, C); "
                f"got rows of {self.n_features_in_} {self.kind_} values"
            )

    # ------------------------------------------------------------------------------ the stages

    def _train_once(self, x: ScaledRows, few: Tensor) -> Beginning:
        """Train `model_` through all stages; from the start on, on `few` of the rows."""
        self._found_by = ""
        self.model_.to(x.device)
        if isinstance(self.start, str) and self.start == "random":
            self._train_from_nothing(x)
            return Beginning()
        self._pretrain(x, few, "autoencoder")
        latent = self._evaluate(self.model_.latent, few).double().numpy()
        rows = torch.arange(len(few), device=x.device)
        space, what = self._space(few, latent)
        if self.n_clusters == "auto":
            self._find_number(few, rows, space)
        refinement = self._refine(few, rows, space, "refinement", lambda: self._find_start(space))
        start = refinement.responsibilities.start.cpu().double().numpy()
        n_rounds = self.n_rounds if isinstance(self.start, str) else 1
        joined = self._join_more(refinement, few, rows, space) if n_rounds > 1 else None
        start = start if joined is None else joined.start
        beginning = Beginning(space, what, start, joined is not None, self._found_by)
        for again in range(1, n_rounds):
            refinement = self._refine_again(few, rows, f"refinement {again + 1}", joined)
            joined = None

        self._start_mixture(latent, refinement.responsibilities(rows))
        epochs = self._epochs(self.epochs, len(few), at_least=4, steps=800)
        evidence = deepmixture.JointEvidence(refinement)
        self._run_stage(evidence, [few, rows], self._stage("joint evidence", epochs, refinement))
        return beginning

    def _train_from_nothing(self, x: ScaledRows) -> None:
        """Maximise the evidence from the first weights on: the random start."""
        epochs = self._epochs(self.epochs, len(x), at_least=24, steps=2500)
        rate = schedules.cosine(self.learning_rate, 0.01 * self.learning_rate)
        stage = engine.Stage("joint evidence", epochs, rate, self.batch_size)
        self._run_stage(self.model_, [x], stage)

    # ------------------------------------------------------------------------------- the start

    def _start_mixture(self, latent: NDArray[np.float64], responsibilities: Tensor) -> None:
        """Start p(y) p(z|y), and the noise of q(z|y, x), from the moments of the latent."""
        moments = normals.from_responsibilities(latent, responsibilities.cpu().double().numpy())
        self._start_prior(moments)
        # The noise of q(z|y, x) starts small next to the latent, or it would undo the start.
        spread = torch.from_numpy(moments.total_scale).float().to(responsibilities.device)
        self.model_.head.start_scale(0.1 * spread)

    # ------------------------------------------------------------------------- what is said of it

    def _witnesses(self, runs: Sequence[Run], kept: Run) -> list[NDArray[np.float64]]:
        """Return clusterings (N, K) that err elsewhere: of fewer rows, and of other runs."""
        found = [run.beginning.start for run in runs if run is not kept]
        space = kept.beginning.space
        if space is None or self.interrupted_ or self._witnesses_itself(kept):
            found.append(kept.beginning.start)
        else:
            found.append(self._start_of_fewer(space))
        shape = kept.log_q_y.shape
        return [start for start in found if start is not None and start.shape == shape]

    def _witnesses_itself(self, run: Run) -> bool:
        """Whether the start of a run was given, or is of other rows and not learned by heart.

        A start of all rows is no witness, for q(y|x) errs where it does; unless it is joined of
        more clusters, which another start is not. A graph embeds some of many rows, where a
        mixture is fitted to all.
        """
        beginning = run.beginning
        start = beginning.start
        if start is None or not isinstance(self.start, str):
            return True
        by_graph = beginning.found_by == starts.BY_GRAPH
        of_fewer = by_graph and len(start) >= FEWER * self._most_embedded()
        same = start.argmax(1) == run.log_q_y.argmax(1)
        return bool((of_fewer or beginning.joined) and same.mean() <= LEARNED_BY_HEART)

    def _start_of_fewer(self, space: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return another start (N, K), found on at most 6,000 rows of the space (N, D)."""
        began = time.perf_counter()
        self._callback.begin("calibration", 1, 1)
        rng = np.random.default_rng(seeds.derive_seed(self.seed_, "witness"))
        few = seeds.draw_rows(rng, len(space), WITNESSED_ROWS)
        known = self._find_start(space[few], of="witness")
        start = starts.for_all_rows(space, few, known)
        self.timings_["calibration"] = time.perf_counter() - began
        return start

    def _disagreement(self, x: Tensor) -> float:
        """Return the share of rows whose clusters by q(y|x) and by p(y|x) differ."""
        generator = torch.Generator().manual_seed(seeds.derive_seed(self.seed_, "judged"))
        some = x[torch.randperm(len(x), generator=generator)[:JUDGED_ROWS].to(x.device)]
        noise = torch.randn(4, 1, self.n_latent, generator=generator).to(x.device)
        model = self.model_
        posterior = self._evaluate(lambda part: model.log_posterior_y(part, noise), some)
        return float((posterior.argmax(1) != self._log_q_y(some).argmax(1)).double().mean())

    def _describe(self, rows: data.Rows, why: str) -> list[str]:
        begun = []
        if self._beginning.what:
            begun.append(f"Rows are neighbours in {self._beginning.what}.")
        if self._beginning.found_by:
            begun.append(f"The first clusters are those of {self._beginning.found_by}.")
        if self.merges_:
            first = self.merges_[0]["n_clusters"]
            by_changes = ", and those between which rows pass when they are changed"
            number = f"{self.n_clusters_} cluster{'s were' if self.n_clusters_ > 1 else ' was'}"
            begun.append(
                f"{number} found by joining {first} on the graph"
                f"{by_changes if self._counts_by_changes() else ''}."
            )
            if self.n_clusters_ == 1:
                begun.append(
                    "All rows are one cluster: either they fall into no groups, or training was "
                    "too short to tell them apart. The merge tree says how strongly the last two "
                    "were connected; n_clusters=2 or more keeps that many."
                )
        if self._beginning.joined:
            begun.append(
                "A first mixture cut groups in two. So more clusters were refined, and those "
                "joined between which rows pass when they are changed."
            )
        share = f"{100 * self.disagreement_:.1f}%"
        return [
            *super()._describe(rows, why),
            *begun,
            f"q(y|x) and the posterior p(y|x) of the generative model name different clusters "
            f"for {share} of the rows.",
            f"Probabilities are those of q(y|x) at a temperature of {self.temperature_:.2f}, by "
            "how often other clusterings of the rows name other clusters.",
        ]

    def _noise_width(self) -> int:
        return 1 + self.n_latent

    def _reorder(self, order: Tensor) -> None:
        self.model_.reorder(order)
        number = order.argsort().tolist()
        renumbered = [
            doubt._replace(clusters=tuple(number[k] for k in doubt.clusters))
            for doubt in self._doubts
        ]
        self.decisions_ += [str(doubt) for doubt in renumbered]
        del self._doubts, self._beginning, self._found_by
