// A message from Stripe: what it was about, what became of it, and what to do.

import { get, path } from '../api.js';
import { fill, h } from '../dom.js';
import { ago } from '../format.js';
import { copyable, empty, facts, fetched, memberLink, time, waiting } from '../parts.js';
import { to } from '../router.js';
import { T } from '../texts.js';
import { actButton, restore } from '../acts/start.js';
import { foundBy } from './find.js';

const K = T.look;

/** States in which there is something to do. */
const OPEN = new Set(['failed', 'flagged', 'deferred']);
const TONES = { applied: 'good', ignored: 'quiet', deferred: 'wait', failed: 'bad', flagged: 'bad' };

async function show(place) {
  const { id } = place.params;
  const found = foundBy('events', id);
  const body = h('ul', { class: 'cards' }, h('li', {}, waiting()));
  place.begin(K.event, h('p', { class: 'under', data: { under: 'title' } }, found && h('span', { class: 'found' }, found.why)), body);
  await fetched(place, body, () => known(place, id), (event) => {
    if (!event) {
      body.replaceWith(empty(K.eventUnknown, K.eventUnknownTodo));
      return;
    }
    place.title(`${K.event}: ${about(event.type)}`);
    fill(body, eventCard(event, { level: 'h2' }));
    restore({ event });
  });
}

async function known(place, id) {
  try {
    return await get(path('events', id), place);
  } catch (problem) {
    if (problem.status === 404) return null;
    throw problem;
  }
}

/** What it is about, in words: `A dispute`. */
function about(type) {
  const [, words] = Object.entries(K.aboutOf).find(([begins]) => type.startsWith(begins)) ?? [];
  return words ?? K.event;
}

/** All that is known of one, with what can be done about it. */
export function eventCard(event, { level = 'h3' } = {}) {
  const { id, type, object_id: object, state, attempts, next_attempt_at: next, user_id: user, subscription_id: subscription } = event;
  const acts = OPEN.has(state) ? ['replay', 'dismiss'].filter((verb) => verb === 'replay' || state !== 'deferred').map((verb) => actButton(verb, { event })) : [];
  return h(
    'li',
    { class: 'card', data: { event: id, state } },
    h('div', { class: 'head' }, h(level, {}, h('a', { href: to('events', id) }, about(type))), h('span', { class: 'badge', data: { tone: TONES[state] } }, K.states[state] ?? state)),
    h('p', { class: 'meta' }, h('span', {}, h('code', {}, type)), h('span', {}, `${K.received} `, time(event.received_at)), attempts > 0 && h('span', {}, K.attempts(attempts)), next && h('span', {}, K.nextAttempt(ago(next)))),
    facts([
      [K.means, event.means ?? K.eventMeans[state]],
      [K.todo, event.advice],
      [K.member, user && memberLink(user)],
      [T.ids.subscription, subscription && h('a', { href: to('subscriptions', subscription) }, K.open)],
      [K.cause, event.cause],
      [K.object, copyable(object, K.object)],
      [T.ids.event, copyable(id, T.ids.event)],
    ]),
    acts.some(Boolean) && h('div', { class: 'acts inline' }, acts),
  );
}

export default { name: 'look', show };
