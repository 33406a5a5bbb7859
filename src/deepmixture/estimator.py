"""The base estimator: from rows to clusters, for every model.

It knows scikit-learn's manners, the order of things in a fit, and no mathematics: a subclass
builds its model and says in which stages it is trained.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from os import PathLike
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from sklearn.utils import ClassifierTags, Tags, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from deepmixture import checks, data, engine, nearest, parallel, presets, seeds
from deepmixture.batches import ScaledRows
from deepmixture.hardware import choose_hardware
from deepmixture.likelihoods import UNIT_INTERVAL
from deepmixture.networks import WithNetworks
from deepmixture.progress import Callback, Silent
from deepmixture.stages import StagedFit


@dataclass(eq=False, repr=False)
class LatentMixtureEstimator(StagedFit, WithNetworks):
    """A mixture over the latent space of an encoder and a decoder.

    Parameters
    ----------
    n_clusters : int, default=10
        Number of clusters K.
    kind : {"auto", "image", "table", "embedding", "counts"}, default="auto"
        What the rows are. It decides scaling, likelihood and network where these are "auto".
        Automatically: arrays of three or four dimensions are images, sparse counts are counts,
        and fewer than 64 columns are tables. Arrays of 64 columns or more are embeddings, but
        squares whose columns are alike a line apart are images, and whole numbers are counts
        (nearly all zero, or a fifth and some above 12) or a table (at most 12), as are columns
        of very different spreads, each about a mean of its own. So are frames, but where neither
        is found they are tables if columns have names of their own, which are more than numbers,
        and whole numbers that are mostly 0 or 1 in most columns are no counts.
    scaling : {"auto", "none", "unit", "standard", "global", "log"}, default="auto"
        How columns are scaled before training: to [0, 1], to zero mean and unit deviation each,
        by one common deviation, or by log(1 + x) and one common deviation.
    likelihood : {"auto", "bernoulli", "continuous_bernoulli", "gaussian", "gaussian_learned", \
"gaussian_fixed"}, default="auto"
        p(x|z). "gaussian" learns one standard deviation a feature, "gaussian_learned" lets the
        decoder give one a feature and row, "gaussian_fixed" holds all at `likelihood_scale`.
        "continuous_bernoulli" is a density of grey values in [0, 1], where "bernoulli" takes
        them as probabilities. Automatically Bernoulli for images, else Gaussian.
    likelihood_scale : float, default=1.0
        Standard deviation of the fixed Gaussian likelihood, in scaled units.
    network : {"auto", "mlp", "convolutional", "convolutional_valid"}, default="auto"
        Fully connected; convolutions of stride 2; or the convolutional network of the GMVAE
        paper, nearly all of whose convolutions have stride 1 and no padding. Automatically
        convolutional for images of known shape, else fully connected.
    hidden : tuple of int or "auto", default=(500, 500, 2000)
        Widths of the fully connected encoder; the decoder mirrors it. Automatically (256, 256)
        for tables, else (500, 500, 2000).
    encoder, decoder : torch.nn.Module, optional
        Networks of your own, given together: rows (B, F) to features (B, H), and latents (B, D)
        to one number a feature (B, F). An encoder with convolutions is given images
        (B, C, H, W), and its decoder gives them. They are copied, not changed.
    n_latent : int, default=10
        Latent dimensions D.
    pretrain_epochs : int or "auto", default="auto"
        Passes over the rows while the representation is pretrained. Automatically 25 for
        large data, more for small.
    batch_size : int, default=256
        Rows a step.
    learning_rate : float, default=1e-3
        Peak of Adam's rate, which rises and falls over each stage.
    n_init : int, default=20
        Gaussian mixtures that are tried on the latent space for the start.
    device : str, default="auto"
        "auto" takes CUDA, then MPS, then the CPU.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Precision of the matrix products in training. Automatically bfloat16 where the processor
        multiplies it natively. Losses and densities are always float32.
    devices : int, default=1
        Processes that share out every batch. Each holds all rows; on GPUs each has one. The
        program is run again for each from its beginning, or by torchrun, and ends with the same
        fitted estimator in all; one process writes and speaks.
    memory_limit : float, default=2.0
        Gigabytes of scaled rows that are held in memory. More are kept in a scratch file in the
        folder for temporary files, and read in shuffled blocks. Starts, and the stages that hold
        them, then see a random 200,000 of the rows, as they do of more than a million in memory.
    random_state : int, RandomState or None, default=None
        The same integer on the same machine, with as many threads, gives the same labels, to the
        bit.
    verbose : bool, default=False
        Whether to show a progress bar.

    Attributes
    ----------
    labels_ : array of shape (N,)
        Cluster of each training row. Cluster 0 is the largest, empty ones come last.
    weights_, means_, covariances_ : arrays of shape (K,), (K, D), (K, D, D)
        The mixture in the latent space that clusters are read from.
    history_ : list of dict
        One record an epoch: stage, epoch, seconds, learning_rate, loss and the named terms.
    timings_ : dict
        Seconds of each stage.
    decisions_ : list of str
        What was decided and done to the data, in sentences.
    n_clusters_ : int
        Number of clusters K.
    n_used_clusters_ : int
        Clusters that hold at least one row.
    n_features_in_ : int
        Columns, or pixels times channels.
    n_iter_ : int
        Epochs of all stages.
    interrupted_ : bool
        Whether a callback stopped the training early.

    Notes
    -----
    scikit-learn's two `check_estimator` checks of sparse input ask for exactly four columns of
    `predict_proba`: they pass with `n_clusters=4` (or 2) only.
    """

    n_clusters: int | Literal["auto"] = 10
    _: KW_ONLY
    kind: str = "auto"
    scaling: str = "auto"
    likelihood: str = "auto"
    likelihood_scale: float = 1.0
    network: str = "auto"
    hidden: Sequence[int] | Literal["auto"] = presets.PAPERS_WIDTHS
    encoder: nn.Module | None = None
    decoder: nn.Module | None = None
    n_latent: int = 10
    pretrain_epochs: int | Literal["auto"] = "auto"
    batch_size: int = 256
    learning_rate: float = 1e-3
    n_init: int = 20
    device: str = "auto"
    precision: str = "auto"
    devices: int = 1
    memory_limit: float = 2.0
    random_state: int | np.random.RandomState | None = None
    verbose: bool = False

    name: ClassVar[str]
    """Short name of the model on the command line."""

    choices: ClassVar[Mapping[str, tuple[str | None, ...]]] = {}
    """What parameters of a subclass may be, where it differs from `checks.CHOICES`."""

    automatic: ClassVar[tuple[str, ...]] = ()
    """Counts of a subclass that may also be "auto", beside `checks.AUTOMATIC`."""

    objects: ClassVar[tuple[str, ...]] = ()
    """Parameters of a subclass that may also be arrays or functions; such are not saved."""

    facts: ClassVar[tuple[str, ...]] = ()
    """Fitted attributes of a subclass that are saved beside those of every estimator."""

    # ------------------------------------------------------------------ what a subclass writes

    @abstractmethod
    def _build(self) -> None:
        """Make `model_` for the fitted facts (`n_features_in_`, `kind_`, `image_shape_`)."""

    @abstractmethod
    def _train(self, x: ScaledRows) -> None:
        """Train `model_` on scaled rows (N, F) by `_run_stage`."""

    # ------------------------------------------------------------------------------------ fit

    def fit(
        self,
        X: object,
        y: object = None,
        *,
        callback: Callback | None = None,
        resume_from: str | PathLike[str] | None = None,
        checkpoint_every: float = 60.0,
    ) -> Self:
        """Find the clusters of X.

        Parameters
        ----------
        X : array-like, sparse matrix, frame, tensor, Dataset or Rows
            Rows of shape (N, F), or images of shape (N, H, W) or (N, H, W, C).
        y : ignored
            Present for scikit-learn's conventions. No label is ever used.
        callback : Callback, optional
            Told of every epoch, and asked after every step whether to stop.
        resume_from : str or path, optional
            A folder of checkpoints. They are kept there while the fit goes on, and a fit with the
            same data and parameters that finds some there, because it was killed or stopped, goes
            on from them: on one machine to the same bits as one that was not. A new or empty
            folder begins a fit. Without it no checkpoint is written.
        checkpoint_every : float, default=60.0
            Seconds from one checkpoint to the next within a stage; the end of a stage writes one
            in any case, 0 writes one at every step.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If X or a parameter cannot be used; the message says which and why. If the checkpoints
            are those of a fit of other data or parameters.
        ProcessLost
            If one of several processes has ended.
        OSError
            If a checkpoint cannot be written; the message names the last good one.
        TrainingDiverged
            If the loss becomes NaN or infinite.
        """
        checks.check_parameters(self)
        checks.check_seconds("checkpoint_every", checkpoint_every)
        before = dict(self.__dict__)
        try:
            with parallel.among(self.devices, self.device) as processes:
                heard = callback if processes.first else Silent()
                self._fit(X, heard, resume_from, checkpoint_every)
        except BaseException:
            # An estimator that was fitted before is not left half way between two fits.
            self.__dict__.clear()
            self.__dict__.update(before)
            raise
        return self

    def _fit(
        self,
        X: object,
        callback: Callback | None,
        resume_from: str | PathLike[str] | None,
        checkpoint_every: float,
    ) -> None:
        rows = self._open(X, reset=True)
        checks.check_rows(rows, 2 if self.n_clusters == "auto" else self.n_clusters)
        # Where the number is to be found, the model is built for two before it is.
        self.n_clusters_ = 2 if self.n_clusters == "auto" else self.n_clusters
        self.kind_, why = checks.choose_kind(self.kind, rows)
        self.image_shape_ = rows.image_shape if self.kind_ == "image" else None
        automatic = self.likelihood == "auto"
        self.likelihood_ = presets.LIKELIHOODS[self.kind_] if automatic else self.likelihood
        self.scaling_ = self._choose_scaling(rows)
        processes = parallel.current()
        self.hardware_ = choose_hardware(processes.device(self.device), self.precision)
        self.seed_ = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        for fact in self.facts:
            self.__dict__.pop(fact, None)  # of an earlier fit
        self.history_: list[engine.Record] = []
        self.timings_: dict[str, float] = {}
        self.interrupted_ = False
        self._callback = callback or self._default_callback()

        x = self._scale(rows)
        self._journal = None
        if resume_from is not None and processes.first:
            self._journal = self._open_journal(resume_from, checkpoint_every, x)
        self.seed_ = processes.tell(self.seed_)
        x = x.to(self.hardware_.device) if isinstance(x, Tensor) else x
        cuda = [self.hardware_.device] if self.hardware_.device.type == "cuda" else []
        with torch.random.fork_rng(devices=cuda), nearest.searched_on(self.hardware_.device):
            seeds.seed_noise(seeds.derive_seed(self.seed_, "weights"), self.hardware_.device)
            self._build()
            self.model_.to(self.hardware_.device)
            try:
                self._train(x)
            finally:
                self._callback.close()
                del self._callback, self._journal
        self.n_iter_ = max(1, len(self.history_))
        self.model_.requires_grad_(False).eval()
        self.decisions_ = self._describe(rows, why)
        self._finish(x)

    def _open(self, X: object, reset: bool) -> data.Rows:
        rows = data.open_rows(X)
        of_cells = rows.names is not None and not rows.is_frame  # scikit-learn knows no AnnData
        if isinstance(X, data.Rows) or of_cells:
            checks.check_same_columns(self, rows, reset)
        else:
            given = X if rows.is_frame else rows.values
            validate_data(self, given, reset=reset, skip_check_array=True)
        data.check_finite(rows)
        if not reset:
            checks.check_same_images(self.image_shape_, rows.image_shape)
        return rows

    def _choose_scaling(self, rows: data.Rows) -> data.Scaling:
        method = self.scaling
        if method == "auto" and self.likelihood_ in UNIT_INTERVAL and self.kind_ != "image":
            method = "none"
        return data.fit_scaling(rows, self.kind_, method)

    def _default_callback(self) -> Callback:
        if not self.verbose:
            return Silent()
        from deepmixture.progress import Bar

        return Bar()

    def _describe(self, rows: data.Rows, why: str) -> list[str]:
        shape = " x ".join(map(str, self.image_shape_ or (self.n_features_in_,)))
        what = {"image": "pixels", "counts": "counts"}.get(self.kind_, "columns")
        return [
            f"{len(rows):,} rows of {shape} {what} from {rows.source}.",
            f"Kind: {self.kind_} ({why}).",
            f"Scaling: {self.scaling_.describe()}.",
            *self._of_constant_columns(rows),
            f"Likelihood: {self.likelihood_}. Network: {self.network_}.",
            f"Trained on {self.hardware_}.",
            *self._where(rows),
            *self._stepped_back(),
        ]

    def _of_constant_columns(self, rows: data.Rows) -> list[str]:
        constant = self.scaling_.constant
        if self.kind_ != "table" or not constant.any():
            return []
        names = data.named_columns(rows, constant)
        return [f"The same in every row, which tells no rows apart: {names}."]

    # ----------------------------------------------------------------------------- save, load

    def save(self, path: str | PathLike[str]) -> None:
        """Write the fitted estimator to the folder `path`, as safetensors and JSON.

        The folder is written beside and renamed into place; an earlier model there is replaced,
        anything else is left alone.

        Raises
        ------
        FileExistsError
            If `path` holds something that is no saved model.
        """
        from deepmixture import store

        check_is_fitted(self)
        store.save(self, path)

    @classmethod
    def load(
        cls,
        path: str | PathLike[str],
        *,
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
    ) -> Self:
        """Read a fitted estimator from a folder that `save` wrote. Nothing is unpickled.

        Parameters
        ----------
        path : str or path
        encoder, decoder : torch.nn.Module, optional
            The networks, where the saved estimator was fitted with networks of your own.

        Raises
        ------
        FileNotFoundError, ValueError
            If there is no model, or it is damaged, foreign, of another class or a newer format.
        """
        from deepmixture import store

        return store.load(path, cls, encoder=encoder, decoder=decoder)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "labels_")

    def __sklearn_tags__(self) -> Tags:
        tags: Tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.three_d_array = True
        # scikit-learn's checks ask whatever has `predict_proba` for these, clusterers too.
        tags.classifier_tags = ClassifierTags(multi_class=self.n_clusters != 2)
        if "transform" in self.cannot:
            tags.transformer_tags = None
        if tags.transformer_tags is not None:
            # The latent is computed in float32 whatever the rows were.
            tags.transformer_tags.preserves_dtype = []
        return tags
