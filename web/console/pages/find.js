// Find: one box, and what it found with why. What is typed is kept nowhere but in the page's memory.

import { get, isGone, path, post } from '../api.js';
import { announce, fill, h } from '../dom.js';
import { badge, because, empty, isOver, titleOf, trouble, waiting } from '../parts.js';
import { go, here, to, toMember } from '../router.js';
import { T } from '../texts.js';

const S = T.search;

/** What of several members is looked up, so that one sees at once who is meant. */
const LOOKED_UP = 5;
/** Of what one member holds, how much is shown among the results. */
const SHOWN = 4;

/** The last search: its words and what came of it, so that going back finds it again. */
let last = null;
/** Why the page that a single result led to was opened. */
let reason = null;

/** Searches from anywhere. */
export function search(text) {
  last = { text, answer: null };
  // Another search takes the place of the one before: only the newest is remembered.
  return go(to('find'), { replace: here() === to('find') });
}

/** Why this page was opened by a search, once; null if it was not. */
export function foundBy(kind, id) {
  const found = reason;
  reason = null;
  return found?.kind === kind && found.id === id ? found : null;
}

/** Where a result leads, as `[page, id]`; null if nothing of ours is behind it. */
function target({ kind, id, user_id: user, subscription_id: subscription }) {
  if (kind === 'subscription') return ['subscriptions', id];
  if (kind === 'event') return ['events', id];
  if (subscription) return ['subscriptions', subscription];
  if (kind === 'member') return ['member', id];
  return user ? ['member', user] : null;
}

const address = ([page, id]) => (page === 'member' ? toMember(id) : to(page, id));

async function show(place) {
  const results = h('div', { id: 'results' });
  place.begin(S.title, results);
  if (!last) {
    const [lead, ...all] = S.about;
    fill(results, h('p', { class: 'lead' }, lead), h('ul', { class: 'plain-list' }, all.map((one) => h('li', {}, one))), h('p', { class: 'hint' }, S.private));
    return;
  }
  const isBack = Boolean(last.answer);
  if (!isBack) await ask(place, results);
  if (last?.answer && !place.signal.aborted) draw(place, results, isBack);
}

async function ask(place, results) {
  fill(results, waiting(S.busy));
  const asked = last;
  try {
    asked.answer = await post('/search', { q: asked.text }, place);
  } catch (problem) {
    if (isGone(problem) || place.signal.aborted) return;
    fill(results, trouble(problem, () => show(place)));
  }
}

function draw(place, results, isBack) {
  const { data, note } = last.answer;
  const only = onlyTarget(data);
  if (only && !isBack) {
    reason = { kind: only[0], id: only[1], why: data[0].why, note };
    // The results stay one step back.
    go(address(only));
    return;
  }
  announce(S.found(data.length));
  const head = h('p', { class: 'count' }, S.found(data.length));
  if (!data.length) {
    fill(results, note && h('p', { class: 'count' }, note), empty(S.nothing, S.nothingTodo));
    return;
  }
  const list = h('ul', { class: 'results' }, data.map((hit) => result(hit)));
  fill(results, head, note && h('p', { class: 'hint' }, note), list);
  lookUp(place, list, data);
}

/** The one page that all results lead to: of several things of one member, hers. */
function onlyTarget(data) {
  const users = new Set(data.map(({ user_id: user }) => user));
  const [user] = users;
  if (users.size !== 1 || !user) return null;
  // Who has paid says no more than what was paid.
  const things = data.filter(({ kind }) => kind !== 'customer');
  const targets = new Map((things.length ? things : data).map(target).filter(Boolean).map((one) => [one.join('/'), one]));
  const [first] = targets.values();
  return targets.size === 1 ? first : ['member', user];
}

function result(hit) {
  const leads = target(hit);
  const { kind, id, user_id: user, why, name, email } = hit;
  const title = name || email || (kind === 'member' ? id : (user ?? id));
  return h(
    'li',
    { class: 'result', data: { user, kind } },
    h('div', { class: 'head' }, h('h2', {}, leads ? h('a', { href: address(leads) }, title) : title), h('span', { class: 'kind' }, S.kinds[kind] ?? kind)),
    (name && email) && h('p', {}, email),
    h('p', { class: 'meta' }, h('span', {}, why), kind !== 'member' && h('span', {}, h('code', {}, id)), title !== user && user && h('span', {}, `${T.ids.user}: ${user}`)),
    !leads && h('p', { class: 'advice' }, h('strong', {}, S.nobody), ' ', S.nobodyTodo),
    user && h('div', { class: 'holds' }),
  );
}

/** Says under the first few what they hold: from our rows, so that it costs no call to Stripe. */
function lookUp(place, list, data) {
  const users = [...new Set(data.map(({ user_id: user }) => user).filter(Boolean))].slice(0, LOOKED_UP);
  for (const user of users) {
    get(path('members', user), place).then(({ subscriptions }) => {
      const first = [...list.children].find((one) => one.dataset.user === user);
      const ranked = [...subscriptions].sort((one, other) => isOver(one) - isOver(other));
      const shown = ranked.slice(0, SHOWN).map((held) => {
        const why = because(held);
        return h('li', {}, h('a', { href: to('subscriptions', held.id) }, titleOf(held)), ' ', badge(held), why && h('span', { class: 'hint' }, why));
      });
      const rest = subscriptions.length - shown.length;
      fill(
        first.querySelector('.holds'),
        shown.length ? h('ul', {}, shown, rest > 0 && h('li', { class: 'hint' }, S.more(rest))) : h('p', { class: 'hint' }, S.holdsNothing),
      );
    }).catch(() => null);
  }
}

export default { name: 'find', show };
