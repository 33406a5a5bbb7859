"""Starts and refinements of q(y|x): what DeepMixture does between representation and evidence."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepmixture import (
    augment,
    checks,
    coordinates,
    embedding,
    engine,
    nearest,
    presets,
    schedules,
    seeds,
    selection,
    starts,
)
from deepmixture.cluster.pretrained import STARTS, Find, Pretrained
from deepmixture.connections import CONNECTED, strongest_affinity
from deepmixture.halves import revived
from deepmixture.latent_classes import takes_few_values
from deepmixture.models import deepmixture, nvisa
from deepmixture.starts import N_TRIALS
from deepmixture.trials import MOST_CLUSTERS, ROWS_A_CLUSTER, told_by_chance

MOST_TRIALS = 80
N_DIRECTIONS = 50
CLEARER = 0.02  # nats
EMBEDDED_DIRECTIONS = 60_000
"""The most rows of embeddings and counts that the start embeds, and the new one: clusters of all
60,000 of CIFAR-10 are nearer the classes than those of 20,000. Of images, whose changes tell more,
20,000 are enough."""
N_NEIGHBOURS = 10
N_DRAWS = 4
MORE_CLUSTERS = (3, 6)  # times as many as are asked for
CUT_THROUGH = 0.14
"""What rows pass between two clusters when they are changed, over the geometric mean of the two,
above which a group was cut. Of MNIST with thinned classes 0.18 and 0.22 pass between the halves of
a digit (two seeds), of Fashion-MNIST 0.07 to 0.12 between two that look alike (nine seeds)."""
CUT_THROUGH_FEW = 0.03
"""The same where rows are few: more clusters then cost little, and `selection.clearest` judges."""
FEWEST_ROWS_NORMALISED = 16  # a batch of which batch normalisation can take the moments
PLAIN_CHANGES: Mapping[str | None, Callable[[], augment.Change]] = {
    "mixup": augment.Mixup,
    "dropout": augment.FeatureDropout,
    "noise": augment.Noise,
    None: augment.Unchanged,
}


def are_few(x: Tensor) -> bool:
    """Whether rows (N, D) are few: then more clusters cost little, and changes tell less."""
    return len(x) <= embedding.TRIAL_ROWS


class Joined(NamedTuple):
    """Clusters that are each joined of several."""

    responsibilities: NDArray[np.float64]  # (N, K) of q(y|x)
    start: NDArray[np.float64]  # (N, K), from which it was refined
    passed: NDArray[np.float64]  # (K, K) rows that pass between them when they are changed
    model: nvisa.NVISA  # of the clusters before they were joined


class Refined(Pretrained):
    """Starts of q(y|x) in a space of the rows, and refinements under changes of them."""

    model_: nvisa.NVISA
    merges_: list[selection.Merge]
    n_clusters: int | Literal["auto"]
    start: Any
    start_weight: float
    consistency: Any
    refine_epochs: int | Literal["auto"]
    _found_by: str  # of the first start

    # ----------------------------------------------------------------------------- the refinements

    def _refine(
        self,
        x: Tensor,
        rows: Tensor,
        space: NDArray[np.float64],
        name: str,
        find: Callable[[], NDArray[np.float64]],
    ) -> deepmixture.Refinement:
        """Find a start (N, K) in the space (N, D), and train q(y|x) from it."""
        timed = "start" if name == "refinement" else "new start"
        began = time.perf_counter()
        self._callback.begin(timed, 1, 1)
        start = find()
        given = torch.from_numpy(start).float().to(x.device)
        epochs = self._epochs(self.refine_epochs, len(x), at_least=5, steps=800)
        memory = 0.5 ** (5 / max(epochs, 5))  # one half a fifth of the stage
        responsibilities = deepmixture.Responsibilities(given, self.start_weight, memory)
        refinement = deepmixture.Refinement(self.model_, responsibilities, self._change(x, space))
        took = time.perf_counter() - began
        self.timings_[timed] = self.timings_.get(timed, 0.0) + took
        self._run_stage(refinement, [x, rows], self._stage(name, epochs, refinement))
        responsibilities.learn_confusion()
        return refinement

    def _refine_again(
        self, x: Tensor, rows: Tensor, name: str, joined: Joined | None
    ) -> deepmixture.Refinement:
        """Go on from the clusters there are, in the space that q(y|x) has learned."""
        space = self._learned_space(x)
        begin = self._q_y(x) if joined is None else joined.responsibilities
        return self._refine(x, rows, space, name, lambda: self._find_start(space, begin))

    def _join_more(
        self,
        refinement: deepmixture.Refinement,
        x: Tensor,
        rows: Tensor,
        space: NDArray[np.float64],
    ) -> Joined | None:
        """Where a group may have been cut, refine more clusters and join those that are one.

        A mixture would rather halve a large group than find a small one, and of few rows it often
        finds the wrong groups. Returns None where hardly any rows pass between the clusters when
        they are changed, or the joined ones tell less.
        """
        if self.interrupted_ or not self._joins_by_changes():
            return None
        n_clusters, begun_with = self.n_clusters_, self.model_
        before = self._remember("passed", lambda: self._passed(refinement, x, rows))
        if strongest_affinity(before) <= (CUT_THROUGH_FEW if are_few(x) else CUT_THROUGH):
            return None
        found: list[Joined] = []
        most = min(len(x) // ROWS_A_CLUSTER, max(MOST_CLUSTERS, 2 * n_clusters))
        for more in sorted({min(times * n_clusters, most) for times in MORE_CLUSTERS}):
            if more > n_clusters and not self.interrupted_:
                found.append(self._join(more, x, rows, space))
                self.n_clusters_, self.model_ = n_clusters, begun_with
        best = selection.clearest([joined.passed for joined in found], before)
        if self.interrupted_ or best is None:
            return None
        self.model_ = found[best].model
        self._rebuild(n_clusters)
        return found[best]

    def _join(self, more: int, x: Tensor, rows: Tensor, space: NDArray[np.float64]) -> Joined:
        """Refine more clusters, and join them again."""
        n_clusters = self.n_clusters_
        self._rebuild(more)
        name = f"refinement of {more} clusters"
        refinement = self._refine(x, rows, space, name, lambda: self._find_more(space))
        passed = self._remember("passed", lambda: self._passed(refinement, x, rows))
        groups = selection.joined_groups(passed, n_clusters)
        start = refinement.responsibilities.start.cpu().double().numpy()
        return Joined(
            self._q_y(x) @ groups, start @ groups, groups.T @ passed @ groups, self.model_
        )

    def _stage(self, name: str, epochs: int, refinement: deepmixture.Refinement) -> engine.Stage:
        def learn_confusion(epoch: int) -> bool:
            # What q(y|x) says before it has learned the start is worth nothing.
            if epoch >= max(1, epochs // 5) or refinement.responsibilities.knows:
                refinement.responsibilities.learn_confusion()
            return False

        rate = schedules.one_cycle(self.learning_rate, warm_up=0.1)
        batch = max(self.batch_size, FEWEST_ROWS_NORMALISED)
        return engine.Stage(name, epochs, rate, batch, before_epoch=learn_confusion)

    def _rebuild(self, n_clusters: int) -> None:
        """Give `model_` another number of clusters, and keep all weights that fit."""
        self.n_clusters_ = n_clusters
        trained = self.model_.state_dict()
        self._build()
        fits = self.model_.state_dict()
        kept = {name: value for name, value in trained.items() if value.shape == fits[name].shape}
        self.model_.load_state_dict(kept, strict=False)
        self.model_.to(self.hardware_.device)

    # ----------------------------------------------------------------------------------- the start

    def _space(self, x: Tensor, latent: NDArray[np.float64]) -> tuple[NDArray[np.float64], str]:
        """Return the coordinates (N, D) in which rows are near one another, and what they are."""
        space = self._near_in()
        if space == "latent":
            return latent, "the latent of the autoencoder"
        values = x.cpu().numpy()
        if space == "directions":
            of_rows = coordinates.compared(self._unscaled(values), self.kind_ == "counts")
            return self._clearest(of_rows, CLEARER)
        if self.kind_ != "table":
            return self._principal(values), "the pixels"
        varies = values.min(0) < values.max(0)
        columns, what = values[:, varies], "the columns"
        if takes_few_values(columns):
            return columns.astype(np.float64), what
        of_columns = [(columns, what)]
        if self.scaling_.method == "standard":
            of_columns = coordinates.of_a_table(columns, self._unscaled(values)[:, varies])
        return self._clearest(of_columns, told_by_chance(len(values)))

    def _unscaled(self, values: NDArray[Any]) -> NDArray[Any]:
        unscaled: NDArray[Any] = values * self.scaling_.scale + self.scaling_.offset
        return unscaled

    def _clearest(
        self, compared: Sequence[tuple[NDArray[Any], str]], clearer: float
    ) -> tuple[NDArray[np.float64], str]:
        """Return the coordinates in which clusters tell most of neighbours, and what these are.

        The first of them, unless in others clusters tell more by over `clearer` nats.
        """
        if self.n_clusters == "auto":  # whose clusters could tell most is not known yet
            compared = compared[:1]
        spaces = [self._principal(values) for values, _ in compared]
        if len(spaces) == 1:
            return spaces[0], compared[0][1]
        began = time.perf_counter()
        self._callback.begin("start", 1, 1)
        seed = seeds.derive_seed(self.seed_, "space")
        gains = self._remember(
            "coordinates",
            lambda: [starts.gain_by_graph(space, self.n_clusters_, seed) for space in spaces],
        )
        self.timings_["start"] = time.perf_counter() - began
        best = int(np.argmax([gains[0] + clearer, *gains[1:]]))
        return spaces[best], compared[best][1]

    def _learned_space(self, x: Tensor) -> NDArray[np.float64]:
        """Return the directions of the features of q(y|x), which know the changes, (N, D)."""
        features = self._evaluate(self.model_.features_y, x).numpy()
        coordinates.to_unit_length(features)
        return self._principal(features)

    def _principal(self, values: NDArray[Any]) -> NDArray[np.float64]:
        seed = seeds.derive_seed(self.seed_, "space")
        return coordinates.principal(values, N_DIRECTIONS, seed)

    def _find_start(
        self,
        space: NDArray[np.float64],
        begin: NDArray[np.float64] | None = None,
        of: str = "start",
    ) -> NDArray[np.float64]:
        """Return the responsibilities (N, K) of the start, or those that were given."""
        if not isinstance(self.start, str):
            return checks.check_responsibilities(self.start, len(space), self.n_clusters_)
        seed = seeds.derive_seed(self.seed_, of, len(self.history_))
        find = self._find()
        if begin is not None:
            begin = revived(space, begin, seed)
        # Of few rows a mixture costs little, and the right one is found more rarely.
        n_trials = N_TRIALS * embedding.TRIAL_ROWS // len(space)
        n_trials = int(np.clip(n_trials, N_TRIALS, MOST_TRIALS))

        def compute() -> tuple[NDArray[np.float64], str]:
            found = find(space, self.n_clusters_, seed, n_trials, begin)
            return found.responsibilities, found.found_by

        responsibilities, found_by = self._remember(of, compute)
        if of == "start" and begin is None:
            self._found_by = found_by
        return responsibilities

    def _find_more(self, space: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return responsibilities (N, K) of clusters that are more than there may be groups."""
        seed = seeds.derive_seed(self.seed_, "start", len(self.history_))
        return self._remember(
            "start", lambda: starts.overclustering(space, self.n_clusters_, seed)
        )

    def _find(self) -> Find:
        if self.start not in ("auto", "graph"):
            return STARTS[self.start]
        if self.start == "auto" and self.kind_ == "table":
            return starts.graph_or_mixture
        if self.start == "auto" and self._near_in() == "latent":
            return starts.graph_or_likelier_mixture
        return partial(starts.neighbour_graph, n_rows=self._most_embedded())

    def _most_embedded(self) -> int:
        return EMBEDDED_DIRECTIONS if self._near_in() == "directions" else embedding.TRIAL_ROWS

    def _near_in(self) -> presets.Space:
        """Return where rows are neighbours: in the latent, by directions, or by columns."""
        return presets.space_for(self.kind_, self.n_features_in_)

    # ---------------------------------------------------------------------- the number of clusters

    def _find_number(self, x: Tensor, rows: Tensor, space: NDArray[np.float64]) -> None:
        """Find the number of clusters: on the graph, and where changes of rows tell, by these."""
        seed = seeds.derive_seed(self.seed_, "number")
        by_changes = self._counts_by_changes()
        connected = selection.CONNECTED_OVER_A_CUT
        if by_changes:
            # Of few images the graph lumps groups that the changes tell apart.
            connected = math.inf if are_few(x) else selection.SURELY_CONNECTED
        began = time.perf_counter()
        self._callback.begin("start", 1, 1)
        few, joined, self.merges_ = self._remember(
            "number of clusters", lambda: selection.find_number(space, seed, connected)
        )
        self.timings_["start"] = time.perf_counter() - began
        self._rebuild(joined.shape[1])
        if by_changes:
            refinement = self._refine(
                x,
                rows,
                space,
                "number of clusters",
                lambda: starts.for_all_rows(space, few, joined),
            )
            confused = selection.CONFUSED_OF_FEW if are_few(x) else CONNECTED
            n_clusters, self.merges_ = self._remember(
                "joined by changes",
                lambda: selection.join_confused(
                    self._passed(refinement, x, rows), self.merges_, confused
                ),
            )
            self._rebuild(n_clusters)

    def _counts_by_changes(self) -> bool:
        """Whether changes of rows, too, tell how many clusters there are.

        In the latent of an autoencoder groups run into one another; rows themselves are trusted.
        """
        return self._near_in() == "latent" and self._joins_by_changes()

    def _joins_by_changes(self) -> bool:
        """Whether changes of rows tell what is one cluster; steps to neighbours tell no more."""
        affine = self.consistency == "auto" and self._image_sides() is not None
        return affine or self.consistency == "affine" or callable(self.consistency)

    def _passed(
        self, refinement: deepmixture.Refinement, x: Tensor, rows: Tensor
    ) -> NDArray[np.float64]:
        """Count which clusters changed rows pass between, on at most 20,000 of them, (K, K)."""
        generator = torch.Generator().manual_seed(seeds.derive_seed(self.seed_, "passed"))
        chosen = torch.randperm(len(rows), generator=generator)[: embedding.TRIAL_ROWS]
        some = rows[chosen.to(x.device)]
        draws = [self._most_probable_when_changed(refinement, x, some) for _ in range(N_DRAWS)]
        return selection.passed_between(draws, self.n_clusters_)

    def _most_probable_when_changed(
        self, refinement: deepmixture.Refinement, x: Tensor, rows: Tensor
    ) -> NDArray[np.int64]:
        with torch.inference_mode():
            labels = [
                self.model_.log_q_y(refinement.change(x[part], part)).argmax(1)
                for part in torch.split(rows, engine.CHUNK)
            ]
        return torch.cat(labels).cpu().numpy()

    # ---------------------------------------------------------------------------------- the change

    def _change(self, x: Tensor, space: NDArray[np.float64]) -> augment.Change:
        chosen = self.consistency
        shape = self._image_sides()
        if callable(chosen):
            return augment.Given(chosen, shape)
        if chosen == "auto":
            chosen = "affine" if shape else "neighbours"
        if chosen == "affine" and shape:
            return augment.Affine(shape)
        if chosen == "neighbours":
            seed = seeds.derive_seed(self.seed_, "neighbours")
            index = torch.from_numpy(nearest.neighbours(space, N_NEIGHBOURS, seed))
            return augment.Neighbours(x, index.to(x.device))
        return PLAIN_CHANGES[chosen]()

    def _q_y(self, x: Tensor) -> NDArray[np.float64]:
        return self._log_q_y(x).double().softmax(1).numpy()
