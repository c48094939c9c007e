"""What a view makes of an attribute set: which attributes become labels, with which names and values.

This is called once per new attribute set, with the attributes as they were recorded. The result is still in
OpenTelemetry's terms, and is translated like any attribute set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from functools import partial
from typing import NamedTuple

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.points import WORKER, AttributeSet, plain
from otel_prom_bridge.rules import is_identifier
from otel_prom_bridge.rules.rule import OTHER
from otel_prom_bridge.rules.secrets import SECRETS, SHORTEST, without_secrets
from otel_prom_bridge.translate.labels import label_name, label_value
from otel_prom_bridge.values.patterns import glob, is_pattern
from otel_prom_bridge.views.bounds import (
    CLIENT_VALUES,
    LABELS,
    VALUE_LENGTH,
    ClientValues,
    LabelBounds,
    comes_from_clients,
)
from otel_prom_bridge.views.computations import attributes_of
from otel_prom_bridge.views.context_labels import ContextLabels
from otel_prom_bridge.views.ids import VALUES_LIKE_IDS, Ids
from otel_prom_bridge.views.mapped import OVERFLOW_ATTRIBUTES, OVERFLOW_KEY, Fold, KeysShape, Mapped
from otel_prom_bridge.views.pricing import ATTRIBUTES, PRICE_KEY, Pricing
from otel_prom_bridge.views.ruling import Ruling
from otel_prom_bridge.views.tenants import Tenants
from otel_prom_bridge.views.view import ExportView
from otel_prom_bridge.views.workers import Workers

# There are few keys, and they come back with every attribute set. The bound is for producers that put data
# into keys.
_KEYS_REMEMBERED = 1000
# To find out a shape takes longer than to do without it, so the first ones are kept until ids are found.
_SHAPES_REMEMBERED = 500


class Priced(NamedTuple):
    """What a view has to do with costs: it shows tokens of this kind as costs, or it ``reports`` costs."""

    pricing: Pricing
    scope: str
    kind: str | None
    reports: bool = False

    def price(self, attributes: Mapping[str, object]) -> Fraction | None:
        """What one token costs; None if the view does not want the point."""
        return None if self.kind is None else self.pricing.price(self.kind, self.scope, attributes)


class AttributeMap:
    """What one view makes of attributes."""

    def __init__(
        self,
        view: ExportView,
        *,
        tenants: Tenants | None = None,
        id_labels: bool = False,
        findings: Findings,
        label_of: Callable[[str], str] = label_name,
        bounds: LabelBounds | None = None,
        metric: str = "",
        workers: Workers = "each",
        additive: bool = False,
        price: Priced | None = None,
        context: ContextLabels | None = None,
    ) -> None:
        self._view = view
        self._context = context or None  # of no labels there is none
        self._shows_each = workers == "each"
        self._has_workers = False  # somebody said which worker a gauge is of
        self._price = price if price is not None and (price.kind or price.reports) else None
        # Of what adds up nothing is lost without a label. Of current values only the newest would be left.
        self._ids = Ids() if additive and not id_labels else None
        self._bounds = bounds or LabelBounds()
        self._metric = metric  # what the points are of; empty where one map is for several
        self._client_values = ClientValues(self._bounds.client_values)
        self._by_clients: dict[str, bool] = {}
        self.left_out_ids = False  # an attribute was, because it is an id
        self._label_of = label_of  # two keys of which this says the same become one label
        self._tenants = tenants
        self._id_labels = id_labels
        self._findings = findings
        self._kept: dict[str, bool] = {}
        self._shapes: dict[tuple[str, ...], KeysShape] = {}  # as long as so many keys are settled
        self._number_settled = 0
        self._read(view)

    def _read(self, view: ExportView) -> None:
        """Take from the view what is asked for each attribute."""
        self._where = view.conditions()
        self._computations = view.computations()
        self._own = {self._label_of(label): label for label in (*view.rename.values(), *self._computations)}
        self._keep = None if view.keep is None else glob(view.keep)
        self._forbidden = glob(view.forbidden)
        self._drop = glob((*view.drop, *view.forbidden))
        self._ruling = Ruling(view, self._computations, self._findings)
        asked = [key for key in view.keep or () if not is_pattern(key)]
        told = self._context.labels if self._context else ()
        self._first = frozenset(filter(None, (*asked, *self._own.values(), *told, self.tenant_label)))
        # Where values decide nothing else than what is said below, names say what becomes of attributes. An
        # option of views that looks at values has to stand here, or its results would be those of others.
        deciding = (
            self._where,
            self._price,
            self._tenants,
            self._context,
            view.rename,
            view.compute,
            view.rules,
        )
        self._has_shapes = not any(deciding)
        # Whoever names an attribute, or has a rule for its values, knows what these are.
        tenant = () if self._tenants is None else (self._tenants.attribute,)
        self._asked = frozenset((*asked, *view.rename, *view.rules, *tenant))

    def keeps(self, key: str) -> bool:
        """Whether an attribute becomes a label, under whatever name."""
        kept = self._kept.get(key)
        if kept is None:
            if self._ids is not None and self._ids.settled.get(key):
                return False
            if len(self._kept) >= _KEYS_REMEMBERED:
                self._kept.clear()
            kept = self._kept[key] = self._decide(key)
        return kept

    def _decide(self, key: str) -> bool:
        if self._drop.fullmatch(key):
            return False
        if self._view.names(key):
            return True
        if self._context is not None and key in self._context.keys:
            return False  # it becomes a label in another way
        if self._keep is not None and not self._keep.fullmatch(key):
            return False
        is_tenant = self._tenants is not None and key == self._tenants.attribute
        if self._id_labels or is_tenant or not is_identifier(key):
            return True
        self.left_out_ids = True
        self._findings.report(
            ("id", self._metric, key),
            "%sthe attribute %r is an id, so it is a label of exemplars and of no series; a view that names"
            " it in 'keep', or id_labels=True, makes it one",
            *(f"metric {self._metric!r}: " if self._metric else "", key),
        )
        return False

    def why_left_out(self, key: str) -> str:
        """Why an attribute becomes no label, in words; an empty string if it does become one."""
        if self._forbidden.fullmatch(key):
            return "a rule forbids it"
        if self._drop.fullmatch(key):
            return "drop of the view names it"
        if self._ids is not None and self._ids.settled.get(key):
            return "its values look like ids: a label of exemplars only"
        if self.keeps(key):
            return ""
        if self._keep is not None and not self._keep.fullmatch(key):
            return "keep of the view does not name it"
        return "it is an id: a label of exemplars only"

    def needs(self, key: str) -> bool:
        """Whether anything but exemplars would change if this attribute had not been recorded."""
        if self._tenants is not None and key == self._tenants.attribute:
            return True
        if self._price is not None and key in ATTRIBUTES:
            return True
        if self._context is not None and key in self._context.keys:
            return True
        sources = [attributes_of(compute) for compute in self._computations.values()]
        if key in self._where or any(source is None or key in source for source in sources):
            return True
        return self.keeps(key) and not self._ruling.forbids(key)

    @property
    def tenant_label(self) -> str | None:
        """The name of the tenant's label, or None if there are no tenants."""
        tenants = self._tenants
        if tenants is None:
            return None
        told = self._context.labels if self._context else {}
        labels = [label for label, key in told.items() if key == tenants.attribute]
        return self._view.rename.get(tenants.attribute, labels[0] if labels else tenants.attribute)

    @property
    def max_series(self) -> int | None:
        """How many attribute sets there can be, whatever is recorded, or None if there is no bound.

        A label is bounded by a rule or a computation that has ``max_values``, and the tenants' label by the
        list of tenants. Each label may also be missing, which is one more possibility.
        """
        view = self._view
        if self._has_workers and self._shows_each:
            return None
        if view.keep is None or any(map(is_pattern, view.keep)):
            return None
        most = 1
        for label in {*(view.rename.get(key, key) for key in (*view.keep, *view.rename)), *view.compute}:
            values = self._max_values(label)
            if values is None:
                return None
            most *= values + 1
        return self._with_context(most)

    def _with_context(self, most: int) -> int | None:
        """The same with the labels of the context, each of which may also be ``other``, or missing."""
        for key in self._context.labels.values() if self._context else ():
            if self._tenants is not None and key == self._tenants.attribute:
                most *= len({*self._tenants.limits, self._tenants.other}) + 1
            elif self._context is None or not self._context.values:
                return None
            else:
                most *= self._context.values + 2
        return most

    @property
    def overflow_values(self) -> int:
        """How many values the label of the context can have past a limit, with none of them."""
        context = self._context
        if context is None or context.overflow_label is None:
            return 1
        key = context.labels[context.overflow_label]
        is_tenant = self._tenants is not None and key == self._tenants.attribute
        return 1 if is_tenant else context.values + 2  # it may also be ``other``

    def _max_values(self, label: str) -> int | None:
        view, tenants = self._view, 0
        sources = [key for key, renamed in view.rename.items() if renamed == label]
        if label not in view.rename and self.keeps(label):
            sources.append(label)
        if self._tenants is not None and label == self.tenant_label:
            tenants = len({*self._tenants.limits, self._tenants.other})
            # Points without a tenant may have the label, too, if something else is renamed to it.
            sources = [key for key in sources if key != self._tenants.attribute]
            if not sources and label not in self._computations:
                return tenants
        deciding = view.rules.get(label, self._computations.get(label))
        bounds = [_max_values(view.rules.get(key)) for key in sources]
        if deciding is not None:
            bounds = [_max_values(deciding)]
        return None if None in bounds else tenants + sum(filter(None, bounds))

    def apply(self, attributes: Mapping[str, object]) -> Mapped | None:
        """The attributes of the series for this attribute set, or None if the view does not want it."""
        if not self._has_shapes:
            return self._applied(plain(attributes))
        if type(attributes) is AttributeSet:
            names, values = attributes.parts()
        else:
            names, values = (*attributes,), (*attributes.values(),)
        if self._ids is not None and len(self._ids.settled) != self._number_settled:
            self._number_settled = len(self._ids.settled)
            self._shapes.clear()
        shape = self._shapes.get(names)
        found = None if shape is None else shape.of(attributes, values)
        if found is None:
            found = self._applied(plain(attributes))
            if shape is None and len(self._shapes) < _SHAPES_REMEMBERED:
                self._remember_shape(names)
        return found

    def _remember_shape(self, names: tuple[str, ...]) -> None:
        """Find out what becomes of attribute sets with these names, if that is always the same."""
        kept = sorted(name for name in names if self.keeps(name))
        longest, settled = self._bounds.value_length, {} if self._ids is None else self._ids.settled
        if WORKER in names or names == (OVERFLOW_KEY,) or any(0 < longest < len(name) for name in kept):
            return
        if self._bounds.too_many(dict.fromkeys(kept), first=self._first):
            return
        places = tuple([names.index(name) for name in kept])
        self._shapes[names] = KeysShape(
            names=tuple(kept),
            places=None if places == tuple(range(len(names))) else places,
            folds=tuple([Fold(name, VALUES_LIKE_IDS) for name in names if settled.get(name)]),
            watched=[(names.index(name), known) for name in kept for known in self._watching(name)],
            short=min(SHORTEST - 1, longest or SHORTEST),
            is_unusual=self._is_unusual,
        )

    def _watching(self, name: str) -> Iterator[Callable[[object], bool]]:
        """What knows the values of an attribute that came before, where their number matters."""
        if self._ids is not None and name not in self._ids.settled and name not in self._asked:
            yield partial(self._ids.knows, name)
        if self._is_by_clients(name):
            yield partial(self._client_values.knows, name)

    def _is_unusual(self, value: object) -> bool:
        """Whether a value is not shown as it is."""
        has_secret = type(value) is str and without_secrets(value) is not None
        return has_secret or self._bounds.cut(value) is not None

    def _applied(self, attributes: Mapping[str, object]) -> Mapped | None:
        """The same, whatever names and values are."""
        if WORKER not in attributes:
            return self._mapped(attributes)
        # It is no attribute of the application, so no rule, condition or limit of labels ever sees it.
        self._has_workers = True
        mapped = self._mapped({key: value for key, value in attributes.items() if key != WORKER})
        if mapped is None or not self._shows_each or mapped.attributes.keys() == {OVERFLOW_KEY}:
            return mapped
        return mapped._replace(attributes={**mapped.attributes, WORKER: attributes[WORKER]})

    def _mapped(self, attributes: Mapping[str, object]) -> Mapped | None:
        if OVERFLOW_KEY in attributes and len(attributes) == 1:
            # This is the SDK's own overflow point. Nothing is known of it, not even if `where` selects it.
            return Mapped(attributes) if self._view.price in (None, "missing") else None
        for key, chosen in self._where.items():
            if not chosen(label_value(attributes.get(key))):
                return None
        return self._labelled(attributes) if self._price is None else self._priced(self._price, attributes)

    def _priced(self, price: Priced, attributes: Mapping[str, object]) -> Mapped | None:
        """The same with the price of a token, which is no label but tells series apart."""
        if price.reports:
            price.pricing.report(price.scope, attributes)
            return self._labelled(attributes)
        found = price.price(attributes)
        if found is None or price.kind == "missing":
            return None if found is None else self._labelled(attributes)
        mapped, key = self._labelled(attributes), {PRICE_KEY: str(found)}
        return mapped._replace(attributes={**mapped.attributes, **key}, overflow={**mapped.overflow, **key})

    def _labelled(self, attributes: Mapping[str, object]) -> Mapped:
        """The labels of a point that the view wants, and what was folded on the way."""
        folds: list[Fold] = []
        tenant = None
        if self._tenants is not None and self._tenants.attribute in attributes:
            tenant, attributes = self._listed(self._tenants, attributes, folds)
        kept = self._kept
        try:
            result = {key: value for key, value in attributes.items() if kept[key]}
        except KeyError:  # a key comes for the first time
            result = {key: value for key, value in attributes.items() if self.keeps(key)}
        if self._ids is not None:
            self._leave_out_ids(self._ids, attributes, result, folds)
        made: dict[str, object] = {}
        if self._view.rename or self._computations:
            made = self._made(result, attributes, folds)
            self._displace(result, made)
        # Rules see what becomes a label and nothing else, because some rules remember what they saw.
        if self._view.rules:
            ruling = self._ruling
            ruling.rule(result, ruling.of_attributes, folds)
            ruling.rule(made, ruling.of_labels, folds)
        result.update(made)
        owners = [] if tenant is None else [self.tenant_label]
        if self._context is not None:
            told = self._tell(self._context, attributes, result, folds)
            owners += [label for label in told if label == self._context.overflow_label]
        self._bound(result, folds)
        owner = {label: result[label] for label in owners if label in result}
        if not owner:  # it belongs to nobody, or the view does not show to whom
            return Mapped(result, tuple(folds), tenant)
        return Mapped(result, tuple(folds), tenant, {**OVERFLOW_ATTRIBUTES, **owner})

    def _tell(
        self,
        context: ContextLabels,
        attributes: Mapping[str, object],
        result: dict[str, object],
        folds: list[Fold],
    ) -> list[str]:
        """Add the labels of what the context said, in place. A label that the view has already stays.

        The result are those that were added.
        """
        told = []
        listed = None if self._tenants is None else self._tenants.attribute
        for label, key in context.labels.items():
            if key not in attributes or any(self._label_of(other) == label for other in result):
                continue
            text = label_value(attributes[key])
            shown, rule = (text, "") if key == listed else context.shown(label, text)
            if shown:  # to Prometheus an empty label is none
                result[label] = shown
                told.append(label)
            if rule:
                folds.append(Fold(label, rule))
        return told

    def _leave_out_ids(
        self, ids: Ids, attributes: Mapping[str, object], result: dict[str, object], folds: list[Fold]
    ) -> None:
        """Leave out attributes whose values turned out to be ids, in place."""
        settled = ids.settled
        for key, value in attributes.items():
            known = settled.get(key)
            if known is False:
                continue
            if not known and (key not in result or key in self._asked or not ids.is_id(key, value)):
                continue
            result.pop(key, None)
            folds.append(Fold(key, VALUES_LIKE_IDS))
            if not known:
                self._becomes_id(key)

    def _becomes_id(self, key: str) -> None:
        self._kept[key] = False  # a label of exemplars from now on
        self.left_out_ids = True
        self._findings.report(
            ("id", self._metric, key),
            "%sthe values of the attribute %r look like ids, so it is a label of exemplars and of no series"
            " from now on; a view that names it in 'keep', or id_labels=True, makes it one",
            *(f"metric {self._metric!r}: " if self._metric else "", key),
        )

    def _bound(self, result: dict[str, object], folds: list[Fold]) -> None:
        """Cut and fold what is too large, in place."""
        bounds, longest, by_clients = self._bounds, self._bounds.value_length, self._by_clients
        for key, value in result.items():
            if type(value) is str and len(value) >= SHORTEST:  # nearly all there is are shorter texts
                hidden = without_secrets(value)
                if hidden is not None:
                    result[key] = value = hidden
                    folds.append(Fold(key, SECRETS))
                    self._report_secret(key)
            if type(value) is not str or 0 < longest < len(value):
                text = bounds.cut(value)
                if text is not None:
                    result[key] = value = text
                    folds.append(Fold(key, VALUE_LENGTH))
            if not by_clients.get(key, True):
                continue
            if self._is_by_clients(key) and self._client_values.folded(key, value):
                result[key] = OTHER
                folds.append(Fold(key, CLIENT_VALUES))
        for key in [key for key in result if 0 < longest < len(key)]:  # somebody puts data into keys
            result[key[:longest]] = result.pop(key)
            folds.append(Fold("", VALUE_LENGTH))
        for key in bounds.too_many(result, first=self._first):
            del result[key]
            folds.append(Fold("", LABELS))

    def _report_secret(self, key: str) -> None:
        self._findings.report(
            ("secret", self._metric, key),
            "%sthe label %r has a value with what looks like the key of an API: '{key}' is shown in its"
            " place. It should not be recorded. A rule of a view can give it another name",
            *(f"metric {self._metric!r}: " if self._metric else "", key),
        )

    @property
    def is_pressed(self) -> bool:
        """Whether a label that clients choose had more values than it may."""
        return self._client_values.is_pressed

    def keep_values_of(self, kept: Iterable[Mapping[str, object]]) -> None:
        """Of labels that clients choose, forget the values that are in none of these attribute sets."""
        self._client_values.keep(kept)

    def _is_by_clients(self, key: str) -> bool:
        """Whether clients choose this label's values, and the view does not ask for it by name."""
        found = self._by_clients.get(key)
        if found is None:
            asked = self._id_labels or key in self._first or key in self._view.rules
            if len(self._by_clients) >= _KEYS_REMEMBERED:
                self._by_clients.clear()
            found = bool(self._bounds.client_values) and not asked and comes_from_clients(key, self._metric)
            self._by_clients[key] = found
        return found

    def _displace(self, result: dict[str, object], made: Mapping[str, object]) -> None:
        """Leave out attributes that would become labels which the view makes itself.

        An attribute makes way for a computed label even if nothing could be computed.
        """
        own, computed = self._own, self._computations
        for key in [key for key in result if self._label_of(key) in own]:
            label = own[self._label_of(key)]
            if label in made or label in computed:
                del result[key]
                if key != label:  # with the same name it is what the view asks for
                    self._findings.report(
                        ("displaced", self._view.title, key, label),
                        "%s: the attribute %r is left out where the view's label %r is, as both have one name"
                        " in Prometheus",
                        *(self._view.title, key, label),
                    )

    def _made(
        self, result: dict[str, object], attributes: Mapping[str, object], folds: list[Fold]
    ) -> dict[str, object]:
        """The labels that are renamed, which are taken out of the result, and those that are computed."""
        made: dict[str, object] = {}
        for key, label in self._view.rename.items():
            if key in result:
                taken = {key: result.pop(key)}
                if label not in made:
                    self._ruling.rule(taken, self._ruling.of_attributes, folds)
                    made.update((label, value) for value in taken.values())
        for label, compute in self._computations.items():
            if (value := self._ruling.computed(label, compute, attributes)) is not None:
                made[label] = value
        return made

    def _listed(
        self, tenants: Tenants, attributes: Mapping[str, object], folds: list[Fold]
    ) -> tuple[str, Mapping[str, object]]:
        """The tenant to whom a point belongs, and its attributes, in which only listed tenants are named."""
        given = label_value(attributes[tenants.attribute])
        tenant = tenants.known(given)
        if tenant != given:
            folds.append(Fold(tenants.attribute, "tenant"))
        return tenant, {**attributes, tenants.attribute: tenant}

    def exemplar_attributes(
        self, attributes: Mapping[str, object], *, overflowed: bool = False
    ) -> dict[str, object]:
        """The attributes that are not labels and may be shown with an exemplar.

        With ``overflowed`` none of the attributes is a label, because the series is the one past the limit.
        Rules apply here, too: what a rule forbids or redacts must not appear in exemplars either.
        """
        result: dict[str, object] = {}
        for key, value in attributes.items():
            if key == OVERFLOW_KEY or (self.keeps(key) and not overflowed) or self._forbidden.fullmatch(key):
                continue
            if self._context is not None and key in self._context.keys:
                continue  # what the label refuses must not be seen here
            shown: object = value
            if self._tenants is not None and key == self._tenants.attribute:
                shown = self._tenants.known(label_value(value))
            is_ruled, shown = self._ruling.beside_labels(key, shown)
            if type(shown) is str:
                shown = without_secrets(shown) or shown
            if shown is not None or not is_ruled:
                result[key] = shown
        return result


def _max_values(function: object) -> int | None:
    values = getattr(function, "max_values", None)
    return values if isinstance(values, int) else None
