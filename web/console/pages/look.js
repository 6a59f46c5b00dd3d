// Needs a look: what went wrong by itself, each with its cause, what that means, and what to do.

import { get, withQuery } from '../api.js';
import { announce, button, fill, h, working } from '../dom.js';
import { ago, moment } from '../format.js';
import { badge, empty, facts, fetched, memberLink, time, titleOf, told, waiting } from '../parts.js';
import { to } from '../router.js';
import { T } from '../texts.js';
import { eventCard } from './event.js';
import { actionTable } from './log.js';
import { actButton, restore } from '../acts/start.js';

const K = T.look;
const PAGE = 50;
const TABS = Object.keys(K.tabs);
/** What the last comparison with Stripe has found. */
const DIFFERING = new Set(['paid_not_here', 'here_not_paid']);

async function show(place) {
  const tab = TABS.includes(place.params.tab) ? place.params.tab : TABS[0];
  const links = TABS.map((name) => h('li', {}, h('a', { href: to('look', name), 'aria-current': name === tab ? 'page' : null, data: { tab: name } }, K.tabs[name], h('span', { class: 'tally' }))));
  const results = h('div', { id: 'results' }, waiting());
  const tabs = h('nav', { class: 'tabs', 'aria-label': K.title }, h('ul', {}, links));
  place.begin(K.title, tabs, h('h2', {}, K.tabs[tab]), h('p', { class: 'lead' }, K.about[tab]), results);
  numbers(place, tabs, tab);
  await fetched(place, results, () => first(place, tab), (answer) => {
    // What is listed is newer than what was counted.
    tally(tabs, tab, answer.data.length, answer.next_cursor);
    if (!answer.data.length) {
      fill(results, empty(K.empty[tab]));
      announce(K.empty[tab]);
      return;
    }
    SHOWS[tab](place, results, answer, tab);
    restore();
  });
}

/** How many stand under each tab: a help, without which the page works too. */
async function numbers(place, tabs, shown) {
  const { wrong } = await get('/today', place).catch(() => ({}));
  if (!wrong || place.signal.aborted) return;
  const by = { flagged: wrong.flagged, failed: wrong.failed, parked: wrong.parked, actions: wrong.actions_unknown, paid_not_here: wrong.paid_not_here, here_not_paid: wrong.here_not_paid };
  for (const [tab, number] of Object.entries(by)) if (tab !== shown) tally(tabs, tab, number);
}

function tally(tabs, tab, number, isMore = false) {
  const place = tabs.querySelector(`[data-tab="${tab}"] .tally`);
  place.textContent = number > 0 ? ` ${number}${isMore ? '+' : ''}` : '';
}

function first(place, tab) {
  if (tab === 'parked') return get('/parked', place);
  if (DIFFERING.has(tab)) return get(withQuery('/differing', { direction: tab }), place);
  if (tab === 'actions') return get(withQuery('/actions', { state: 'unknown', limit: PAGE }), place);
  return get(withQuery('/events', { state: tab, limit: PAGE }), place);
}

function events(place, results, answer, tab) {
  const list = h('ul', { class: 'cards' }, answer.data.map((event) => eventCard(event)));
  const more = h('p', { class: 'actions' });
  const notice = h('div', { class: 'notice', role: 'alert', hidden: true });
  let cursor = answer.next_cursor;
  const show = button(K.more, () => working(show, async () => {
    try {
      const next = await get(withQuery('/events', { state: tab, limit: PAGE, cursor }), place);
      const cards = next.data.map((event) => eventCard(event));
      list.append(...cards);
      cards[0]?.querySelector('a, button')?.focus();
      cursor = next.next_cursor;
      more.hidden = !cursor;
    } catch (problem) {
      if (!place.signal.aborted) fill(notice, told(problem)).hidden = false;
    }
  }), { class: 'plain' });
  more.append(show);
  more.hidden = !cursor;
  fill(results, list, notice, more);
}

function parked(place, results, { data }) {
  fill(results, h('ul', { class: 'cards' }, data.map((one) => h(
    'li',
    { class: 'card' },
    h('div', { class: 'head' }, h('h3', {}, memberLink(one.user_id)), h('span', { class: 'kind' }, `${K.follower}: ${one.follower}`)),
    h('p', { class: 'meta' }, h('span', {}, K.waiting(one.waiting)), h('span', {}, K.since(moment(one.since))), h('span', {}, K.attempts(one.attempts)), one.next_attempt_at && h('span', {}, K.nextAttempt(ago(one.next_attempt_at)))),
    facts([[K.cause, one.cause], [K.means, K.parkedMeans], [K.todo, K.parkedTodo]]),
  ))));
}

function actions(place, results, { data }) {
  fill(results, facts([[K.means, K.actionMeans], [K.todo, K.actionTodo]]), actionTable(data));
}

function differing(place, results, { data }, tab) {
  fill(results, h('ul', { class: 'cards' }, data.map(({ subscription: held, found_at: at }) => h(
    'li',
    { class: 'card', data: { subscription: held.id } },
    h('div', { class: 'head' }, h('h3', {}, h('a', { href: to('subscriptions', held.id) }, titleOf(held))), badge(held)),
    h('p', { class: 'meta' }, h('span', {}, `${K.member}: `, memberLink(held.user_id)), h('span', {}, `${K.found} `, time(at))),
    facts([[K.means, K.differs[tab]], [K.todo, K.differsTodo]]),
    h('div', { class: 'acts inline' }, actButton('sync', { held })),
  ))));
}

const SHOWS = { flagged: events, failed: events, deferred: events, parked, actions, paid_not_here: differing, here_not_paid: differing };

export default { name: 'look', show };
