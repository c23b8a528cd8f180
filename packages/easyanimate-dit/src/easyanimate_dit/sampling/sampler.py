"""The samplers of this package, until the plugins of the model versions no longer name them."""

from easyanimate_dit.plugin import ea_schedulers

SAMPLERS = tuple(ea_schedulers())
