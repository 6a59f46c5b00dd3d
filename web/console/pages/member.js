// A member: who she is, what she holds, what comes next, and her story.

import { get, isGone, path, post } from '../api.js';
import { button, fill, h, newId, working } from '../dom.js';
import { copyable, empty, facts, fetched, holding, isOver, titleOf, told, waiting } from '../parts.js';
import { may } from '../session.js';
import { story } from '../story.js';
import { T } from '../texts.js';
import { actButton, restore } from '../acts/start.js';
import { foundBy } from './find.js';

const M = T.member;

async function show(place) {
  const user = place.query.get('id') ?? '';
  const found = foundBy('member', user);
  const body = h('div', { class: 'columns' }, waiting());
  place.begin(user || M.title, h('p', { class: 'under', data: { under: 'title' } }, M.title, found && h('span', { class: 'found' }, found.why)), body);
  await fetched(place, body, () => known(place, user), (member) => draw(place, body, user, member));
}

/** What is known of her; null if nothing is. */
async function known(place, user) {
  try {
    return await get(path('members', user), place);
  } catch (problem) {
    if (problem.status === 404) return null;
    throw problem;
  }
}

function draw(place, body, user, member) {
  const adopt = actButton('adopt', { user }, { hint: M.adoptHint });
  if (!member) {
    fill(body, h('div', { class: 'wide' }, empty(M.unknown, M.unknownTodo), h('p', { class: 'actions' }, adopt)));
    restore();
    return;
  }
  const [current, earlier] = [member.subscriptions.filter((held) => !isOver(held)), member.subscriptions.filter(isOver)];
  const told = story(place, path('members', user, 'story'), { titles: new Map(member.subscriptions.map((held) => [held.id, titleOf(held)])) });
  const holdsId = newId('holds');
  fill(
    body,
    h(
      'div',
      { class: 'main' },
      told.differences,
      h(
        'section',
        { 'aria-labelledby': holdsId },
        h('h2', { id: holdsId }, M.holds),
        current.length > 0 && h('ul', { class: 'holdings' }, current.map((held) => holding(held))),
        !member.subscriptions.length && h('p', { class: 'hint' }, M.holdsNothing),
        earlier.length > 0 && h('details', { open: !current.length }, h('summary', {}, M.earlier(earlier.length)), h('ul', { class: 'holdings' }, earlier.map((held) => holding(held)))),
      ),
    ),
    h('aside', { 'aria-label': M.who }, who(place, member), adopt && h('div', { class: 'panel' }, h('h2', {}, T.subscription.acts), h('div', { class: 'acts' }, adopt))),
    h('div', { class: 'main' }, told.element),
  );
  restore();
  return told.load();
}

function who(place, member) {
  const names = h('div', { role: 'status' });
  const customers = member.customers.map(({ currency, stripe_customer_id: id }) => [M.customer(currency), copyable(id, T.ids.customer)]);
  return h(
    'div',
    { class: 'panel' },
    h('h2', {}, M.who),
    facts([[T.ids.user, copyable(member.user_id, T.ids.user)], ...customers]),
    !customers.length && h('p', { class: 'hint' }, M.noCustomers),
    names,
    customers.length > 0 && reveal(place, member, names),
  );
}

function reveal(place, member, names) {
  if (!may('names')) return h('p', { class: 'hint' }, M.noNames);
  const trouble = h('div', { class: 'notice', role: 'alert', hidden: true });
  const hint = h('p', { class: 'hint' }, M.showNameHint);
  const shows = button(M.showName, () => working(shows, async () => {
    trouble.hidden = true;
    try {
      const { customers } = await post(path('members', member.user_id, 'reveal'), {}, { signal: place.signal, key: crypto.randomUUID() });
      const pairs = customers.flatMap(({ name, email, currency }) => {
        const of = customers.length > 1 ? ` (${currency.toUpperCase()})` : '';
        return [[M.name + of, name ?? M.noName], [M.email + of, email ?? M.noName]];
      });
      fill(names, customers.length ? facts(pairs) : M.nameless);
      shows.hidden = true;
      hint.hidden = true;
    } catch (problem) {
      if (isGone(problem)) return;
      fill(trouble, told(problem)).hidden = false;
    }
  }), { class: 'plain' });
  return [trouble, h('p', { class: 'actions' }, shows), hint];
}

export default { name: 'member', show };
