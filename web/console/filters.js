// Filters of a list: they stand in the address, so that a list can be sent to a colleague, and found again.

import { field, h, newId } from './dom.js';
import { go, to } from './router.js';
import { T } from './texts.js';

/**
 * A form of fields, `[name, field]` each, that shows the page with what they say. `names` are those of the address that
 * count as filters.
 */
export function filters(page, fields, query) {
  const submit = (event) => {
    event.preventDefault();
    const chosen = Object.fromEntries(fields.map(([name, { input }]) => [name, input.value.trim()]));
    go(to(page, chosen), { isQuiet: true });
  };
  const isAny = fields.some(([name]) => query.get(name));
  return h(
    'form',
    { class: 'filter', role: 'search', 'aria-label': T.list.filters, novalidate: true, on: { submit } },
    fields.map(([, { element }]) => element),
    h('p', { class: 'actions' }, h('button', { type: 'submit', class: 'plain' }, T.list.show), isAny && h('a', { href: to(page), class: 'clear' }, T.list.clear)),
  );
}

/** A field for a text, with what may be chosen. */
export function textField(label, value, { hint, list, type = 'text' } = {}) {
  const id = newId('list');
  const input = h('input', { type, value: value ?? '', autocomplete: 'off', autocapitalize: 'off', spellcheck: 'false', maxlength: 255, list: list && id });
  const made = field(label, input, { hint });
  if (list) made.element.append(h('datalist', { id }, list.map(([code, words]) => h('option', { value: code }, words))));
  return made;
}

/** To the first page and to the next. */
export function pager(page, query, next) {
  const here = Object.fromEntries(query);
  const { cursor, ...rest } = here;
  if (!cursor && !next) return null;
  return h(
    'nav',
    { class: 'pager', 'aria-label': T.list.next },
    cursor && h('a', { href: to(page, rest) }, T.list.first),
    next && h('a', { class: 'button plain', href: to(page, { ...rest, cursor: next }) }, T.list.next),
  );
}
