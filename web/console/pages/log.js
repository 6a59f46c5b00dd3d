// The log: what people did here, and what became of it.

import { get, withQuery } from '../api.js';
import { announce, field, fill, h, select } from '../dom.js';
import { count } from '../format.js';
import { filters, pager, textField } from '../filters.js';
import { actorWords, empty, fetched, memberLink, table, time, waiting } from '../parts.js';
import { to } from '../router.js';
import { OUTCOMES, PROBLEMS, REASONS, T } from '../texts.js';

const G = T.log;
const PAGE = 50;
const NAMES = ['subject', 'user', 'actor', 'verb', 'state'];

async function show(place) {
  const { query } = place;
  const choice = (label, name, words) => [name, field(label, select([['', T.list.any], ...Object.entries(words)], query.get(name) ?? ''))];
  const fields = [
    ['subject', textField(G.subject, query.get('subject'), { hint: G.subjectHint })],
    ['user', textField(G.user, query.get('user'), { hint: G.actorHint })],
    ['actor', textField(G.actor, query.get('actor'), { hint: G.actorHint })],
    choice(G.verb, 'verb', T.verbs),
    choice(G.state, 'state', T.actionStates),
  ];
  const results = h('div', { id: 'results' }, waiting());
  place.begin(G.title, h('p', { class: 'lead' }, G.about), filters('log', fields, query), results);
  const chosen = Object.fromEntries([...NAMES, 'cursor'].map((name) => [name, query.get(name)]));
  const address = withQuery('/actions', { ...chosen, limit: PAGE });
  await fetched(place, results, () => get(address, place), ({ data, next_cursor: next }) => {
    if (!data.length) {
      fill(results, empty(G.empty, G.emptyTodo));
      announce(G.empty);
      return;
    }
    const said = G.rows(count(data.length));
    const head = h('div', { class: 'list-head' }, h('h2', { tabindex: '-1' }, said));
    fill(results, head, actionTable(data), pager('log', query, next));
    announce(said);
    if (place.isQuiet) head.firstChild.focus();
  });
}

/** Acts as a table: who did what to whom, when, why, and how it ended. */
export function actionTable(data) {
  return table(G.title, [G.when, G.what, G.subject, G.who, G.why, G.outcome], data.map((action) => [
    time(action.at),
    [T.verbs[action.verb] ?? action.verb, action.parent && h('span', { class: 'hint' }, ` ${G.parent}`)],
    [subjectLink(action), action.user_id && action.user_id !== action.subject && h('span', { class: 'hint' }, ' ', memberLink(action.user_id))],
    actorWords(action.actor, action.role),
    action.reason && [REASONS[action.reason]?.[0] ?? action.reason, action.reference && h('span', {}, ' ', h('code', {}, action.reference))],
    [state(action), action.outcome !== action.state && h('span', { class: 'hint' }, ' ', OUTCOMES[action.outcome] ?? PROBLEMS[action.outcome]?.[0] ?? action.outcome)],
  ]));
}

const TONES = { done: 'good', refused: 'quiet', started: 'wait', unknown: 'bad' };

function state({ state: word }) {
  return h('span', { class: 'badge', data: { tone: TONES[word] } }, T.actionStates[word] ?? word);
}

/** The page of what an act was about. */
function subjectLink({ subject, user_id: user }) {
  if (!subject) return null;
  if (subject.startsWith('evt_')) return h('a', { href: to('events', subject) }, h('code', {}, subject));
  if (subject === user) return memberLink(user);
  if (/^[0-9a-f]{8}-[0-9a-f-]{27}$/.test(subject)) return h('a', { href: to('subscriptions', subject) }, T.ids.subscription);
  return h('code', {}, subject);
}

export default { name: 'log', show };
