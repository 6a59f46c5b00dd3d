// What several pages show: states, facts, empty places, trouble.

import { isGone, planName } from './api.js';
import { announce, button, fill, h, unseen, working } from './dom.js';
import { ago, day, moment } from './format.js';
import { to, toMember } from './router.js';
import { session } from './session.js';
import { PROBLEMS, T } from './texts.js';

/** The tone of a state: good, wait, bad or quiet. */
function tone({ status, status_reason: reason }) {
  if (status === 'ENDED') return 'quiet';
  if (status === 'ON_HOLD') return 'bad';
  if (status === 'ACTIVE' || status === 'CANCELLED') return reason === 'payment_retrying' ? 'wait' : 'good';
  return 'wait';
}

/** The state in a word or two, and why. */
export function badge(held) {
  const word = T.statuses[held.status] ?? held.status;
  return h('span', { class: 'badge', data: { tone: tone(held) } }, word);
}

/** Reasons that say no more than the state itself. */
const PLAIN = { ACTIVE: 'paid', CANCELLED: 'cancel_scheduled', ENDED: 'ended', PENDING_ACTIVATION: 'awaiting_payment' };

/** Why it has its state: shown where that is more than the state says. */
export function because({ status, status_reason: reason }) {
  return !reason || PLAIN[status] === reason ? '' : (T.statusReasons[reason] ?? reason);
}

/** `3 × Supporter share`. */
export const titleOf = (held) => T.subscription.title(planName(held.plan), held.quantity);

export const isOver = (held) => held.status === 'ENDED';

/** Until when it is in force, as far as that is known. */
export function until(held) {
  const end = held.ended_at ?? held.cancel_at ?? held.term_ends_at ?? held.paid_until ?? held.current_period_end;
  return end ? day(end) : T.none;
}

/** What will happen next; the service's sentence names the day, we say how far that is. */
export function next(held, nothing) {
  if (!held.next) return nothing;
  const { at, text } = held.next;
  return at ? [text, ' ', h('time', { datetime: at, title: moment(at), class: 'hint' }, `(${ago(at)})`)] : text;
}

/** A moment, with the exact one for machines and on hovering. */
export const time = (at, write = moment) => h('time', { datetime: at, title: new Date(at).toISOString() }, write(at));

/** A card of what somebody holds: state and what it means first. */
export function holding(held, { level = 'h3' } = {}) {
  return h(
    'li',
    { class: 'holding', data: { status: held.status, plan: held.plan } },
    h('div', { class: 'head' }, h(level, {}, h('a', { href: to('subscriptions', held.id) }, titleOf(held))), badge(held)),
    h('p', {}, held.means),
    held.next && h('p', { class: 'hint' }, `${T.member.next}: `, next(held)),
  );
}

/** An id that can be copied. */
export function copyable(text, what) {
  // Only pages that came safely may write there.
  const copies = navigator.clipboard && button(T.copy, () => navigator.clipboard.writeText(text).then(() => announce(T.copied(what)), () => null), { class: 'tiny', 'aria-label': T.copyOf(what) });
  return h('span', { class: 'copyable' }, h('code', {}, text), ' ', copies);
}

/** Names and values, side by side; what has no value is left out. */
export function facts(pairs) {
  const given = pairs.filter(([, value]) => value != null && value !== '');
  return h('dl', { class: 'facts' }, given.map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))));
}

/** A link to a member by her user id. */
export const memberLink = (user) => h('a', { href: toMember(user), class: 'user' }, user);

/** Says that it is being fetched. */
export const waiting = (text = T.loading) => h('p', { class: 'waiting', role: 'status' }, text);

/** What would be here, and what to do. */
export function empty(title, todo) {
  const advice = [todo].flat().filter(Boolean);
  const list = advice.length > 1 ? h('ul', {}, advice.map((one) => h('li', {}, one))) : advice.map((one) => h('p', {}, one));
  return h('div', { class: 'empty' }, h('p', {}, h('strong', {}, title)), list);
}

/** The words of a problem: what it was, what it means, what to do, and by which number the log knows it. */
export function told(problem) {
  const { cause = PROBLEMS.page[0], todo = PROBLEMS.page[1], detail, answer } = problem;
  const request = answer?.request_id;
  const fields = (answer?.errors ?? []).map((one) => one.detail).filter(Boolean);
  return [
    h('p', {}, h('strong', {}, cause)),
    (detail || todo) && h('p', {}, [detail, todo].filter(Boolean).join(' ')),
    fields.length > 0 && h('ul', { class: 'plain-list' }, fields.map((one) => h('li', {}, one))),
    request && h('p', { class: 'hint' }, T.log.request(request)),
  ];
}

/** A notice of what went wrong, with a way to try again. */
export function trouble(problem, again) {
  // A mistake of the page's own is told too, and stands in the browser's console for whoever mends it.
  if (!('cause' in problem)) console.error(problem);
  const retry = again && button(T.tryAgain, () => working(retry, again), { class: 'plain' });
  return h('div', { class: 'notice', role: 'alert' }, told(problem), retry && h('p', { class: 'actions' }, retry));
}

/**
 * Fetches for a part of a page and shows it there; trouble is told there too, with a button to try again. False if it
 * could not be had.
 */
export async function fetched(place, element, fetch, show) {
  element.setAttribute('aria-busy', 'true');
  try {
    const answer = await fetch();
    if (place.signal.aborted) return false;
    await show(answer);
    return true;
  } catch (problem) {
    if (isGone(problem) || place.signal.aborted) return false;
    fill(element, trouble(problem, () => fetched(place, element, fetch, show)));
    return false;
  } finally {
    element.removeAttribute('aria-busy');
  }
}

/** A table that a narrow screen shows as cards: each cell knows the name of its column. */
export function table(caption, columns, rows) {
  const cells = (row) => row.map((cell, at) => {
    const content = cell == null || cell === '' ? T.none : cell;
    return at === 0 ? h('th', { scope: 'row' }, content) : h('td', { data: { column: columns[at] } }, content);
  });
  return h(
    'table',
    {},
    h('caption', { class: 'unseen' }, caption),
    h('thead', {}, h('tr', {}, columns.map((name) => h('th', { scope: 'col' }, name)))),
    h('tbody', {}, rows.map((row) => h('tr', {}, cells(row)))),
  );
}

/** Who did it, in words. */
export function actorWords(actor, role) {
  if (!actor) return '';
  const known = T.story.actors[actor];
  if (known) return known;
  const who = actor === session.me?.user_id ? `${actor} (${T.story.you})` : actor;
  return role ? `${who}, ${T.roles[role] ?? role}` : who;
}

export { unseen };
