// Subscriptions: a list with filters in the address, and its export.

import { get, planCodes, planName, withQuery } from '../api.js';
import { announce, button, field, fill, h, select } from '../dom.js';
import { count, day } from '../format.js';
import { filters, pager, textField } from '../filters.js';
import { badge, because, empty, fetched, memberLink, table, titleOf, until, waiting } from '../parts.js';
import { to } from '../router.js';
import { T } from '../texts.js';
import { openExport } from '../export.js';

const L = T.list;
const PAGE = 50;

const options = (words) => [['', L.any], ...Object.entries(words)];

/** The fields, in the order in which they stand. */
function fields(query) {
  const plans = planCodes().map((code) => [code, planName(code)]);
  const choice = (label, name, words) => [name, field(label, select(options(words), query.get(name) ?? ''))];
  return [
    ['plan', textField(L.plan, query.get('plan'), { list: plans })],
    choice(L.kind, 'kind', T.kinds),
    choice(L.status, 'status', T.statuses),
    choice(L.reason, 'reason', T.statusReasons),
    choice(L.provider, 'provider', T.providers),
    ['ends_before', textField(L.ends_before, query.get('ends_before'), { type: 'date' })],
    ['joined_after', textField(L.joined_after, query.get('joined_after'), { type: 'date' })],
  ];
}

async function show(place) {
  const { query } = place;
  const results = h('div', { id: 'results' }, waiting());
  const all = fields(query);
  const chosen = Object.fromEntries(all.map(([name]) => [name, query.get(name)]));
  place.begin(L.title, filters('subscriptions', all, query), results);
  const cursor = query.get('cursor');
  const address = withQuery('/subscriptions', { ...chosen, cursor, limit: PAGE });
  await fetched(place, results, () => get(address, place), ({ data, next_cursor: next }) => {
    if (!data.length) {
      fill(results, empty(L.empty, L.emptyTodo));
      announce(L.empty);
      return;
    }
    const said = L.rows(count(data.length), !cursor, !next);
    const exports = button(L.export, () => openExport(chosen, exports), { class: 'plain' });
    const head = h('div', { class: 'list-head' }, h('h2', { tabindex: '-1' }, said), exports);
    fill(results, head, rows(data), pager('subscriptions', query, next));
    announce(said);
    if (place.isQuiet) head.firstChild.focus();
  });
}

function rows(data) {
  return table(L.title, [T.ids.subscription, L.status, L.member, L.until, L.began], data.map((held) => {
    const why = because(held);
    return [
      h('a', { href: to('subscriptions', held.id) }, titleOf(held)),
      [badge(held), why && h('span', { class: 'hint' }, ' ', why)],
      memberLink(held.user_id),
      until(held),
      day(held.created_at),
    ];
  }));
}

export default { name: 'subscriptions', show };
