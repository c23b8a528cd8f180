"""Finds plugins and what they offer: entry points loaded one by one, exact keys, conflicts and gaps as clear errors."""

from __future__ import annotations

import sys
import traceback
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

import pluggy

from easyanimate_core import hookspecs
from easyanimate_core.errors import PluginError, near_misses
from easyanimate_core.hookspecs import PROJECT
from easyanimate_core.preparation import CaptionerSpec, FilterSpec, StageSpec
from easyanimate_core.spec import CommandSpec, DatasetSpec, ModelSpec, SchedulerSpec, WeightsSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import ModuleType

HEAVY_MODULES = ("torch", "diffusers", "transformers", "numpy", "av", "huggingface_hub")
"""What a plugin module must not import at its top, so that `ea --help` stays quick."""

FIRST_PARTY: Mapping[str, str] = {
    "model v1": "easyanimate-v1",
    "model v2": "easyanimate-v2",
    "model v3": "easyanimate-v3",
    "model v4": "easyanimate-v4",
    "command train vae": "easyanimate-vae",
    "command train dit": "easyanimate-dit",
    "command train lora": "easyanimate-dit",
    "command weights convert": "easyanimate-dit",
    "command data": "easyanimate-data",
    "command eval": "easyanimate-data",
}
"""Where the models and commands of this project come from, so that a missing one can be named."""

Spec = ModelSpec | WeightsSource | SchedulerSpec | DatasetSpec | CommandSpec | FilterSpec | StageSpec | CaptionerSpec
SpecT = TypeVar("SpecT", bound=Spec)

_HOOKS: Mapping[str, tuple[str, type[Spec], Callable[[Any], str]]] = {
    "ea_models": ("model", ModelSpec, lambda spec: spec.key),
    "ea_weights": ("weights", WeightsSource, lambda spec: f"{spec.model}/{spec.name}"),
    "ea_schedulers": ("sampler", SchedulerSpec, lambda spec: spec.name),
    "ea_datasets": ("dataset", DatasetSpec, lambda spec: spec.key),
    "ea_commands": ("command", CommandSpec, lambda spec: f"{spec.group} {spec.name}"),
    "ea_filters": ("filter", FilterSpec, lambda spec: spec.key),
    "ea_stages": ("stage", StageSpec, lambda spec: spec.key),
    "ea_captioners": ("captioner", CaptionerSpec, lambda spec: spec.key),
}


@dataclass(frozen=True, kw_only=True)
class InstalledPlugin:
    """A plugin whose module could be imported.

    Args:
        name: Name of the entry point.
        distribution: Name of the package that brings it.
        version: Version of that package.
        module: Import name of the plugin module.
        provides: What it offers, each as "KIND KEY": "model v4", "weights v4/demo", "command data shapes".
        heavy_imports: Heavy libraries that importing the plugin brought in; empty for a well-made plugin.
    """

    name: str
    distribution: str
    version: str
    module: str
    provides: tuple[str, ...] = ()
    heavy_imports: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BrokenPlugin:
    """Something of a plugin that could not be taken in; what else it offers stays usable.

    Args:
        name: Name of the entry point.
        distribution: Name of the package that brings it.
        version: Version of that package.
        module: Import name of the plugin module.
        error: What went wrong, in one line.
        details: The traceback, empty where there is none.
    """

    name: str
    distribution: str
    version: str
    module: str
    error: str
    details: str = ""


@dataclass(frozen=True)
class _Offer:
    """One thing that a plugin offers."""

    kind: str
    key: str
    spec: Spec
    entry: EntryPoint


