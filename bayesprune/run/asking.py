"""What a pruned network is asked of its uncertainty."""

from typing import TYPE_CHECKING, Any, cast

from torch import Tensor, nn

from bayesprune.run.samplers import sampler

if TYPE_CHECKING:
    import xarray

    from bayesprune.run.evidence import Evidence
    from bayesprune.run.predictive import Predictive
    from bayesprune.run.pruned import Pruned
    from bayesprune.run.shift import OutOfDistribution


class Asking:
    """The part of `Pruned` that says how sure the data are: of its structure, its weights and its predictions."""

    @property
    def _whole(self) -> "Pruned":
        """The network that this is a part of."""
        return cast("Pruned", self)

    def evidence(
        self, data: Any = None, *, examples: int | None = None, seed: int = 0, price: float | None = None
    ) -> "Evidence":
        """What every unit that is left is worth, in nats; see `bayesprune.run.evidence.measure`.

        Args:
            data: to flip gates on; None for the training data. As for `evaluate`, but of `Data` the training split.
            examples: so many of them, drawn at random; None for all.
            seed: of the draw.
            price: nats of every unit, to set the evidence against; None for those of the run.

        Raises:
            SettingError: nothing can be removed, there is no likelihood, or `examples` or `price` cannot be had.
            StoreError: the network was loaded from disk and no data were given.
            DataError: the data are none, or do not fit the run.
        """
        from bayesprune.run.evidence import measure

        return measure(self._whole, data, examples=examples, seed=seed, price=price)

    def predictive(self, gates: Tensor, data: Any = None, **settings: Any) -> "Predictive":
        """Predictions under draws of the gates, such as `gibbs().draws`; see `bayesprune.run.predictive.predictive`."""
        from bayesprune.run.predictive import predictive

        return predictive(self._whole, gates, data, **settings)

    def gibbs(self, data: Any = None, **settings: Any) -> Any:
        """Draws of the gates at fixed weights, p(z | w, data); settings as for `bayesprune.experiments.facade.gibbs`.

        Args:
            data: as for `evidence`.
            settings: draws, chains, warm_up, examples, pi, price, seed, progress.

        Raises:
            SettingError: a setting cannot be used, or the run has no prices and none is given.
        """
        return sampler("gibbs")(self._whole, data, **settings)

    def exact(self, data: Any = None, **settings: Any) -> Any:
        """The exact posterior of at most 20 gates at fixed weights; see `bayesprune.experiments.facade.exact`."""
        return sampler("exact")(self._whole, data, **settings)

    def nuts(self, data: Any = None, **settings: Any) -> Any:
        """Draws of weights with at most 8 gates summed out; see `bayesprune.experiments.facade.nuts`."""
        return sampler("nuts")(self._whole, data, **settings)

    def posterior_tree(self, draws: int = 1000, seed: int = 0, **settings: Any) -> "xarray.DataTree":
        """The posterior over the structure as a DataTree that ArviZ reads; see `bayesprune.run.datatree.to_datatree`.

        It has a chain for each of the restarts, and one where there are none.

        Args:
            draws: draws of all gates, at least 1.
            seed: of the draws.
            settings: as there: data, split, examples, evidence, prior, price, weights, trace.

        Raises:
            SettingError: the method has no posterior, or `draws` is below 1; and as there.
        """
        from bayesprune.run.datatree import to_datatree

        return to_datatree(self._whole.restarts or self._whole, draws, seed, **settings)

    def drawn_gates(self, draws: int = 100, seed: int = 0) -> Tensor:
        """Gates [1, D, J] at random by the posterior; see `bayesprune.run.draw_average.drawn_gates`."""
        from bayesprune.run.draw_average import drawn_gates

        return drawn_gates(self._whole, draws, seed)

    def out_of_distribution(
        self, other: Any, data: Any = None, *, network: nn.Module | None = None
    ) -> "OutOfDistribution":
        """How well other data are told apart by uncertainty; see `bayesprune.run.shift.out_of_distribution`."""
        from bayesprune.run.shift import out_of_distribution

        return out_of_distribution(self._whole, other, data, network=network)