class Plugins:
    """Everything that the installed plugins offer, by exact key.

    A key that two plugins offer belongs to neither: it is missing from the mappings, listed in `broken`, and asking
    for it is an error that names both distributions.

    Args:
        entries: The entry points to load, one by one.
    """

    def __init__(self, entries: Iterable[EntryPoint]) -> None:
        self._broken: list[BrokenPlugin] = []
        self._offers: list[_Offer] = []
        installed: list[InstalledPlugin] = []
        manager = pluggy.PluginManager(PROJECT)
        manager.add_hookspecs(hookspecs)
        for entry in entries:
            before = set(sys.modules)
            if not self._register(manager, entry):
                continue
            heavy = tuple(name for name in HEAVY_MODULES if name in sys.modules and name not in before)
            offers = self._collect(manager, entry)
            self._offers += offers
            provides = tuple(f"{offer.kind} {offer.key}" for offer in offers)
            installed.append(InstalledPlugin(**_identity(entry), provides=provides, heavy_imports=heavy))
        self._conflicts = self._find_conflicts()
        self.installed = tuple(installed)
        self.broken = tuple(self._broken)

    def models(self) -> dict[str, ModelSpec]:
        """All models by key."""
        return self._by_key("model", ModelSpec)

    def model(self, key: str) -> ModelSpec:
        """The model with exactly this key; `PluginError` when there is none, or more than one."""
        return self._get("model", key, self.models())

    def weights(self, model_key: str) -> dict[str, WeightsSource]:
        """All weights of a model by name, whichever plugin brings them."""
        sources = self._by_key("weights", WeightsSource).values()
        return {source.name: source for source in sources if source.model == model_key}

    def schedulers(self) -> dict[str, SchedulerSpec]:
        """All samplers that plugins add, by name."""
        return self._by_key("sampler", SchedulerSpec)

    def datasets(self) -> dict[str, DatasetSpec]:
        """All kinds of training data by key."""
        return self._by_key("dataset", DatasetSpec)

    def dataset(self, key: str) -> DatasetSpec:
        """The dataset with exactly this key; `PluginError` when there is none, or more than one."""
        return self._get("dataset", key, self.datasets())

    def commands(self) -> dict[str, CommandSpec]:
        """All commands by "GROUP NAME"."""
        return self._by_key("command", CommandSpec)

    def command(self, group: str, name: str) -> CommandSpec:
        """The command `ea GROUP NAME`; `PluginError` when there is none, or more than one."""
        return self._get("command", f"{group} {name}", self.commands())

    def filters(self) -> dict[str, FilterSpec]:
        """All scores of clips by key."""
        return self._by_key("filter", FilterSpec)

    def filter(self, key: str) -> FilterSpec:
        """The filter with exactly this key; `PluginError` when there is none, or more than one."""
        return self._get("filter", key, self.filters())

    def stages(self) -> dict[str, StageSpec]:
        """All stages of data preparation by key, beside those that filters give."""
        return self._by_key("stage", StageSpec)

    def captioners(self) -> dict[str, CaptionerSpec]:
        """All models that write captions, by key."""
        return self._by_key("captioner", CaptionerSpec)

    def captioner(self, key: str) -> CaptionerSpec:
        """The captioner with exactly this key; `PluginError` when there is none, or more than one."""
        return self._get("captioner", key, self.captioners())

    def _register(self, manager: pluggy.PluginManager, entry: EntryPoint) -> bool:
        try:
            module = entry.load()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 (a plugin may even call sys.exit)
            self._report(entry, f"cannot be imported: {_one_line(error)}", traceback.format_exc())
            return False
        name = _plugin_name(entry)
        try:
            _refuse_stray_hooks(module)
            manager.register(module, name=name)
            manager.check_pending()
        except (PluginError, pluggy.PluginValidationError, ValueError) as error:
            if manager.has_plugin(name):
                manager.unregister(name=name)
            self._report(entry, _one_line(error))
            return False
        return True

    def _collect(self, manager: pluggy.PluginManager, entry: EntryPoint) -> list[_Offer]:
        """Call the hooks of one plugin; what fails is reported, what works is kept."""
        offers: list[_Offer] = []
        for hook, (kind, spec_type, key_of) in _HOOKS.items():
            caller: pluggy.HookCaller = getattr(manager.hook, hook)
            for implementation in caller.get_hookimpls():
                if implementation.plugin_name != _plugin_name(entry):
                    continue
                try:
                    for spec in cast("Iterable[object]", implementation.function()):
                        if isinstance(spec, spec_type):
                            offers.append(_Offer(kind, key_of(spec), spec, entry))
                        else:
                            self._report(entry, f"{hook} gave a {type(spec).__name__}, not a {spec_type.__name__}")
                except Exception as error:  # noqa: BLE001 (third-party code)
                    self._report(entry, f"{hook} failed: {_one_line(error)}", traceback.format_exc())
        return offers

    def _find_conflicts(self) -> dict[tuple[str, str], tuple[str, ...]]:
        """Keys that are offered more than once, with who offers them."""
        owners: dict[tuple[str, str], list[EntryPoint]] = {}
        for offer in self._offers:
            owners.setdefault((offer.kind, offer.key), []).append(offer.entry)
        conflicts = {name: entries for name, entries in owners.items() if len(entries) > 1}
        for (kind, key), entries in conflicts.items():
            names = " and ".join(_describe(entry) for entry in entries)
            for entry in dict.fromkeys(entries):
                self._report(entry, f"{kind} {key} is offered more than once: by {names}")
        return {name: tuple(_describe(entry) for entry in entries) for name, entries in conflicts.items()}

    def _report(self, entry: EntryPoint, error: str, details: str = "") -> None:
        self._broken.append(BrokenPlugin(**_identity(entry), error=error, details=details))

    def _by_key(self, kind: str, spec_type: type[SpecT]) -> dict[str, SpecT]:
        return {
            offer.key: offer.spec
            for offer in self._offers
            if offer.kind == kind and isinstance(offer.spec, spec_type) and (kind, offer.key) not in self._conflicts
        }

    def _get(self, kind: str, key: str, known: Mapping[str, SpecT]) -> SpecT:
        if key in known:
            return known[key]
        return self._refuse(kind, key, known)

    def _refuse(self, kind: str, key: str, known: Iterable[str]) -> NoReturn:
        """Raise the error that helps most: a conflict, a package to install, near-misses, broken plugins."""
        if owners := self._conflicts.get((kind, key)):
            raise PluginError(
                f"Two plugins offer the {kind} {key}.",
                received=" and ".join(owners),
                expected="one provider of a key",
                fix=f"uninstall one of them: pip uninstall {owners[-1].split()[0]}",
            )
        names = sorted(known)
        hints = [hint for hint in (near_misses(key, names),) if hint]
        package = _first_party_package(kind, key)
        if package and key.lower() not in names:
            hints.insert(0, f"pip install {package}")
        if self.broken:
            broken = dict.fromkeys(f"{plugin.distribution} {plugin.version}" for plugin in self.broken)
            hints.append(f"broken plugins may have offered it: {', '.join(broken)}; see `ea plugins`")
        raise PluginError(
            f"There is no {kind} {key}.",
            received=repr(key),
            expected=", ".join(names) or f"nothing: no installed plugin offers a {kind}",
            fix="; ".join(hints) or "see what is installed: ea plugins",
        )


def load_plugins(entries: Iterable[EntryPoint] | None = None) -> Plugins:
    """Load the given entry points, or all of the group `easyanimate` that are installed.

    Never raises for a broken plugin: `Plugins.broken` says what is wrong.
    """
    if entries is None:
        entries = sorted(entry_points(group=PROJECT), key=_plugin_name)
    return Plugins(entries)


def _refuse_stray_hooks(module: ModuleType) -> None:
    """Refuse `ea_...` functions that pluggy would pass over in silence: misspelt, or without `@hookimpl`."""
    for name, value in vars(module).items():
        if not name.startswith("ea_") or not callable(value):
            continue
        if name not in _HOOKS:
            hint = near_misses(name, _HOOKS)
            raise PluginError(f"There is no hook {name}.", expected=", ".join(_HOOKS), fix=hint)
        if not hasattr(value, f"{PROJECT}_impl"):
            raise PluginError(f"The hook {name} is not marked.", fix="put @easyanimate_core.hookimpl above it")


def _first_party_package(kind: str, key: str) -> str | None:
    """The package that brings `key`; commands are known by name or group."""
    return FIRST_PARTY.get(f"{kind} {key}") or FIRST_PARTY.get(
        f"{kind} {key.split(maxsplit=1)[0] if key.split() else key}"
    )


def _identity(entry: EntryPoint) -> dict[str, str]:
    distribution = entry.dist
    return {
        "name": entry.name,
        "distribution": distribution.name if distribution else "(not installed)",
        "version": distribution.version if distribution else "",
        "module": entry.value,
    }


def _plugin_name(entry: EntryPoint) -> str:
    """Unique over all distributions; two of them may use the same entry point name."""
    return f"{entry.dist.name if entry.dist else ''}:{entry.name}:{entry.value}"


def _describe(entry: EntryPoint) -> str:
    identity = _identity(entry)
    return f"{identity['distribution']} {identity['version']}".strip()


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, PluginError) else f"{type(error).__name__}: {text}"
